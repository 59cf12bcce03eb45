//! Every ```transcript block of the protocol pages, and every recording in tests/transcripts, run against the client.

use crate::notation::Transcript;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> (String, String) {
    let text = fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let name = path.strip_prefix(root()).unwrap_or(path);
    (name.display().to_string(), text)
}

/// Which protocol a page or a folder of recordings is about.
fn protocol_of(file: &str) -> &'static str {
    const NAMES: [(&str, &str); 7] = [
        ("nexus", "nexus"),
        ("delivery", "nexus"),
        ("action-cable", "action-cable"),
        ("openclaw", "openclaw"),
        ("json-rpc", "json-rpc"),
        ("hermes", "hermes"),
        ("yoi", "observation"),
    ];
    let found = NAMES.iter().find(|(part, _)| file.contains(&format!("/{part}")));
    found.unwrap_or_else(|| panic!("{file}: which protocol is it about?")).1
}

/// The blocks of a page, in order, each with its line numbers.
fn blocks(file: &str, text: &str) -> Vec<Transcript> {
    let protocol = protocol_of(file);
    let mut found = Vec::new();
    let mut open: Option<Vec<(usize, String)>> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (None, "```transcript") => open = Some(Vec::new()),
            (None, _) => {}
            (Some(lines), "```") => {
                found.push(Transcript { file: file.into(), protocol, lines: std::mem::take(lines) });
                open = None;
            }
            (Some(lines), line) => lines.push((index + 1, line.into())),
        }
    }
    assert!(open.is_none(), "{file}: a transcript without an end");
    found
}

fn run_all(transcripts: &[Transcript]) {
    let failures: Vec<String> = transcripts.iter().filter_map(|one| one.run().err()).collect();
    assert!(
        failures.is_empty(),
        "{} of {} transcripts fail\n\n{}\n",
        failures.len(),
        transcripts.len(),
        failures.join("\n\n")
    );
}

#[test]
fn every_transcript_of_a_protocol_page_is_what_the_client_does() {
    let pages = files("docs/protocols", "md");
    assert!(!pages.is_empty(), "there are protocol pages");
    for page in pages {
        let (name, text) = read(&page);
        let transcripts = blocks(&name, &text);
        assert!(!transcripts.is_empty(), "{name} has no transcript");
        run_all(&transcripts);
    }
}

#[test]
fn every_recording_is_what_the_client_does() {
    for protocol in ["action-cable", "openclaw", "hermes", "json-rpc", "yoi"] {
        let recordings: Vec<Transcript> = files(&format!("tests/transcripts/{protocol}"), "txt")
            .iter()
            .map(|path| {
                let (file, text) = read(path);
                let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.into())).collect();
                Transcript { protocol: protocol_of(&file), file, lines }
            })
            .collect();
        run_all(&recordings);
    }
}

/// Rules are written `**R1.1**` at the place that states them; a transcript names those that it shows by `# R1.1`.
#[test]
fn every_rule_of_a_page_is_shown_by_a_transcript() {
    for page in files("docs/protocols", "md") {
        let (name, text) = read(&page);
        let shown: String = blocks(&name, &text)
            .iter()
            .flat_map(|block| &block.lines)
            .filter(|(_, line)| line.starts_with("# "))
            .map(|(_, line)| format!("{line} "))
            .collect();
        let shown: Vec<&str> = shown.split([' ', ',', ':']).collect();
        let mut rules = 0;
        for part in text.split("**R").skip(1) {
            let rule = format!("R{}", part.split("**").next().unwrap_or_default());
            rules += 1;
            assert!(shown.contains(&rule.as_str()), "{name}: no transcript shows {rule}");
        }
        assert!(rules > 0, "{name} states no rules");
    }
}

#[test]
fn every_frame_type_that_the_code_names_stands_in_its_page() {
    for page in files("docs/protocols", "md") {
        let (name, text) = read(&page);
        // What the world's own page leaves to the extension's stands there.
        let (_, extension) = read(&root().join("docs/protocols/delivery.md"));
        let module = protocol_of(&name).replace('-', "_");
        if name.ends_with("delivery.md") {
            continue;
        }
        let (_, code) = read(&root().join(format!("src/protocol/{module}.rs")));
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let quoted: Vec<&str> = code.split('"').skip(1).step_by(2).collect();
        let types = quoted.iter().filter(|word| {
            word.len() > 3 && word.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_' | '.'))
        });
        let mut count = 0;
        for frame_type in types {
            count += 1;
            let named = format!("`{frame_type}`");
            let stands = text.contains(&named) || (module == "nexus" && extension.contains(&named));
            assert!(stands, "{name} does not name {frame_type}");
        }
        assert!(count > 5, "{name}: the code's frame types were not found");
    }
}

#[test]
fn a_transcript_that_is_not_what_the_client_does_is_refused_with_its_line() {
    let of = |text: &str| Transcript {
        file: "page.md".into(),
        protocol: "nexus",
        lines: text.lines().enumerate().map(|(at, line)| (at + 10, line.into())).collect(),
    };
    let refused = |text: &str| of(text).run().expect_err("it is wrong");

    of("> connect\n< open #1\n+10000ms\n< close #1 4000 handshake-timeout\n< event ws-disconnected {\"code\":1006}\n< event ws-reconnecting {\"delayMs\":\"4000..4000\"}")
        .run()
        .expect("it is right");
    let wrong = refused("> connect\n< open #2");
    assert!(wrong.contains("page.md:11") && wrong.contains("client: < open #1"), "{wrong}");
    let early = refused("> connect\n< open #1\n+10001ms\n< close #1 4000 handshake-timeout");
    assert!(early.contains("1 ms earlier"), "{early}");
    let unnamed = refused("> connect\n> opened #1");
    assert!(unnamed.contains("page.md:11") && unnamed.contains("does not name"), "{unnamed}");
    let silent = refused("> connect\n< open #1\n< open #2");
    assert!(silent.contains("nothing more came out"), "{silent}");
    let vague = refused(
        "> connect\n< open #1\n+10000ms\n< close #1 4000 handshake-timeout\n< event ws-disconnected {\"code\":1007}",
    );
    assert!(vague.contains("page.md:14"), "{vague}");
    let unknown = refused("> hop");
    assert!(unknown.contains("not an input"), "{unknown}");
}
