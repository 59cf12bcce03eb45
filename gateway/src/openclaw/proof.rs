//! A device's proof that it holds its key: Ed25519 over what it asks for. Whether the device may have it is access.rs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// What a signature speaks for, beside the device itself.
pub struct Claim<'a> {
    pub client_id: &'a str,
    pub client_mode: &'a str,
    pub role: &'a str,
    pub scopes: &'a [String],
    pub signed_at: i64,
    pub token: &'a str,
    pub nonce: &'a str,
    pub platform: &'a str,
    pub family: &'a str,
}

/// Whether the id is the one that belongs to the key.
pub fn belongs(id: &str, public_key: &str) -> bool {
    let Some(key) = key(public_key) else {
        return false;
    };
    let digest = Sha256::digest(key);
    let mut expected = String::with_capacity(64);
    for byte in digest {
        expected.push_str(&format!("{byte:02x}"));
    }
    expected == id
}

/// Whether the key's owner signed the claim, in the current form or the one before it.
pub fn holds(id: &str, public_key: &str, signature: &str, claim: &Claim) -> bool {
    let Some(key) = key(public_key).and_then(|key| VerifyingKey::from_bytes(&key).ok()) else {
        return false;
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).ok();
    let Some(signature) = signature.and_then(|bytes| Signature::from_slice(&bytes).ok()) else {
        return false;
    };
    let second = second_form(id, claim);
    let third = format!(
        "v3|{second}|{}|{}",
        claim.platform.trim().to_ascii_lowercase(),
        claim.family.trim().to_ascii_lowercase()
    );
    [third, format!("v2|{second}")].iter().any(|text| key.verify_strict(text.as_bytes(), &signature).is_ok())
}

/// All but the name of the form, and what the third form adds.
fn second_form(id: &str, claim: &Claim) -> String {
    let Claim { client_id, client_mode, role, signed_at, token, nonce, .. } = claim;
    let scopes = claim.scopes.join(",");
    format!("{id}|{client_id}|{client_mode}|{role}|{scopes}|{signed_at}|{token}|{nonce}")
}

fn key(public_key: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(public_key).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "21fe31dfa154a261626bf854046fd2271b7bed4b6abe45aa58877ef47f9721b9";
    const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const SIGNATURE: &str = "VZJ49G_cKHBKws4bhkjOOE-SlA7OX1l_Y3OmBLSseH8E_GIgxlz5olnzmVEhFuUQtDLzAyG6--1XI64jADnbBQ";

    fn claim(scopes: &[String]) -> Claim<'_> {
        Claim {
            client_id: "webchat-ui",
            client_mode: "webchat",
            role: "operator",
            scopes,
            signed_at: 1_737_264_000_000,
            token: "test-token",
            nonce: "00000000-0000-4000-8000-000000000000",
            platform: " Web ",
            family: "",
        }
    }

    #[test]
    fn the_published_vector_holds() {
        let scopes = ["operator.read".to_owned(), "operator.write".to_owned()];
        assert!(belongs(ID, KEY));
        assert!(holds(ID, KEY, SIGNATURE, &claim(&scopes)));
    }

    #[test]
    fn anything_else_does_not() {
        let scopes = ["operator.write".to_owned(), "operator.read".to_owned()];
        assert!(!holds(ID, KEY, SIGNATURE, &claim(&scopes)));
        assert!(!belongs(ID, "AAAA"));
        assert!(!belongs(&ID.to_uppercase(), KEY));
        assert!(!holds(ID, "AAAA", SIGNATURE, &claim(&[])));
        assert!(!holds(ID, KEY, "", &claim(&[])));
    }
}
