//! OpenClaw's handshake: what is signed and sent, what follows from the answer, and the ladder of refusals, on which no step
//! is taken twice.

use super::{DEVICE, GIVEN, KEYS_MS, Kept, OpenClaw, Phase, RATE_LIMIT_MS, joined, list, push_list, push_member};
use crate::error::{Cause, Fault};
use crate::protocol::{Context, Inbound};
use crate::wire::push_number;
use alloc::string::String;
use alloc::vec::Vec;

impl OpenClaw {
    /// The page's own word: what it gives now counts more than what it gave with the options.
    fn given(&self) -> Option<(&'static str, &String)> {
        let session = self.session.as_ref().map(|session| &session.token);
        let token = self.credential.as_ref().or(session).or(self.token.as_ref());
        token.map(|token| ("token", token)).or_else(|| Some(("password", self.password.as_ref()?)))
    }

    /// The scopes to ask for: a device's token gives no more than it was made for.
    fn asked(&self) -> Vec<String> {
        let of_device = self.kept.as_ref().filter(|kept| self.used == DEVICE && !kept.scopes.is_empty());
        let asked = self.scopes.iter();
        asked.filter(|scope| of_device.is_none_or(|kept| kept.scopes.contains(scope))).cloned().collect()
    }

    /// The token that is signed, and the field that carries it.
    fn credentials(&self) -> Option<(&'static str, &String)> {
        match &self.kept {
            Some(kept) if self.used == DEVICE => Some(("deviceToken", &kept.token)),
            _ => self.given(),
        }
    }

    /// Goes on with the handshake when both have come, the challenge and the page's word on the device.
    pub(super) fn prove(&mut self, cx: &mut Context<'_>) {
        let by_device = self.kept.is_some() && (self.refused & GIVEN != 0 || self.given().is_none());
        self.used = if by_device { DEVICE } else { GIVEN };
        let (Phase::Greeting, Some(device), Some((nonce, ts))) = (self.phase, &self.device, &self.challenge) else {
            return;
        };
        let Some((id, _)) = device else {
            self.connect(cx, None);
            return;
        };
        let token = self.credentials().filter(|(field, _)| *field != "password").map_or("", |(_, token)| token);
        let text = signed_text(id, &self.asked(), *ts, token, nonce);
        self.phase = Phase::Signing;
        self.ticket += 1;
        cx.ask(self.ticket, "sign", text);
    }

    pub(super) fn connect(&mut self, cx: &mut Context<'_>, signature: Option<&str>) {
        self.phase = Phase::Connecting;
        let mut out = String::from(
            "{\"type\":\"req\",\"id\":\"c\",\"method\":\"connect\",\"params\":{\"minProtocol\":3,\"maxProtocol\":4,\
             \"client\":{\"id\":\"webchat-ui\",\"mode\":\"webchat\",\"platform\":\"web\",\"version\":\"",
        );
        out.push_str(env!("CARGO_PKG_VERSION"));
        out.push_str("\"},\"role\":\"operator\",\"scopes\":[");
        push_list(&mut out, &self.asked());
        out.push_str("],\"caps\":[");
        push_list(&mut out, &self.caps);
        out.push_str("],\"auth\":{");
        if let Some((field, token)) = self.credentials() {
            push_member(&mut out, field, token);
        }
        out.push('}');
        if let (Some(signature), Some(Some((id, key))), Some((nonce, ts))) = (signature, &self.device, &self.challenge)
        {
            out.push_str(",\"device\":{");
            for (name, value) in [("id", id.as_str()), ("publicKey", key), ("signature", signature), ("nonce", nonce)] {
                push_member(&mut out, name, value);
                out.push(',');
            }
            out.push_str("\"signedAt\":");
            push_number(&mut out, *ts);
            out.push('}');
        }
        out.push_str("}}");
        cx.send_now(out);
    }

    pub(super) fn hello(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let Some(version) = view.number("payload/protocol") else {
            cx.fault(Fault::Malformed);
            cx.drop_socket(Cause::HandshakeTimeout);
            return;
        };
        self.v4 = version >= 4.0;
        self.max_payload = view.number("payload/policy/maxPayload").unwrap_or(f64::INFINITY);
        self.phase = Phase::Ready;
        self.refused &= !DEVICE;
        self.hurry = None;
        let boot = view.string("payload/server/bootId");
        let away_ms = self.lost_at.map_or(0, |at| cx.now.since(at));
        // One that has been up for less than we were away has been started anew.
        let up = view.number("payload/snapshot/uptimeMs").is_none_or(|up| up >= away_ms as f64);
        let same = boot == self.boot && up;
        self.has_keys = self.v4 || (same && away_ms < KEYS_MS);
        let recovered = core::mem::replace(&mut self.greeted, true) && same;
        self.boot = boot;
        cx.ready(recovered);
        cx.emit(inbound);

        let granted = list(view, "payload/auth/scopes", '/');
        let has = |scope: &str| granted.iter().any(|granted| granted == scope);
        let missing = joined(self.scopes.iter().filter(|scope| !has(scope)), ",");
        if !missing.is_empty() && view.has("payload/auth") {
            cx.ask(0, "scopes", missing);
        }
        if let Some(token) = view.string("payload/auth/deviceToken") {
            let kept = Kept { token, scopes: granted.clone() };
            if self.kept.as_ref() != Some(&kept) {
                let mut text = kept.token.clone();
                text.push(' ');
                text.push_str(&joined(kept.scopes.iter(), ","));
                cx.ask(0, "keep", text);
                self.kept = Some(kept);
            }
        }
        if let Some(tick) = view.number("payload/policy/tickIntervalMs")
            && tick >= 1.0
        {
            cx.expect_frames((tick * 2.0) as u64);
        }
        // A gateway counts what it has to forbid, and ends the line over it.
        if has("operator.read") || has("operator.admin") {
            cx.offer_probe();
        }
        self.reject_too_large(cx);
        self.restore_runs(cx);
        for at in 0..self.sessions.len() {
            self.subscribe(cx, at);
        }
        self.send_waiting(cx);
    }

    /// The gateway will not have us: the ladder, on which no step is taken twice.
    pub(super) fn refused(&mut self, cx: &mut Context<'_>, inbound: Inbound<'_>) {
        let view = inbound.view;
        let says = |path: &str| view.boolean(path) == Some(true);
        let code = view.string("error/details/code").unwrap_or_default();
        let top = view.string("error/code").unwrap_or_default();
        let mut after = view.number("error/retryAfterMs").or_else(|| view.number("error/details/retryAfterMs"));
        let retryable = says("error/retryable") || says("error/details/retryable");
        let pauses = says("error/details/pauseReconnect");
        let mut retry = None;
        let cause = match code.as_str() {
            "AUTH_TOKEN_MISMATCH" | "AUTH_DEVICE_TOKEN_MISMATCH" | "AUTH_SCOPE_MISMATCH" => {
                self.refused |= self.used;
                let by_device = self.used == DEVICE;
                if by_device && code != "AUTH_SCOPE_MISMATCH" {
                    self.kept = None;
                    cx.ask(0, "forget", String::new());
                }
                let other = match by_device {
                    true => self.given().is_some(),
                    false => self.kept.is_some() && code == "AUTH_TOKEN_MISMATCH",
                };
                if other && self.refused != GIVEN | DEVICE {
                    after = Some(0.0);
                    retry = Some(Cause::Unauthorized);
                }
                Cause::Unauthorized
            }
            "AUTH_RATE_LIMITED" => {
                after = after.or(Some(RATE_LIMIT_MS));
                retry = Some(Cause::Overloaded);
                Cause::Unauthorized
            }
            "PAIRING_REQUIRED" => Cause::PairingRequired,
            "PROTOCOL_MISMATCH" => Cause::ProtocolUnsupported,
            code if code.starts_with("AUTH_") => Cause::Unauthorized,
            _ if view.has("error/details/expectedProtocol") => Cause::ProtocolUnsupported,
            _ if top == "NOT_PAIRED" => Cause::PairingRequired,
            _ => {
                if top == "UNAVAILABLE" {
                    retry = Some(Cause::ServerRestart);
                }
                Cause::Refused
            }
        };
        if retryable && !pauses && cause != Cause::Unauthorized {
            retry = retry.or(Some(cause));
        }
        match retry {
            Some(cause) => {
                if let Some(after) = after {
                    self.advise(cx, after, after * 0.2 + 100.0);
                }
                cx.drop_socket(cause);
            }
            None => {
                self.calls.refuse_waiting(cx, inbound.frame);
                cx.fail(cause, inbound.frame);
            }
        }
    }

    pub(super) fn advise(&mut self, cx: &mut Context<'_>, after_ms: f64, spread_ms: f64) {
        self.advised = true;
        cx.advise(after_ms, Some(spread_ms));
    }
}

/// What a device signs to prove that it is the one (`v3`; platform and device family lower-cased, the latter empty).
pub fn signed_text(id: &str, scopes: &[String], signed_at: u64, token: &str, nonce: &str) -> String {
    let mut out = String::from("v3|");
    out.push_str(id);
    out.push_str("|webchat-ui|webchat|operator|");
    out.push_str(&joined(scopes.iter(), ","));
    out.push('|');
    push_number(&mut out, signed_at);
    for part in [token, nonce, "web", ""] {
        out.push('|');
        out.push_str(part);
    }
    out
}
