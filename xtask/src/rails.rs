//! A real Rails server to test Action Cable against: where there is one, how Debian's packages bring one, and what runs over
//! it. The server itself is tests/rails, and the tests start and stop it.

use std::ffi::OsString;
use std::process::Command;

use crate::package::{self, Variant};
use crate::project::Project;
use crate::run::{Stop, answer, say};
use crate::{layers, setup};

/// Enough for Action Cable, without a Gemfile and a database.
const DEBIAN: [&str; 3] = ["ruby-actioncable", "ruby-railties", "puma"];
/// Debian's own, whatever stands before it on PATH.
const DEBIAN_RUBY: &str = "/usr/bin/ruby";
const PROBE: &str = "require 'action_controller/railtie'; require 'action_cable/engine'; require 'puma/cli'; \
                     print \"Rails #{Rails.version}, Ruby #{RUBY_VERSION}, Puma #{Puma::Const::PUMA_VERSION}\"";

/// A Ruby that has Rails and Puma.
pub struct Rails {
    ruby: &'static str,
    /// `Rails 6.1.7.10, Ruby 3.1.2, Puma 5.6.5`, as they say themselves.
    pub versions: String,
}

/// Finds a Rails, or installs Debian's. The error is the reason why there is none.
pub fn find(project: &Project) -> Result<Rails, Stop> {
    if cfg!(windows) {
        return Err(Stop("The tests suspend the Rails server by a signal, which Windows does not have.".to_owned()));
    }
    if let Some(found) = installed() {
        return Ok(found);
    }
    let ways = "Type `gem install rails puma`, or `apt-get install ruby-actioncable ruby-railties puma` on Debian; then \
                the command again.";
    if !setup::debian() {
        return Err(Stop(format!("There is no Ruby with Rails and Puma on PATH. {ways}")));
    }
    setup::apt(project, &DEBIAN, ways)?;
    installed()
        .ok_or_else(|| Stop(format!("Debian's packages are installed, yet {DEBIAN_RUBY} finds no Rails. {ways}")))
}

fn installed() -> Option<Rails> {
    ["ruby", DEBIAN_RUBY].into_iter().find_map(|name| {
        let versions = answer(Command::new(name).args(["-e", PROBE])).filter(|text| text.starts_with("Rails "))?;
        Some(Rails { ruby: name, versions })
    })
}

impl Rails {
    /// What scripts that start the server are told by.
    pub fn environment(&self, project: &Project, command: &mut Command) {
        command
            .env("MOORLINE_RUBY", self.ruby)
            .env("MOORLINE_RAILS", project.path("tests/rails/config.ru"))
            .env("MOORLINE_RAILS_VERSIONS", &self.versions);
    }
}

/// Measures how soon a page is back after the server was lost, with Rails' client and with ours, in one run.
pub fn bench(project: &Project, more: &[OsString]) -> Result<(), Stop> {
    let rounds = rounds(more)?;
    let rails = find(project)?;
    package::build(project, Variant::default())?;
    setup::packages(project)?;
    let mut runner = project.command(project.node_bin("playwright"));
    runner.current_dir(&project.e2e);
    layers::environment(project, &mut runner)?;
    rails.environment(project, &mut runner);
    runner.env("MOORLINE_ROUNDS", rounds.to_string()).args(["test", "--project=cable-bench", "--reporter=line"]);
    say(format_args!("· against {}; a round takes about 45 s, and there are {rounds}", rails.versions));
    let status = runner.status().map_err(|error| Stop(format!("playwright could not be started: {error}.")))?;
    if status.success() {
        return Ok(());
    }
    Err(Stop(format!("The bench ended with {status}. Type `cargo xtask bench cable` to run it again.")))
}

/// `[--rounds N]`: how often each loss is measured.
fn rounds(words: &[OsString]) -> Result<u8, Stop> {
    let given = match words {
        [] => return Ok(3),
        [flag, number] if flag == "--rounds" => number.to_str().and_then(|text| text.parse().ok()),
        _ => None,
    };
    given.filter(|number| (1..=10).contains(number)).ok_or_else(|| {
        Stop("bench cable takes `--rounds` and a number from 1 to 10. Type `cargo xtask help`.".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_are_a_small_number_or_an_error() {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(rounds(&[]).unwrap(), 3);
        assert_eq!(rounds(&words("--rounds 10")).unwrap(), 10);
        for wrong in ["--rounds", "--rounds 0", "--rounds 11", "--rounds many", "--quick", "3"] {
            assert!(rounds(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
