//! What counts as the same: graphs by structure, drawings and scores as sets of lines, summaries line by line. White space
//! within lines does not count.

use scheduler::simulate::Simulated;
use std::collections::BTreeMap;
use std::path::Path;
use xml::Element;

/// How one check of a case differs.
pub struct Difference {
    pub check: &'static str,
    lines: Vec<String>,
}

impl Difference {
    pub fn of(check: &'static str, want: &[String], got: &[String]) -> Difference {
        let count = |lines: &[String]| {
            let mut map: BTreeMap<String, i64> = BTreeMap::new();
            lines.iter().for_each(|l| *map.entry(l.clone()).or_default() += 1);
            map
        };
        let (w, g) = (count(want), count(got));
        let only = |sign: &'static str,
                    in_these: &[String],
                    a: &BTreeMap<String, i64>,
                    b: &BTreeMap<String, i64>|
         -> Vec<String> {
            let differs = |l: &&String| a.get(*l).copied().unwrap_or(0) > b.get(*l).copied().unwrap_or(0);
            in_these.iter().filter(differs).map(|l| format!("{sign}{l}")).collect()
        };
        let mut lines = only("-", want, &w, &g);
        lines.extend(only("+", got, &g, &w));
        if lines.is_empty()
            && let Some(at) = want.iter().zip(got).position(|(a, b)| a != b)
        {
            lines = vec![format!("order differs at line {at}:"), format!("-{}", want[at]), format!("+{}", got[at])];
        }
        Difference { check, lines }
    }

    pub fn text(&self, limit: usize) -> String {
        let shown: String = self.lines.iter().take(limit).map(|l| format!("\n    {l}")).collect();
        format!("{} ({} lines){shown}\n", self.check, self.lines.len())
    }
}

/// The original's output for a case.
pub struct Expected {
    graph: String,
    dot: String,
    scores: String,
    summary: String,
    stderr: String,
}

impl Expected {
    pub fn read(cases: &Path, name: &str) -> Expected {
        let part = |dir: &str, ext: &str| {
            std::fs::read_to_string(cases.join(format!("{dir}/{name}.{ext}"))).unwrap_or_default()
        };
        Expected {
            graph: part("exp", "exp"),
            dot: part("dot", "dot"),
            scores: part("scores", "scores"),
            summary: part("summary", "summary"),
            stderr: part("stderr", "stderr"),
        }
    }

    pub fn differences(&self, got: &Simulated) -> Vec<Difference> {
        let mut out = Vec::new();
        let mut check = |name: &'static str, want: Vec<String>, got: Vec<String>| {
            if want != got {
                out.push(Difference::of(name, &want, &got));
            }
        };
        check("graph", graph_lines(&self.graph), graph_lines(&got.graph.to_element().to_pretty()));
        check("dot", dot_lines(&self.dot), dot_lines(&got.dot));
        check("scores", score_set(&self.scores), score_set(&got.scores));
        let both = format!("{}{}", got.warnings, got.summary);
        check("summary", lines_of(&self.summary), lines_of(&both));
        check("stderr", lines_of(&self.stderr), lines_of(&got.warnings));
        out
    }
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(|l| l.split_whitespace().collect::<String>()).filter(|l| !l.is_empty()).collect()
}

fn dot_lines(text: &str) -> Vec<String> {
    let mut lines = lines_of(text);
    if lines.len() > 2 {
        let last = lines.pop();
        let first = lines.remove(0);
        lines.sort();
        lines.dedup();
        lines.insert(0, first);
        lines.extend(last);
    }
    lines
}

fn score_set(text: &str) -> Vec<String> {
    let plain = |l: String| match l.strip_prefix("pcmk__").and_then(|rest| rest.split_once(':')) {
        Some((_, rest)) => rest.to_owned(),
        None => l,
    };
    let mut lines: Vec<String> = lines_of(text).into_iter().map(plain).collect();
    lines.sort();
    lines.dedup();
    lines
}

fn attributes(e: &Element, ignored: &[&str]) -> String {
    let mut list: Vec<String> =
        e.attrs().filter(|(n, _)| !ignored.contains(n)).map(|(n, v)| format!(" {n}={v:?}")).collect();
    list.sort();
    list.concat()
}

fn content(e: &Element) -> String {
    let mut children: Vec<String> = e.elements().map(content).collect();
    children.sort();
    format!("<{}{} {}>{}", e.name(), attributes(e, &["crm_feature_set"]), e.text().trim(), children.concat())
}

fn head(e: &Element) -> String {
    format!("{}{}", e.name(), attributes(e, &["id"]))
}

fn full(e: &Element) -> String {
    let mut children: Vec<String> = e.elements().map(content).collect();
    children.sort();
    format!("{} {}", head(e), children.concat())
}

/// A canonical form of the graph: one line per synapse and one per input, sorted.
fn graph_lines(text: &str) -> Vec<String> {
    let root = match xml::parse(text) {
        Ok(root) => root,
        Err(e) => return vec![format!("unusable: {e}")],
    };
    let actions = |e: &Element, outer: &str, inner: Option<&str>| -> Vec<Element> {
        let parts = e.elements_named(outer).flat_map(Element::elements);
        match inner {
            None => parts.cloned().collect(),
            Some(inner) => parts.filter(|p| p.name() == inner).flat_map(Element::elements).cloned().collect(),
        }
    };
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    for synapse in root.elements() {
        for a in actions(synapse, "action_set", None) {
            by_id.insert(a.id().unwrap_or_default().to_owned(), full(&a));
        }
    }
    let mut lines = Vec::new();
    for synapse in root.elements() {
        let acts: Vec<String> = actions(synapse, "action_set", None).iter().map(full).collect();
        lines.push(format!("synapse{} {}", attributes(synapse, &["id"]), acts.concat()));
        for input in actions(synapse, "inputs", Some("trigger")) {
            let missing = if input.id().is_some_and(|i| by_id.contains_key(i)) { "" } else { " (not in graph)" };
            let brief: Vec<String> = actions(synapse, "action_set", None).iter().map(brief).collect();
            lines.push(format!("{} -> {}{missing}", self::brief(&input), brief.concat()));
        }
    }
    lines.sort();
    lines.insert(0, format!("graph{}", attributes(&root, &["crm_feature_set", "batch-limit"])));
    lines
}

fn brief(e: &Element) -> String {
    let part = |name: &str| e.attr(name).unwrap_or_default().to_owned();
    format!("{} {} {} {}", e.name(), part("operation_key"), part("internal_operation_key"), part("on_node"))
}
