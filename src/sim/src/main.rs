//! `cargo run -p sim -- SEED` tells the story of one seed; `cargo run --release -p sim -- FIRST..LAST` runs many and counts.

use sim::{Plan, run, shrink};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: sim SEED | FIRST..LAST";

fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    if let Some((first, last)) = wanted.split_once("..") {
        return match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => many(first, last),
            _ => usage(),
        };
    }
    wanted.parse().map_or_else(|_| usage(), one)
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(64)
}

fn one(seed: u64) -> ExitCode {
    let plan = Plan::from_seed(seed);
    match run::run(&plan) {
        Ok(report) => {
            let (story, _) = run::tell(&plan);
            story.iter().for_each(|line| println!("{line}"));
            println!("seed {seed}: everything held: {report:?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            let (small, how) = shrink::shrink(&plan, &violation);
            let (story, _) = run::tell(&small);
            println!("{:#?}", small.configuration);
            story.iter().for_each(|line| println!("{line}"));
            println!("seed {seed}: {} of {} steps: {how:?}", small.steps.len(), plan.steps.len());
            small.steps.iter().for_each(|s| println!("  {s:?}"));
            ExitCode::FAILURE
        }
    }
}

fn many(first: u64, last: u64) -> ExitCode {
    let begin = Instant::now();
    let (mut node_time, mut events, mut failed) = (Duration::ZERO, 0, 0);
    let mut longest = Duration::ZERO;
    for seed in first..last {
        match run::run(&Plan::from_seed(seed)) {
            Ok(report) => {
                node_time += report.node_time;
                events += report.events;
                longest = longest.max(report.longest_double);
            }
            Err(v) => {
                failed += 1;
                println!("seed {seed}: {}: {}", v.property, v.text);
            }
        }
    }
    let took = begin.elapsed();
    println!(
        "{} seeds, {failed} failed, {:.1} s: {:.0} simulated node-minutes, {:.1} each second, {events} events; an address on two nodes that could be asked for {longest:?} at most",
        last - first,
        took.as_secs_f64(),
        node_time.as_secs_f64() / 60.0,
        node_time.as_secs_f64() / 60.0 / took.as_secs_f64(),
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
