//! Where the session is kept: a storage that cannot throw. What is worth keeping is the protocol's decision.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/web/storage.js")]
extern "C" {
    pub type Store;

    #[wasm_bindgen(constructor)]
    pub fn new(storage: JsValue, key: &str, events: &super::events::Events) -> Store;
    #[wasm_bindgen(method)]
    pub fn restore(this: &Store, handle: &JsValue);
    #[wasm_bindgen(method, js_name = saveToken)]
    pub fn save_token(this: &Store, token: &str, client_id: Option<String>, handle: &JsValue);
    #[wasm_bindgen(method)]
    pub fn save(this: &Store, data: JsValue, handle: &JsValue);
    #[wasm_bindgen(method)]
    pub fn clear(this: &Store, handle: &JsValue);
}
