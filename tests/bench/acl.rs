//! Who may ask what, answered by Pacemaker itself beside ours: every case of `src/cib/src/acl/cases`, by Debian's `cibadmin` on a file
//! in the user's place, as the original's own regression tests ask. Code, answer and resulting configuration are compared. Each
//! difference must be on record in the case's line, with its reason; a recorded one that is none fails as well.
//!
//! `cargo bench --bench acl [-- all]`, as root; `all` prints also what is the same. Before each case the original gets the
//! configuration that ours has, so that one difference counts once.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use case::Case;
use cib::acl::Subject;
use cib::{Cib, CibError, Op, Request, Target};
use original::Tools;
use std::collections::BTreeMap;
use xml::{Element, Node};

#[path = "../../src/cib/src/acl/cases/case.rs"]
#[allow(dead_code, reason = "results are compared whole")]
mod case;
#[path = "../support/original.rs"]
mod original;

const FILES: [(&str, &str); 3] = [
    ("cts", include_str!("../../src/cib/src/acl/cases/cts.txt")),
    ("explained", include_str!("../../src/cib/src/acl/cases/explained.txt")),
    ("evasions", include_str!("../../src/cib/src/acl/cases/evasions.txt")),
];
/// The newest schema that Pacemaker 2.1 has.
const SCHEMA: &str = "pacemaker-3.9";
/// What it cannot be asked: it has no such thing.
const NOT_THERE: [&str; 1] = ["steps"];

/// What one request came to.
struct Outcome {
    code: i32,
    /// Of a query its answer, else the configuration afterwards; in one form.
    result: String,
}

fn main() {
    let all = std::env::args().any(|a| a == "all");
    let original = match Tools::new() {
        Ok(original) => original,
        Err(why) => return println!("SKIPPED: Pacemaker cannot be had: {why}"),
    };
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    let mut number = 0;
    for (name, text) in FILES {
        println!("{name}:\n{:>4} {:<12} {:<40} {:>9} {:>5}  verdict", "", "user", "request", "original", "ours");
        let (document, cases) = case::read(text);
        let mut cib = Cib::parse(document).unwrap();
        for case in cases {
            number += 1;
            let before = cib.root().clone();
            let ours = ours(&mut cib, &case);
            let theirs = (!NOT_THERE.contains(&case.operation)).then(|| theirs(&original, &before, &case));
            let verdict = verdict(&case, &ours, theirs.as_ref());
            *totals.entry(verdict.0).or_default() += 1;
            if all || verdict.0 != "same" {
                let theirs = theirs.as_ref().map_or("-".to_owned(), |t| t.code.to_string());
                let request = format!("{} {} {}", case.operation, case.target, case.xml);
                let request: String = request.chars().take(40).collect();
                println!(
                    "{number:>4} {:<12} {request:<40} {theirs:>9} {:>5}  {}{}",
                    case.user, ours.code, verdict.0, verdict.1
                );
            }
        }
    }
    println!("{totals:?}");
    assert!(!totals.contains_key("DIFFERENT") && !totals.contains_key("RECORD IS WRONG"), "see the lines above");
}

fn verdict(case: &Case<'_>, ours: &Outcome, theirs: Option<&Outcome>) -> (&'static str, String) {
    let Some(theirs) = theirs else { return ("ours alone", String::new()) };
    let same = ours.code == theirs.code && ours.result == theirs.result;
    match case.original {
        None if same => ("same", String::new()),
        None => ("DIFFERENT", format!("\n{}\nours:   {}\ntheirs: {}", case.line, ours.result, theirs.result)),
        Some((code, why)) if code == theirs.code && !same => ("on record", format!(": {why}")),
        Some((code, _)) => ("RECORD IS WRONG", format!(": {code} is on record\n{}", case.line)),
    }
}

fn ours(cib: &mut Cib, case: &Case<'_>) -> Outcome {
    let groups = if case.user == "nobody" { vec!["nogroup".to_owned()] } else { Vec::new() };
    let done = match Subject::new(case.user, groups) {
        Some(subject) => cib.apply_as(&case.request(), &subject),
        None => cib.apply(&case.request()),
    };
    let code = done.as_ref().map_or_else(CibError::exit_code, |_| 0);
    let answer = done.ok().and_then(|d| d.answer);
    let result = if case.operation == "query" { answer.as_ref() } else { cib.root().child("configuration") };
    Outcome { code, result: result.map(form).unwrap_or_default() }
}

fn theirs(original: &Tools, before: &Element, case: &Case<'_>) -> Outcome {
    let mut document = before.clone();
    document.set("validate-with", SCHEMA);
    original.load(&document.to_pretty()).unwrap();
    let mut words = case.words().unwrap();
    // It counts up without being asked to, and does these with force alone.
    words.retain(|w| *w != "--score");
    if ["upgrade", "delete-all"].contains(&case.operation) {
        words.push("--force");
    }
    let done = original.run(case.user, &words).unwrap();
    let code = done.status.code().unwrap_or(-1);
    let said = match case.operation {
        "query" => done.stdout,
        _ => original.run("root", &["cibadmin", "-Q", "-o", "configuration"]).unwrap().stdout,
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    Outcome { code, result: xml::parse(&said).map(|e| form(&e)).unwrap_or_default() }
}

/// Without what says nothing about permissions: versions and who wrote last, the order of attributes, blank text.
fn form(e: &Element) -> String {
    let mut one = Element::new(e.name());
    let mut attributes: Vec<(&str, &str)> = if e.name() == "cib" { Vec::new() } else { e.attrs().collect() };
    attributes.sort_unstable();
    attributes.iter().for_each(|(name, value)| one.set(name, value));
    let mut text = one.to_compact();
    for node in e.nodes().iter() {
        if let Node::Element(child) = node {
            text.push_str(&form(child));
        }
    }
    text + ";"
}
