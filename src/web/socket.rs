//! One browser WebSocket, and the queue's texts. Its hot path is in socket.js; Rust opens it, closes it, and is asked.
//!
//! No closure of Rust's is attached to a socket, so none can leak or be called after it was dropped.

use super::events::Events;
use crate::outbox::Settled;
use crate::wire::{CloseCode, SocketId};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

#[wasm_bindgen(module = "/src/web/socket.js")]
extern "C" {
    #[wasm_bindgen(js_name = Socket)]
    pub type Hot;

    #[wasm_bindgen(constructor, js_class = "Socket")]
    fn new(events: &Events, max_frame_bytes: f64) -> Hot;
    #[wasm_bindgen(method)]
    fn route(this: &Hot, frame_type: &str);
    #[wasm_bindgen(method)]
    fn attach(this: &Hot, ws: &WebSocket, id: u32, handle: &JsValue);
    #[wasm_bindgen(method)]
    pub fn keep(this: &Hot, text: JsValue, receipt: JsValue);
    #[wasm_bindgen(method)]
    pub fn unkeep(this: &Hot);
    #[wasm_bindgen(method, js_name = handOver)]
    fn hand_over(this: &Hot, ws: &WebSocket, from: u32, count: u32, limit: f64) -> u32;
    #[wasm_bindgen(method)]
    fn settle(this: &Hot, from: u32, count: u32, fate: u32);
    #[wasm_bindgen(method)]
    pub fn release(this: &Hot, before: u32);
    #[wasm_bindgen(method)]
    pub fn waiting(this: &Hot) -> JsValue;

    fn abandon(ws: &WebSocket, reason: &str);
    fn detach(ws: &WebSocket);
}

pub struct Socket {
    pub hot: Hot,
    current: RefCell<Option<(SocketId, WebSocket)>>,
}

impl Socket {
    pub fn new(events: &Events, max_frame_bytes: f64, frame_types: impl Iterator<Item = String>) -> Self {
        let hot = Hot::new(events, max_frame_bytes);
        for frame_type in frame_types {
            hot.route(&frame_type);
        }
        Self { hot, current: RefCell::new(None) }
    }

    /// Dials. What a browser refuses at once (a mixed-content URL, say) comes back as its message.
    pub fn open(&self, id: SocketId, url: &str, protocols: &JsValue, handle: &JsValue) -> Result<(), String> {
        self.forget();
        let ws = WebSocket::new_with_str_sequence(url, protocols).map_err(|error| {
            error.dyn_ref::<js_sys::Error>().map(|error| String::from(error.message())).unwrap_or_default()
        })?;
        self.hot.attach(&ws, id.0, handle);
        self.current.replace(Some((id, ws)));
        Ok(())
    }

    /// Sends a control frame. A socket that will not take it is about to close, and says so itself.
    pub fn transmit(&self, id: SocketId, text: &str) {
        if let Some(ws) = self.get(id) {
            let _ = ws.send_with_str(text);
        }
    }

    /// How many of the messages were taken, and what the browser holds now.
    pub fn hand_over(&self, id: SocketId, from: u32, count: u32, limit: f64) -> (u32, f64) {
        let Some(ws) = self.get(id) else {
            return (0, 0.0);
        };
        let taken = self.hot.hand_over(&ws, from, count, limit);
        (taken, f64::from(ws.buffered_amount()))
    }

    pub fn close(&self, id: SocketId, code: CloseCode, reason: &str) {
        let Some(ws) = self.get(id) else {
            return;
        };
        if code == CloseCode::GIVEN_UP || ws.ready_state() == WebSocket::CONNECTING {
            abandon(&ws, reason);
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
            detach(&ws);
            let _ = ws.close();
        }
    }

    fn get(&self, id: SocketId) -> Option<WebSocket> {
        let current = self.current.borrow();
        let (held, ws) = current.as_ref()?;
        (*held == id).then(|| ws.clone())
    }
}
