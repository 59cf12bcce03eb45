//! Where the project's files are, and how its programs are started: one environment for every child, whatever the caller's
//! own says. What is installed where is `setup`'s.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Stop, about};

/// The folders of this checkout.
pub struct Project {
    pub root: PathBuf,
    pub target: PathBuf,
    pub logs: PathBuf,
    pub tools: PathBuf,
    pub e2e: PathBuf,
}

impl Project {
    pub fn find() -> Result<Self, Stop> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let Some(root) = manifest.parent().map(Path::to_path_buf) else {
            return Err(Stop(format!("{} has no parent folder.", manifest.display())));
        };
        if !root.join("Cargo.lock").is_file() {
            return Err(Stop(format!(
                "{} is gone: this program was built in another place. Type `cargo clean -p xtask`, then the command again.",
                root.display()
            )));
        }
        Ok(Project::at(root, cache()?))
    }

    fn at(root: PathBuf, cache: PathBuf) -> Self {
        let target = root.join("target");
        Project {
            logs: target.join("xtask-logs"),
            tools: cache.join("tools"),
            e2e: root.join("tests/e2e"),
            target,
            root,
        }
    }

    /// A program started in the project's root, with the project's own target folder.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target).env_remove("CARGO_BUILD_TARGET");
        command
    }

    pub fn cargo(&self) -> Command {
        self.command("cargo")
    }

    /// A program from the private npm packages.
    pub fn node_bin(&self, name: &str) -> PathBuf {
        self.e2e.join("node_modules/.bin").join(if cfg!(windows) { format!("{name}.cmd") } else { name.to_owned() })
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub fn read(&self, relative: &str) -> Result<String, Stop> {
        let path = self.path(relative);
        about(&path, fs::read_to_string(&path))
    }

    /// The version that everything carries, from Cargo.toml.
    pub fn version(&self) -> Result<String, Stop> {
        let manifest = self.read("Cargo.toml")?;
        manifest
            .lines()
            .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
            .map(str::to_owned)
            .ok_or_else(|| Stop("Cargo.toml has no line `version = \"…\"`.".to_owned()))
    }

    /// The version of a crate that Cargo.lock names.
    pub fn locked(&self, name: &str) -> Result<String, Stop> {
        let lock = self.read("Cargo.lock")?;
        let entry = format!("name = \"{name}\"");
        let mut lines = lock.lines().skip_while(|line| *line != entry);
        lines
            .nth(1)
            .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
            .map(str::to_owned)
            .ok_or_else(|| {
                Stop(format!("Cargo.lock names no crate {name}. Type `cargo fetch`, then the command again."))
            })
    }
}

/// The folder shared by every checkout of this user.
fn cache() -> Result<PathBuf, Stop> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("MOORLINE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("moorline")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/moorline")))
        .or_else(|| set("LOCALAPPDATA").map(|home| home.join("moorline")))
        .ok_or_else(|| {
            Stop("Neither HOME nor MOORLINE_CACHE is set. Type `export MOORLINE_CACHE=a/writable/folder`.".to_owned())
        })
}

/// Every file below a folder, sorted, `target`, `node_modules` and version control left out.
pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let skipped = ["target", "node_modules", ".git"].iter().any(|skipped| name == *skipped);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !skipped => folders.push(path),
                Ok(kind) if kind.is_file() => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

/// A number for the content of files and folders, and for what else is told; a missing file counts as such.
pub fn fingerprint(paths: &[PathBuf], also: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        let files = if path.is_dir() { walk(path) } else { vec![path.clone()] };
        for file in files {
            hasher.write(file.as_os_str().as_encoded_bytes());
            match fs::read(&file) {
                Ok(bytes) => {
                    hasher.write_usize(bytes.len());
                    hasher.write(&bytes);
                }
                Err(_) => hasher.write_u8(0),
            }
        }
    }
    for text in also {
        hasher.write_usize(text.len());
        hasher.write(text.as_bytes());
    }
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_and_the_locked_tools_are_read_from_the_manifests() {
        let project = Project::find().unwrap();
        assert!(project.version().unwrap().split('.').count() == 3);
        assert!(project.locked("wasm-bindgen").unwrap().starts_with("0.2."));
        assert!(project.locked("no-such-crate").is_err());
    }

    #[test]
    fn a_fingerprint_sees_content_and_absence() {
        let folder = env::temp_dir().join(format!("moorline-print-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a");
        let missing = fingerprint(std::slice::from_ref(&file), &[]);
        fs::write(&file, "1").unwrap();
        let one = fingerprint(std::slice::from_ref(&file), &[]);
        assert_ne!(missing, one);
        assert_eq!(one, fingerprint(std::slice::from_ref(&file), &[]));
        assert_ne!(one, fingerprint(std::slice::from_ref(&file), &["dev"]));
        fs::remove_dir_all(folder).unwrap();
    }
}
