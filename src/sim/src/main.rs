//! `cargo run -p sim -- SEED` tells the story of one seed; `cargo run --release -p sim -- FIRST..LAST` runs many and counts, with
//! `--first` up to the first that fails, or with `--digests` tells what each life came to.

use sim::{Plan, run, shrink};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A life is mostly made of small things that come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: sim SEED | [--first | --digests] FIRST..LAST | --help";

const HELP: &str = "
A seed is a plan: which nodes with which configuration, and what is done to them when. The same seed and the same program live
the same life again. One seed tells its story, made as small as it still fails; a range is counted, with --first up to the first
seed that fails. With --digests a line for each seed says how many events it had and the digest of its story and of its verdict:
two programs that print the same have lived the same lives. Exit code 0: every property held.

The speed is that of one core: simulated minutes, added up over all nodes, for each second of processor time that this process
has used, in its program and in the kernel.

How a plan is chosen, in parts of a hundred of all seeds:

   8  calm      disks, clocks, devices, the LAN, one of several links or the arbitrator are in trouble, and nobody may notice:
                no view, no lost message, nothing stopped, started or fenced
   8  loss      one node loses its power while something else starts slowly: its addresses move within a bound
   5  split     the ring breaks in two and an arbitrator decides: exactly one part is quorate
  79  wild      1 to 18 steps of everything: power, kills, pauses, hung tasks, cuts one way or both, weather, disks, wall
                clocks, agents, fence devices, lost addresses, operators

Besides, by chance: 2 to 5 nodes (a quarter has two); 1 to 3 links between each two (60 have more than one), of which single
ones are cut, cut one way, or flap, and which carry datagrams of 1208 to 8928 bytes or any, for a while or for good less (20); in 30 an arbitrator (two of three ffsplit, else lms) that ends, hangs or is not reached; in
30 of the wild ones the nodelist changes by reloads: a machine becomes a node, a node is removed and its machine switched off, and
comes back, by chance with nothing on its disk; older programs on some nodes (15); steps that hurt only together: stops that
fail and moves, writes on slow disks, probes that take long, clocks set while resources move, files changed in a
row, much said while the ring breaks again and again, failures under clocks that are ahead.

Afterwards all trouble ends, and the cluster has to come to rest within 150 s.";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let how = match arguments.first().map(String::as_str) {
        Some("--first") => How::First,
        Some("--digests") => How::Digests,
        _ => How::All,
    };
    if how != How::All {
        arguments.remove(0);
    }
    let [wanted] = arguments.as_slice() else { return usage() };
    if let Some((first, last)) = wanted.split_once("..") {
        return match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if how == How::Digests => digests(first, last),
            (Ok(first), Ok(last)) => many(first, last, how == How::First),
            _ => usage(),
        };
    }
    if how != How::All {
        return usage();
    }
    if wanted == "--help" || wanted == "-h" {
        println!("{USAGE}\n{HELP}");
        return ExitCode::SUCCESS;
    }
    wanted.parse().map_or_else(|_| usage(), one)
}

/// What is wanted of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    All,
    First,
    Digests,
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
    let (took, used) = (begin.elapsed().as_secs_f64(), cpu_seconds());
    let minutes = node_time.as_secs_f64() / 60.0;
    println!(
        "{} seeds, {failed} failed, {took:.1} s: {minutes:.0} simulated node-minutes, {events} events; an address on two nodes that could be asked for {longest:?} at most",
        last - first,
    );
    if let Some(used) = used {
        println!("{used:.1} s of processor time: {:.1} node-minutes each second of one core", minutes / used);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn digests(first: u64, last: u64) -> ExitCode {
    let mut failed = false;
    for seed in first..last {
        let (story, result) = run::tell(&Plan::from_seed(seed));
        let events = result.as_ref().map_or(0, |report| report.events);
        failed |= result.is_err();
        // FNV-1a
        let text =
            story.iter().map(String::as_str).chain([format!("{result:?}").as_str()]).collect::<Vec<_>>().join("\n");
        let digest =
            text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        println!("seed {seed}: {events} events {digest:016x}");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Processor time of all threads of this process, of the program and of the kernel for it (proc(5), `stat`, fields 14 and 15).
fn cpu_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    (ticks > 0.0).then_some(ticks / TICKS_PER_SECOND)
}
