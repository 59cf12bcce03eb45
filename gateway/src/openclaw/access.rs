//! Who may connect to the OpenClaw gateway, and with what rights: `connect` is checked, devices are known again, paired
//! or refused, and wrong tokens are counted. What the connection may do afterwards is chat.rs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::chat;
use super::config::{Pairing, Version};
use super::proof::{self, Claim};
use super::shape::{self, FILLED, Field, Kind, Need, TEXT};
use super::{Connection, ConnectionId, Refusal, Stage, State, uuid};
use crate::control;
use crate::sessions::Time;

/// How old, or how far in the future, a signature may be.
const SKEW_MS: u64 = 120_000;
/// In which wrong tokens are counted.
const WINDOW_MS: u64 = 60_000;
const MAX_DEVICES: usize = 1_000;
const MAX_ORIGINS: usize = 1_000;

/// A refused `connect`: the error, and how the connection is closed.
pub struct Denied {
    pub refusal: Refusal,
    pub code: u16,
    pub reason: String,
}

impl Denied {
    pub fn because(refusal: Refusal, code: u16, reason: impl Into<String>) -> Box<Self> {
        Box::new(Self { refusal, code, reason: reason.into() })
    }
}

impl From<Refusal> for Box<Denied> {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.message.clone();
        Denied::because(refusal, 1008, reason)
    }
}

/// Devices, those that wait for approval, and wrong tokens.
#[derive(Default)]
pub struct Registry {
    devices: BTreeMap<String, Device>,
    /// By device.
    requests: BTreeMap<String, Waiting>,
    wrong: BTreeMap<String, VecDeque<Time>>,
    limited: BTreeMap<String, Time>,
}

struct Device {
    platform: String,
    family: String,
    /// What it was approved for; a device token is for one client id and role.
    scopes: BTreeSet<String>,
    roles: BTreeSet<String>,
    tokens: BTreeMap<(String, String), DeviceToken>,
}

#[derive(Clone)]
struct DeviceToken {
    token: String,
    scopes: BTreeSet<String>,
    issued: Time,
}

/// A device that somebody has to approve.
struct Waiting {
    id: String,
    reason: &'static str,
    platform: String,
    family: String,
    role: String,
    scopes: BTreeSet<String>,
}

impl Registry {
    pub fn waiting(&self) -> Vec<Value> {
        let shown = |(device, waiting): (&String, &Waiting)| json!({"requestId": waiting.id, "deviceId": device, "reason": waiting.reason, "scopes": waiting.scopes});
        self.requests.iter().map(shown).collect()
    }

    /// Approves what waits, or one of it; tells how many.
    pub fn approve(&mut self, request: Option<&str>) -> usize {
        let mut approved = 0;
        for (device, waiting) in self.take(request) {
            approved += 1;
            let known = self.devices.entry(device).or_insert_with(|| Device::new(&waiting.platform, &waiting.family));
            known.platform = waiting.platform;
            known.family = waiting.family;
            known.roles.insert(waiting.role);
            known.scopes.extend(waiting.scopes);
        }
        approved
    }

    /// Turns down what waits, or one of it. The next try asks anew.
    pub fn reject(&mut self, request: Option<&str>) -> usize {
        self.take(request).len()
    }

    fn take(&mut self, request: Option<&str>) -> Vec<(String, Waiting)> {
        let mut taken = Vec::new();
        for (device, waiting) in std::mem::take(&mut self.requests) {
            if request.is_none_or(|id| id == waiting.id) {
                taken.push((device, waiting));
            } else {
                self.requests.insert(device, waiting);
            }
        }
        taken
    }

    /// The shared secret is another one: what was issued under the old one is dead.
    pub fn forget_tokens(&mut self) {
        for device in self.devices.values_mut() {
            device.tokens.clear();
        }
    }

    pub fn forget_devices(&mut self) {
        self.devices.clear();
        self.requests.clear();
    }

    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    fn is_limited(&mut self, now: Time, origin: &str) -> Option<u64> {
        let until = *self.limited.get(origin)?;
        if until <= now {
            self.limited.remove(origin);
            return None;
        }
        Some(until.0 - now.0)
    }

    fn count_wrong(&mut self, now: Time, origin: &str, allowed: usize, pause: u64) {
        if self.wrong.len() >= MAX_ORIGINS && !self.wrong.contains_key(origin) {
            self.wrong.pop_first();
        }
        let times = self.wrong.entry(origin.to_owned()).or_default();
        times.push_back(now);
        while times.front().is_some_and(|at| at.plus(WINDOW_MS) < now) {
            times.pop_front();
        }
        if times.len() >= allowed {
            times.clear();
            if self.limited.len() >= MAX_ORIGINS {
                self.limited.pop_first();
            }
            self.limited.insert(origin.to_owned(), now.plus(pause));
        }
    }
}

impl Device {
    fn new(platform: &str, family: &str) -> Self {
        Self {
            platform: platform.to_owned(),
            family: family.to_owned(),
            scopes: BTreeSet::new(),
            roles: BTreeSet::new(),
            tokens: BTreeMap::new(),
        }
    }
}

/// What `connect` says, once its shape is known to be right.
struct Asked {
    client: String,
    mode: String,
    platform: String,
    family: String,
    role: String,
    scopes: Vec<String>,
    caps: BTreeSet<String>,
    auth: Value,
    device: Option<Value>,
}

impl Asked {
    fn read(params: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default()
        };
        let client = &params["client"];
        Self {
            client: text(&client["id"]),
            mode: text(&client["mode"]),
            platform: text(&client["platform"]),
            family: text(&client["deviceFamily"]),
            role: params["role"].as_str().unwrap_or("operator").to_owned(),
            scopes: texts(&params["scopes"]),
            caps: texts(&params["caps"]).into_iter().collect(),
            auth: params["auth"].clone(),
            device: params.get("device").cloned(),
        }
    }

    fn secret(&self, name: &str) -> Option<&str> {
        self.auth[name].as_str().filter(|secret| !secret.is_empty())
    }

    /// The one that a device signs.
    fn signed_token(&self) -> &str {
        ["token", "deviceToken", "bootstrapToken"].iter().find_map(|name| self.secret(name)).unwrap_or_default()
    }

    fn is_webchat(&self) -> bool {
        self.mode == "webchat" || ["webchat-ui", "webchat", "openclaw-control-ui"].contains(&self.client.as_str())
    }

    /// Helpers on the gateway's own machine, which are trusted without a device.
    fn is_helper(&self) -> bool {
        matches!((self.client.as_str(), self.mode.as_str()), ("gateway-client", "backend") | ("cli", "cli"))
    }
}

/// How a connection came by its rights.
struct Granted {
    method: &'static str,
    scopes: BTreeSet<String>,
    token: Option<DeviceToken>,
}

impl State {
    /// What `connect` is answered with. The order of the checks is the order in which a client hears of its mistakes.
    pub fn connect(&mut self, now: Time, id: ConnectionId, params: &Value) -> Result<Value, Box<Denied>> {
        if self.phase == super::Phase::Starting {
            let refusal = Refusal::unavailable("gateway starting; retry shortly", "startup-sidecars");
            return Err(Denied::because(refusal, 1013, "gateway starting"));
        }
        if let Err(error) = shape::check(params, CONNECT) {
            return Err(Refusal::invalid(format!("invalid connect params: {error}")).into());
        }
        let Some(connection) = self.connections.get(&id) else {
            return Err(Refusal::invalid("the connection is gone").into());
        };
        let version = connection.version;
        mismatch(version, params)?;
        let asked = Asked::read(params);
        if !["operator", "node"].contains(&asked.role.as_str()) {
            return Err(Refusal::invalid("invalid role").into());
        }
        let origin = connection.origin.clone();
        self.check_origin(connection, &asked)?;
        if asked.device.is_none() && asked.client == "openclaw-control-ui" {
            let message = "control ui requires device identity (use HTTPS or localhost secure context)";
            return Err(Refusal::detailed(message, json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"})).into());
        }
        self.check_proof(now, connection, &asked)?;
        if let Some(origin) = &origin
            && let Some(ms) = self.registry.is_limited(now, origin)
        {
            let details = json!({"code": "AUTH_RATE_LIMITED", "authReason": "rate_limited"});
            let message = "unauthorized: too many failed authentication attempts (retry later)";
            return Err(Refusal { retry_after_ms: Some(ms), ..Refusal::detailed(message, details) }.into());
        }
        let granted = self.grant(now, version, origin.as_deref(), &asked)?;
        let hello = self.hello(now, id, version, &asked, &granted);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.device = asked.device.as_ref().and_then(|device| device["id"].as_str()).map(str::to_owned);
            connection.scopes = granted.scopes;
            connection.caps = asked.caps;
        }
        Ok(hello)
    }

    /// Origins are looked at as soon as there is one, and demanded of what can only be a page.
    fn check_origin(&self, connection: &Connection, asked: &Asked) -> Result<(), Box<Denied>> {
        let reason = match &connection.origin {
            None if !asked.is_webchat() => return Ok(()),
            None => "origin missing or invalid",
            Some(origin) => {
                let listed = |allowed: &String| allowed == "*" || allowed == origin;
                let host = control::host_of(origin);
                let own = host.is_some() && host == connection.host.as_deref();
                let near = origin.starts_with("http") || origin == "capacitor://localhost";
                if self.config.allowed_origins.iter().any(listed)
                    || near && (own && host.is_some_and(control::is_address) || host.is_some_and(control::is_loopback))
                {
                    return Ok(());
                }
                "origin not allowed"
            }
        };
        let message = "origin not allowed (open the Control UI from the gateway host or allow it in \
                       gateway.controlUi.allowedOrigins)";
        Err(Refusal::detailed(message, json!({"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason})).into())
    }

    /// A device's proof, if there is one, has to be whole, fresh, for this connection, and right.
    fn check_proof(&self, now: Time, connection: &Connection, asked: &Asked) -> Result<(), Box<Denied>> {
        let Some(device) = &asked.device else {
            return Ok(());
        };
        let text = |name: &str| device[name].as_str().unwrap_or_default();
        let refused = |message: &str, code: &str, reason: &str| {
            Err(Refusal::detailed(message, json!({"code": code, "reason": reason})).into())
        };
        if !proof::belongs(text("id"), text("publicKey")) {
            return refused("device identity mismatch", "DEVICE_AUTH_DEVICE_ID_MISMATCH", "device-id-mismatch");
        }
        let signed_at = device["signedAt"].as_i64().unwrap_or_default();
        if self.told_time(now).abs_diff(signed_at) > SKEW_MS {
            return refused("device signature expired", "DEVICE_AUTH_SIGNATURE_EXPIRED", "device-signature-stale");
        }
        let nonce = match &connection.stage {
            Stage::Challenged { nonce } => nonce.as_str(),
            Stage::Greeting { .. } | Stage::Ready => "",
        };
        if text("nonce") != nonce {
            return refused("device nonce mismatch", "DEVICE_AUTH_NONCE_MISMATCH", "device-nonce-mismatch");
        }
        let claim = Claim {
            client_id: &asked.client,
            client_mode: &asked.mode,
            role: &asked.role,
            scopes: &asked.scopes,
            signed_at,
            token: asked.signed_token(),
            nonce,
            platform: &asked.platform,
            family: &asked.family,
        };
        if !proof::holds(text("id"), text("publicKey"), text("signature"), &claim) {
            return refused("device signature invalid", "DEVICE_AUTH_SIGNATURE_INVALID", "device-signature");
        }
        Ok(())
    }

    fn grant(
        &mut self,
        now: Time,
        version: Version,
        origin: Option<&str>,
        asked: &Asked,
    ) -> Result<Granted, Box<Denied>> {
        let device = asked.device.as_ref().and_then(|device| device["id"].as_str()).map(str::to_owned);
        let secret = self.config.token.as_str();
        let shared = asked.secret("token") == Some(secret)
            || version.protocol() >= 4 && asked.secret("password") == Some(secret);
        let scopes: BTreeSet<String> = asked.scopes.iter().cloned().collect();
        if shared {
            let Some(device) = device else {
                let kept = origin.is_none() && asked.is_helper();
                let scopes = if kept { scopes } else { BTreeSet::new() };
                return Ok(Granted { method: "token", scopes, token: None });
            };
            self.pair(&device, origin, asked, &scopes)?;
            let token = self.issue(now, &device, asked, &scopes);
            return Ok(Granted { method: "token", scopes, token: Some(token) });
        }
        let token = device.as_ref().and_then(|device| {
            let known = self.registry.devices.get(device)?;
            known.tokens.get(&(asked.client.clone(), asked.role.clone())).cloned()
        });
        if let Some(device) = device.as_ref().filter(|_| token.is_some())
            && let Some(token) = &token
            && [asked.secret("deviceToken"), asked.secret("token")].contains(&Some(token.token.as_str()))
        {
            if !scopes.is_subset(&token.scopes) {
                let message = "unauthorized: device token scope mismatch (re-pair or approve scope upgrade)";
                return Err(unauthorized(message, "AUTH_SCOPE_MISMATCH", "scope_mismatch", false).into());
            }
            self.pair(device, origin, asked, &scopes)?;
            return Ok(Granted { method: "device-token", scopes, token: Some(token.clone()) });
        }
        let refusal = wrong(asked, device.is_some(), token.is_some());
        let counts = ["token", "password", "deviceToken", "bootstrapToken"].iter().any(|n| asked.secret(n).is_some());
        if let Some(origin) = origin.filter(|_| counts) {
            self.registry.count_wrong(now, origin, self.config.bad_tokens, self.config.rate_limit_ms);
        }
        Err(refusal.into())
    }

    /// Whether the device is known as it presents itself; if not, it is taken on in silence or has to wait.
    fn pair(
        &mut self,
        device: &str,
        origin: Option<&str>,
        asked: &Asked,
        scopes: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let reason = match self.registry.devices.get(device) {
            None => Some("not-paired"),
            Some(known) if known.platform != asked.platform || known.family != asked.family => Some("metadata-upgrade"),
            Some(known) if !known.roles.contains(&asked.role) => Some("role-upgrade"),
            Some(known) if !scopes.is_subset(&known.scopes) => Some("scope-upgrade"),
            Some(_) => None,
        };
        let Some(reason) = reason else {
            self.registry.requests.remove(device);
            return Ok(());
        };
        // A page that is no web chat is never taken on in silence, and neither is another platform.
        let quiet = self.config.pairing == Pairing::Silent && (origin.is_none() || asked.is_webchat());
        if quiet && reason != "metadata-upgrade" {
            while self.registry.devices.len() >= MAX_DEVICES {
                self.registry.devices.pop_first();
            }
            let fresh = || Device::new(&asked.platform, &asked.family);
            let known = self.registry.devices.entry(device.to_owned()).or_insert_with(fresh);
            known.roles.insert(asked.role.clone());
            known.scopes.extend(scopes.iter().cloned());
            return Ok(());
        }
        while self.registry.requests.len() >= MAX_DEVICES {
            self.registry.requests.pop_first();
        }
        let waiting = self.registry.requests.entry(device.to_owned()).or_insert_with(|| Waiting {
            id: uuid(),
            reason,
            platform: asked.platform.clone(),
            family: asked.family.clone(),
            role: asked.role.clone(),
            scopes: BTreeSet::new(),
        });
        waiting.scopes.extend(scopes.iter().cloned());
        let request = waiting.id.clone();
        let hint = format!("approve the device on the gateway's machine: request {request}");
        let details = json!({
            "code": "PAIRING_REQUIRED", "reason": reason, "requestId": request, "remediationHint": hint,
            "deviceId": device, "requestedRole": asked.role, "requestedScopes": scopes,
        });
        Err(Refusal { code: "NOT_PAIRED", ..Refusal::detailed("pairing required: device is not approved", details) })
    }

    /// The device's token: the one that it has, or a new one when it asks for more.
    fn issue(&mut self, now: Time, device: &str, asked: &Asked, scopes: &BTreeSet<String>) -> DeviceToken {
        let fresh = || Device::new(&asked.platform, &asked.family);
        let known = self.registry.devices.entry(device.to_owned()).or_insert_with(fresh);
        let place = (asked.client.clone(), asked.role.clone());
        if let Some(token) = known.tokens.get(&place).filter(|token| scopes.is_subset(&token.scopes)) {
            return token.clone();
        }
        let token = DeviceToken { token: uuid().replace('-', ""), scopes: scopes.clone(), issued: now };
        known.tokens.insert(place, token.clone());
        token
    }

    fn hello(&self, now: Time, id: ConnectionId, version: Version, asked: &Asked, granted: &Granted) -> Value {
        let mut auth = json!({
            "method": granted.method, "role": asked.role,
            // In the order in which they were asked for.
            "scopes": asked.scopes.iter().filter(|scope| granted.scopes.contains(*scope)).collect::<Vec<_>>(),
            "recoveryScope": self.boot,
        });
        if let Some(token) = &granted.token {
            auth["deviceToken"] = json!(token.token);
            auth["issuedAtMs"] = json!(token.issued.0);
        }
        let mut features = json!({"methods": chat::methods(version), "events": EVENTS});
        if version.protocol() >= 4 {
            features["capabilities"] = json!(["chat-send-routing-contract", "session-scoped-chat-metadata"]);
        }
        json!({
            "type": "hello-ok", "protocol": version.protocol(),
            "server": {"version": version.name(), "bootId": self.boot, "connId": format!("{}-{id}", self.boot)},
            "features": features,
            "snapshot": {
                "suspension": {"phase": "accepting"}, "presence": [], "health": {"ok": true},
                "stateVersion": {"presence": 1, "health": 1}, "uptimeMs": now.0.saturating_sub(self.started.0),
                "sessionDefaults": {"defaultAgentId": "main", "mainKey": "main", "mainSessionKey": "agent:main:main"},
            },
            "auth": auth,
            "policy": {
                "maxPayload": self.config.max_payload, "maxBufferedBytes": 52_428_800,
                "tickIntervalMs": self.config.tick_ms,
                "attachments": {"maxBytes": 19_464_192, "maxImageBytes": 6_291_456},
            },
        })
    }
}

fn mismatch(version: Version, params: &Value) -> Result<(), Box<Denied>> {
    let (least, most) = (&params["minProtocol"], &params["maxProtocol"]);
    let protocol = version.protocol();
    if (least.as_u64()..=most.as_u64()).contains(&Some(protocol)) {
        return Ok(());
    }
    let details = match version {
        Version::V3 => json!({"expectedProtocol": protocol}),
        Version::V4 | Version::V4Lean => json!({
            "code": "PROTOCOL_MISMATCH", "clientMinProtocol": least, "clientMaxProtocol": most,
            "expectedProtocol": protocol, "minimumProbeProtocol": 3,
        }),
    };
    let refusal = Refusal::detailed("protocol mismatch", details);
    Err(Denied::because(refusal, 1002, "protocol mismatch"))
}

/// Why what was shown is not enough.
fn wrong(asked: &Asked, has_device: bool, has_token: bool) -> Refusal {
    if asked.secret("deviceToken").is_some() {
        let message = "unauthorized: device token mismatch (rotate/reissue device token)";
        return unauthorized(message, "AUTH_DEVICE_TOKEN_MISMATCH", "device_token_mismatch", false);
    }
    if asked.secret("token").is_some() {
        let message = "unauthorized: gateway token mismatch (provide gateway auth token)";
        return unauthorized(message, "AUTH_TOKEN_MISMATCH", "token_mismatch", has_token);
    }
    if asked.secret("password").is_some() {
        let message = "unauthorized: gateway password mismatch";
        return unauthorized(message, "AUTH_PASSWORD_MISMATCH", "password_mismatch", false);
    }
    if asked.secret("bootstrapToken").is_some() {
        let message = "unauthorized: bootstrap token invalid";
        return unauthorized(message, "AUTH_BOOTSTRAP_TOKEN_INVALID", "bootstrap_token_invalid", false);
    }
    if has_device {
        let message = "unauthorized: gateway token missing (provide gateway auth token)";
        return unauthorized(message, "AUTH_TOKEN_MISSING", "token_missing", has_token);
    }
    let details = json!({"code": "DEVICE_IDENTITY_REQUIRED"});
    Refusal { code: "NOT_PAIRED", ..Refusal::detailed("device identity required", details) }
}

fn unauthorized(message: &str, code: &str, reason: &str, can_retry: bool) -> Refusal {
    let next = if can_retry { "retry_with_device_token" } else { "update_auth_credentials" };
    let details = json!({
        "code": code, "authReason": reason, "canRetryWithDeviceToken": can_retry, "recommendedNextStep": next,
    });
    Refusal::detailed(message, details)
}

const EVENTS: &[&str] = &[
    "connect.challenge",
    "agent",
    "chat",
    "session.message",
    "session.tool",
    "presence",
    "tick",
    "shutdown",
    "health",
];

const CONNECT: &[Field] = &[
    ("minProtocol", Kind::Whole(1, i64::MAX), Need::Must),
    ("maxProtocol", Kind::Whole(1, i64::MAX), Need::Must),
    ("client", Kind::Object(CLIENT), Need::Must),
    ("role", FILLED, Need::May),
    ("scopes", Kind::Texts(100), Need::May),
    ("caps", Kind::Texts(100), Need::May),
    ("commands", Kind::Texts(1_000), Need::May),
    ("permissions", Kind::Any, Need::May),
    ("pathEnv", TEXT, Need::May),
    ("auth", Kind::Object(AUTH), Need::May),
    ("device", Kind::Object(DEVICE), Need::May),
    ("locale", TEXT, Need::May),
    ("userAgent", TEXT, Need::May),
];

const CLIENT: &[Field] = &[
    ("id", Kind::OneOf(CLIENT_IDS), Need::Must),
    ("mode", Kind::OneOf(CLIENT_MODES), Need::Must),
    ("version", FILLED, Need::Must),
    ("platform", FILLED, Need::Must),
    ("displayName", FILLED, Need::May),
    ("buildId", FILLED, Need::May),
    ("deviceFamily", FILLED, Need::May),
    ("modelIdentifier", FILLED, Need::May),
    ("timeZone", FILLED, Need::May),
    ("instanceId", FILLED, Need::May),
];

const AUTH: &[Field] = &[
    ("token", TEXT, Need::May),
    ("password", TEXT, Need::May),
    ("deviceToken", TEXT, Need::May),
    ("bootstrapToken", TEXT, Need::May),
];

const DEVICE: &[Field] = &[
    ("id", FILLED, Need::Must),
    ("publicKey", FILLED, Need::Must),
    ("signature", FILLED, Need::Must),
    ("signedAt", Kind::Whole(0, i64::MAX), Need::Must),
    ("nonce", FILLED, Need::Must),
];

const CLIENT_MODES: &[&str] = &["webchat", "cli", "ui", "backend", "node", "worker", "probe", "test"];

const CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "webchat",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "test",
    "fingerprint",
    "openclaw-probe",
];
