//! What the gateway does wrong on request, where numbers and their acknowledgements go: the plan that is in force, and
//! what is done at once. How it is done is delivery.rs; what the fault proxy does to bytes is faults.rs.

use serde::{Deserialize, Serialize};

/// What is done wrong until the next plan.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Misconduct {
    /// Acknowledgements wait for the next plan.
    pub hold_acks: bool,
    /// So many acknowledgements are not sent.
    pub drop_acks: u64,
    /// What is wrong with the answer to a resume, so many times; all of them without a number.
    pub resume: ResumeFault,
    pub resume_times: Option<u64>,
    /// How long a resume waits for its answer.
    pub resume_delay_ms: u64,
    /// After so many further messages were taken, the connection of the last one is cut before it can be acknowledged;
    /// 0 is never.
    pub cut_after_taking: u64,
    /// The same with the whole gateway: what was taken is saved, and nobody hears of it.
    pub kill_after_taking: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ResumeFault {
    #[default]
    None,
    /// It is read and never answered, nor is anything else on that connection.
    Never,
    /// The answer does not say what was taken.
    WithoutTaken,
    /// The answer is one of a gateway that remembers nothing.
    OtherEpoch,
    /// What was taken lies above everything that was sent.
    TakenAhead,
    /// The answer is one of a gateway without the acknowledgement extension.
    Plain,
}

/// A request to misbehave: a new plan, and what is done at once, in the order of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Request {
    pub hold_acks: bool,
    pub drop_acks: u64,
    pub resume: ResumeFault,
    pub resume_times: Option<u64>,
    pub resume_delay_ms: u64,
    pub cut_after_taking: u64,
    pub kill_after_taking: u64,
    /// Whose connections or session the rest is about; everybody's without.
    pub to: Option<String>,
    /// The sessions stay, and nobody knows what their streams were.
    pub forget_streams: bool,
    /// So many frames of each feed are left.
    pub trim_feed: Option<usize>,
    /// So many numbers of each feed are given to no frame.
    pub skip_feed: u64,
    /// So many frames are sent again, as a replay that overlaps.
    pub repeat_feed: u64,
    /// An acknowledgement of so many more than were taken.
    pub ack_ahead: u64,
    /// An acknowledgement of so many fewer.
    pub ack_behind: u64,
    /// The newest acknowledgement again.
    pub ack_again: bool,
    /// Everything is forgotten but who is known; connections are cut, as by a restart.
    pub new_epoch: bool,
}

impl Request {
    pub fn plan(&self) -> Misconduct {
        Misconduct {
            hold_acks: self.hold_acks,
            drop_acks: self.drop_acks,
            resume: self.resume,
            resume_times: self.resume_times,
            resume_delay_ms: self.resume_delay_ms,
            cut_after_taking: self.cut_after_taking,
            kill_after_taking: self.kill_after_taking,
        }
    }
}
