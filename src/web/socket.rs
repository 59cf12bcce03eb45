//! The one browser WebSocket, and the queue's texts: socket.js holds them, for a string or an object that crosses costs
//! more than everything else that a frame needs. Rust opens it, closes it, and is asked.
//!
//! No closure of Rust's is attached to a socket, so none can leak or be called after it was dropped.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The class of that name in socket.js.
    pub type Socket;

    /// A row of the route table; an empty event is none.
    #[wasm_bindgen(method)]
    pub fn route(this: &Socket, frame_type: &str, event: &str, delta: bool);

    /// A subprotocol to offer.
    #[wasm_bindgen(method)]
    pub fn offer(this: &Socket, subprotocol: &str);

    /// Dials the URL that was resolved, with `address` put into it. What a browser refuses at once (an insecure URL on a
    /// secure page, say) is `false`. `beside`: the socket that there is goes on, until one of the two is closed.
    #[wasm_bindgen(method)]
    pub fn open(this: &Socket, id: u32, address: &str, beside: bool) -> bool;

    /// Frames with this topic are the handle's; nobody's where it is 0.
    #[cfg(feature = "handles")]
    #[wasm_bindgen(method)]
    pub fn bind(this: &Socket, topic: &str, handle: u32);

    /// Sends a control frame. A socket that will not take it is about to close, and says so itself.
    #[wasm_bindgen(method)]
    pub fn transmit(this: &Socket, id: u32, text: &str);

    /// Hands over messages; answers how many were taken.
    #[wasm_bindgen(method, js_name = handOver)]
    pub fn hand_over(this: &Socket, id: u32, from: u32, count: u32, limit: f64) -> u32;

    /// What the browser holds unsent; negative where there is no socket.
    #[wasm_bindgen(method)]
    pub fn buffered(this: &Socket) -> f64;

    #[wasm_bindgen(method, getter)]
    pub fn id(this: &Socket) -> u32;

    /// Whether messages carry their numbers from now on, and a frame's counts.
    #[cfg(feature = "delivery")]
    #[wasm_bindgen(method)]
    pub fn number(this: &Socket, on: bool);

    #[wasm_bindgen(method)]
    pub fn settle(this: &Socket, from: u32, count: u32, fate: u32);

    #[wasm_bindgen(method)]
    pub fn release(this: &Socket, before: u32);

    /// Closes it and waits for its word, unless `given_up`: then whatever it still says is nobody's business.
    #[wasm_bindgen(method)]
    pub fn close(this: &Socket, id: u32, code: u16, reason: &str, given_up: bool);
}
