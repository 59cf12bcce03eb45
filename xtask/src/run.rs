//! Running other programs: what is said before they start, how progress is shown, where their output goes, how long they may
//! take. What they are for is decided elsewhere.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Why a command ended early: whole sentences for the person at the keyboard, the last one saying what to type.
#[derive(Debug)]
pub struct Stop(pub String);

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop(error.to_string())
    }
}

/// Turns an error of the file system into a sentence that names the file.
pub fn about<T>(path: &Path, result: io::Result<T>) -> Result<T, Stop> {
    result.map_err(|error| Stop(format!("{}: {error}.", path.display())))
}

pub fn say(line: impl fmt::Display) {
    // A reader at the other end of a pipe sees each step before it starts, and may leave early.
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// One program run to its end, its output kept in a log file.
pub struct Step<'a> {
    label: String,
    command: &'a mut Command,
    log: PathBuf,
    limit: Duration,
    append: bool,
}

/// How a step ended.
pub struct Done {
    pub status: ExitStatus,
    pub log: PathBuf,
}

impl<'a> Step<'a> {
    pub fn new(label: impl Into<String>, logs: &Path, command: &'a mut Command) -> Self {
        let label = label.into();
        let name: String = label.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        Step { log: logs.join(format!("{name}.log")), label, command, limit: Duration::from_secs(1800), append: false }
    }

    /// Ends the program when it takes longer.
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    pub fn log(mut self, path: PathBuf) -> Self {
        self.log = path;
        self
    }

    /// Keeps what an earlier step left in the same log.
    pub fn append(mut self) -> Self {
        self.append = true;
        self
    }

    /// Runs it. An exit status other than zero is an answer, not an error.
    pub fn finish(self) -> Result<Done, Stop> {
        if let Some(folder) = self.log.parent() {
            about(folder, fs::create_dir_all(folder))?;
        }
        let log = if self.append {
            File::options().create(true).append(true).open(&self.log)
        } else {
            File::create(&self.log)
        };
        let tail = Arc::new(Mutex::new(Tail { log: about(&self.log, log)?, line: String::new(), open: String::new() }));
        let started = Instant::now();
        let mut meter = Meter::new(&self.label);
        let program = self.command.get_program().to_string_lossy().into_owned();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Stop(format!("{program} could not be started: {error}.")))?;
        let readers: Vec<_> = [
            child.stdout.take().map(|pipe| follow(pipe, tail.clone())),
            child.stderr.take().map(|pipe| follow(pipe, tail.clone())),
        ]
        .into_iter()
        .flatten()
        .collect();

        let mut pause = Duration::from_millis(5);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if started.elapsed() > self.limit {
                child.kill()?;
                child.wait()?;
                meter.end();
                return Err(Stop(format!(
                    "{} took longer than {} s and was ended. Its output is in {}.",
                    self.label,
                    self.limit.as_secs(),
                    self.log.display()
                )));
            }
            let line = tail.lock().map(|tail| tail.line.clone()).unwrap_or_default();
            meter.tick(started.elapsed(), &line);
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        };
        // A grandchild that outlives the program may hold the pipe: what it says later belongs to nobody.
        let patience = Instant::now();
        for reader in readers {
            while !reader.is_finished() && patience.elapsed() < Duration::from_secs(2) {
                thread::sleep(Duration::from_millis(2));
            }
        }
        meter.end();
        Ok(Done { status, log: self.log })
    }

    /// Runs it and takes any other end than success for a failure, with `hint` saying what to type.
    pub fn succeed(self, hint: &str) -> Result<Done, Stop> {
        let label = self.label.clone();
        let done = self.finish()?;
        if done.status.success() {
            return Ok(done);
        }
        let tail = last_lines(&done.log, 25);
        Err(Stop(format!(
            "{tail}\n{label}: failed ({}). All of its output is in {}. {hint}",
            done.status,
            done.log.display()
        )))
    }
}

/// The end of a log, for a failure's report.
pub fn last_lines(log: &Path, count: usize) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| format!("  | {}", plain(line)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What a program prints when asked, or nothing when it is missing, fails or takes longer than ten seconds.
pub fn answer(command: &mut Command) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut pipe = child.stdout.take()?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.read_to_string(&mut text);
        text
    });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(10) {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return reader.join().ok(),
            Ok(Some(_)) | Err(_) => return None,
            Ok(None) => thread::sleep(Duration::from_millis(2)),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

struct Tail {
    log: File,
    line: String,
    open: String,
}

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        let _ = self.log.write_all(bytes);
        self.open.push_str(&String::from_utf8_lossy(bytes));
        if let Some(end) = self.open.rfind(['\n', '\r']) {
            if let Some(line) = self.open[..end].split(['\n', '\r']).rfind(|line| !line.trim().is_empty()) {
                self.line = line.to_owned();
            }
            self.open.drain(..=end);
        }
        // Output without line ends is progress art: nothing of it is shown.
        if self.open.len() > 4096 {
            self.open.clear();
        }
    }
}

fn follow(mut pipe: impl Read + Send + 'static, tail: Arc<Mutex<Tail>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count) = pipe.read(&mut buffer) {
            if count == 0 {
                return;
            }
            if let Ok(mut tail) = tail.lock() {
                tail.add(&buffer[..count]);
            }
        }
    })
}

/// Shows that a step is alive: on a terminal a line that rewrites itself, elsewhere a line each 15 s.
struct Meter {
    label: String,
    terminal: bool,
    width: usize,
    shown: Option<u64>,
}

impl Meter {
    const QUIET_EVERY: u64 = 15;

    fn new(label: &str) -> Self {
        let terminal = io::stdout().is_terminal();
        let width = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or(80);
        say(format_args!("· {label}"));
        Meter { label: label.to_owned(), terminal, width, shown: None }
    }

    fn tick(&mut self, elapsed: Duration, line: &str) {
        let seconds = elapsed.as_secs();
        if self.terminal {
            if seconds < 1 || self.shown == Some(seconds) {
                return;
            }
            self.shown = Some(seconds);
            let text = format!("  {seconds} s  {}", plain(line).trim());
            let text: String = text.chars().take(self.width.saturating_sub(1)).collect();
            let mut out = io::stdout();
            let _ = write!(out, "\r\x1b[K{text}");
            let _ = out.flush();
        } else if seconds / Self::QUIET_EVERY > self.shown.unwrap_or(0) {
            self.shown = Some(seconds / Self::QUIET_EVERY);
            let line: String = plain(line).trim().chars().take(100).collect();
            say(format_args!("  … {} ({seconds} s) {line}", self.label));
        }
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            let mut out = io::stdout();
            let _ = write!(out, "\r\x1b[K");
            let _ = out.flush();
        }
    }
}

/// Takes colours and cursor movements away.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\x1b' {
            for code in rest.by_ref() {
                if code.is_ascii_alphabetic() {
                    break;
                }
            }
        } else if c == '\t' {
            text.push(' ');
        } else if !c.is_control() {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_do_not_reach_the_progress_line() {
        assert_eq!(plain("\x1b[1m\x1b[32m   Compiling\x1b[0m foo v1\t(x)"), "   Compiling foo v1 (x)");
    }

    #[test]
    fn a_program_that_is_missing_gives_no_answer() {
        assert!(answer(&mut Command::new("there-is-no-such-program-here")).is_none());
    }

    #[test]
    fn the_last_whole_line_is_the_one_that_is_shown() {
        let log = std::env::temp_dir().join(format!("moorline-tail-{}", std::process::id()));
        let mut tail = Tail { log: File::create(&log).unwrap(), line: String::new(), open: String::new() };
        tail.add(b"one\ntw");
        assert_eq!(tail.line, "one");
        tail.add(b"o\n\nthr");
        assert_eq!(tail.line, "two");
        fs::remove_file(log).unwrap();
    }
}
