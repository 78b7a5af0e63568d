//! `real add|remove|weight|reset|list`: servers otherwise than the file says, by command.

use super::ask;
use super::exit;
use super::paths::Paths;
use ::ldirectord::config::{Config, Method};
use ::ldirectord::service::{Difference, RealRequest, RealWish, applied, kept_edits, state_path};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

pub const USAGE: &str = "`real add REAL [gate|masq|ipip] [WEIGHT]`, `real remove REAL`, `real weight REAL WEIGHT`, `real reset REAL|all` or \
                         `real list`, where REAL is ADDRESS[:PORT] or a name of the file";

pub struct Asked<'a> {
    pub virtual_service: Option<&'a str>,
    pub force: bool,
    pub json: bool,
}

/// What the words behind `real` ask for; `None`: nothing that there is.
enum Words<'a> {
    List,
    Change(&'a str, RealWish),
}

fn words(operands: &[String]) -> Option<Words<'_>> {
    let words: Vec<&str> = operands.iter().map(String::as_str).collect();
    let change = |real, wish| Some(Words::Change(real, wish));
    match words.as_slice() {
        ["list"] => Some(Words::List),
        ["remove", real] => change(*real, RealWish::Remove),
        ["reset", real] => change(*real, RealWish::Reset),
        ["weight", real, weight] => change(*real, RealWish::Weight { weight: weight.parse().ok()? }),
        ["add", real, rest @ ..] if rest.len() <= 2 => {
            let (mut method, mut weight) = (None, None);
            for word in rest {
                match (Method::by_name(word), word.parse()) {
                    (Some(m), _) if method.is_none() && weight.is_none() => method = Some(m),
                    (None, Ok(w)) if weight.is_none() => weight = Some(w),
                    _ => return None,
                }
            }
            change(*real, RealWish::Add { method, weight })
        }
        _ => None,
    }
}

/// Exit code 0: done, or as it was; 1: refused, and why.
pub fn real(paths: &Paths, operands: &[String], asked: &Asked<'_>) -> i32 {
    let (real, wish) = match words(operands) {
        Some(Words::Change(real, wish)) => (real, wish),
        Some(Words::List) => return list(paths, asked.json),
        None => {
            let got = if operands.is_empty() { "nothing".to_owned() } else { format!("'{}'", operands.join(" ")) };
            kernel::errln!(
                "ldirectord: expected {USAGE}; got {got}. Example: ldirectord www.cf real weight 10.0.1.1:80 3"
            );
            return exit::USAGE;
        }
    };
    let virtual_service = asked.virtual_service.map(str::to_owned);
    let request = RealRequest { wish, real: real.to_owned(), virtual_service, force: asked.force };
    let answer = ask::real(paths, request).and_then(|marked| Ok((marked, ask::status(paths)?.differences)));
    let (marked, differences) = match answer {
        Ok(answer) => answer,
        Err(e) => return failed(&e.to_string(), asked.json),
    };
    if asked.json {
        kernel::outln!("{}", json!({"marked": marked, "differences": differences}));
        return exit::OK;
    }
    for m in &marked {
        let already = if m.changed { "" } else { " (as before)" };
        let difference = differences.iter().find(|d| d.server == m.server && d.virtual_service == m.virtual_service);
        match difference {
            Some(difference) => kernel::outln!("{difference}{already}"),
            None => kernel::outln!("{} ({}) as the file says{already}", m.server, m.virtual_service),
        }
        if m.takers == 0 {
            kernel::errln!("ldirectord: no server of {} takes new connections now", m.virtual_service);
        }
    }
    if marked.is_empty() {
        kernel::outln!("Nothing was changed by command");
    }
    exit::OK
}

fn failed(why: &str, as_json: bool) -> i32 {
    if as_json {
        kernel::outln!("{}", json!({"error": why}));
    }
    kernel::errln!("ldirectord: {why}");
    exit::FAILED
}

fn list(paths: &Paths, as_json: bool) -> i32 {
    let differences = match ask::status(paths) {
        Ok(status) => status.differences,
        Err(e) => return failed(&e.to_string(), as_json),
    };
    if as_json {
        kernel::outln!("{}", json!({"differences": differences}));
    } else if differences.is_empty() {
        kernel::outln!("All servers are as the file says");
    }
    if !as_json {
        differences.iter().for_each(|d| kernel::outln!("{d}"));
    }
    exit::OK
}

/// What is kept of commands, against this file: of a director of its own, and of one that the cluster runs.
pub fn kept(paths: &Paths, state_dir: &Path, config: &Config) -> Vec<Difference> {
    let node = super::ask::node_dir();
    let mut edits = Vec::new();
    for path in [state_dir, &node].map(|dir| state_path(dir, &paths.config)) {
        match kept_edits(&path) {
            Ok(found) => edits.extend(found),
            Err(why) => kernel::errln!("ldirectord: cannot read changes by command from {}: {why}", path.display()),
        }
    }
    applied(&Arc::new(config.clone()), &edits).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_the_file_is_written() {
        let read = |text: &str| {
            let operands: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            match words(&operands) {
                Some(Words::Change(real, wish)) => Some((real.to_owned(), wish)),
                Some(Words::List) => Some(("list".to_owned(), RealWish::Reset)),
                None => None,
            }
        };
        let add = |method, weight| Some(("a:1".to_owned(), RealWish::Add { method, weight }));
        assert_eq!(read("add a:1"), add(None, None));
        assert_eq!(read("add a:1 gate"), add(Some(Method::Gate), None));
        assert_eq!(read("add a:1 7"), add(None, Some(7)));
        assert_eq!(read("add a:1 masq 7"), add(Some(Method::Masq), Some(7)));
        assert_eq!(read("weight a:1 0"), Some(("a:1".to_owned(), RealWish::Weight { weight: 0 })));
        for bad in [
            "",
            "add",
            "add a:1 7 masq",
            "add a:1 7 7",
            "add a:1 nat",
            "weight a:1",
            "weight a:1 -1",
            "remove",
            "reset",
            "list x",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
