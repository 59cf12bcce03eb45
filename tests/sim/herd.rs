//! A crowd that loses its server at once, and what the defaults make of it: the model of the bench, with a smaller crowd.

#[path = "../bench/herd/crowd.rs"]
mod crowd;
#[path = "../bench/herd/ours.rs"]
mod ours;

use crate::gateway::Gateway;
use crate::line::{Line, Seen};
use crate::notation::{Stage, input};
use crate::world::World;
use crowd::{IDEAL_MS, Outcome, disperse};
use moorline::Signal;
use ours::{Moored, WAYS};

const CROWD: u32 = 8000;

/// What may be seen of a bound where so few are drawn.
fn noisy(bound: f64) -> f64 {
    bound + 4.0 * (bound / f64::from(CROWD)).sqrt()
}

fn outcomes(told: bool) -> impl Iterator<Item = (String, Outcome)> {
    WAYS.iter().filter(move |(_, way, held)| *held && way.is_told() == told).flat_map(|(title, way, _)| {
        let read = way.into();
        [0, 30_000, 300_000].map(|outage_ms| {
            let outcome = disperse(CROWD, outage_ms, 1, |seed| Moored::new(&read, seed));
            (format!("{title}, gone for {outage_ms} ms: {outcome:?}"), outcome)
        })
    })
}

#[test]
fn a_crowd_without_a_word_is_spread_soon_back_and_complete() {
    let mut crowds = 0;
    for (what, Outcome { lone_ms, peak, back_ms, refused, gave_up, .. }) in outcomes(false) {
        assert!(peak <= noisy(0.04), "{what}");
        assert!((1900..=2100).contains(&lone_ms), "{what}");
        assert!(back_ms.is_some_and(|ms| ms as f64 <= IDEAL_MS * 1.25), "{what}");
        assert!(refused > 1.0, "there was a crowd: {what}");
        assert!(gave_up == 0.0, "{what}");
        crowds += 1;
    }
    assert_eq!(crowds, 3);
}

#[test]
fn a_crowd_with_the_servers_word_is_spread_over_it_however_long_the_server_stays_away() {
    let mut crowds = 0;
    for (what, Outcome { peak, back_ms, refused, gave_up, .. }) in outcomes(true) {
        assert!(peak <= noisy(0.0025), "{what}");
        assert!(back_ms.is_some_and(|ms| ms as f64 <= IDEAL_MS * 1.25), "{what}");
        assert!(refused < 7.0, "{what}");
        assert!(gave_up == 0.0, "{what}");
        crowds += 1;
    }
    assert_eq!(crowds, 9);
}

#[test]
fn a_network_that_is_back_does_not_bring_its_crowd_back_in_one_wave() {
    let mut tenths = [0; 40];
    let lines = 2000;
    for seed in 0..lines {
        let mut world = World::seeded("{}", Gateway::default(), seed);
        world.connect();
        world.run(1000);
        world.net().plan.refuses = true;
        world.cut();
        world.run(30_000);
        let asked = world.now();
        world.signal(Signal::Online);
        let due = world.line.client.next_attempt().map_or(asked, |due| due.as_millis());
        tenths[(due - asked) as usize / 100] += 1;
    }
    let most = tenths.iter().max().copied().unwrap_or(lines);
    assert!(most <= lines * 6 / 100, "{tenths:?}");
}

#[test]
fn a_crowd_that_is_told_to_move_moves_spread_also_where_no_time_is_told() {
    for (told, within) in
        [(r#"{"type":"gateway-moving","withinMs":20000}"#, 10_000), (r#"{"type":"gateway-moving"}"#, 50_000)]
    {
        let mut fifths = [0; 5];
        for seed in 0..200 {
            let mut line = Line::new("{}", seed, Stage::storing(None));
            for said in [
                "connect",
                "opened #1",
                r#"received #1 {"type":"gateway-offer","delivery":{"epoch":"e1","window":8}}"#,
                r#"received #1 {"type":"session-init","token":"t1","clientId":"c1","seq":0}"#,
                &format!("received #1 {told}"),
            ] {
                let _ = input(&mut line, said).expect("an input");
            }
            while !line.seen.iter().any(|(_, seen)| matches!(seen, Seen::Open(2, _))) {
                line.now = line.due.expect("it will move");
                line.ring();
            }
            assert!(line.now < within, "{told}: {}", line.now);
            fifths[(line.now * 5 / within) as usize] += 1;
        }
        assert!(fifths.iter().all(|fifth| (20..=60).contains(fifth)), "{told}: {fifths:?}");
    }
}
