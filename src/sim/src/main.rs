//! `cargo run -p sim -- SEED` tells the story of one seed; `cargo run --release -p sim -- FIRST..LAST` runs many and counts, with
//! `--first` up to the first that fails.

use sim::{Plan, run, shrink};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "usage: sim SEED | [--first] FIRST..LAST | --help";

const HELP: &str = "
A seed is a plan: which nodes with which configuration, and what is done to them when. The same seed and the same program live
the same life again. One seed tells its story, made as small as it still fails; a range is counted, with --first up to the first
seed that fails. Exit code 0: every property held.

How a plan is chosen, in parts of a hundred of all seeds:

   8  calm      disks, clocks, devices, the LAN, one of several links or the arbitrator are in trouble, and nobody may notice:
                no view, no lost message, nothing stopped, started or fenced
   8  loss      one node loses its power while something else starts slowly: its addresses move within a bound
   5  split     the ring breaks in two and an arbitrator decides: exactly one part is quorate
  79  wild      1 to 18 steps of everything: power, kills, pauses, hung tasks, cuts one way or both, weather, disks, wall
                clocks, agents, fence devices, lost addresses, operators

Besides, by chance: 2 to 5 nodes (a quarter has two); 1 to 3 links between each two (60 have more than one), of which single
ones are cut, cut one way, or flap; in 30 an arbitrator (two of three ffsplit, else lms) that ends, hangs or is not reached; in
30 of the wild ones the nodelist changes by reloads: a machine becomes a node, a node is removed and its machine switched off, and
comes back, by chance with nothing on its disk; older programs on some nodes (15); steps that hurt only together: stops that
fail and moves, writes on slow disks, probes that take long, clocks set while resources move, files changed in a
row, much said while the ring breaks again and again, failures under clocks that are ahead.

Afterwards all trouble ends, and the cluster has to come to rest within 150 s.";

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
    if wanted == "--help" || wanted == "-h" {
        println!("{USAGE}\n{HELP}");
        return ExitCode::SUCCESS;
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
