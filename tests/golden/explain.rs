//! The book of scores behind `explain` against every case of the original's suite: what was recorded adds up to what was
//! settled, and to what the original prints.

use crate::scheduler::{TIMES, present};
use crate::shared::shared;
use base::{Score, WallTime};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn recorded_parts_add_up_to_the_originals_scores() {
    let Some(cases) = shared("scheduler/cases") else { return };
    let mut names: Vec<String> = std::fs::read_dir(cases.join("xml"))
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str()?.strip_suffix(".xml").map(str::to_owned))
        .collect();
    names.sort();
    let (mut wrong, mut scores) = (Vec::new(), 0);
    for name in &names {
        match differences(&cases, name) {
            Ok(count) => scores += count,
            Err(lines) => wrong.push(format!("{name}:\n  {}", lines.join("\n  "))),
        }
    }
    println!("{scores} scores of {} cases", names.len());
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.iter().take(20).cloned().collect::<String>());
}

fn differences(cases: &Path, name: &str) -> Result<usize, Vec<String>> {
    let text = std::fs::read_to_string(cases.join(format!("xml/{name}.xml"))).unwrap();
    let cib = xml::parse(&text).unwrap();
    let given = TIMES.iter().find(|(n, _)| *n == name).map(|(_, t)| base::dates::parse(t, present()).unwrap());
    let recorded = cib.attr("execution-date").and_then(|t| t.parse().ok());
    let now = given.or(recorded).map_or_else(present, WallTime::from_secs);
    let told = ::scheduler::explain(&cib, now).unwrap();
    let mut wrong = Vec::new();
    let mut lines = BTreeSet::new();
    for line in &told.settled {
        let Some(node) = &line.node else { continue };
        if line.sum != Some(line.score) {
            wrong.push(format!("{} on {node}: {} settled, parts give {:?}", line.resource, line.score, line.sum));
        }
        let score = line.sum.map(Score::from).map(|s| s.to_string()).unwrap_or_default();
        let what = if line.promotion { "promotion" } else { "allocation" };
        lines.insert(format!("{} {what} score on {node}: {score}", line.resource));
    }
    let expected = std::fs::read_to_string(cases.join(format!("scores/{name}.scores"))).unwrap_or_default();
    for line in expected.lines().filter(|l| l.contains(" score on ")) {
        let line =
            line.split_once(": ").filter(|(stage, _)| stage.starts_with("pcmk__")).map_or(line, |(_, rest)| rest);
        if !lines.contains(line) {
            wrong.push(format!("missing: {line}"));
        }
    }
    for part in &told.parts {
        if part.why.is_empty() || part.nodes.iter().any(|n| n.verdict.is_empty()) {
            wrong.push(format!("{}: nothing said", part.id));
        }
        for node in &part.nodes {
            let chosen = node.score.is_none_or(|s| s < 0) && node.chosen && part.managed;
            if chosen && part.kind == "primitive" {
                wrong.push(format!("{} on {}: chosen with {:?}", part.id, node.node, node.score));
            }
        }
    }
    if wrong.is_empty() { Ok(told.settled.len()) } else { Err(wrong) }
}
