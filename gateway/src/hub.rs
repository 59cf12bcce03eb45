//! The world with its sockets: one lock, under which every step is taken and its effects are queued, so that
//! all clients see the same order. What a step means is world.rs; writing to a socket is socket.rs.

use std::collections::BTreeMap;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::ws::CloseFrame;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::memory;
use crate::outlet::{Backlog, End, Outlet};
use crate::sessions::Time;
use crate::store::Store;
use crate::world::{ConnectionId, Effect, World};

/// Long enough for a client to hear of a close and to have its question answered.
const NOTICE: Duration = Duration::from_millis(150);

/// What a gateway exits with that was to stop as if it were killed.
const KILLED: i32 = 137;

pub const MAX_CONNECTIONS: usize = 256;

pub struct Hub {
    state: Mutex<State>,
    slots: Arc<Semaphore>,
    clock: Clock,
    rearm: Notify,
    store: Option<Store>,
}

struct State {
    world: World,
    outlets: BTreeMap<ConnectionId, Arc<Outlet>>,
}

impl Hub {
    pub fn new(clock: Clock, world: World, store: Option<Store>) -> Self {
        Self {
            state: Mutex::new(State { world, outlets: BTreeMap::new() }),
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            clock,
            rearm: Notify::new(),
            store,
        }
    }

    /// Takes one step in the world, and queues what comes of it before anyone else's.
    pub fn step<T>(&self, act: impl FnOnce(&mut World, Time) -> T) -> T {
        let mut state = self.state();
        let result = act(&mut state.world, self.clock.now());
        self.perform(&mut state);
        result
    }

    /// Announces the close, gives it time to be heard, and closes everyone: see `World::down`. Without a code it is the
    /// one for a shutdown.
    pub async fn go_down(&self, ms: Option<u64>, code: Option<u16>) {
        if self.step(|world, _| world.announce_closing()) > 0 {
            sleep(NOTICE).await;
        }
        self.step(|world, now| {
            let code = code.unwrap_or(world.config().shutdown_code);
            world.down(now, ms, code);
        });
    }

    /// A place for one more connection, unless all are taken or the gateway is down.
    pub fn reserve(&self) -> Option<OwnedSemaphorePermit> {
        if self.state().world.is_down() {
            return None;
        }
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Lets an open socket in. `None` when the gateway went down meanwhile.
    pub fn join(&self) -> Option<(ConnectionId, Arc<Outlet>)> {
        let mut state = self.state();
        let id = state.world.accept(self.clock.now())?;
        let outlet = Arc::new(Outlet::default());
        state.outlets.insert(id, Arc::clone(&outlet));
        self.perform(&mut state);
        Some((id, outlet))
    }

    /// The socket is gone.
    pub fn part(&self, id: ConnectionId) {
        let mut state = self.state();
        state.outlets.remove(&id);
        state.world.closed(self.clock.now(), id);
        self.perform(&mut state);
    }

    /// How far each connection is behind.
    pub fn backlogs(&self) -> BTreeMap<ConnectionId, Backlog> {
        let state = self.state();
        state.outlets.iter().map(|(id, outlet)| (*id, outlet.backlog())).collect()
    }

    /// How many sockets have not parted yet.
    pub fn open(&self) -> usize {
        self.state().outlets.len()
    }

    /// Writes down what changes too often to be written each time: where everybody stands.
    pub fn settle(&self) {
        let mut state = self.state();
        let sessions = state.world.sessions();
        let facts = memory::now(sessions, sessions.iter().map(|session| &session.id));
        if let Some(store) = &self.store {
            store.append(&facts);
        }
    }

    /// Calls the world when its time has come, for ever.
    pub async fn keep_time(&self) {
        loop {
            let next = self.state().world.next_timeout();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.clock.instant(at)).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.step(|world, now| world.timeout(now)),
                () = self.rearm.notified() => {}
            }
        }
    }

    fn perform(&self, state: &mut State) {
        if let Some(store) = &self.store {
            let facts = state.world.take_facts();
            if let Some(facts) = facts.as_ref().filter(|facts| !facts.is_empty()) {
                store.append(facts);
            }
            if facts.is_none() || store.is_spent() {
                let sessions = state.world.sessions();
                store.rewrite(sessions.epoch(), &memory::everything(sessions));
            }
        }
        for effect in state.world.take_effects() {
            match effect {
                Effect::Send { to, message } => {
                    if let Some(outlet) = state.outlets.get(&to)
                        && !outlet.push(message)
                    {
                        let reason = "too slow a reader".into();
                        outlet.end(End::Overrun(CloseFrame { code: 1013, reason }));
                    }
                }
                Effect::Close { to, code, reason } => {
                    if let Some(outlet) = state.outlets.get(&to) {
                        outlet.end(End::Close(CloseFrame { code, reason }));
                    }
                }
                // The file has what was done; nobody hears of it.
                Effect::Die => std::process::exit(KILLED),
                Effect::Abort { to } => {
                    if let Some(outlet) = state.outlets.get(&to) {
                        outlet.end(End::Abort);
                    }
                }
            }
        }
        if state.world.take_rearm() {
            self.rearm.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of day, read once and then counted, so that it never runs backwards.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: u64,
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the gateway reads a clock")]
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: whole_ms(wall), start: Instant::now() }
    }

    pub fn now(&self) -> Time {
        Time(self.wall + whole_ms(self.start.elapsed()))
    }

    fn instant(&self, at: Time) -> Instant {
        // A millisecond more: time is cut to whole ones, and a timer that fires early would spin.
        let wait = Duration::from_millis(at.0.saturating_sub(self.wall).saturating_add(1));
        self.start.checked_add(wait).unwrap_or_else(|| self.start + Duration::from_secs(1 << 30))
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
