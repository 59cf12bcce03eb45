//! Performs a run: pages, their network and one gateway for all of them, step after step, and then everything heals. What
//! must hold is looked at after each step, by the ledger of each page (invariants.rs).

use super::steps::{Kept, Reaction, Setup, Step};
use crate::gateway::{Gateway, Greet};
use crate::invariants::{check_feed, check_life, check_run, check_step};
use crate::line::Ask;
use crate::world::{Provider, Storage, World, chat};
use moorline::outbox::Delivery;
use moorline::session::Stored;
use moorline::{Signal, Status};
use serde_json::json;

pub struct Play {
    setup: Setup,
    pages: Vec<World>,
    /// Pages that there have been.
    lives: u64,
}

impl Play {
    pub fn new(setup: Setup) -> Self {
        let pages = (0..setup.pages as u32).map(|page| {
            let mut world = World::seeded(&setup.options, Gateway::default(), setup.seed + u64::from(page));
            let net = world.net();
            net.page = page;
            net.ledger.name_messages(&format!("p{page}"));
            net.plan.latency = setup.latency;
            net.storage = match setup.storage {
                Kept::Nothing => Storage::Empty,
                Kept::Session => Storage::Holds(Stored {
                    token: Some("kept".into()),
                    client_id: Some("c0".into()),
                    age_ms: Some(5.0),
                    cursor: None,
                }),
                Kept::Denied => Storage::Denied,
                Kept::Silent => Storage::Silent,
            };
            if setup.keeps {
                world.keep_messages(&stream(setup.seed, u64::from(page)));
            }
            world
        });
        let mut play = Self { pages: pages.collect(), lives: setup.pages as u64, setup };
        let gateway = play.setup.gateway.clone().knowing("kept", "c0");
        play.pages[0].net().gateway = gateway;
        for page in 0..play.pages.len() {
            play.at(page, World::connect);
        }
        play
    }

    /// Does something with one page, which has the gateway meanwhile.
    fn at<T>(&mut self, page: usize, act: impl FnOnce(&mut World) -> T) -> T {
        if page > 0 {
            self.lend(page);
        }
        let answer = act(&mut self.pages[page]);
        if page > 0 {
            self.lend(page);
        }
        answer
    }

    /// Swaps the gateway between the first page and another one; each carries what is for it.
    fn lend(&mut self, page: usize) {
        let (first, rest) = self.pages.split_at_mut(page);
        std::mem::swap(&mut first[0].net().gateway, &mut rest[0].net().gateway);
        for world in [&mut first[0], &mut rest[0]] {
            let now = world.now();
            world.net().carry(now);
        }
    }

    pub fn step(&mut self, number: usize, step: &Step) {
        let page = number % self.pages.len();
        match step {
            Step::Wait(millis) => self.pass(u64::from(*millis)),
            _ => self.at(page, |world| perform(world, step)),
        }
        match step {
            Step::Reload => self.turn(page, false),
            Step::Crash => self.turn(page, true),
            Step::Dispose => {
                self.pass(40_000);
                self.turn(page, false);
            }
            _ => {}
        }
        for page in 0..self.pages.len() {
            self.at(page, |world| {
                carry(world);
                check_step(&mut world.line);
            });
        }
    }

    /// Time passes for all, by turns.
    fn pass(&mut self, millis: u64) {
        if self.pages.len() == 1 {
            self.pages[0].run(millis);
            return;
        }
        let slice = (millis / 8).max(1);
        let mut left = millis;
        loop {
            let millis = slice.min(left);
            for page in 0..self.pages.len() {
                self.at(page, |world| world.run(millis));
            }
            left -= millis;
            if left == 0 {
                return;
            }
        }
    }

    fn turn(&mut self, page: usize, crash: bool) {
        self.lives += 1;
        let (options, seed) = (self.setup.options.clone(), self.setup.seed + self.lives);
        let name = format!("p{}", self.lives);
        let keeps = self.setup.keeps.then(|| stream(self.setup.seed, self.lives));
        self.at(page, |world| {
            check_life(world);
            world.turn_page(&options, seed, crash, keeps);
            world.net().ledger.name_messages(&name);
            world.connect();
        });
    }

    /// Everything heals, and each page asks once more.
    pub fn end(&mut self) {
        for page in 0..self.pages.len() {
            self.at(page, |world| {
                let net = world.net();
                net.reactions.clear();
                net.plan.latency = (5, 5);
                net.plan.refuses = false;
                net.plan.takes = None;
                net.plan.kernel = 1 << 20;
                net.plan.provider = Provider::None;
                net.gateway.kills = 0;
                net.gateway.greet = Greet::After(20);
                net.gateway.answers_probes = true;
                world.heal();
                // A path that is half gone is noticed only where somebody listens for silence: otherwise it needs an end.
                world.cut();
                world.signal(Signal::Visible);
                world.connect();
            });
        }
        for _ in 0..3 {
            self.pass(70_000);
            for page in 0..self.pages.len() {
                self.at(page, World::connect);
            }
        }
        self.at(0, |world| world.net().gateway.feed());
        for page in 0..self.pages.len() {
            self.at(page, carry);
        }
        self.pass(5000);
        for page in 0..self.pages.len() {
            self.at(page, |world| {
                check_feed(world);
                assert_eq!(world.line.client.queue().0, 0, "everything went out in the end");
                assert_eq!(world.line.client.status(), Status::Connected);
                check_run(world);
            });
        }
    }

    pub fn recording(&self) -> String {
        let pages = self.pages.iter().enumerate();
        pages.map(|(page, world)| format!("page {page}:\n{}", world.recording())).collect()
    }
}

fn carry(world: &mut World) {
    let now = world.now();
    world.net().carry(now);
}

/// Sixteen hexadecimal digits that no other page has.
fn stream(seed: u64, page: u64) -> String {
    format!("{seed:08x}{page:08x}")
}

fn message(world: &mut World, bytes: u8, delivery: &Delivery, ttl_ms: Option<u16>) -> Ask {
    let name = world.net().ledger.next_name();
    let text = chat(&format!("{name} {}", "x".repeat(usize::from(bytes))));
    Ask::Send { text, delivery: delivery.clone(), ttl_ms: ttl_ms.map(f64::from) }
}

fn perform(world: &mut World, step: &Step) {
    match step {
        Step::Send { count, bytes, delivery, ttl_ms } => {
            for _ in 0..*count {
                let ask = message(world, *bytes, delivery, *ttl_ms);
                // A full queue may refuse.
                let _ = world.line.ask(ask);
            }
        }
        Step::Connect => world.connect(),
        Step::Disconnect => world.disconnect(),
        Step::Renew => world.renew(),
        Step::When(event, reaction) => {
            let ask = match reaction {
                Reaction::Connect => Ask::Connect,
                Reaction::Disconnect => Ask::Disconnect,
                Reaction::Send => message(world, 0, &Delivery::Queue, None),
            };
            world.when(event, &[ask]);
        }
        Step::Signal(signal) => world.signal(*signal),
        Step::Reload | Step::Crash | Step::Wait(_) => {}
        Step::Dispose => {
            // A page that has disposed of its line has no way to ask it for more.
            world.net().reactions.clear();
            world.net().ledger.page_disposes();
            world.line.ask(Ask::Dispose).expect("always legal");
        }
        Step::Doze(millis) => world.run_throttled(u64::from(*millis)),
        Step::Jump(millis) => world.jump(u64::from(*millis)),
        Step::Stall => world.stall(),
        Step::StallOld => world.stall_old(),
        Step::Heal => world.heal(),
        Step::Cut => world.cut(),
        Step::LoseTheOtherEnd => world.lose_the_other_end(),
        Step::Refuse(refuses) => world.net().plan.refuses = *refuses,
        Step::Kernel(bytes) => world.net().plan.kernel = *bytes,
        Step::Takes(takes) => world.net().plan.takes = *takes,
        Step::Provider(provider) => world.net().plan.provider = *provider,
        Step::Garble(text) => world.gateway_says_text(text),
        Step::Close(code) => world.gateway_closes(*code),
        Step::Advise(after, spread) => {
            let mut advice = json!({"type": "server-advice", "retryAfterMs": after});
            if let Some(spread) = spread {
                advice["spreadMs"] = json!(spread);
            }
            world.gateway_says(&advice);
        }
        Step::AnnounceEnd => world.gateway_says(&json!({"type": "gateway-closing"})),
        Step::AnnounceMove(within) => world.net().gateway.announce_move(u64::from(*within)),
        Step::Say => world.gateway_says(&json!({"type": "status-update", "status": "busy"})),
        Step::Feed(count) => (0..*count).for_each(|_| world.net().gateway.feed()),
        Step::RepeatFeed(count) => world.net().gateway.repeat_feed(usize::from(*count)),
        Step::SkipFeed(count) => world.net().gateway.skip_feed(u64::from(*count)),
        Step::TrimFeed => world.net().gateway.trim_feed(),
        Step::ForgetTokens => world.net().gateway.forget_all_tokens(),
        Step::ForgetStreams => world.net().gateway.forget_streams(),
        Step::AnswerProbes(answers) => world.net().gateway.answers_probes = *answers,
        Step::Restart { remembers, delivery } => {
            let gateway = &mut world.net().gateway;
            gateway.restart(*remembers);
            gateway.speak_of_delivery(*delivery);
        }
        Step::KillAfterTaking(count) => world.net().gateway.kills = u32::from(*count),
        Step::Acknowledge(acks) => {
            if let Some(terms) = &mut world.net().gateway.delivery {
                terms.acks = *acks;
            }
        }
        Step::AcknowledgeAhead => world.net().gateway.acknowledge_ahead(),
        Step::AcknowledgeBehind => world.net().gateway.acknowledge_behind(),
    }
}
