//! The causal log behind `explain()`: what happened to the line, in order, in a ring of fixed length.
//!
//! No payload, token or URL ever enters it.

use crate::error::Cause;
use crate::time::Instant;
use crate::wire::push_number;
use alloc::collections::VecDeque;
use alloc::string::String;

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
    Parked,
    Probing,
    Stable,
    GaveUp { attempts: u32 },
    Unsent { count: u32 },
    Moving,
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
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (at, fact) in &self.facts {
            if !text.is_empty() {
                text.push('\n');
            }
            push_number(&mut text, at.as_millis());
            text.push_str(" ms: ");
            fact.push_to(&mut text);
        }
        text
    }
}

impl Fact {
    // Written out by hand: the formatting machinery weighs more in the wasm than the state machine.
    fn push_to(self, text: &mut String) {
        let words = match self {
            Self::ConnectAsked => "the page asked to connect",
            Self::DisconnectAsked => "the page asked to disconnect",
            Self::Dialling { attempt } => {
                text.push_str("dialling, after failures: ");
                push_number(text, u64::from(attempt));
                ""
            }
            Self::Opened => "the socket is open; waiting for the gateway's first word",
            Self::Ready { recovered: true } => "ready, session resumed",
            Self::Ready { recovered: false } => "ready",
            Self::Ended { code, cause } => {
                text.push_str("the socket ended with ");
                push_number(text, u64::from(code));
                text.push_str(": ");
                cause.name()
            }
            Self::UrlProviderFailed => "the url provider failed",
            Self::Waiting { attempt, delay_ms, advised } => {
                text.push_str("waiting before attempt ");
                push_number(text, u64::from(attempt));
                text.push_str(" for ");
                push_number(text, delay_ms);
                if advised { " ms, as the gateway advised" } else { " ms" }
            }
            Self::Hurried { signal } => {
                text.push_str("trying sooner: ");
                signal
            }
            Self::PutAway => "the browser puts the page away",
            Self::Moving => "moving: another socket is dialled before this one closes",
            Self::Parked => "parked until somebody sees the page",
            Self::Probing => "asking for a sign of life",
            Self::Stable => "stable: earlier failures are forgiven",
            Self::GaveUp { attempts } => {
                text.push_str("gave up; failures in a row: ");
                push_number(text, u64::from(attempts));
                ""
            }
            Self::Unsent { count } => {
                text.push_str("waiting in the queue: ");
                push_number(text, u64::from(count));
                ""
            }
        };
        text.push_str(words);
    }
}
