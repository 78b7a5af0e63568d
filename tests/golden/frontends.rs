//! Recorded sessions of the originals' `pcs` and `crm` (`../shared/frontends`), replayed on ours, line by line.
//!
//! `tests/golden/frontends/SUITE.txt` names the lines that still differ, with how and why: `text` where exit status, CIB and files
//! are the same, `BAD` else. No other line may differ, none may differ more than it says, and what has come right must be taken
//! out. `BASCULE_FRONTENDS_OUT=<folder>` writes the lists anew, with the reasons that stand in them; read the difference before
//! committing it.

use crate::shared::shared;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const SUITES: [(&str, &str); 3] = [("pcs", "pcs"), ("crm", "crm"), ("crm-upstream", "crm")];
/// Agents whose documents the sessions are about.
const AGENTS: [&str; 3] = [
    "/usr/lib/ocf/resource.d/pacemaker/Dummy",
    "/usr/lib/ocf/resource.d/heartbeat/ldirectord",
    "/usr/sbin/fence_ipmilan",
];

/// A line that differs.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    bad: bool,
    command: String,
    reason: String,
}

type Differences = BTreeMap<String, Difference>;

#[test]
fn the_originals_sessions_go_as_recorded() {
    let Some(dir) = shared("frontends") else { return };
    if let Some(absent) = AGENTS.iter().find(|a| !Path::new(a).exists()) {
        println!("SKIPPED: {absent} is missing (resource-agents, pacemaker-resource-agents, fence-agents)");
        return;
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frontends");
    let mut wrong = String::new();
    for (suite, command) in SUITES {
        let (mut found, summary) = replay(&dir, suite, command);
        println!("{suite}: {summary}");
        let text = std::fs::read_to_string(own.join(format!("{suite}.txt"))).expect("a list");
        let known = read(&text);
        if let Some(out) = std::env::var_os("BASCULE_FRONTENDS_OUT") {
            // A reason that somebody wrote stays as long as the line differs as much.
            for (place, d) in &mut found {
                let told = known.get(place).filter(|k| k.bad == d.bad);
                told.into_iter().for_each(|k| d.reason.clone_from(&k.reason));
            }
            std::fs::write(Path::new(&out).join(format!("{suite}.txt")), written(&found)).expect("writable");
            continue;
        }
        for (place, d) in &found {
            match known.get(place) {
                None => wrong += &format!("{suite} {place}: differs now: {}: {}\n", d.command, d.reason),
                Some(k) if d.bad && !k.bad => wrong += &format!("{suite} {place}: differs more now: {}\n", d.command),
                Some(_) => {}
            }
        }
        for (place, k) in known.iter().filter(|(place, k)| found.get(*place).is_none_or(|d| k.bad && !d.bad)) {
            wrong += &format!("{suite} {place}: has come right, take it out: {}\n", k.command);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn replay(dir: &Path, suite: &str, command: &str) -> (Differences, String) {
    let out = tempfile::NamedTempFile::new().expect("a file");
    let run = Command::new("python3")
        .arg(dir.join("compare.py"))
        .args(["run", suite, env!("CARGO_BIN_EXE_bascule"), command, "--", "--json"])
        .arg(out.path())
        .current_dir(dir)
        .env_remove("BASCULE_COMPAT")
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(out.path()).expect("results");
    let lines: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Differences::new();
    for line in &lines {
        let session = line["session"].as_str().unwrap_or_default().trim_end_matches(".session").to_owned();
        let number = numbers.entry(session.clone()).or_default();
        *number += 1;
        let verdict = line["verdict"].as_str().unwrap_or_default();
        if verdict != "OK" {
            let command = line["cmd"].as_str().unwrap_or_default().to_owned();
            let d = Difference { bad: verdict == "BAD", command, reason: reason(line) };
            found.insert(format!("{session}:{number:03}"), d);
        }
    }
    let summary = said.lines().find(|l| l.contains(" sessions (")).unwrap_or_default().to_owned();
    (found, summary)
}

/// Why a line differs, as far as its output tells.
fn reason(line: &serde_json::Value) -> String {
    let text = |what: &str, at: usize| line[what][at].as_str().unwrap_or_default();
    let (wanted, got) = (text("err", 0), text("err", 1));
    let missing = [
        "unknown command",
        "No such command",
        "do not fit the command",
        "is not supported in this command",
        "no option '",
    ];
    let ours = ["is not part of Bascule", "on every node"];
    if line["verdict"] != "BAD" {
        return match () {
            () if wanted.contains("Usage:") || wanted.contains("usage:") => "the text of usage is our own",
            () if got.contains("stonith:ssh: got no") || got.contains("stonith:null: got no") => {
                "the device is cluster-glue's, which Bascule does not run, and says so"
            }
            () if text("out", 1).contains("******") => "secrets are masked",
            () if wanted.contains("known-hosts") => "there is no pcsd whose file could be read",
            () if got.contains("Usage:") => "arguments are refused with the usage",
            () => "another text",
        }
        .to_owned();
    }
    if missing.iter().any(|m| got.contains(m)) {
        return "the command or option is missing".to_owned();
    }
    if ours.iter().any(|m| got.contains(m)) {
        return "refused with what Bascule does instead".to_owned();
    }
    match (line["rc"][0].as_i64(), line["rc"][1].as_i64()) {
        (a, b) if a == b => "another result".to_owned(),
        (a, b) => format!("exit {}, ours {}", a.unwrap_or(-1), b.unwrap_or(-1)),
    }
}

fn written(all: &Differences) -> String {
    let line = |(place, d): (&String, &Difference)| {
        format!("{place} {} | {} | {}\n", if d.bad { "BAD" } else { "text" }, d.reason, d.command.replace('\n', " "))
    };
    all.iter().map(line).collect()
}

fn read(text: &str) -> Differences {
    let line = |line: &str| {
        let mut parts = line.splitn(3, " | ");
        let (place, how) = parts.next()?.split_once(' ')?;
        let reason = parts.next()?.to_owned();
        let command = parts.next()?.to_owned();
        Some((place.to_owned(), Difference { bad: how == "BAD", command, reason }))
    };
    text.lines()
        .filter(|l| !l.is_empty())
        .map(|l| line(l).unwrap_or_else(|| panic!("not a line of the list: {l}")))
        .collect()
}

#[test]
fn lists_are_read_as_they_are_written() {
    let d = Difference { bad: true, command: "pcs a | b".to_owned(), reason: "why".to_owned() };
    let all = Differences::from([("x:001".to_owned(), d)]);
    assert_eq!(read(&written(&all)), all);
}
