//! Random lives of clusters of 2 to 5 nodes; each follows from its seed. `BASCULE_SEEDS=N` runs N of them, `BASCULE_SEED=S`
//! only the one.
use crate::harness::Cluster;
use base::NodeId;
use std::time::Duration;
use totem::Timing;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    match number("BASCULE_SEED") {
        Some(one) => vec![one],
        None => (0..number("BASCULE_SEEDS").unwrap_or(300)).collect(),
    }
}

fn pick(c: &mut Cluster, from: &[NodeId]) -> Option<NodeId> {
    let i = c.rng.below(from.len() as u64) as usize;
    from.get(i).copied()
}

fn trouble(c: &mut Cluster) {
    let (all, up) = (c.ids(), c.running());
    let down: Vec<NodeId> = all.iter().copied().filter(|n| !up.contains(n)).collect();
    match c.rng.below(12) {
        0 | 1 => {
            let mask = c.rng.next();
            let side: Vec<NodeId> = all.iter().copied().filter(|n| mask >> n.0 & 1 == 1).collect();
            c.partition(&side);
        }
        2 | 3 => c.heal(),
        4 if up.len() > 1 => {
            if let Some(n) = pick(c, &up) {
                c.crash(n);
            }
        }
        5 | 6 => {
            if let Some(n) = pick(c, &down) {
                c.start(n);
            }
        }
        7 => {
            if let Some(n) = pick(c, &up) {
                let ms = 20 + c.rng.below(900);
                if c.rng.chance(50.0) { c.pause(n, ms) } else { c.freeze(n, ms) }
            }
        }
        8 => {
            if let (Some(a), Some(b)) = (pick(c, &all), pick(c, &all)) {
                c.cut_one_way(a, b);
            }
        }
        9 if up.len() > 1 => {
            if let Some(n) = pick(c, &up) {
                c.leave(n);
            }
        }
        10 => c.loss = [0.0, 1.0, 5.0, 15.0, 30.0][c.rng.below(5) as usize],
        11 => {
            c.duplicate = [0.0, 2.0, 20.0][c.rng.below(3) as usize];
            c.delay = [(50, 20), (100, 2000), (2000, 500), (10, 8000)][c.rng.below(4) as usize];
        }
        _ => {}
    }
}

/// Troubles with time between them to settle.
fn calm(c: &mut Cluster) {
    for _ in 0..25 {
        trouble(c);
        for _ in 0..c.rng.below(30) {
            let up = c.running();
            if let Some(n) = pick(c, &up) {
                let size = if c.rng.chance(5.0) { c.rng.below(40_000) } else { c.rng.below(200) };
                c.broadcast(n, size as usize);
            }
            let us = c.rng.below(20_000);
            c.run_until(c.now + Duration::from_micros(us));
        }
        let ms = c.rng.below(600);
        c.run_ms(ms);
    }
}

/// Everybody talks all the time, and the next trouble comes while the last one is being dealt with.
fn storm(c: &mut Cluster) {
    for _ in 0..60 {
        trouble(c);
        for _ in 0..c.rng.below(60) {
            for n in c.running() {
                let size = if c.rng.chance(5.0) { c.rng.below(10_000) } else { c.rng.below(200) };
                c.broadcast(n, size as usize);
            }
            let us = c.rng.below(1500);
            c.run_until(c.now + Duration::from_micros(us));
        }
    }
}

/// Five times as quick as the default, so that more happens.
fn quick() -> Timing {
    let f = Timing::fast();
    Timing {
        heartbeat: f.heartbeat / 5,
        grace: f.grace.map(|g| g / 5),
        suspect: f.suspect / 5,
        link_down: f.link_down / 5,
        token: f.token / 5,
        token_retransmit: f.token_retransmit / 5,
        hold: f.hold / 5,
        join: f.join / 5,
        consensus: f.consensus / 5,
        commit: f.commit / 5,
        start_wait: f.start_wait / 5,
        backoff: f.backoff / 5,
        backoff_max: f.backoff_max / 5,
        trust_link_errors: true,
    }
}

fn live(seed: u64) {
    let mut c = Cluster::new(seed);
    let n = 2 + c.rng.below(4) as u32;
    c.links = 1 + c.rng.below(2) as u8;
    let stormy = seed % 2 == 1;
    if stormy {
        c.timing = quick();
    }
    c.declare(n);
    for i in 1..=n {
        c.start(NodeId(i));
        let ms = c.rng.below(400);
        c.run_ms(ms);
    }
    if stormy {
        storm(&mut c)
    } else {
        calm(&mut c)
    }
    c.check();
    // Then everything heals, and everybody must find together and have all that is theirs.
    c.heal();
    (c.loss, c.duplicate, c.delay) = (0.0, 0.0, (100, 100));
    for id in c.ids() {
        if !c.running().contains(&id) {
            c.start(id);
        }
    }
    // The last pause is over by then.
    c.run_ms(1000);
    let all = c.ids();
    let took = c.run_until_true(30_000, |c| c.in_one_view(&all));
    assert!(took.is_some(), "no common view: {:?}", c.members());
    let ids: Vec<_> = all.iter().map(|n| c.broadcast(*n, 10).unwrap()).collect();
    c.run_ms(1000);
    for n in &all {
        let got: Vec<_> = c.life(*n).delivered().map(|(id, _)| *id).filter(|id| ids.contains(id)).collect();
        if got.len() != ids.len() {
            let mut all: Vec<_> =
                c.lives.iter().flat_map(|l| l.log.iter().map(move |(t, e)| (*t, l.node, e))).collect();
            all.sort_by_key(|x| x.0);
            let from = c.now - Duration::from_millis(3500);
            all.iter()
                .filter(|x| x.0 > from && !matches!(x.2, crate::harness::Entry::Safe { .. }))
                .for_each(|(t, n, e)| eprintln!("{} {n} {e:?}", t.0));
        }
        assert_eq!(got.len(), ids.len(), "{n} did not get all of the last messages");
    }
    c.check();
    c.check_self_delivery();
}

#[test]
fn random_lives_keep_the_promises() {
    for seed in seeds() {
        let result = std::panic::catch_unwind(|| live(seed));
        if let Err(why) = result {
            eprintln!("seed {seed} fails; BASCULE_SEED={seed} runs it alone");
            std::panic::resume_unwind(why);
        }
    }
}
