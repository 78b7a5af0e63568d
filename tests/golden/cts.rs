//! Pacemaker's own checks of its command-line tools (`cts-cli`), with ours in place of its tools.
//!
//! The data stays outside: `../shared/pacemaker-cts` has the suite's files (`cts/cli`) and `plan.json`, the list of its steps with
//! the environment of each; `cts/plan.py` tells how both are made. A *section* is what one check puts out, set-up and CIB included.
//! `cts/pending.txt` names the sections that still differ; no other may, and what has come right must be taken out
//! (`BASCULE_CTS_PENDING=<file>` writes the list anew). `BASCULE_CTS_OUT=<folder>` writes what ours put out, filtered, beside what
//! was expected; `BASCULE_CTS_ONLY=<file,…>` runs a part and compares with no list.

mod filter;
mod plan;

use crate::shared::shared;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files of the suite that need what its build installs.
const NEEDS_INSTALLATION: [&str; 1] = ["agents"];

/// One check: how it is called, what it was to put out, what it put out.
struct Section {
    name: String,
    expected: Vec<String>,
    found: Vec<String>,
}

impl Section {
    /// As the suite compares: white space does not count.
    fn same(&self) -> bool {
        bare(&self.expected) == bare(&self.found)
    }
}

fn bare(lines: &[String]) -> Vec<String> {
    lines.iter().map(|l| l.split_whitespace().collect()).collect()
}

#[test]
fn as_the_originals_tools_answer() {
    let Some(dir) = shared("pacemaker-cts") else { return };
    let text = std::fs::read_to_string(dir.join("plan.json")).expect("a plan");
    let files: Vec<plan::File> = plan::read(&text).expect("a plan");
    let only = std::env::var("BASCULE_CTS_ONLY").ok();
    let files: Vec<plan::File> =
        files.into_iter().filter(|f| only.as_deref().is_none_or(|o| o.split(',').any(|n| n == f.name))).collect();
    let results = run_all(&dir, &files);
    print_table(&results);
    if let Some(out) = std::env::var_os("BASCULE_CTS_OUT") {
        results.iter().for_each(|(name, sections)| keep(Path::new(&out), name, sections));
    }
    if only.is_some() {
        return;
    }
    let differing: BTreeSet<String> = results
        .iter()
        .flat_map(|(file, sections)| sections.iter().filter(|s| !s.same()).map(move |s| format!("{file}: {}", s.name)))
        .collect();
    if let Some(path) = std::env::var_os("BASCULE_CTS_PENDING") {
        std::fs::write(path, differing.iter().map(|l| format!("{l}\n")).collect::<String>()).expect("writable");
        return;
    }
    let pending: BTreeSet<String> = include_str!("cts/pending.txt")
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let broken: Vec<&String> = differing.difference(&pending).collect();
    let mended: Vec<&String> = pending.difference(&differing).collect();
    assert!(broken.is_empty() && mended.is_empty(), "no longer as the original: {broken:#?}\ncome right: {mended:#?}");
}

fn run_all(dir: &Path, files: &[plan::File]) -> Vec<(String, Vec<Section>)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, |n| n.get()) {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sections = run(dir, file);
                    results.lock().unwrap().push((file.name.clone(), sections));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(name, _)| files.iter().position(|f| f.name == *name));
    results
}

fn run(dir: &Path, file: &plan::File) -> Vec<Section> {
    let path = dir.join(format!("cts/cli/regression.{}.exp", file.name));
    let expected = split(&std::fs::read_to_string(path).expect("expected output"));
    let found = plan::play(dir, file);
    assert_eq!(expected.len(), found.len(), "{}: as many sections as steps", file.name);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut sections = Vec::new();
    for (expected, (title, found)) in expected.into_iter().zip(found) {
        let mut name = title.clone();
        for n in 2.. {
            if seen.insert(name.clone()) {
                break;
            }
            name = format!("{title} [{n}]");
        }
        let found = filter::steady(found.iter().map(String::as_str));
        sections.push(Section { name, expected: filter::steady(expected.iter().map(String::as_str)), found });
    }
    sections
}

/// Each ends with the line that tells how the check went.
fn split(text: &str) -> Vec<Vec<String>> {
    let mut out = vec![Vec::new()];
    for line in text.lines() {
        let Some(last) = out.last_mut() else { break };
        last.push(line.to_owned());
        if line.starts_with("* Passed: ") || line.starts_with("* Failed ") {
            out.push(Vec::new());
        }
    }
    out.pop();
    out
}

fn print_table(results: &[(String, Vec<Section>)]) {
    let (mut all, mut same, mut exact) = (0, 0, 0);
    println!("{:16} {:>8} {:>10} {:>8}", "file", "checks", "identical", "exactly");
    for (name, sections) in results {
        let identical = sections.iter().filter(|s| s.same()).count();
        let exactly = sections.iter().filter(|s| s.expected == s.found).count();
        println!("{name:16} {:8} {identical:10} {exactly:8}", sections.len());
        if !NEEDS_INSTALLATION.contains(&name.as_str()) {
            (all, same, exact) = (all + sections.len(), same + identical, exact + exactly);
        }
    }
    println!("{same} of {all} identical, white space aside ({exact} with it)");
}

fn keep(out: &Path, name: &str, sections: &[Section]) {
    let text = |pick: fn(&Section) -> &Vec<String>| -> String {
        sections.iter().flat_map(|s| pick(s).iter().map(|l| format!("{}\n", l.trim_end()))).collect()
    };
    std::fs::write(out.join(format!("{name}.expected")), text(|s| &s.expected)).expect("writable");
    std::fs::write(out.join(format!("{name}.found")), text(|s| &s.found)).expect("writable");
    let list: String = sections.iter().filter(|s| !s.same()).map(|s| format!("{}\n", s.name)).collect();
    std::fs::write(out.join(format!("{name}.differ")), list).expect("writable");
}
