//! Simulated agents: a fixed play that starts over when it ends, so that two runs show the same.
//! When a line is spoken is world.rs.

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// The agents of one world, and how far their play has come.
#[derive(Debug, Default)]
pub struct Agents {
    spoken: usize,
}

impl Agents {
    /// The next line of the play.
    pub fn speak(&mut self) -> Utf8Bytes {
        let turn = self.spoken;
        self.spoken += 1;
        // Three times a status, then once a pull request.
        let line = if turn % 4 == 3 {
            let (action, number, title, author) = PULL_REQUESTS[turn / 4 % PULL_REQUESTS.len()];
            let pr = PullRequest { number, title, author };
            Line::PrNotification { action, pr }
        } else {
            let step = turn / 4 * 3 + turn % 4;
            Line::StatusUpdate(status(step))
        };
        serde_json::to_string(&line).expect("strings and numbers can be written").into()
    }

    /// What each agent was last heard to do, for a newcomer.
    pub fn roster(&self) -> Box<RawValue> {
        let statuses = self.spoken / 4 * 3 + self.spoken % 4;
        let latest = |agent: usize| {
            let rounds = (statuses + AGENTS.len() - 1 - agent) / AGENTS.len();
            match rounds.checked_sub(1) {
                Some(round) => status(round * AGENTS.len() + agent),
                None => Status { agent: AGENTS[agent], status: "idle", task: "" },
            }
        };
        let roster: Vec<Status> = (0..AGENTS.len()).map(latest).collect();
        to_raw_value(&roster).expect("strings can be written")
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line {
    StatusUpdate(Status),
    PrNotification { action: &'static str, pr: PullRequest },
}

#[derive(Serialize)]
struct Status {
    agent: &'static str,
    status: &'static str,
    task: &'static str,
}

#[derive(Serialize)]
struct PullRequest {
    number: u32,
    title: &'static str,
    author: &'static str,
}

fn status(step: usize) -> Status {
    let (status, task) = STATUSES[step % STATUSES.len()];
    Status { agent: AGENTS[step % AGENTS.len()], status, task }
}

const AGENTS: [&str; 3] = ["pilot", "rigger", "lookout"];

const STATUSES: [(&str, &str); 7] = [
    ("working", "sounding the channel"),
    ("thinking", "reading the tide table"),
    ("working", "splicing the stern line"),
    ("reviewing", "checking the fenders"),
    ("waiting", "for slack water"),
    ("working", "painting the bollards"),
    ("idle", "watching the gulls"),
];

const PULL_REQUESTS: [(&str, u32, &str, &str); 4] = [
    ("opened", 101, "Light the eastern pier", "pilot"),
    ("opened", 102, "Paint the crane orange", "lookout"),
    ("merged", 101, "Light the eastern pier", "pilot"),
    ("closed", 102, "Paint the crane orange", "lookout"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn three_statuses_are_followed_by_a_pull_request() {
        let mut agents = Agents::default();
        let mut kinds = Vec::new();
        for _ in 0..8 {
            let line: Value = serde_json::from_str(&agents.speak()).unwrap();
            kinds.push(line["type"].as_str().unwrap().to_owned());
        }
        let round = ["status-update", "status-update", "status-update", "pr-notification"];
        assert_eq!(kinds, [round, round].concat());
    }

    #[test]
    fn the_roster_repeats_what_was_last_said() {
        let mut agents = Agents::default();
        let mut last = std::collections::BTreeMap::new();
        for _ in 0..23 {
            let line: Value = serde_json::from_str(&agents.speak()).unwrap();
            if line["type"] == "status-update" {
                last.insert(line["agent"].as_str().unwrap().to_owned(), line["status"].clone());
            }
            let roster: Vec<Value> = serde_json::from_str(agents.roster().get()).unwrap();
            for agent in &roster {
                let name = agent["agent"].as_str().unwrap();
                let expected = last.get(name).cloned().unwrap_or(Value::from("idle"));
                assert_eq!(agent["status"], expected, "{name}");
            }
        }
    }
}
