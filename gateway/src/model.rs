//! The scripted model: the same prompt gets the same answer, in the same pieces. Words in the prompt choose what kind of
//! answer it is. How an answer is told to a client, and how it is stopped, is each protocol's.
//!
//! | word in the prompt | what it does |
//! |---|---|
//! | `long` | 300 words instead of 24 |
//! | `slow` | ten times as long between two pieces |
//! | `think` | thoughts before the text |
//! | `tool` | a tool is called in the middle of the text, and succeeds |
//! | `broken-tool` | likewise, and the tool fails |
//! | `ask` | a question to the user in the middle of the text (protocols without questions leave it out) |
//! | `fail` | the answer breaks off after half of its words, with an error |
//! | `empty` | an answer without a word |
//! | `hang` | the answer never ends by itself: it has to be cancelled |
//! | `words:N` | N words, at most 20 000 |
//! | `pace:N` | N milliseconds between two pieces, at most 60 000; 0 is without a pause |

use std::time::Duration;

use serde_json::{Value, json};

/// What the model has to say to a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub pieces: Vec<Piece>,
    pub outcome: Outcome,
    /// The time before each piece.
    pub pace: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Thought(String),
    /// A word with the space before it: all texts joined are the answer.
    Text(String),
    Tool(Tool),
    /// A question that somebody has to answer before the model goes on.
    Question(String),
}

/// A tool call and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    pub id: String,
    pub name: &'static str,
    pub arguments: Value,
    pub result: String,
    pub is_error: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished,
    Failed {
        code: &'static str,
        message: &'static str,
    },
    /// After the last piece nothing happens any more.
    Hanging,
}

const WORDS: usize = 24;
const LONG: usize = 300;
const MAX_WORDS: usize = 20_000;
const PACE_MS: u64 = 30;
const MAX_PACE_MS: u64 = 60_000;
/// How much of the prompt is repeated.
const MAX_REPEATED: usize = 80;

/// The answer to a prompt: always the same one.
pub fn answer(prompt: &str) -> Answer {
    let wish = Wish::read(prompt);
    let mut text = spoken(prompt, wish.words);
    if wish.fails {
        text.truncate(wish.words / 2);
    }
    let half = text.len() / 2;
    let mut pieces = Vec::new();
    if wish.thinks {
        pieces.extend(THOUGHTS.iter().map(|thought| Piece::Thought((*thought).to_owned())));
    }
    let rest = text.split_off(half);
    pieces.extend(text.into_iter().map(Piece::Text));
    pieces.extend(wish.tool.map(|is_error| Piece::Tool(tool(is_error))));
    if wish.asks {
        pieces.push(Piece::Question("May I cast off the bow line?".to_owned()));
    }
    pieces.extend(rest.into_iter().map(Piece::Text));
    let outcome = match wish {
        Wish { fails: true, .. } => {
            Outcome::Failed { code: "provider_error", message: "the tide tables are out of reach" }
        }
        Wish { hangs: true, .. } => Outcome::Hanging,
        _ => Outcome::Finished,
    };
    Answer { pieces, outcome, pace: wish.pace }
}

#[cfg(test)]
impl Answer {
    /// The whole text of the answer.
    pub fn text(&self) -> String {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Thought(_) | Piece::Tool(_) | Piece::Question(_) => None,
        });
        texts.collect()
    }
}

/// What the words of a prompt ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Wish {
    words: usize,
    pace: Duration,
    thinks: bool,
    asks: bool,
    fails: bool,
    hangs: bool,
    /// Whether a tool is called, and whether it fails.
    tool: Option<bool>,
}

impl Wish {
    fn read(prompt: &str) -> Self {
        let mut words = WORDS;
        let mut pace = PACE_MS;
        let mut factor = 1;
        let mut wish =
            Self { words, pace: Duration::ZERO, thinks: false, asks: false, fails: false, hangs: false, tool: None };
        let apart = |c: char| !(c.is_alphanumeric() || c == ':' || c == '-');
        for word in prompt.split(apart) {
            match word.to_ascii_lowercase().as_str() {
                "long" => words = LONG,
                "slow" => factor = 10,
                "think" => wish.thinks = true,
                "tool" => wish.tool = Some(false),
                "broken-tool" => wish.tool = Some(true),
                "ask" => wish.asks = true,
                "fail" => wish.fails = true,
                "empty" => words = 0,
                "hang" => wish.hangs = true,
                other => {
                    if let Some(number) = other.strip_prefix("words:").and_then(|number| number.parse().ok()) {
                        words = usize::min(number, MAX_WORDS);
                    }
                    if let Some(number) = other.strip_prefix("pace:").and_then(|number| number.parse().ok()) {
                        pace = u64::min(number, MAX_PACE_MS);
                    }
                }
            }
        }
        wish.words = words;
        wish.pace = Duration::from_millis(u64::min(pace * factor, MAX_PACE_MS));
        wish
    }
}

/// So many words: the prompt first, then what a harbour master would say.
fn spoken(prompt: &str, words: usize) -> Vec<String> {
    let repeated: String = prompt.chars().take(MAX_REPEATED).collect();
    let opening = ["You", "said:"].into_iter().chain(repeated.split_whitespace()).chain(["—"]);
    let all = opening.chain(PATTER.iter().copied().cycle()).take(words);
    all.enumerate().map(|(at, word)| if at == 0 { word.to_owned() } else { format!(" {word}") }).collect()
}

fn tool(is_error: bool) -> Tool {
    let result = if is_error { "no such harbour" } else { "high water 06:12, 4.8 m" };
    Tool {
        id: "call_1".to_owned(),
        name: "tide_table",
        arguments: json!({"harbour": "Örnsköldsvik", "day": 1}),
        result: result.to_owned(),
        is_error,
    }
}

const THOUGHTS: [&str; 4] = ["The tide", " turns at six,", " so the lines", " want slack."];

const PATTER: [&str; 26] = [
    "the",
    "tide",
    "stands",
    "at",
    "4.8",
    "m,",
    "both",
    "lines",
    "hold,",
    "the",
    "fenders",
    "are",
    "out,",
    "and",
    "the",
    "wind",
    "is",
    "from",
    "the",
    "north-west;",
    "naïve",
    "gulls",
    "🐦",
    "say",
    "“go”.",
    "Meanwhile",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(answer: &Answer) -> usize {
        answer.pieces.iter().filter(|piece| matches!(piece, Piece::Text(_))).count()
    }

    #[test]
    fn the_same_prompt_gets_the_same_answer() {
        for prompt in ["", "hello", "long think tool ask", "fail", "🐦 words:7"] {
            assert_eq!(answer(prompt), answer(prompt), "{prompt}");
        }
        assert!(answer("hello").text().starts_with("You said: hello — the tide"));
        assert_ne!(answer("hello").text(), answer("goodbye").text());
    }

    #[test]
    fn words_of_the_prompt_choose_length_and_pace() {
        let plain = answer("hello");
        assert_eq!((texts(&plain), plain.pace), (24, Duration::from_millis(30)));
        assert_eq!(texts(&answer("a Long, one")), 300);
        assert_eq!(texts(&answer("words:3")), 3);
        assert_eq!(texts(&answer("words:99999999")), MAX_WORDS);
        assert_eq!(answer("empty").pieces, []);
        assert_eq!(answer("slow").pace, Duration::from_millis(300));
        assert_eq!(answer("slow pace:2").pace, Duration::from_millis(20));
        assert_eq!(answer("pace:0 words:1").pace, Duration::ZERO);
        assert_eq!(answer("words:x pace:-1 along").pace, plain.pace);
    }

    #[test]
    fn a_failing_answer_has_half_of_its_words_and_says_why() {
        let failing = answer("fail words:10");
        assert_eq!(texts(&failing), 5);
        assert!(matches!(failing.outcome, Outcome::Failed { .. }));
        assert_eq!(answer("hello").outcome, Outcome::Finished);
        assert_eq!(answer("hang").outcome, Outcome::Hanging);
    }

    #[test]
    fn thoughts_come_first_and_tools_and_questions_in_the_middle() {
        let all = answer("think broken-tool ask words:4").pieces;
        assert!(all[..4].iter().all(|piece| matches!(piece, Piece::Thought(_))));
        assert!(matches!(&all[6], Piece::Tool(tool) if tool.is_error));
        assert!(matches!(&all[7], Piece::Question(_)));
        assert_eq!(all.len(), 10);
        assert!(matches!(&answer("tool").pieces[12], Piece::Tool(tool) if !tool.is_error));
    }
}
