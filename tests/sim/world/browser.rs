//! The browser's end of the link: what the client asks of it, performed on the network of world.rs.

use super::{CLOSING_MS, Happening, Net, Piece, Provider, Socket, Stage, Storage};
use crate::line::{Ask, Browser};
use moorline::error::Fault;
use moorline::session::{Snapshot, Stored};
use moorline::wire::SocketId;
use serde_json::Value;
use std::collections::VecDeque;

impl Browser for Net {
    fn restore(&mut self, _now: u64) -> Option<Result<Option<Stored>, Fault>> {
        match &self.storage {
            Storage::Empty => Some(Ok(None)),
            Storage::Holds(stored) => Some(Ok(Some(stored.clone()))),
            Storage::Denied => Some(Err(Fault::StorageDenied)),
            Storage::Silent => None,
        }
    }

    fn resolve(&mut self, now: u64, ticket: u32) -> Option<Result<Option<String>, ()>> {
        match self.plan.provider {
            Provider::None => return Some(Ok(None)),
            Provider::After(wait) => self.plan_at(now + wait, Happening::Provided(ticket)),
            Provider::Fails => self.plan_at(now, Happening::Provided(ticket)),
            Provider::Hangs => {}
        }
        None
    }

    fn open(&mut self, now: u64, socket: SocketId) {
        let new = Socket {
            stage: Stage::Dialling,
            live: true,
            half_open: false,
            ending: false,
            buffer: VecDeque::new(),
            kernel: 0,
            upward: 0,
            downward: 0,
        };
        let id = self.gone + socket.0;
        self.sockets.insert(id, new);
        let arrival = self.arrival(now, id, false);
        self.plan_at(arrival, Happening::Dialled(id));
    }

    fn write(&mut self, now: u64, id: SocketId, message: Option<u32>, text: &str) -> bool {
        if let (Some(takes), Some(_)) = (&mut self.plan.takes, message) {
            if *takes == 0 {
                return false;
            }
            *takes -= 1;
        }
        let id = self.gone + id.0;
        let Some(socket) = self.sockets.get_mut(&id) else {
            return false;
        };
        if socket.stage != Stage::Open {
            return false;
        }
        socket.buffer.push_back(Piece { id: message, text: text.into(), left: text.len() });
        self.written.extend(message);
        self.plan_at(now, Happening::Pump(id));
        true
    }

    fn buffered(&self, socket: SocketId) -> f64 {
        let held = self.sockets.get(&(self.gone + socket.0)).map(|socket| &socket.buffer);
        held.map_or(0, |buffer| buffer.iter().map(|piece| piece.left).sum()) as f64
    }

    fn close(&mut self, now: u64, id: SocketId) {
        let id = self.gone + id.0;
        self.give_back(id);
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        socket.live = false;
        match socket.stage {
            Stage::Dialling => self.plan_at(now, Happening::Ended(id, 1006, false)),
            Stage::Open => {
                socket.stage = Stage::Closing;
                self.plan_at(now, Happening::Pump(id));
                self.plan_at(now + CLOSING_MS, Happening::Ended(id, 1006, false));
            }
            Stage::Closing | Stage::Closed => {}
        }
    }

    fn persist(&mut self, _now: u64, snapshot: Option<&Snapshot>) {
        self.saved = snapshot.cloned();
    }

    fn listen(&mut self, name: &str, _detail: &Value) -> Vec<Ask> {
        let known = self.reactions.iter().position(|(event, _)| event == name);
        let asks = known.map_or_else(Vec::new, |at| self.reactions.remove(at).1);
        for ask in &asks {
            match ask {
                Ask::Connect => self.ledger.page_connects(),
                Ask::Dispose => self.ledger.page_disposes(),
                Ask::Disconnect | Ask::Send { .. } => {}
            }
        }
        asks
    }
}
