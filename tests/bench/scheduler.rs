//! Speed and memory of the scheduler. The original is not run here: its figures are those that the README beside the suite's
//! data gives for one 2-core machine, and every ratio is against them.
//!
//! `cargo bench --bench scheduler [-- WORD]`: only what has the word in its name: suite process large simulate growth.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

#[path = "../support/shared.rs"]
mod shared;

use base::WallTime;
use nix::sys::resource::{UsageWho, getrusage};
use scheduler::simulate::{self, Depth};
use shared::shared;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bascule");

/// The original's figures: milliseconds for a case in-process, and for a whole process.
const CASE_MS: f64 = 2.5;
const PROCESS_MS: f64 = 117.0;

/// Name, arguments of the generator, the original's seconds and megabytes.
const LARGE: [(&str, &str, f64, f64); 5] = [
    ("16 nodes, 500 primitives", "--nodes 16 --prims 500", 2.2, 138.0),
    (
        "32 nodes, 2000 primitives, groups, colocations, orders",
        "--nodes 32 --prims 2000 --groups 100 --group-size 10 --colo 200 --order 200",
        161.0,
        854.0,
    ),
    ("32 / 2000, all active, one node unclean", "--nodes 32 --prims 2000 --state full", 11.6, 1050.0),
    ("4 + 96 remote, 1000, all active", "--nodes 4 --remotes 96 --prims 1000 --state full", 12.5, 1400.0),
    ("4 + 96 remote, 5000 (260 MB), all active", "--nodes 4 --remotes 96 --prims 5000 --state full", 201.0, 7100.0),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--measure", command)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return measure(command);
    }
    let word = args.iter().find(|a| !a.starts_with('-'));
    let parts: [(&str, fn()); 5] =
        [("suite", suite), ("process", process), ("large", large), ("simulate", simulated), ("growth", growth)];
    for (name, run) in parts {
        if word.is_none_or(|w| name.contains(w.as_str())) {
            run();
        }
    }
}

/// Runs a command in a process of its own, so that the largest child is the only one; prints seconds and kilobytes.
fn measure(command: &[String]) {
    let (program, args) = command.split_first().unwrap();
    let began = Instant::now();
    let done = Command::new(program).args(args).stdout(std::process::Stdio::null()).status().unwrap();
    let spent = began.elapsed().as_secs_f64();
    assert!(done.success(), "{command:?}: {done}");
    println!("{spent} {}", getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss());
}

fn measured(command: &[&str]) -> (f64, f64) {
    let out = Command::new(std::env::current_exe().unwrap()).arg("--measure").args(command).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (seconds, kilobytes) = text.trim().split_once(' ').unwrap_or_else(|| panic!("{out:?}"));
    (seconds.parse().unwrap(), kilobytes.parse::<f64>().unwrap() / 1024.0)
}

fn suite() {
    let Some(cases) = shared("scheduler/cases/xml") else { return };
    let files: Vec<PathBuf> = std::fs::read_dir(cases).unwrap().map(|e| e.unwrap().path()).collect();
    let texts: Vec<String> = files.iter().map(|f| std::fs::read_to_string(f).unwrap()).collect();
    let options = simulate::Options { depth: Depth::Decide, ..Default::default() };
    let began = Instant::now();
    for text in &texts {
        simulate::run(xml::parse(text).unwrap(), WallTime::from_secs(1_795_000_000), &options).unwrap();
    }
    let ms = began.elapsed().as_secs_f64() * 1000.0;
    let each = ms / texts.len() as f64;
    println!(
        "suite: {} cases in-process {ms:.0} ms, {each:.2} ms each ({:.1} times the original's speed)",
        texts.len(),
        CASE_MS / each
    );
}

fn process() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutation/samples/directors.xml");
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let began = Instant::now();
            assert!(
                Command::new(PROGRAM)
                    .args(["crm_simulate", "-S", "-x"])
                    .arg(&sample)
                    .output()
                    .unwrap()
                    .status
                    .success()
            );
            began.elapsed()
        })
        .collect();
    times.sort();
    let median = times[25].as_secs_f64() * 1000.0;
    println!(
        "process: a whole process on a small case {median:.1} ms ({:.1} times the original's speed)",
        PROCESS_MS / median
    );
}

/// Makes the input; `None` where the generator is not at hand.
fn generate(dir: &Path, args: &str) -> Option<PathBuf> {
    let generator = shared("scheduler/synth/gen.py")?;
    let file = dir.join("cib.xml");
    assert!(Command::new("python3").arg(generator).arg(&file).args(args.split(' ')).output().unwrap().status.success());
    Some(file)
}

fn large() {
    let dir = tempfile::tempdir().unwrap();
    let graph = dir.path().join("graph.xml");
    for (name, args, seconds, megabytes) in LARGE {
        let Some(file) = generate(dir.path(), args) else { return };
        let command = [PROGRAM, "crm_simulate", "-x", file.to_str().unwrap(), "-G", graph.to_str().unwrap()];
        let (s, mb) = measured(&command);
        println!(
            "large: {name}: {s:.2} s, {mb:.0} MB ({:.1} times the original's speed, 1/{:.1} of its memory)",
            seconds / s,
            megabytes / mb
        );
    }
}

fn simulated() {
    let dir = tempfile::tempdir().unwrap();
    let Some(file) = generate(dir.path(), LARGE[0].1) else { return };
    let (s, mb) = measured(&[PROGRAM, "crm_simulate", "-S", "-x", file.to_str().unwrap()]);
    println!("simulate: -S at {}: {s:.2} s, {mb:.0} MB ({:.0} times the original's speed)", LARGE[0].0, 341.0 / s);
}

/// Independent resources on 8 nodes: nothing worse than n log n.
fn growth() {
    let options = simulate::Options { depth: Depth::Decide, ..Default::default() };
    for n in [100usize, 300, 1_000, 3_000, 10_000] {
        let cib = xml::parse(&independent(n)).unwrap();
        let began = Instant::now();
        let done = simulate::run(cib, WallTime::from_secs(1_795_000_000), &options).unwrap();
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        let unit = ms * 1000.0 / (n as f64 * (n as f64).log2());
        println!("growth: {n:6} resources {ms:9.1} ms, {unit:.2} µs per n log n, {} actions", done.graph.actions.len());
    }
}

fn independent(n: usize) -> String {
    let state = |i| {
        format!("<node_state id=\"{i}\" uname=\"n{i}\" in_ccm=\"1\" crmd=\"1\" join=\"member\" expected=\"member\"/>")
    };
    let nodes: String = (1..9).map(|i| format!("<node id=\"{i}\" uname=\"n{i}\"/>")).collect();
    let resources: String = (0..n)
        .map(|i| {
            format!(
                "<primitive id=\"r{i}\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"><operations>\
                 <op id=\"m{i}\" name=\"monitor\" interval=\"10s\"/></operations></primitive>"
            )
        })
        .collect();
    format!(
        "<cib crm_feature_set=\"3.19.0\" validate-with=\"pacemaker-3.9\" have-quorum=\"1\" dc-uuid=\"1\"><configuration><crm_config>\
         <cluster_property_set id=\"o\"><nvpair id=\"f\" name=\"fencing-enabled\" value=\"false\"/></cluster_property_set></crm_config>\
         <nodes>{nodes}</nodes><resources>{resources}</resources><constraints/></configuration><status>{}</status></cib>",
        (1..9).map(state).collect::<String>()
    )
}
