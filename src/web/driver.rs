//! The run loop: the only place in the product that performs effects. It decides nothing.

use super::env::{Alarm, Clock, Env};
use super::events::Events;
use super::socket::Socket;
use super::storage::Store;
use crate::client::Client;
use crate::contract::{Input, Output, Status};
use crate::error::ApiMisuse;
use crate::wire::CloseCode;
use alloc::string::String;
use core::cell::{Cell, RefCell};
use core::sync::atomic::Ordering::Relaxed;

/// What came of an effect.
enum Done {
    Nothing,
    Answered(Input<'static>),
    /// There is nothing more to do.
    All,
}

pub struct Driver {
    pub client: RefCell<Client>,
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
            // A message that goes out at once needs no clock, which would cost as much as all the rest of its way.
            Input::Send { ttl_ms: None, .. } if self.client.borrow().status() == Status::Connected => self.clock.last(),
            _ => self.clock.now(),
        };
        self.client.borrow_mut().handle(now, input)?;
        // A listener called us while its event was being dispatched: the loop further out goes on.
        if self.draining.replace(true) {
            return Ok(());
        }
        loop {
            // A `let` of its own: in `match self.client.borrow_mut().poll_output()` the guard would live until the end of
            // the `match`, and the first listener that calls `send` would panic.
            let output = self.client.borrow_mut().poll_output();
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
            Output::Open { socket } => {
                if !self.socket.open(socket, &self.env.url(), &self.env.protocols()) {
                    return Done::Answered(Input::Closed {
                        socket,
                        code: CloseCode::ABNORMAL,
                        reason: String::new(),
                        clean: false,
                        buffered: 0.0,
                    });
                }
            }
            Output::Transmit { socket, text } => self.socket.transmit(socket, &text),
            Output::HandOver { socket, from, count, limit } => {
                let (count, buffered) = self.socket.hand_over(socket, from, count, limit);
                return Done::Answered(Input::HandedOver { socket, count, buffered });
            }
            Output::Close { socket, code, reason } => self.socket.close(socket, code, &reason),
            Output::Persist(Some(snapshot)) => self.store.save_token(&snapshot.token, snapshot.client_id.as_deref()),
            Output::Persist(None) => self.store.clear(),
            Output::Settle(settled) => self.socket.settle(settled),
            Output::Release { before } => self.socket.hot.release(before),
            Output::Event(event) => self.events.tell(event),
            Output::Timeout(at) => {
                self.alarm.arm(&self.env, self.clock.last(), at);
                return Done::All;
            }
        }
        Done::Nothing
    }

    fn feed(&self, input: Input<'_>) {
        // Only a page's command can be a misuse.
        let _ = self.client.borrow_mut().handle(self.clock.now(), input);
    }

    /// The timer rang.
    pub fn ring(&self) {
        self.alarm.rang();
        if let Some((socket, buffered)) = self.socket.buffered()
            && !super::DEAD.load(Relaxed)
        {
            self.feed(Input::Buffered { socket, buffered });
        }
        let _ = self.step(Input::Timeout);
    }
}
