//! The session file: its first line names the epoch, each further line holds the facts of one step, and is written
//! before anybody hears of them. So it holds after a kill; against a machine that loses its power nothing is done.
//! What a fact means is memory.rs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::memory::{Fact, Memory};
use crate::sessions::Session;

/// The file that sessions are kept in.
pub struct Store {
    path: PathBuf,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// None when the file does not hold what it should, and has to be written anew.
    file: Option<File>,
    length: u64,
    /// The length beyond which it is written anew, without what no longer matters.
    limit: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// All that a file of the first version has.
    #[serde(default, skip_serializing)]
    sessions: Vec<Session>,
}

const VERSION: u32 = 2;
const LIMIT: u64 = 64 * 1024 * 1024;

impl Store {
    pub fn new(path: PathBuf) -> Self {
        Self { path, ledger: Mutex::default() }
    }

    /// What the file holds. A file that is not there is empty; one that cannot be read is a warning.
    pub fn load(&self) -> Memory {
        match self.read() {
            Ok(memory) => memory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            Err(error) => {
                let path = self.path.display();
                eprintln!("warning: {path} is not a session file, starting without: {error}");
                Memory::default()
            }
        }
    }

    /// Whether the file has to be written anew before anything can be added.
    pub fn is_spent(&self) -> bool {
        let ledger = self.ledger();
        ledger.file.is_none() || ledger.length > ledger.limit
    }

    /// Adds the facts of one step, as a whole or not at all.
    pub fn append(&self, facts: &[Fact]) {
        let mut ledger = self.ledger();
        let Some(file) = &mut ledger.file else {
            return;
        };
        match line(&facts).and_then(|line| file.write_all(&line).map(|()| line.len())) {
            Ok(length) => ledger.length += length as u64,
            Err(error) => {
                ledger.file = None;
                self.warn(&error);
            }
        }
    }

    /// Replaces the file: whoever reads it sees the old contents or the new, never a part.
    pub fn rewrite(&self, epoch: &str, facts: &[Fact]) {
        let mut ledger = self.ledger();
        match write(&self.path, epoch, facts) {
            Ok((file, length)) => {
                *ledger = Ledger { file: Some(file), length, limit: LIMIT.max(length.saturating_mul(2)) };
            }
            Err(error) => {
                ledger.file = None;
                self.warn(&error);
            }
        }
    }

    fn read(&self) -> io::Result<Memory> {
        let bytes = fs::read(&self.path)?;
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let header: Header = serde_json::from_slice(first)?;
        match header.version {
            1 => return Ok(Memory::of_old(header.sessions)),
            VERSION => {}
            version => return Err(io::Error::other(format!("version {version} is unknown"))),
        }
        let mut memory = Memory::default();
        memory.epoch = header.epoch;
        let mut sound = first.len();
        for line in lines {
            // A step that was being written when the process was killed: nobody has heard of it.
            let Ok(facts) = serde_json::from_slice::<Vec<Fact>>(line) else {
                break;
            };
            facts.into_iter().for_each(|fact| memory.apply(fact));
            sound += line.len();
        }
        let file = OpenOptions::new().append(true).open(&self.path)?;
        file.set_len(sound as u64)?;
        *self.ledger() = Ledger { file: Some(file), length: sound as u64, limit: LIMIT };
        Ok(memory)
    }

    fn warn(&self, error: &io::Error) {
        eprintln!("warning: cannot keep sessions in {}: {error}", self.path.display());
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(content: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(content)?;
    line.push(b'\n');
    Ok(line)
}

fn write(path: &Path, epoch: &str, facts: &[Fact]) -> io::Result<(File, u64)> {
    let header = Header { version: VERSION, epoch: Some(epoch.to_owned()), sessions: Vec::new() };
    let mut text = line(&header)?;
    text.extend(line(&facts)?);
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut file = private(&beside)?;
    file.write_all(&text)?;
    fs::rename(&beside, path)?;
    Ok((file, text.len() as u64))
}

/// Opens for writing what only the owner may read: the tokens in it open sessions.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
