//! The scheduler against every case of the original's suite, in-process: graph, drawing, scores, summary.
//!
//! `scheduler/pending.txt` names what does not pass yet, one case and check per line; all else must pass, and what passes must not
//! be in it (`BASCULE_PENDING_OUT=<file>` writes the list anew; `scheduler/found-pending.txt` and `BASCULE_FOUND_OUT` likewise for what was found by mutation). `BASCULE_CASES=<name,prefix*,…>` runs a part and prints up to `BASCULE_DIFF` differing lines of each check.

mod compare;

use crate::shared::shared;
use base::WallTime;
use compare::{Difference, Expected};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Cases whose recorded run had a time on the command line.
pub const TIMES: &[(&str, &str)] = &[("date-2", "2005-020T12:30"), ("date-3", "2005-020T11:30")];

/// The clock of this machine: cases without a time of their own must not depend on it.
pub fn present() -> WallTime {
    let since = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs());
    WallTime::from_secs(since as i64)
}

/// Cases whose recorded summary has the scores in it.
const WITH_SCORES: &[&str] = &["private-params-with-s"];

type Outcome = Vec<Difference>;

fn run(cases: &Path, name: &str) -> Outcome {
    let text = match std::fs::read_to_string(cases.join(format!("xml/{name}.xml"))) {
        Ok(text) => text,
        Err(e) => return vec![Difference::of("input", &[], &[e.to_string()])],
    };
    let expected = Expected::read(cases, name);
    let work = || {
        let cib = xml::parse(&text).map_err(|e| e.to_string())?;
        let time = TIMES.iter().find(|(n, _)| *n == name).map(|(_, t)| *t);
        let show_scores = WITH_SCORES.contains(&name);
        let options = scheduler::simulate::Options { time: time.map(str::to_owned), show_scores, ..Default::default() };
        let started = std::time::Instant::now();
        let result = scheduler::simulate::run(cib, present(), &options).map_err(|e| e.to_string());
        if started.elapsed().as_millis() > 500 {
            println!("slow: {name} took {:?}", started.elapsed());
        }
        result
    };
    match std::panic::catch_unwind(work) {
        Ok(Ok(got)) => {
            if std::env::var_os("BASCULE_CASES").is_some() {
                got.messages.iter().for_each(|m| println!("{name}: {:?}: {}", m.severity, m.text));
            }
            expected.differences(&got)
        }
        Ok(Err(e)) => vec![Difference::of("error", &[], &[e])],
        Err(_) => vec![Difference::of("panic", &[], &["panicked".to_owned()])],
    }
}

fn run_all(cases: &Path, names: &[String]) -> BTreeMap<String, Outcome> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run(cases, name);
                    results.lock().unwrap().insert(name.clone(), outcome);
                }
            });
        }
    });
    results.into_inner().unwrap()
}

fn families(cases: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(cases.join("families.tsv")).unwrap_or_default();
    let pair = |line: &str| {
        line.split_once('\t').map(|(n, rest)| (n.to_owned(), rest.split('\t').next().unwrap_or("").to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

fn print_table(families: &BTreeMap<String, String>, results: &BTreeMap<String, Outcome>) {
    let mut rows: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (name, outcome) in results {
        for family in [families.get(name).map_or("?", |f| f.as_str()), "~ all"] {
            let row = rows.entry(family).or_default();
            *row.entry("cases").or_default() += 1;
            *row.entry("pass").or_default() += usize::from(outcome.is_empty());
            for check in ["graph", "dot", "scores", "summary"] {
                let bad = outcome.iter().any(|d| d.check == check || d.check == "panic" || d.check == "error");
                *row.entry(check).or_default() += usize::from(!bad);
            }
        }
    }
    let columns = ["cases", "pass", "graph", "dot", "scores", "summary"];
    println!("{:16} {}", "family", columns.map(|c| format!("{c:>8}")).concat());
    for (family, row) in rows {
        println!("{family:16} {}", columns.map(|c| format!("{:8}", row[c])).concat());
    }
}

#[test]
fn as_the_original_schedules() {
    let Some(cases) = shared("scheduler/cases") else { return };
    hold(&cases, include_str!("scheduler/pending.txt"), "BASCULE_PENDING_OUT");
}

/// Inputs made by mutation and by probes, with what the original put out.
#[test]
fn as_the_original_schedules_what_was_found() {
    let Some(cases) = shared("scheduler/found") else { return };
    hold(&cases, include_str!("scheduler/found-pending.txt"), "BASCULE_FOUND_OUT");
}

/// Holds all cases of a folder against what the original put out, but for the pending ones.
fn hold(cases: &Path, pending: &str, list_into: &str) {
    let filter = std::env::var("BASCULE_CASES").ok();
    let asked = |name: &str| {
        filter.as_deref().is_none_or(|f| {
            f.split(',').any(|part| match part.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == part,
            })
        })
    };
    let limit: usize = std::env::var("BASCULE_DIFF").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let mut names: Vec<String> = std::fs::read_dir(cases.join("xml"))
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str()?.strip_suffix(".xml").map(str::to_owned))
        .filter(|n| asked(n))
        .collect();
    names.sort();
    let started = std::time::Instant::now();
    let results = run_all(cases, &names);
    let elapsed = started.elapsed();
    print_table(&families(cases), &results);
    println!("{} of {} pass, {elapsed:?}", results.values().filter(|r| r.is_empty()).count(), results.len());
    if filter.is_some() {
        for (name, outcome) in &results {
            outcome.iter().for_each(|d| println!("{name}: {}", d.text(limit)));
        }
        return;
    }
    let failing: BTreeSet<String> =
        results.iter().flat_map(|(n, r)| r.iter().map(move |d| format!("{n} {}", d.check))).collect();
    if let Some(path) = std::env::var_os(list_into) {
        std::fs::write(path, failing.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
        return;
    }
    let pending: BTreeSet<String> =
        pending.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned).collect();
    let broken: Vec<&String> = failing.difference(&pending).collect();
    let explain = |line: &str| {
        let (name, check) = line.split_once(' ').unwrap_or((line, ""));
        let found = results.get(name).into_iter().flatten().find(|d| d.check == check);
        format!("{name}: {}", found.map(|d| d.text(limit)).unwrap_or_default())
    };
    let details: String = broken.iter().take(20).map(|l| explain(l)).collect();
    assert!(broken.is_empty(), "{} checks no longer pass:\n{details}", broken.len());
    let mended: Vec<&String> = pending.difference(&failing).collect();
    assert!(
        mended.is_empty(),
        "these pass now, take them out of the list of pending ones: {} such as {:?}",
        mended.len(),
        mended.iter().take(5).collect::<Vec<_>>()
    );
}

/// What the original refuses, and how it ends. Where it crashed, ours must only live.
#[test]
fn what_the_original_refuses_is_refused() {
    let Some(folder) = shared("scheduler/found/reject") else { return };
    let table = std::fs::read_to_string(folder.join("expected.tsv")).expect("a table");
    let mut wrong = String::new();
    let mut count = 0;
    for line in table.lines() {
        let mut columns = line.split('\t');
        let (Some(name), Some(code)) = (columns.next(), columns.next().and_then(|c| c.strip_prefix("oracle rc ")))
        else {
            continue;
        };
        let run = |args: &[&str]| {
            let file = folder.join(format!("{name}.xml"));
            let program = env!("CARGO_BIN_EXE_bascule");
            std::process::Command::new(program).args(args).arg(&file).output().expect("runs").status.code()
        };
        count += 1;
        let simulated = run(&["crm_simulate", "-S", "-x"]);
        let expected: Option<i32> = code.parse().ok().filter(|c| *c >= 0);
        if simulated.is_none() || expected.is_some_and(|c| simulated != Some(c)) {
            wrong += &format!("{name}: crm_simulate ends with {simulated:?}, the original with {code}\n");
        }
        if expected == Some(78) && run(&["crm_verify", "-x"]) != Some(78) {
            wrong += &format!("{name}: crm_verify takes it\n");
        }
    }
    println!("{count} documents");
    assert!(count > 0 && wrong.is_empty(), "{wrong}");
}
