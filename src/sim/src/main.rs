//! `cargo run -p sim -- SEED` tells the story of one seed; `cargo run --release -p sim -- FIRST..LAST` runs many and counts, with
//! `--first` up to the first that fails.

use sim::{Plan, run, shrink};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: sim SEED | [--first] FIRST..LAST";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let first_only = arguments.first().is_some_and(|a| a == "--first");
    if first_only {
        arguments.remove(0);
    }
    let [wanted] = arguments.as_slice() else { return usage() };
    if let Some((first, last)) = wanted.split_once("..") {
        return match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => many(first, last, first_only),
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

fn many(first: u64, last: u64, first_only: bool) -> ExitCode {
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
                if first_only {
                    return ExitCode::FAILURE;
                }
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
