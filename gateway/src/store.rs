//! The session file: read at the start, written whole and at once on every change. What a session is: sessions.rs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::sessions::Session;

/// The least time between two writes.
const PAUSE: Duration = Duration::from_millis(100);

/// The file that sessions are kept in.
pub struct Store {
    path: PathBuf,
    writing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct Contents<S> {
    version: u32,
    sessions: S,
}

const VERSION: u32 = 1;

impl Store {
    pub fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::new(()) }
    }

    /// What the file holds. A file that is not there is empty; one that cannot be read is a warning.
    pub fn load(&self) -> Vec<Session> {
        match read(&self.path) {
            Ok(sessions) => sessions,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let path = self.path.display();
                eprintln!("warning: {path} is not a session file, starting without: {error}");
                Vec::new()
            }
        }
    }

    /// Replaces the file: whoever reads it sees the old contents or the new, never a part.
    pub fn save(&self, sessions: &[Session]) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = write(&self.path, sessions) {
            eprintln!("warning: cannot keep sessions in {}: {error}", self.path.display());
        }
    }

    /// Saves after every change, for ever: the first at once, those that follow closely together.
    pub async fn follow(&self, hub: &Hub) {
        loop {
            hub.changed().await;
            tokio::task::block_in_place(|| self.save(&hub.kept()));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<Session>> {
    let contents: Contents<Vec<Session>> = serde_json::from_slice(&fs::read(path)?)?;
    if contents.version != VERSION {
        return Err(io::Error::other(format!("version {} is unknown", contents.version)));
    }
    Ok(contents.sessions)
}

fn write(path: &Path, sessions: &[Session]) -> io::Result<()> {
    let text = serde_json::to_vec(&Contents { version: VERSION, sessions })?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut file = private(&beside)?;
    file.write_all(&text)?;
    drop(file);
    fs::rename(&beside, path)
}

/// Opens for writing what only the owner may read: the tokens in it open sessions.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
