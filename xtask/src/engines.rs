//! The browser engines that the lifecycle scenarios run in: where each stands, how Debian's packages bring it, and what says its
//! version. An engine that cannot be had is no failure: whoever runs the scenarios says that it is missing, and why.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::Project;
use crate::run::{Stop, answer};
use crate::setup;

/// An engine, and whether this machine has it.
pub struct Engine {
    pub name: &'static str,
    /// The Playwright project of its scenarios.
    pub project: &'static str,
    pub found: Result<Found, Stop>,
}

/// What the scenarios are told of an engine that is there.
pub struct Found {
    pub version: String,
    programs: Vec<(&'static str, PathBuf)>,
}

/// Finds all three, or installs what Debian has.
pub fn find(project: &Project) -> [Engine; 3] {
    [
        Engine { name: "Chromium", project: "chromium", found: chromium(project) },
        Engine { name: "Firefox", project: "firefox", found: firefox(project) },
        Engine { name: "WebKitGTK", project: "webkit", found: webkit(project) },
    ]
}

impl Engine {
    /// What the scenarios know it by, or why there are none of it.
    pub fn tell(&self, command: &mut Command) {
        let lacks = format!("MOORLINE_LACKS_{}", self.project.to_uppercase());
        match &self.found {
            Ok(found) => {
                command.env_remove(lacks).envs(found.programs.iter().map(|(name, path)| (name, path)));
            }
            Err(reason) => {
                command.env(lacks, reason.to_string());
            }
        }
    }

    /// `Firefox 153.7.0esr`, or nothing where there is none.
    pub fn version(&self) -> Option<String> {
        self.found.as_ref().ok().map(|found| format!("{} {}", self.name, found.version).trim_end().to_owned())
    }
}

fn chromium(project: &Project) -> Result<Found, Stop> {
    let browser = setup::browser(project)?;
    let driver = setup::driver(project)?;
    Ok(Found {
        version: said(&browser),
        programs: vec![("MOORLINE_CHROMIUM", browser), ("MOORLINE_CHROMEDRIVER", driver)],
    })
}

fn firefox(project: &Project) -> Result<Found, Stop> {
    let found = |browser: PathBuf| Found { version: said(&browser), programs: vec![("MOORLINE_FIREFOX", browser)] };
    if let Some(path) = env::var_os("FIREFOX").filter(|value| !value.is_empty()).map(PathBuf::from) {
        return if path.exists() {
            Ok(found(path))
        } else {
            Err(Stop(format!(
                "FIREFOX is {}, which does not exist. Type `unset FIREFOX`, or set it right.",
                path.display()
            )))
        };
    }
    let mac = PathBuf::from("/Applications/Firefox.app/Contents/MacOS/firefox");
    let installed =
        || ["firefox-esr", "firefox"].into_iter().find_map(setup::find).or_else(|| mac.exists().then(|| mac.clone()));
    if let Some(browser) = installed() {
        return Ok(found(browser));
    }
    let ways = "Install Firefox, or type `export FIREFOX=/its/path`; then the command again.";
    if setup::debian() {
        setup::apt(project, &["firefox-esr"], ways)?;
    }
    installed().map(found).ok_or_else(|| Stop(format!("There is no Firefox on PATH. {ways}")))
}

/// WebKit's own driver and browser, and a display for them: they have no headless mode.
fn webkit(project: &Project) -> Result<Found, Stop> {
    let installed = || Some((setup::find("WebKitWebDriver")?, setup::find("Xvfb")?));
    let ways = "Type `apt-get install webkit2gtk-driver xvfb` on Debian, or the like elsewhere on Linux; then the command again.";
    if installed().is_none() && setup::debian() {
        setup::apt(project, &["webkit2gtk-driver", "xvfb"], ways)?;
    }
    let (driver, display) =
        installed().ok_or_else(|| Stop(format!("There are no `WebKitWebDriver` and `Xvfb` on PATH. {ways}")))?;
    // Neither of them says a version without a display.
    let package = answer(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "webkit2gtk-driver"]));
    let version = package.as_deref().map(|text| text.split('-').next().unwrap_or(text).to_owned()).unwrap_or_default();
    Ok(Found { version, programs: vec![("MOORLINE_WEBKIT_DRIVER", driver), ("MOORLINE_XVFB", display)] })
}

/// What a browser says of its version, without its name.
fn said(browser: &Path) -> String {
    let text = answer(Command::new(browser).arg("--version")).unwrap_or_default();
    number(&text).unwrap_or_default().to_owned()
}

fn number(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_word_that_begins_with_a_digit() {
        assert_eq!(number("Chromium 156.0.8078.79 built on Debian GNU/Linux 12 (bookworm)"), Some("156.0.8078.79"));
        assert_eq!(number("Mozilla Firefox 153.7.0esr\n"), Some("153.7.0esr"));
        assert_eq!(number(""), None);
    }

    #[test]
    fn scenarios_are_told_of_an_engine_where_it_is_or_why_it_is_not() {
        let told = |found| {
            let mut command = Command::new("true");
            Engine { name: "Firefox", project: "firefox", found }.tell(&mut command);
            let value = |name: &str| command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
            (value("MOORLINE_FIREFOX").map(PathBuf::from), value("MOORLINE_LACKS_FIREFOX").map(PathBuf::from))
        };
        let here = Found { version: "1".to_owned(), programs: vec![("MOORLINE_FIREFOX", PathBuf::from("/f"))] };
        assert_eq!(told(Ok(here)), (Some(PathBuf::from("/f")), None));
        assert_eq!(told(Err(Stop("none.".to_owned()))), (None, Some(PathBuf::from("none."))));
    }
}
