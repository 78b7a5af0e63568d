//! The scheduler against what nobody has thought of: mutated and hostile CIBs, and the same input again in other processes.
//!
//! Every mutation is made from its own seed. `BASCULE_MUTATIONS` is their number (5,000; with `BASCULE_LONG` 100,000),
//! `BASCULE_SEED` the first seed, `BASCULE_THREADS` the number of threads. A failure prints its seed;
//! `BASCULE_SEED=<seed> BASCULE_MUTATIONS=1` does it again, and with `BASCULE_MINIMISE=<file>` the input is made as small as it can be
//! while it still fails in the same way, and is written there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod determinism;
mod hostile;
mod invariants;
mod minimise;
mod mutate;
#[path = "../support/shared.rs"]
mod shared;

use base::WallTime;
use mutate::Mutator;
use scheduler::simulate::{self, Depth};
use shared::shared;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use xml::Element;

/// No single input may keep the scheduler longer, slightly optimised and on a loaded machine.
const LONGEST: Duration = Duration::from_secs(60);

/// Stack of the threads that drop and compare trees.
const STACK_BYTES: usize = 64 << 20;

/// The moment of inputs that have none of their own.
const NOW: i64 = 1_795_000_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn count() -> u64 {
    let default = if std::env::var_os("BASCULE_LONG").is_some() { 100_000 } else { 5_000 };
    number("BASCULE_MUTATIONS", default)
}

/// Lives of the simulator of which the content goes in.
const LIVES: u64 = 60;

/// Inputs with their names: the project's own, the original's suite where it is at hand, and what the simulator's clusters hold in
/// the middle of their troubles.
fn inputs() -> Vec<(String, Element)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut dirs = vec![root.join("tests/mutation/samples"), root.join("configs/cib"), root.join("configs/demo")];
    dirs.extend(shared("scheduler/cases/xml"));
    let list =
        |dir: &PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let mut files: Vec<PathBuf> =
        dirs.iter().flat_map(list).filter(|p| p.extension().is_some_and(|e| e == "xml")).collect();
    files.sort_by_key(|p| p.file_name().map(|n| n.to_os_string()));
    let read = |path: &PathBuf| {
        let name = path.file_stem()?.to_string_lossy().into_owned();
        Some((name, xml::parse(&std::fs::read_to_string(path).ok()?).ok()?))
    };
    let lived = |seed: u64| {
        let after = Duration::from_millis(3_000 + seed * 400);
        Some((format!("life-{seed}"), sim::run::content(&sim::Plan::from_seed(seed), after)?))
    };
    files.iter().filter_map(read).chain((0..LIVES).filter_map(lived)).collect()
}

/// The time that counts for an input.
fn time_of(cib: &Element) -> WallTime {
    let recorded = cib.attr("execution-date").and_then(|t| t.parse().ok());
    WallTime::from_secs(recorded.filter(|t: &i64| t.abs() < 1 << 40).unwrap_or(NOW))
}

/// Everything that must hold for one input; gives what does not, as kind and details.
fn examine(cib: &Element) -> Result<(), (&'static str, String)> {
    let options = simulate::Options { depth: Depth::Execute, ..Default::default() };
    let now = time_of(cib);
    let began = Instant::now();
    let simulated = match simulate::run(cib.clone(), now, &options) {
        Ok(done) => done,
        Err(e @ scheduler::ScheduleError::Thread(_)) => return Err(("panic", e.to_string())),
        Err(_) => return Ok(()),
    };
    let spent = began.elapsed();
    if spent > LONGEST {
        return Err(("slow", format!("{spent:?}")));
    }
    let cluster = match scheduler::status::read(cib, now) {
        Ok(cluster) => cluster,
        Err(e) => return Err(("status", e.to_string())),
    };
    invariants::check(cib, &cluster, &simulated.graph)
}

/// The same with the parts that cost more: what `explain` and `crm_verify` say of it.
fn examine_more(cib: &Element) -> Result<(), (&'static str, String)> {
    let told = scheduler::explain(cib, time_of(cib));
    if let Err(e @ scheduler::ScheduleError::Thread(_)) = &told {
        return Err(("explain panics", e.to_string()));
    }
    let settled = told.map(|t| t.settled).unwrap_or_default();
    if let Some(wrong) = settled.iter().find(|s| s.node.is_some() && s.sum != Some(s.score)) {
        return Err(("explain", format!("{wrong:?}")));
    }
    let caught = std::panic::catch_unwind(|| cib::schema::verify(cib));
    caught.map(|_| ()).map_err(|_| ("verify panics", String::new()))
}

/// The mutation with this seed: its origin and the mutated tree.
fn mutation(seed: u64, inputs: &[(String, Element)]) -> (String, Element) {
    let mut mutator = Mutator::new(seed);
    let (name, original) = &inputs[mutator.below(inputs.len())];
    let mut cib = original.clone();
    mutator.mutate(&mut cib);
    (name.clone(), cib)
}

#[test]
fn mutated_inputs_give_sound_graphs() {
    let inputs = inputs();
    let (first, count) = (number("BASCULE_SEED", 1), count());
    let threads = number("BASCULE_THREADS", std::thread::available_parallelism().map_or(2, |n| n.get()) as u64);
    let (next, failures) = (AtomicU64::new(0), Mutex::new(BTreeMap::<&str, Vec<(u64, String)>>::new()));
    let began = Instant::now();
    let work = || {
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= count {
                return;
            }
            let seed = first + round;
            let (name, cib) = mutation(seed, &inputs);
            let mut outcome = examine(&cib);
            if outcome.is_ok() && seed.is_multiple_of(8) {
                outcome = examine_more(&cib);
            }
            if let Err((kind, details)) = outcome {
                failures.lock().unwrap().entry(kind).or_default().push((seed, format!("{name}: {details}")));
            }
            if count > 20_000 && round % 10_000 == 9_999 {
                println!("{} mutations, {:?}", round + 1, began.elapsed());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).unwrap();
        }
    });
    println!("{count} mutations of {} inputs from seed {first}: {:?}", inputs.len(), began.elapsed());
    let mut failures = failures.into_inner().unwrap();
    let mut report = String::new();
    for (kind, list) in &mut failures {
        list.sort();
        println!("{kind}: {:?}", list.iter().map(|f| f.0).collect::<Vec<_>>());
        report += &format!("{kind}: {} times\n", list.len());
        for (seed, details) in list.iter().take(10) {
            report += &format!("  BASCULE_SEED={seed} BASCULE_MUTATIONS=1 ({details})\n");
        }
    }
    if let (Some(file), Some((kind, seed))) =
        (std::env::var_os("BASCULE_MINIMISE"), failures.iter().find_map(|(kind, list)| Some((*kind, list.first()?.0))))
    {
        minimise::write(Path::new(&file), mutation(seed, &inputs).1, kind);
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The checks themselves: the original's own graphs hold them all.
#[test]
fn inputs_as_they_are_give_sound_graphs() {
    let mut wrong = String::new();
    for (name, cib) in inputs() {
        if let Err((kind, details)) = examine(&cib) {
            wrong += &format!("{name}: {kind}: {details}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
