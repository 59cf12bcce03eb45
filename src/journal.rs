//! The causal log behind `explain()`: what happened to the line, in order, in a ring of fixed length.
//!
//! No payload, token or URL ever enters it.

use crate::error::Cause;
use crate::time::Instant;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact {
    ConnectAsked,
    DisconnectAsked,
    Dialling { attempt: u32 },
    Opened,
    Ready { recovered: bool },
    Ended { code: u16, cause: Cause },
    UrlProviderFailed,
    Waiting { attempt: u32, delay_ms: u64, advised: bool },
    Hurried { signal: &'static str },
    PutAway,
    Probing,
    Stable,
    GaveUp { attempts: u32 },
    Unsent { count: u32 },
}

const LENGTH: usize = 64;

#[derive(Debug, Default)]
pub struct Journal {
    facts: VecDeque<(Instant, Fact)>,
}

impl Journal {
    pub fn note(&mut self, now: Instant, fact: Fact) {
        if self.facts.len() == LENGTH {
            self.facts.pop_front();
        }
        self.facts.push_back((now, fact));
    }

    /// A line for each fact, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.facts.iter().map(|(at, fact)| [&at.to_string(), " ", &fact.sentence()].concat())
    }
}

impl Fact {
    fn sentence(self) -> String {
        match self {
            Self::ConnectAsked => "the page asked to connect".into(),
            Self::DisconnectAsked => "the page asked to disconnect".into(),
            Self::Dialling { attempt: 0 } => "dialling".into(),
            Self::Dialling { attempt } => format!("dialling, attempt {attempt}"),
            Self::Opened => "the socket is open; waiting for the gateway's first word".into(),
            Self::Ready { recovered: true } => "ready, session resumed".into(),
            Self::Ready { recovered: false } => "ready".into(),
            Self::Ended { code, cause } => {
                format!("the socket ended with {code}: {}", cause.name())
            }
            Self::UrlProviderFailed => "the url provider failed".into(),
            Self::Waiting { attempt, delay_ms, advised } => format!(
                "waiting {delay_ms} ms before attempt {attempt}, by {}",
                if advised { "the gateway's advice" } else { "backoff" }
            ),
            Self::Hurried { signal } => format!("trying sooner: {signal}"),
            Self::PutAway => "the browser puts the page away".into(),
            Self::Probing => "asking for a sign of life".into(),
            Self::Stable => "stable: earlier failures are forgiven".into(),
            Self::GaveUp { attempts } => format!("gave up after {attempts} failures in a row"),
            Self::Unsent { count } => format!("{count} messages wait in the queue"),
        }
    }
}
