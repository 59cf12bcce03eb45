//! The run loop: the only place in the product that performs effects. It decides nothing.

use super::env::{Alarm, Clock, Env};
use super::events::Events;
use super::socket::Socket;
use super::storage::Store;
use crate::client::Client;
use crate::contract::{Input, Output, Signal};
use crate::error::ApiMisuse;
use crate::protocol::Act;
use crate::session::Snapshot;
use crate::time::Instant;
use crate::wire::{CloseCode, SocketId};
use alloc::string::String;
use core::cell::{Cell, RefCell, RefMut};
use core::sync::atomic::Ordering::Relaxed;

/// What came of an effect.
enum Done {
    Nothing,
    Answered(Input<'static>),
    /// There is nothing more to do.
    All,
}

pub struct Driver {
    client: RefCell<Client>,
    pub socket: Socket,
    pub clock: Clock,
    events: Events,
    store: Store,
    env: Env,
    alarm: Alarm,
    draining: Cell<bool>,
}

impl Driver {
    pub fn new(client: Client, socket: Socket, events: Events, store: Store, env: Env) -> Self {
        Self {
            client: RefCell::new(client),
            socket,
            clock: Clock::start(),
            events,
            store,
            env,
            alarm: Alarm::default(),
            draining: Cell::new(false),
        }
    }

    /// Feeds one input and does all that follows from it.
    pub fn step(&self, input: Input<'_>) -> Result<(), ApiMisuse> {
        // After a panic nothing of the core can be trusted: what still comes from the browser is not looked at.
        if super::DEAD.load(Relaxed) {
            return Ok(());
        }
        let now = match &input {
            // A message that goes out at once, or joins others that wait, needs no clock: that would cost as much as all
            // the rest of its way.
            Input::Send { ttl_ms: None, .. } if self.client().needs_no_clock() => self.clock.last(),
            _ => self.clock.now(),
        };
        self.notice_sleep(now);
        self.client().handle(now, input)?;
        // A listener called us while its event was being dispatched: the loop further out goes on.
        if self.draining.replace(true) {
            return Ok(());
        }
        loop {
            // A `let` of its own: in `match self.client.borrow_mut().poll_output()` the guard would live until the end of
            // the `match`, and the first listener that calls `send` would panic.
            let output = self.client().poll_output();
            match self.perform(output) {
                Done::Nothing => {}
                // What follows from an effect at once is fed before the next output is asked for.
                Done::Answered(input) => self.feed(input),
                Done::All => break,
            }
        }
        self.draining.set(false);
        Ok(())
    }

    fn perform(&self, output: Output) -> Done {
        match output {
            Output::Restore => self.store.restore(),
            Output::Resolve { ticket } => self.env.resolve(ticket),
            Output::Open { socket, address, beside } => {
                if !self.socket.open(socket.0, &address, beside) {
                    return Done::Answered(Input::Closed {
                        socket,
                        code: CloseCode::ABNORMAL,
                        reason: String::new(),
                        clean: false,
                        buffered: 0.0,
                    });
                }
            }
            Output::Transmit { socket, text } => self.socket.transmit(socket.0, &text),
            Output::HandOver { socket, from, count, limit } => {
                let count = self.socket.hand_over(socket.0, from, count, limit);
                let buffered = self.socket.buffered().max(0.0);
                return Done::Answered(Input::HandedOver { socket, count, buffered });
            }
            Output::Close { socket, code, reason, awaited } => {
                self.socket.close(socket.0, code.0, &reason, !awaited);
            }
            Output::Persist(Some(Snapshot { token, client_id, cursor })) => {
                let (epoch, seen) = cursor.as_ref().map_or((None, 0.0), |cursor| (Some(&*cursor.epoch), cursor.seen));
                self.store.save_token(&token, client_id.as_deref(), epoch, seen);
            }
            Output::Persist(None) => self.store.clear(),
            #[cfg(feature = "delivery")]
            Output::Numbered(on) => self.socket.number(on),
            Output::Settle(settled) => self.socket.settle(settled.from, settled.count, settled.fate as u32),
            Output::Release { before } => self.socket.release(before),
            Output::Event(event) => self.events.tell(event),
            Output::Act(act) => self.act(act),
            Output::Timeout(at) => {
                self.alarm.arm(&self.env, self.clock.last(), at);
                return Done::All;
            }
        }
        Done::Nothing
    }

    #[cfg(feature = "handles")]
    fn act(&self, act: Act) {
        match act {
            Act::Tell { handle, word, frame, number, text } => {
                self.events.told(handle.0, word as u32, frame.0, number, &text);
            }
            Act::Bind { topic, handle } => self.socket.bind(&topic, handle.map_or(0, |handle| handle.0)),
            Act::Ask { ticket, what, text } => self.env.ask(ticket, what, &text),
        }
    }

    #[cfg(not(feature = "handles"))]
    fn act(&self, act: Act) {
        match act {}
    }

    /// The core, for as long as one statement takes: no borrow may be held while the page's code can run.
    #[inline(never)]
    pub fn client(&self) -> RefMut<'_, Client> {
        match self.client.try_borrow_mut() {
            Ok(client) => client,
            // `borrow_mut` would bring the formatting machinery along.
            Err(_) => panic!("the core was entered twice"),
        }
    }

    fn feed(&self, input: Input<'_>) {
        // While the browser holds something, its timer has read the clock a moment ago; reading it again for every message
        // would cost as much as all the rest of its way.
        let now = if self.client().is_draining() { self.clock.last() } else { self.clock.now() };
        // Only a page's command can be a misuse.
        let _ = self.client().handle(now, input);
        self.notice_sleep(now);
    }

    fn notice_sleep(&self, now: Instant) {
        if self.clock.has_jumped() {
            let _ = self.client().handle(now, Input::Signal(Signal::Woke));
        }
    }

    /// The timer rang.
    pub fn ring(&self) {
        self.alarm.rang();
        let _ = self.step_after_a_look(Input::Timeout);
    }

    /// As `step`, with the core knowing what the browser holds unsent: it may be about to give up the socket.
    pub fn step_after_a_look(&self, input: Input<'_>) -> Result<(), ApiMisuse> {
        let buffered = self.socket.buffered();
        if buffered >= 0.0 && !super::DEAD.load(Relaxed) {
            let socket = SocketId(self.socket.id());
            let _ = self.client().handle(self.clock.now(), Input::Buffered { socket, buffered });
        }
        self.step(input)
    }
}
