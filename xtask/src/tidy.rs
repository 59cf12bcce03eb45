//! The rules that keep the tree in shape, as tests: what prose asks for, these insist on. A rule about a file that is not
//! there yet waits for it. How code is formatted and what a compiler can see is left to fmt and clippy.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::project::{Project, walk};

const LONGEST: usize = 800;

/// What each file of the core may use of the crate, by module: the wall between policy, protocols and the browser.
const MAY_USE: [(&str, &[&str]); 26] = [
    ("error", &[]),
    ("time", &[]),
    ("wire", &["error"]),
    ("backoff", &["time"]),
    ("heartbeat", &["time"]),
    ("journal", &["error", "time", "wire"]),
    ("outbox", &["error", "time", "wire"]),
    ("session", &["error", "time", "wire"]),
    ("feed", &["session"]),
    ("config", &["backoff", "error", "heartbeat", "outbox", "time", "wire"]),
    ("protocol/mod", &["config", "error", "outbox", "session", "time", "wire"]),
    ("protocol/*", &["config", "error", "feed", "session", "time", "wire"]),
    ("protocol/hermes/*", &["protocol", "time", "wire"]),
    ("protocol/action_cable/*", &["protocol", "time", "wire"]),
    ("protocol/openclaw/*", &["error", "protocol", "time", "wire"]),
    ("client/handover", &["contract", "error", "journal", "outbox", "protocol", "time", "wire"]),
    ("client/questions", &["contract", "protocol", "time"]),
    ("client/watch", &["config", "contract", "error", "heartbeat", "journal", "protocol", "time", "wire"]),
    ("contract", &["error", "outbox", "protocol", "session", "time", "wire"]),
    (
        "client",
        &[
            "backoff",
            "config",
            "contract",
            "error",
            "heartbeat",
            "journal",
            "outbox",
            "protocol",
            "session",
            "time",
            "wire",
        ],
    ),
    ("web/env", &["error", "time", "wire"]),
    ("web/storage", &["error", "time", "wire"]),
    ("web/socket", &["error", "outbox", "time", "wire"]),
    ("web/events", &["error", "protocol", "time", "wire"]),
    ("web/driver", &["client", "contract", "error", "protocol", "session", "time", "wire"]),
    ("web/mod", &["client", "config", "contract", "error", "outbox", "protocol", "session", "wire"]),
];

/// What each file of the driver may use of its neighbours. `events` owns the snippet's types, so all may name it.
const NEIGHBOURS: [(&str, &[&str]); 5] = [
    ("env", &["events"]),
    ("storage", &["events"]),
    ("socket", &["events"]),
    ("events", &[]),
    ("driver", &["env", "events", "socket", "storage"]),
];

/// A text file of the project: its path from the root, with forward slashes, and its content.
struct Text {
    path: String,
    text: String,
}

impl Text {
    fn ends(&self, ends: &[&str]) -> bool {
        ends.iter().any(|end| self.path.ends_with(end))
    }

    fn module(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.strip_suffix(".rs")
    }

    /// The file without the tests at its end.
    fn body(&self) -> &str {
        let tests = ["\n#[cfg(test)]\nmod ", "\n#[cfg(all(test"];
        let end = tests.iter().filter_map(|head| self.text.find(head)).min();
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// The same without comments, so that a rule does not stumble over its own reason.
    fn code(&self) -> String {
        without_comments(self.body())
    }
}

fn project() -> Project {
    Project::find().expect("the tests run in a checkout")
}

/// What belongs to the project: what git knows or would add, or all files where there is no git.
fn tree() -> Vec<Text> {
    let project = project();
    let listed = Command::new("git")
        .current_dir(&project.root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()
        .filter(|output| output.status.success() && !output.stdout.is_empty());
    let paths: Vec<String> = match listed {
        Some(output) => String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect(),
        None => walk(&project.root)
            .iter()
            .filter_map(|path| Some(path.strip_prefix(&project.root).ok()?.to_string_lossy().replace('\\', "/")))
            .filter(|path| !["pkg/", "tests/e2e/test-results/"].iter().any(|made| path.starts_with(made)))
            .collect(),
    };
    let tree: Vec<Text> = paths
        .into_iter()
        .filter_map(|path| Some(Text { text: fs::read_to_string(project.path(&path)).ok()?, path }))
        .collect();
    assert!(tree.iter().any(|file| file.path == "xtask/src/tidy.rs"), "the files of the project were not found");
    tree
}

fn without_comments(code: &str) -> String {
    let mut rest = code;
    let mut text = String::with_capacity(code.len());
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            let end = string_end(rest);
            text.push_str(&rest[..end]);
            end
        } else {
            text.push(c);
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    text
}

/// Where the string that begins here ends, its closing quote included. One that does not end is no string: a quote in a
/// character or a pattern.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    1
}

/// The texts of the strings in code.
fn strings(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find('"') {
        let from = &rest[at..];
        let end = string_end(from);
        if end > 1 {
            found.push(from[1..end - 1].replace("\\\"", "\"").replace("\\n", "\n"));
        }
        rest = &from[end..];
    }
    found
}

/// Whether a word stands in a text, not as a part of a longer one.
fn names(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(part) && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// The modules that follow `crate::` or `super::`, singly or in braces.
fn uses(code: &str, root: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let rest = &code[at + root.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(word(item.trim()));
                    item.clear();
                    continue;
                }
                _ => {}
            }
            item.push(c);
        }
        found.insert(word(item.trim()));
    }
    // A name in capitals is an item of the module itself.
    found.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_rust_file_opens_with_what_lives_in_it() {
    let wrong: Vec<String> = tree()
        .iter()
        .filter(|file| file.ends(&[".rs"]) && !file.text.starts_with("//! "))
        .map(|file| format!("{}: its first line has to be `//! what lives here, and what does not`", file.path))
        .collect();
    none(&wrong);
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let wrong: Vec<String> = tree()
        .iter()
        .filter(|file| file.ends(&[".rs", ".ts", ".js", ".mjs", ".css"]))
        .map(|file| (file, file.body().lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(file, lines)| format!("{}: {lines} lines without its tests, more than {LONGEST}", file.path))
        .collect();
    none(&wrong);
}

#[test]
fn no_module_has_a_name_that_decides_nothing() {
    let wrong: Vec<String> = tree()
        .iter()
        .filter(|file| {
            file.ends(&[".rs", ".ts", ".js", ".mjs"])
                && file
                    .path
                    .split(['/', '.'])
                    .any(|part| ["util", "utils", "helper", "helpers", "common", "misc"].contains(&part))
        })
        .map(|file| format!("{}: name it after what it does", file.path))
        .collect();
    none(&wrong);
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    let mut wrong = Vec::new();
    let tree = tree();
    let protocols: Vec<&str> = tree.iter().filter_map(|file| file.module()?.strip_prefix("protocol/")).collect();
    for file in &tree {
        let Some(module) = file.module().filter(|module| *module != "lib") else {
            continue;
        };
        let code = file.code();
        let row = MAY_USE.iter().find(|(name, _)| *name == module).or_else(|| {
            let (folder, _) = module.rsplit_once('/')?;
            MAY_USE.iter().find(|(name, _)| *name == format!("{folder}/*"))
        });
        let Some((_, allowed)) = row else {
            wrong.push(format!("{}: has no row in the table of xtask/src/tidy.rs", file.path));
            continue;
        };
        for used in uses(&code, "crate::") {
            if !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: may not use crate::{used}", file.path));
            }
        }
        if let Some(name) = module.strip_prefix("web/").filter(|name| *name != "mod") {
            let neighbours = NEIGHBOURS.iter().find(|(found, _)| *found == name).map_or(&[][..], |(_, list)| list);
            for used in uses(&code, "super::") {
                if !neighbours.contains(&used.as_str()) {
                    wrong.push(format!("{}: may not use super::{used}", file.path));
                }
            }
        }
        if module.starts_with("protocol/") && module != "protocol/mod" {
            for used in uses(&code, "super::") {
                let shared = used == "calls" || (module == "protocol/hermes" && used == "json_rpc");
                // A function of the contract's, or of the protocol that a file is a part of, is no sibling.
                if shared || !protocols.contains(&used.as_str()) {
                    continue;
                }
                wrong.push(format!("{}: a protocol may not use its sibling super::{used}", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_client_names_no_protocol() {
    let tree = tree();
    let protocols: Vec<&str> =
        tree.iter().filter_map(|file| file.module()?.strip_prefix("protocol/")).filter(|name| *name != "mod").collect();
    let mut wrong = Vec::new();
    for file in tree.iter().filter(|file| file.module() == Some("client")) {
        let code = file.code().to_lowercase();
        for name in &protocols {
            if code.contains(&name.replace('_', "")) || code.contains(name) {
                wrong.push(format!("{}: names the protocol {name}", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn only_the_driver_knows_a_browser() {
    let mut wrong = Vec::new();
    for file in tree() {
        let Some(module) = file.module().filter(|module| !module.starts_with("web/")) else {
            continue;
        };
        let code = file.code();
        for krate in
            ["wasm_bindgen", "web_sys", "js_sys", "gloo_timers", "serde_wasm_bindgen", "console_error_panic_hook"]
        {
            if names(&code, krate) {
                wrong.push(format!("{}: {module} names {krate}; only src/web may", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_shim_holds_no_timer_socket_storage_or_parser() {
    let mut wrong = Vec::new();
    // What is for tests stands in for all of these, and no page of a user's has it.
    let shim = |path: &str| path.starts_with("src/ts/") && !path.starts_with("src/ts/testing");
    for file in tree().iter().filter(|file| shim(&file.path)) {
        let code = without_comments(&file.text);
        for banned in [
            "setTimeout",
            "setInterval",
            "setImmediate",
            "new WebSocket",
            "localStorage",
            "sessionStorage",
            "indexedDB",
            "JSON.parse",
        ] {
            // A call's time runs while wasm is on its way, and Rust with its clock is what is on its way. The session layer has
            // no wasm: it stands on a line, and knows alone what a channel of its kind owes.
            let own = banned == "setTimeout" && matches!(&*file.path, "src/ts/calls.ts" | "src/ts/agent-session.ts");
            if names(&code, banned) && !own {
                wrong.push(format!("{}: {banned} is Rust's business", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_world_imports_only_its_own_files_the_package_and_three() {
    let mut wrong = Vec::new();
    for file in tree().iter().filter(|file| file.path.starts_with("www/") && file.ends(&[".js", ".mjs", ".html"])) {
        let code = if file.ends(&[".html"]) { file.text.clone() } else { without_comments(&file.text) };
        for name in imports(&code) {
            let known = name.starts_with("./")
                || ["moorline", "three"]
                    .iter()
                    .any(|package| name == *package || name.starts_with(&format!("{package}/")))
                || name.starts_with("/pkg/");
            if !known {
                wrong.push(format!("{}: imports {name}", file.path));
            }
        }
    }
    none(&wrong);
}

/// What a script imports: the string behind `from`, `import` or `import(`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for head in ["from", "import"] {
        for (at, _) in code.match_indices(head) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || ['_', '$', '.', '"'].contains(&c)) {
                continue;
            }
            let rest = code[at + head.len()..].trim_start();
            let rest = rest.strip_prefix('(').unwrap_or(rest).trim_start();
            let Some(quote) = rest.chars().next().filter(|c| ['"', '\''].contains(c)) else {
                continue;
            };
            if let Some(end) = rest[1..].find(quote) {
                found.push(rest[1..=end].to_owned());
            }
        }
    }
    found
}

#[test]
fn every_word_that_a_protocol_says_or_hears_stands_in_its_page() {
    let tree = tree();
    let mut wrong = Vec::new();
    for (module, page) in [
        ("protocol/nexus", "docs/protocols/nexus-world.md"),
        ("protocol/action_cable", "docs/protocols/action-cable.md"),
        ("protocol/action_cable/channel", "docs/protocols/action-cable.md"),
    ] {
        let file = tree.iter().find(|file| file.module() == Some(module));
        let page = tree.iter().find(|file| file.path == page);
        // The world's extension has a page of its own.
        let extension = tree.iter().find(|file| file.path == "docs/protocols/delivery.md");
        let (Some(file), Some(page)) = (file, page) else {
            continue;
        };
        for string in strings(&file.code()) {
            // A frame written out holds words in quotes of its own.
            let words: Vec<&str> =
                if string.contains('"') { string.split('"').skip(1).step_by(2).collect() } else { vec![&string] };
            for word in words {
                let named = word.starts_with(|c: char| c.is_ascii_alphabetic())
                    && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
                let extended = module == "protocol/nexus" && extension.is_some_and(|page| names(&page.text, word));
                if named && !names(&page.text, word) && !extended {
                    wrong.push(format!("{}: says {word:?}, of which {} knows nothing", file.path, page.path));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn a_pinned_version_is_written_once() {
    let tree = tree();
    let mut pins: Vec<(&str, String)> = Vec::new();
    for file in &tree {
        let read: fn(&str) -> Option<&str> = match file.path.as_str() {
            "Cargo.toml" => |line| line.split_once("\"=")?.1.split('"').next(),
            "xtask/src/setup.rs" => |line| line.strip_prefix("const WASM_PACK: &str = \"")?.strip_suffix("\";"),
            "tests/e2e/package.json" | "tests/bench/loss/package.json" | "tests/bench/herd/package.json" => |line| {
                let (_, version) = line.strip_suffix(',').unwrap_or(line).split_once("\": \"")?;
                version.strip_suffix('"').filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            },
            _ => continue,
        };
        pins.extend(file.text.lines().filter_map(read).map(|version| (file.path.as_str(), version.to_owned())));
    }
    assert!(pins.len() > 5, "the pins were not found");
    let mut wrong = Vec::new();
    for file in
        tree.iter().filter(|file| file.ends(&[".rs", ".toml", ".json", ".ts", ".js", ".mjs", ".html", ".yml", ".sh"]))
    {
        if file.path.ends_with("package-lock.json") {
            continue;
        }
        for (home, version) in pins.iter().filter(|(home, _)| *home != file.path) {
            let whole = |at: usize| {
                let part = |c: char| c.is_ascii_digit() || c == '.';
                !file.text[..at].ends_with(part) && !file.text[at + version.len()..].starts_with(part)
            };
            if file.text.match_indices(version.as_str()).any(|(at, _)| whole(at)) {
                wrong.push(format!("{}: writes {version}, which is {home}'s to say", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    let mut wrong = Vec::new();
    for file in tree() {
        for folder in ["root", "work", "home", "tmp"] {
            let path = format!("/{folder}/");
            let found = file.text.lines().enumerate().find(|(_, line)| {
                line.match_indices(&path).any(|(at, _)| {
                    !line[..at]
                        .ends_with(|c: char| c.is_alphanumeric() || ['.', '-', '_', '}', ')', '*', '>'].contains(&c))
                })
            });
            if let Some((line, _)) = found {
                wrong.push(format!("{}:{}: {path} is a path of one machine", file.path, line + 1));
            }
        }
    }
    none(&wrong);
}

#[test]
fn lock_files_carry_checksums_and_no_addresses() {
    let mut wrong = Vec::new();
    for file in tree().iter().filter(|file| file.ends(&["package-lock.json"])) {
        if file.text.contains("\"resolved\"") {
            wrong.push(format!("{}: carries addresses; npm in tests/e2e leaves them out", file.path));
        }
        if !file.text.contains("\"integrity\"") {
            wrong.push(format!("{}: carries no checksums", file.path));
        }
    }
    none(&wrong);
}

#[test]
fn the_changelog_tells_of_the_version() {
    let tree = tree();
    let Some(changelog) = tree.iter().find(|file| file.path == "CHANGELOG.md") else {
        return;
    };
    let version = project().version().expect("Cargo.toml has a version");
    let told = changelog
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .any(|head| head.trim_start_matches('[').starts_with(&version));
    assert!(told, "CHANGELOG.md has no heading `## [{version}]`");
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimplemented", "!"), concat!("todo", "!")];
    let mut wrong = Vec::new();
    for file in tree().iter().filter(|file| file.ends(&[".rs", ".ts", ".js", ".mjs", ".html", ".css"])) {
        for mark in marks {
            if names(&file.text, mark) {
                wrong.push(format!("{}: {mark}", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn uses_are_found_singly_and_in_braces() {
    let code = "use crate::time::Instant;\nuse crate::{wire::{Frame, Route}, error};\nfn f() { crate::config::Config; crate::Item }";
    assert_eq!(uses(code, "crate::").into_iter().collect::<Vec<_>>(), ["config", "error", "time", "wire"]);
}

#[test]
fn a_comment_is_not_code_and_a_string_is() {
    assert_eq!(without_comments("a // b\n/* c */ \"// d\" e"), "a \n \"// d\" e");
    assert_eq!(strings(r#"f("a\"b", 'c', "d")"#), ["a\"b", "d"]);
}

#[test]
fn imports_are_found_in_their_three_shapes() {
    let code =
        "import { a } from \"./a.js\";\nimport './b.css';\nawait import( \"three/addons/x.js\" );\nArray.from('no');";
    assert_eq!(imports(code), ["./a.js", "./b.css", "three/addons/x.js"]);
}
