//! A crowd that loses its server at once and the server that it wants back, on virtual time: what both make of a way to wait.
//! Whose way that is stands in `ours.rs` and `peers.rs`. Nothing here is random but what a seed gives.

use moorline::backoff::Chance;
use std::collections::VecDeque;

/// One client: when it dials, in milliseconds after the server was lost. `None`: never again.
pub trait Member {
    /// It has noticed the loss.
    fn lost(&mut self, at: u64) -> Option<u64>;
    /// It has heard that its attempt was refused.
    fn refused(&mut self, at: u64) -> Option<u64>;
}

/// A close is noticed within so long.
const NOTICED_MS: f64 = 200.0;
/// Round trips take from 20 to 200 ms, each client's always as long.
const LEAST_TRIP_MS: u64 = 20;
const MORE_TRIP_MS: f64 = 181.0;
/// What a server takes in: the whole crowd in this time, …
const ALL_MS: f64 = 50_000.0;
/// … from a backlog for so much of the crowd (4,096 of a million). Who finds it full is refused.
const BACKLOG: f64 = 0.004_096;
/// Who is not back so long after the server is counted as never back.
const PATIENCE_MS: u64 = 900_000;
/// The window of a peak.
const WINDOW_MS: usize = 100;
const NONE: u32 = u32::MAX;

/// What became of a crowd. Shares are of 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// The median of the first waits: that of one client that loses its server alone.
    pub lone_ms: u64,
    /// The most that dialled within any 100 ms, whether they had dialled before or not.
    pub peak: f64,
    /// How long after the server 99 % were back.
    pub back_ms: Option<u64>,
    /// Refused attempts for each client.
    pub refused: f64,
    pub gave_up: f64,
}

/// The soonest that 99 % can be back.
pub const IDEAL_MS: f64 = ALL_MS * 0.99;

struct Crowd<M> {
    members: Vec<M>,
    trips: Vec<u8>,
    /// Attempts on their way to the server, by the millisecond in which they arrive: a list through `next` for each.
    arriving: Vec<u32>,
    next: Vec<u32>,
    dials: Vec<u32>,
    gave_up: u64,
    refused: u64,
}

/// `outage_ms`: how long the server is away.
pub fn disperse<M: Member>(clients: u32, outage_ms: u64, seed: u64, mut join: impl FnMut(u64) -> M) -> Outcome {
    let end = outage_ms + PATIENCE_MS;
    let mut chance = Chance::new(seed);
    let mut waits = Vec::with_capacity(clients as usize);
    let mut crowd = Crowd {
        members: Vec::with_capacity(clients as usize),
        trips: Vec::with_capacity(clients as usize),
        arriving: vec![NONE; end as usize],
        next: vec![NONE; clients as usize],
        dials: vec![0; end as usize],
        gave_up: 0,
        refused: 0,
    };
    for client in 0..clients {
        let noticed = chance.below(NOTICED_MS);
        // Half a trip, so that it fits.
        crowd.trips.push(((LEAST_TRIP_MS + chance.below(MORE_TRIP_MS)) / 2) as u8);
        // Any number: a double below 2⁵³ has all the bits that a page draws its seed from.
        let mut member = join(chance.below((1u64 << 53) as f64));
        let mut dial = member.lost(noticed);
        waits.push(dial.map_or(u64::MAX, |at| at - noticed));
        crowd.members.push(member);
        // While the server is away nobody meets anybody.
        while let Some(arrives) = crowd.dialled(client, dial) {
            if arrives >= outage_ms {
                crowd.on_its_way(client, arrives);
                break;
            }
            dial = crowd.turned_away(client, arrives);
        }
    }
    let mut back = vec![0u32; end as usize + 200];
    // Chance is coarser in a small crowd, and is to fill the backlog no sooner.
    let most = (f64::from(clients) * BACKLOG).max(f64::from(clients).sqrt() * 4.0) as usize;
    let mut backlog = VecDeque::new();
    let (mut served, rate) = (0.0, f64::from(clients) / ALL_MS);
    for now in outage_ms..end {
        served = if backlog.is_empty() { 0.0 } else { served + rate };
        while served >= 1.0
            && let Some(client) = backlog.pop_front()
        {
            served -= 1.0;
            let heard = now as usize + usize::from(crowd.trips[client as usize]);
            back[heard] += 1;
        }
        let mut arrived = std::mem::replace(&mut crowd.arriving[now as usize], NONE);
        while arrived != NONE {
            let client = arrived;
            arrived = crowd.next[client as usize];
            if backlog.len() < most {
                backlog.push_back(client);
            } else {
                let dial = crowd.turned_away(client, now);
                if let Some(arrives) = crowd.dialled(client, dial) {
                    crowd.on_its_way(client, arrives);
                }
            }
        }
    }
    waits.sort_unstable();
    let wanted = (f64::from(clients) * 0.99).ceil() as u64;
    let mut so_far = 0;
    let back_at = back.iter().position(|count| {
        so_far += u64::from(*count);
        so_far >= wanted
    });
    Outcome {
        lone_ms: waits[waits.len() / 2],
        peak: f64::from(most_within(&crowd.dials, WINDOW_MS)) / f64::from(clients),
        back_ms: back_at.map(|at| at as u64 - outage_ms),
        refused: crowd.refused as f64 / f64::from(clients),
        gave_up: crowd.gave_up as f64 / f64::from(clients),
    }
}

impl<M: Member> Crowd<M> {
    /// Notes an attempt and answers when it arrives.
    fn dialled(&mut self, client: u32, at: Option<u64>) -> Option<u64> {
        let Some(at) = at else {
            self.gave_up += 1;
            return None;
        };
        *self.dials.get_mut(at as usize)? += 1;
        Some(at + u64::from(self.trips[client as usize]))
    }

    fn on_its_way(&mut self, client: u32, arrives: u64) {
        // Who would arrive later than that is not waited for.
        if let Some(first) = self.arriving.get_mut(arrives as usize) {
            self.next[client as usize] = *first;
            *first = client;
        }
    }

    fn turned_away(&mut self, client: u32, now: u64) -> Option<u64> {
        self.refused += 1;
        let heard = now + u64::from(self.trips[client as usize]);
        self.members[client as usize].refused(heard)
    }
}

/// The largest sum of any `window` numbers in a row.
fn most_within(counts: &[u32], window: usize) -> u32 {
    let (mut sum, mut most) = (0, 0);
    for (at, count) in counts.iter().enumerate() {
        sum += count;
        if let Some(gone) = at.checked_sub(window) {
            sum -= counts[gone];
        }
        most = most.max(sum);
    }
    most
}
