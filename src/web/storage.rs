//! Where the session is kept: a storage that cannot throw. What is worth keeping is the protocol's decision.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The class of that name in storage.js.
    pub type Store;

    #[wasm_bindgen(method)]
    pub fn restore(this: &Store);
    #[wasm_bindgen(method, js_name = saveToken)]
    pub fn save_token(this: &Store, token: &str, client_id: Option<&str>, epoch: Option<&str>, seen: f64);
    #[wasm_bindgen(method)]
    pub fn clear(this: &Store);
}
