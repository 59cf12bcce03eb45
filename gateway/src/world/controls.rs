//! What the controls make a world do: say something to everybody or to one, close, go down, come up, forget. What they
//! make it do wrong is misconduct.rs.

use super::*;

/// Whom a control request means.
#[derive(Clone, Debug)]
pub enum Target {
    Everyone,
    Client(ClientId),
}

impl Target {
    pub(super) fn means(&self, client: &ClientId) -> bool {
        match self {
            Self::Everyone => true,
            Self::Client(one) => one == client,
        }
    }
}

impl World {
    /// Sends a message as it is; tells to how many connections.
    pub fn send(&mut self, target: &Target, message: &Message) -> usize {
        let targets = self.targets(target);
        for to in &targets {
            self.effects.push(Effect::Send { to: *to, message: message.clone() });
        }
        targets.len()
    }

    /// Sends advice to everyone who was offered the extension; tells to how many.
    pub fn advise(&mut self, retry_after_ms: u64, spread_ms: Option<u64>, reason: Option<&str>) -> usize {
        if !self.config.offer {
            return 0;
        }
        let advice = Said::ServerAdvice { retry_after_ms, spread_ms, reason };
        self.send(&Target::Everyone, &Message::Text(advice.text()))
    }

    /// Tells everyone that their socket is about to be closed, so that nobody sends into the close; to how many it was told.
    pub fn announce_closing(&mut self) -> usize {
        if !self.config.offer {
            return 0;
        }
        self.acknowledge_all();
        self.send(&Target::Everyone, &Message::Text(Said::GatewayClosing.text()))
    }

    pub fn close(&mut self, target: &Target, code: u16, reason: &str) -> usize {
        let targets = self.targets(target);
        for to in &targets {
            self.effects.push(Effect::Close { to: *to, code, reason: reason.into() });
        }
        targets.len()
    }

    pub fn abort(&mut self, target: &Target) -> usize {
        let targets = self.targets(target);
        self.effects.extend(targets.iter().map(|to| Effect::Abort { to: *to }));
        targets.len()
    }

    /// Closes everyone and lets nobody in, for a time or until `up`.
    pub fn down(&mut self, now: Time, ms: Option<u64>, code: u16) {
        self.availability = Availability::Down { until: ms.map(|ms| now.plus(ms)) };
        self.rearm = true;
        self.acknowledge_all();
        self.close(&Target::Everyone, code, "the gateway is going down");
    }

    pub fn up(&mut self) {
        self.availability = Availability::Up;
        self.rearm = true;
    }

    /// Gives everyone who is connected a new token; tells to how many clients.
    pub fn rotate(&mut self, now: Time) -> usize {
        let clients: Vec<ClientId> = self.connected().cloned().collect();
        for client in &clients {
            self.rotate_one(now, client);
        }
        clients.len()
    }

    /// From here on every token is unknown; who is connected stays so.
    pub fn expire(&mut self) {
        self.sessions.expire_tokens();
    }

    /// As after a start without a session file; connections are closed as by a restart.
    pub fn reset(&mut self, now: Time) {
        self.close(&Target::Everyone, 1012, "the gateway was reset");
        self.connections.clear();
        self.sessions.clear();
        self.config = self.initial.clone();
        self.agents = Agents::default();
        self.answers = Answers::default();
        self.said.clear();
        self.agent_at = now.plus(agent_pause(&self.config));
        self.availability = Availability::Up;
        self.journal = Journal::default();
        self.totals = Totals::default();
        self.misconduct = Misconduct::default();
        self.rearm = true;
    }

    pub(super) fn targets(&self, target: &Target) -> Vec<ConnectionId> {
        let meant = |connection: &Connection| match target {
            Target::Everyone => true,
            Target::Client(client) => connection.stage.client() == Some(client),
        };
        self.connections.iter().filter(|(_, c)| meant(c)).map(|(id, _)| *id).collect()
    }
}
