//! One browser WebSocket. Its hot path is in socket.js; Rust opens it, closes it, and is asked.
//!
//! No closure of Rust's is attached to a socket, so none can leak or be called after it was dropped.

use crate::outbox::Settled;
use crate::protocol::RouteRow;
use crate::wire::{CloseCode, SocketId};
use core::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

#[wasm_bindgen]
extern "C" {
    /// The class of that name in socket.js.
    #[wasm_bindgen(js_name = Socket)]
    pub type Hot;

    #[wasm_bindgen(method)]
    fn route(this: &Hot, frame_type: &str, event: &str);
    #[wasm_bindgen(method)]
    fn attach(this: &Hot, ws: &WebSocket, id: u32);
    #[wasm_bindgen(method, js_name = handOver)]
    fn hand_over(this: &Hot, ws: &WebSocket, from: u32, count: u32, limit: f64) -> u32;
    #[wasm_bindgen(method)]
    fn settle(this: &Hot, from: u32, count: u32, fate: u32);
    #[wasm_bindgen(method)]
    pub fn release(this: &Hot, before: u32);
    #[wasm_bindgen(method)]
    fn abandon(this: &Hot, ws: &WebSocket, reason: &str);
}

pub struct Socket {
    pub hot: Hot,
    current: RefCell<Option<(SocketId, WebSocket)>>,
}

impl Socket {
    pub fn new(hot: Hot, rows: &[RouteRow]) -> Self {
        for row in rows {
            hot.route(&row.frame_type, row.event.as_deref().unwrap_or_default());
        }
        Self { hot, current: RefCell::new(None) }
    }

    /// Dials. What a browser refuses at once (an insecure URL on a secure page, say) comes back as `false`.
    pub fn open(&self, id: SocketId, url: &str, protocols: &JsValue) -> bool {
        self.forget();
        let Ok(ws) = WebSocket::new_with_str_sequence(url, protocols) else {
            return false;
        };
        self.hot.attach(&ws, id.0);
        self.current.replace(Some((id, ws)));
        true
    }

    /// Sends a control frame. A socket that will not take it is about to close, and says so itself.
    pub fn transmit(&self, id: SocketId, text: &str) {
        if let Some(ws) = self.get(id) {
            let _ = ws.send_with_str(text);
        }
    }

    /// How many of the messages were taken, and what the browser holds now.
    pub fn hand_over(&self, id: SocketId, from: u32, count: u32, limit: f64) -> (u32, f64) {
        match self.get(id) {
            Some(ws) => (self.hot.hand_over(&ws, from, count, limit), f64::from(ws.buffered_amount())),
            None => (0, 0.0),
        }
    }

    pub fn close(&self, id: SocketId, code: CloseCode, reason: &str) {
        let Some(ws) = self.get(id) else {
            return;
        };
        if code == CloseCode::GIVEN_UP || ws.ready_state() == WebSocket::CONNECTING {
            self.hot.abandon(&ws, reason);
            self.current.replace(None);
        } else {
            let _ = ws.close_with_code_and_reason(code.0, reason);
        }
    }

    /// The socket that the browser still has, and what it holds unsent.
    pub fn buffered(&self) -> Option<(SocketId, f64)> {
        let current = self.current.borrow();
        let (id, ws) = current.as_ref()?;
        Some((*id, f64::from(ws.buffered_amount())))
    }

    pub fn settle(&self, settled: Settled) {
        self.hot.settle(settled.from, settled.count, settled.fate as u32);
    }

    /// Whatever the socket still says is nobody's business.
    pub fn forget(&self) {
        if let Some((_, ws)) = self.current.take() {
            self.hot.abandon(&ws, "");
        }
    }

    fn get(&self, id: SocketId) -> Option<WebSocket> {
        let current = self.current.borrow();
        let (held, ws) = current.as_ref()?;
        (*held == id).then(|| ws.clone())
    }
}
