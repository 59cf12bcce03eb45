//! The commands that run something of the project for a person: the demo and the benches. Building is `package`'s.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use crate::package::{self, Variant};
use crate::project::Project;
use crate::run::{Step, Stop, say};
use crate::{layers, setup};

/// Serves the world until it is told to stop.
pub fn demo(project: &Project, port: u16, more: &[OsString]) -> Result<(), Stop> {
    package::build(project, Variant::default())?;
    let gateway = layers::gateway(project)?;
    let mut command = project.command(&gateway);
    command
        .args(["--port", &port.to_string(), "--www", "www", "--mount", "/pkg=pkg"])
        .args(["--mount", "/vendor/three=tests/e2e/node_modules/three/build"])
        .args(["--sessions", "target/demo-sessions.json"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // A group of its own: a Ctrl-C reaches it once, through us, however it was sent.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child =
        command.spawn().map_err(|error| Stop(format!("{} could not be started: {error}.", gateway.display())))?;
    signals::forward_to(&child);
    announce(&mut child)?;
    let status = child.wait()?;
    if status.success() {
        say(format_args!(
            "The gateway is closed. Sessions are kept: type `cargo xtask demo --port {port}` and open pages resume."
        ));
        return Ok(());
    }
    Err(Stop(format!(
        "The gateway ended with {status}. When the port is taken, type `cargo xtask demo --port {}`.",
        port.wrapping_add(1).max(1024)
    )))
}

/// Turns the gateway's first line into a sentence; what it prints later is passed on.
fn announce(child: &mut Child) -> Result<(), Stop> {
    let Some(pipe) = child.stdout.take() else {
        return Ok(());
    };
    let mut lines = BufReader::new(pipe);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    match field(&first, "url") {
        Some(url) => say(format_args!(
            "\nThe world is at {url} — open it in two tabs. Five gateways to talk to are at {url}agents.html. \
             Ctrl-C stops them all.\n"
        )),
        None => say(first.trim_end()),
    }
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let mut out = std::io::stdout();
        let _ = out.write_all(&line);
        let _ = out.flush();
        line.clear();
    }
    Ok(())
}

/// A field of a flat JSON object whose text needs no escapes, such as an address.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    json.split_once(&format!("\"{name}\":"))?.1.trim_start().strip_prefix('"')?.split('"').next()
}

/// Runs the measurements of speed, whose own arguments are passed on.
pub fn bench(project: &Project, more: &[OsString]) -> Result<(), Stop> {
    measure(project, "tests/bench/run.mjs", more, "cargo xtask bench")
}

/// Runs the measurements of what is lost.
pub fn loss(project: &Project, more: &[OsString]) -> Result<(), Stop> {
    setup::peers(project)?;
    measure(project, "tests/bench/loss/run.mjs", more, "cargo xtask bench loss")
}

/// Simulates a crowd that loses its server: the peers' own code on a clock of the bench's, then all of them in one model.
pub fn herd(project: &Project, more: &[OsString]) -> Result<(), Stop> {
    let more = if more.first().is_some_and(|word| word == "--") { &more[1..] } else { more };
    setup::packages(project)?;
    setup::peers(project)?;
    let waits = project.target.join("herd");
    // What a former lock file's peers did is not asked for.
    let _ = std::fs::remove_dir_all(&waits);
    let again = "Type `cargo xtask bench herd` to run it again.";
    let mut node = project.command("node");
    node.arg("tests/bench/herd/peers.mjs").arg(&waits);
    Step::new("the peers' waits, by their own code", &project.logs, &mut node).succeed(again)?;
    say("· a million clients for each, on virtual time: a minute or two, and up to 4 GB");
    let mut bench = project.cargo();
    bench
        .args(["bench", "--quiet", "--package", "moorline", "--bench", "herd", "--", "--peers"])
        .arg(&waits)
        .args(more);
    let status = bench.status().map_err(|error| Stop(format!("cargo could not be started: {error}.")))?;
    if status.success() {
        return Ok(());
    }
    Err(Stop(format!("The bench ended with {status}. {again}")))
}

fn measure(project: &Project, script: &str, more: &[OsString], again: &str) -> Result<(), Stop> {
    let more = if more.first().is_some_and(|word| word == "--") { &more[1..] } else { more };
    package::build(project, Variant::default())?;
    layers::gateway(project)?;
    let mut node = project.command("node");
    layers::environment(project, &mut node)?;
    node.env_remove("NO_COLOR");
    node.arg(script).args(more);
    setup::node()?;
    let status = node.status().map_err(|error| Stop(format!("node could not be started: {error}.")))?;
    if status.success() {
        return Ok(());
    }
    Err(Stop(format!("The bench ended with {status}. Type `{again}` to run it again.")))
}

#[cfg(unix)]
mod signals {
    //! Passes Ctrl-C and a polite end on to the one child that serves.

    use std::process::Child;
    use std::sync::atomic::{AtomicI32, Ordering};

    const INTERRUPT: i32 = 2;
    const TERMINATE: i32 = 15;
    static CHILD: AtomicI32 = AtomicI32::new(0);

    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
        fn kill(process: i32, number: i32) -> i32;
    }

    extern "C" fn pass_on(number: i32) {
        let child = CHILD.load(Ordering::Relaxed);
        if child > 0 {
            // SAFETY: kill may be called from a signal handler; the child is ours and has not been waited for yet, or its
            // number is one of a process that has just ended, for which nothing happens.
            unsafe { kill(child, number) };
        }
    }

    pub fn forward_to(child: &Child) {
        CHILD.store(i32::try_from(child.id()).unwrap_or(0), Ordering::Relaxed);
        for number in [INTERRUPT, TERMINATE] {
            // SAFETY: the handler only reads an atomic and calls kill, both of which a signal handler may do.
            unsafe { signal(number, pass_on) };
        }
    }
}

#[cfg(not(unix))]
mod signals {
    //! Where the console itself tells every process of Ctrl-C.

    pub fn forward_to(_: &std::process::Child) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_first_line() {
        let line = "{\"url\":\"http://127.0.0.1:8787/\",\"ws\": \"ws://127.0.0.1:8787/api/world/ws\"}";
        assert_eq!(field(line, "url"), Some("http://127.0.0.1:8787/"));
        assert_eq!(field(line, "ws"), Some("ws://127.0.0.1:8787/api/world/ws"));
        assert_eq!(field("listening", "url"), None);
    }
}
