//! Two peers, many seeds, random faults: the client and a gateway over a link on which everything goes wrong that can,
//! and then everything heals. What must hold is in invariants.rs; the seed is in the message of what fails.

use crate::gateway::{Gateway, Greet};
use crate::invariants::check_run;
use crate::line::Ask;
use crate::world::{Provider, Storage, World, chat};
use moorline::Signal;
use moorline::backoff::Chance;
use moorline::outbox::Delivery;
use moorline::session::Stored;
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SEEDS: u64 = 300;

fn pick<T: Copy>(chance: &mut Chance, of: &[T]) -> T {
    of[chance.below(of.len() as f64) as usize]
}

fn one_in(chance: &mut Chance, count: u32) -> bool {
    chance.below(f64::from(count)) == 0
}

fn gateway(chance: &mut Chance) -> Gateway {
    let gateway = Gateway {
        greet: pick(chance, &[Greet::AtOnce, Greet::After(0), Greet::After(150), Greet::After(400)]),
        offers: one_in(chance, 2),
        confirms: one_in(chance, 2),
        answers_probes: !one_in(chance, 8),
        echoes: one_in(chance, 2),
        snapshots: one_in(chance, 2),
        ..Gateway::default()
    };
    if one_in(chance, 2) { gateway.knowing("kept", "c0") } else { gateway }
}

fn options(chance: &mut Chance, answers_probes: bool) -> String {
    let mut options = json!({
        "reconnect": {"baseDelayMs": pick(chance, &[1, 200, 4000]), "stableMs": pick(chance, &[0, 5000])},
        "queue": {
            "maxMessages": pick(chance, &[4, 30, 1000]),
            "maxBytes": pick(chance, &[300, 1_000_000]),
            "overflow": pick(chance, &["reject", "drop-oldest", "drop-newest"]),
        },
    });
    // Against a gateway that says nothing and cannot be asked, this would mean what it says: the silence is the end.
    if answers_probes && one_in(chance, 2) {
        options["heartbeat"]["idleMs"] = json!(pick(chance, &[500, 3000]));
    }
    if one_in(chance, 3) {
        options["connectTimeoutMs"] = json!(pick(chance, &[100, 900]));
    }
    if one_in(chance, 2) {
        options["hidden"] = json!(pick(chance, &["slow", "park"]));
        options["hiddenAfterMs"] = json!(pick(chance, &[0, 400, 3000]));
    }
    options.to_string()
}

/// A message whose text is its id, as a page would send it.
fn message(chance: &mut Chance, id: u32) -> Ask {
    let padding = "x".repeat(chance.below(40.0) as usize);
    let delivery = match chance.below(6.0) {
        0 => Delivery::Drop,
        1 => Delivery::Latest(pick(chance, &["a", "b"]).into()),
        _ => Delivery::Queue,
    };
    let ttl_ms = one_in(chance, 4).then(|| chance.below(5000.0) as f64);
    Ask::Send { text: chat(&format!("m{id} {padding}")), delivery, ttl_ms }
}

fn page_does(world: &mut World, chance: &mut Chance) {
    match chance.below(12.0) {
        0 => world.connect(),
        1 if one_in(chance, 3) => world.disconnect(),
        2 => {
            let event =
                pick(chance, &["ws-connected", "ws-disconnected", "session-init", "ws-reconnecting", "ws-error"]);
            let ask = if one_in(chance, 3) { Ask::Disconnect } else { Ask::Connect };
            world.when(event, &[ask]);
        }
        _ => {
            for _ in 0..=chance.below(4.0) {
                let ask = message(chance, world.line.next_message);
                // A full queue may refuse.
                let _ = world.line.ask(ask);
            }
        }
    }
}

fn network_does(world: &mut World, chance: &mut Chance) {
    match chance.below(16.0) {
        0 => world.stall(),
        1..=3 => world.heal(),
        4 => world.cut(),
        5 => world.lose_the_other_end(),
        6 => {
            let code = pick(chance, &[1000, 1001, 1006, 1011, 1012, 1013, 4000, 4401, 4429, 1008]);
            world.gateway_closes(code);
        }
        7 => world.net().plan.refuses = one_in(chance, 2),
        8 => world.net().plan.kernel = pick(chance, &[1, 40, 200, 1 << 20]),
        9 => {
            world.net().plan.provider =
                pick(chance, &[Provider::None, Provider::After(30), Provider::Fails, Provider::Hangs]);
        }
        10 => world.gateway_says(&json!({"type": "server-advice", "retryAfterMs": chance.below(3000.0)})),
        11 => world.gateway_says(&json!({"type": "player-joined", "id": "p"})),
        12 => world.net().gateway.forget_all_tokens(),
        13 => world.net().plan.takes = pick(chance, &[None, Some(0), Some(2)]),
        _ => world.signal(pick(
            chance,
            &[
                Signal::Online,
                Signal::Offline,
                Signal::Visible,
                Signal::Hidden,
                Signal::Restored,
                Signal::Resumed,
                Signal::Woke,
                Signal::PutAway,
            ],
        )),
    }
}

fn storm(seed: u64) {
    let chance = &mut Chance::new(seed);
    let gateway = gateway(chance);
    let options = options(chance, gateway.offers);
    let mut world = World::seeded(&options, gateway, seed);
    world.net().plan.latency = pick(chance, &[(0, 0), (20, 20), (5, 400)]);
    world.net().storage = match chance.below(4.0) {
        0 => Storage::Denied,
        1 => Storage::Silent,
        2 => Storage::Holds(Stored {
            token: Some("kept".into()),
            client_id: Some("c0".into()),
            age_ms: Some(5.0),
            cursor: None,
        }),
        _ => Storage::Empty,
    };
    world.connect();
    for _ in 0..120 {
        if one_in(chance, 3) {
            network_does(&mut world, chance);
        } else {
            page_does(&mut world, chance);
        }
        let pause = pick(chance, &[0, 1, 30, 200, 1500]);
        if one_in(chance, 20) {
            world.run_throttled(pause * 20);
        } else {
            world.run(pause);
        }
    }
    // Everything heals, and the page asks once more.
    world.net().reactions.clear();
    world.net().plan.latency = (5, 5);
    world.net().gateway.greet = Greet::After(20);
    world.net().plan.refuses = false;
    world.net().plan.takes = None;
    world.net().plan.kernel = 1 << 20;
    world.net().plan.provider = Provider::None;
    world.net().gateway.answers_probes = true;
    world.heal();
    // A path that is half gone is noticed only where somebody listens for silence: otherwise it needs an end.
    world.cut();
    world.signal(Signal::Visible);
    world.connect();
    world.run(45_000);
    world.connect();
    world.run(45_000);
    if std::env::var_os("SEED").is_some() {
        eprintln!("{options}\n{}", world.recording());
    }
    assert_eq!(world.line.client.queue().0, 0, "everything went out in the end");
    assert_eq!(world.line.client.status(), moorline::Status::Connected);
    check_run(&world);
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_in_silence_doubled_or_reordered() {
    let mut failed = Vec::new();
    // `SEED=7 cargo test storm` runs one, and prints what was seen.
    let one = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        if catch_unwind(AssertUnwindSafe(|| storm(seed))).is_err() {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?}");
}
