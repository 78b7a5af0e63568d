//! `crm history`: the transitions that this node made, and what it saw; or those of all nodes in a `crm_report`.

use super::show;
use crate::clock::stamp_us;
use crate::crm_report::when::Window;
use crate::crm_simulate;
use crate::edit::error;
use crate::source::{Failure, Source};
use base::WallTime;
use regex::Regex;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use wire::api::{DEFAULT_STATE_DIR, INPUTS_DIR, TimelineEvent};
use xml::Element;

/// Lines that are compared with each other, at most.
const MAX_COMPARED: usize = 4000;
/// A timeline in a report.
const MAX_TIMELINE_BYTES: u64 = 64 << 20;

#[derive(Default)]
pub struct History {
    /// A report's directory; without it this node.
    report: Option<PathBuf>,
    window: Option<Window>,
    exclude: Vec<Regex>,
}

/// What a transition was made from.
struct Input {
    path: PathBuf,
    at: i64,
}

impl Input {
    fn name(&self) -> String {
        self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn number(&self) -> Option<u64> {
        self.name().strip_suffix(".bz2")?.rsplit_once('-')?.1.parse().ok()
    }
}

impl History {
    pub fn run(&mut self, source: &Source, words: &[&str]) -> Result<String, Failure> {
        match words {
            ["info"] => self.info(source),
            ["refresh"] => Ok(String::new()),
            ["source", "live"] => {
                self.report = None;
                Ok(String::new())
            }
            ["source", dir] => self.set_source(Path::new(dir)),
            ["limit" | "timeframe"] => {
                self.window = None;
                Ok(String::new())
            }
            ["limit" | "timeframe", from, to @ ..] if to.len() < 2 => {
                self.window = Some(Window::of(from, to.first().copied())?);
                Ok(String::new())
            }
            ["exclude"] => Ok(self.exclude.iter().map(|p| format!("{p}\n")).collect()),
            ["exclude", "clear"] => {
                self.exclude.clear();
                Ok(String::new())
            }
            ["exclude", pattern] => {
                let pattern = Regex::new(pattern).map_err(|e| error(format!("history.exclude: {e}")))?;
                self.exclude.push(pattern);
                Ok(String::new())
            }
            ["peinputs", rest @ ..] => self.list(rest),
            ["latest"] => self.transition(source, "0"),
            ["transition"] => self.transition(source, "0"),
            ["transition", "log", which @ ..] => self.log_of(source, which.first().unwrap_or(&"0")),
            ["transition", "showdot" | "save", which @ ..] => self.drawn(which.first().unwrap_or(&"0")),
            ["graph", which @ ..] => self.drawn(which.first().unwrap_or(&"0")),
            ["transition", which, ..] => self.transition(source, which),
            ["show", which] => {
                let cib = self.document(source, which)?;
                let c = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
                show::configuration(&crate::edit::masked(c), c, &[], true)
            }
            ["show", which, "status"] => self.status(source, which),
            ["diff" | "wdiff", one, other] => self.differences(source, one, other, false),
            ["diff" | "wdiff", one, other, "status"] => self.differences(source, one, other, true),
            ["events" | "log"] => self.events(source, &[]),
            ["resource" | "node" | "log" | "events", of @ ..] if !of.is_empty() => self.events(source, of),
            _ => Err(error(
                "history: info, source DIR|live, limit [FROM [TO]], peinputs [v], transition [log|showdot] [N], latest, show N [status], \
                 diff N N [status], events, resource ID…, node NODE…, log [NODE…], exclude [PATTERN|clear]",
            )),
        }
    }

    fn set_source(&mut self, dir: &Path) -> Result<String, Failure> {
        let nodes = std::fs::read_dir(dir).map_err(|e| error(format!("history.source: {}: {e}", dir.display())))?;
        if !nodes.flatten().any(|e| e.path().join("cib.xml").exists()) {
            return Err(error(format!(
                "history.source: {} is no report: give the directory that a crm_report was unpacked to (tar -xjf FILE), or 'live'",
                dir.display()
            )));
        }
        self.report = Some(dir.to_owned());
        Ok(String::new())
    }

    /// Oldest first.
    fn inputs(&self) -> Vec<Input> {
        let dirs: Vec<PathBuf> = match &self.report {
            Some(dir) => {
                std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path().join(INPUTS_DIR)).collect()
            }
            None => {
                let state = std::env::var_os("BASCULE_STATE_DIR").unwrap_or_else(|| DEFAULT_STATE_DIR.into());
                vec![Path::new(&state).join(INPUTS_DIR)]
            }
        };
        let files = dirs.iter().filter_map(|d| std::fs::read_dir(d).ok()).flatten().flatten();
        let is = |name: &str| name.starts_with("pe-") && name.ends_with(".bz2");
        let files = files.filter(|e| is(&e.file_name().to_string_lossy()));
        let mut all: Vec<Input> = files
            .filter_map(|e| {
                let path = e.path();
                // In a report the file is new, but what is in it says when it was.
                let at = match self.report.is_some() {
                    true => executed_at(&path)?,
                    false => e.metadata().ok()?.mtime(),
                };
                Some(Input { path, at })
            })
            .filter(|i| self.window.is_none_or(|w| w.holds(WallTime::from_secs(i.at))))
            .collect();
        all.sort_by(|a, b| (a.at, a.number(), &a.path).cmp(&(b.at, b.number(), &b.path)));
        all
    }

    /// A number, a name, a path, or how far back: 0 is the last, -1 the one before.
    fn input(&self, which: &str) -> Result<PathBuf, Failure> {
        let all = self.inputs();
        if all.is_empty() && !Path::new(which).is_file() {
            return Err(error(
                "no transitions are known here: the node that made them has them (see 'crm history info'); a crm_report has those of all \
                 nodes (crm history source DIR)",
            ));
        }
        let number: Option<i64> = which.parse().ok();
        let named = |i: &&Input| i.name() == which || i.name().strip_suffix(".bz2") == Some(which);
        let found = match number {
            Some(back) if back <= 0 => all.iter().rev().nth(usize::try_from(-back).unwrap_or(usize::MAX)),
            Some(number) => all.iter().rev().find(|i| i.number() == u64::try_from(number).ok()),
            None => all.iter().rev().find(named),
        };
        match (found, Path::new(which)) {
            (Some(input), _) => Ok(input.path.clone()),
            (None, path) if path.is_file() => Ok(path.to_owned()),
            (None, _) => {
                Err(error(format!("history: no transition {which} is known here (history peinputs lists them)")))
            }
        }
    }

    fn document(&self, source: &Source, which: &str) -> Result<Element, Failure> {
        if which == "live" {
            return source.cib();
        }
        let path = self.input(which)?;
        let read = crate::cibadmin::read_xml(Some(&path), None, false)?;
        read.map(|(cib, _)| cib).ok_or_else(|| error(format!("{} is empty", path.display())))
    }

    fn list(&self, words: &[&str]) -> Result<String, Failure> {
        let verbose = words.contains(&"v");
        let mut text = String::new();
        if verbose {
            text += "Date       Time     Filename\n======     =====    ========\n";
        }
        for input in self.inputs() {
            match verbose {
                true => {
                    text += &format!(
                        "{} {}\n",
                        crate::clock::local(WallTime::from_secs(input.at)).replace('T', " "),
                        input.name()
                    )
                }
                false => text += &format!("{}\n", input.path.display()),
            }
        }
        Ok(text)
    }

    fn info(&self, source: &Source) -> Result<String, Failure> {
        let inputs = self.inputs();
        let stamp = |at: i64| crate::clock::stamp(WallTime::from_secs(at));
        let from = match &self.report {
            Some(dir) => dir.display().to_string(),
            None => "live".to_owned(),
        };
        let period = match (&self.window, inputs.first(), inputs.last()) {
            (Some(w), _, _) => format!("{} - {}", crate::clock::stamp(w.from), crate::clock::stamp(w.to)),
            (None, Some(first), Some(last)) => format!("{} - {}", stamp(first.at), stamp(last.at)),
            _ => "-".to_owned(),
        };
        let cib = source.cib()?;
        let names = |section: &str, attribute: &str| -> Vec<String> {
            let section = cib.child("configuration").and_then(|c| c.child(section));
            section
                .into_iter()
                .flat_map(Element::elements)
                .filter_map(|e| e.attr(attribute))
                .map(str::to_owned)
                .collect()
        };
        let numbers: Vec<String> = inputs.iter().map(|i| i.name().trim_end_matches(".bz2").to_owned()).collect();
        Ok(format!(
            "Source: {from}\nPeriod: {period}\nNodes: {}\nResources: {}\nTransitions: {}\n",
            names("nodes", "uname").join(" "),
            names("resources", "id").join(" "),
            numbers.join(" ")
        ))
    }

    fn simulate(&self, path: &Path, more: &[&str]) -> Result<String, Failure> {
        let mut args: Vec<OsString> = vec!["-x".into(), path.into()];
        args.extend(more.iter().map(OsString::from));
        match crm_simulate::main(args) {
            0 => Ok(String::new()),
            code => Err(Failure::new(code, "")),
        }
    }

    fn transition(&self, source: &Source, which: &str) -> Result<String, Failure> {
        let path = self.input(which)?;
        super::note!("INFO: running crm_simulate with {}", path.display());
        self.simulate(&path, &["-S"])?;
        self.log_of(source, which)
    }

    fn drawn(&self, which: &str) -> Result<String, Failure> {
        self.simulate(&self.input(which)?, &["-Q", "-R", "-D", "/dev/stdout"])
    }

    fn status(&self, source: &Source, which: &str) -> Result<String, Failure> {
        let cib = self.document(source, which)?;
        let view = crate::crm_mon::View::of(&cib)?;
        let shown = crate::crm_mon::CrmMon { inactive: true, ..Default::default() };
        Ok(crate::report::of_a_file(&shown.render(&view)?))
    }

    /// Lines that only one has.
    fn differences(&self, source: &Source, one: &str, other: &str, status: bool) -> Result<String, Failure> {
        let lines = |which: &str| -> Result<Vec<String>, Failure> {
            let text = match status {
                true => self.status(source, which)?,
                false => {
                    let cib = self.document(source, which)?;
                    let c = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
                    show::configuration(&crate::edit::masked(c), c, &[], true)?
                }
            };
            Ok(text.lines().map(str::to_owned).collect())
        };
        let (a, b) = (lines(one)?, lines(other)?);
        if a.len().max(b.len()) > MAX_COMPARED {
            return Err(error(format!("more than {MAX_COMPARED} lines: compare the files with crm_diff -o A -n B")));
        }
        let changed = difference(&a, &b);
        Ok(match changed.is_empty() {
            true => String::new(),
            false => format!("--- {one}\n+++ {other}\n{changed}"),
        })
    }

    /// What happened from this input to the next.
    fn log_of(&self, source: &Source, which: &str) -> Result<String, Failure> {
        let path = self.input(which)?;
        let all = self.inputs();
        let Some(at) = all.iter().position(|i| i.path == path) else { return Ok(String::new()) };
        let (from, to) = (all[at].at, all.get(at + 1).map_or(i64::MAX, |next| next.at));
        let seen = self.seen(source)?;
        Ok(seen.iter().filter(|e| (from..=to).contains(&(e.wall_us / 1_000_000))).map(line).collect())
    }

    fn events(&self, source: &Source, of: &[&str]) -> Result<String, Failure> {
        let about = |e: &&TimelineEvent| {
            of.is_empty()
                || of.iter().any(|name| {
                    let is = |text: &str| {
                        text.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)))
                            .any(|w| w == *name || w.starts_with(&format!("{name}_")))
                    };
                    is(&e.subject) || is(&e.text)
                })
        };
        let seen = self.seen(source)?;
        Ok(seen.iter().filter(about).map(line).collect())
    }

    /// Of this node, or of the report's nodes; within the time, and without what is excluded.
    fn seen(&self, source: &Source) -> Result<Vec<TimelineEvent>, Failure> {
        let mut all: Vec<TimelineEvent> = Vec::new();
        match (&self.report, source.client()) {
            (Some(dir), _) => {
                for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                    let file = entry.path().join("timeline.json");
                    let bytes = kernel::files::read_regular(&file, MAX_TIMELINE_BYTES).unwrap_or_default();
                    let timeline: Option<wire::api::Timeline> = serde_json::from_slice(&bytes).ok();
                    all.extend(timeline.into_iter().flat_map(|t| t.events));
                }
            }
            (None, Some(client)) => all = client.get::<wire::api::Timeline>("/v1/timeline")?.events,
            (None, None) => {}
        }
        all.retain(|e| self.window.is_none_or(|w| w.holds(WallTime::from_secs(e.wall_us / 1_000_000))));
        all.retain(|e| !self.exclude.iter().any(|p| p.is_match(&e.text)));
        all.sort_by_key(|e| e.wall_us);
        Ok(all)
    }
}

fn line(e: &TimelineEvent) -> String {
    format!("{} {:<14} {}: {}\n", stamp_us(e.wall_us), e.kind, e.subject, e.text)
}

fn executed_at(path: &Path) -> Option<i64> {
    let cib = crate::cibadmin::read_xml(Some(path), None, false).ok()??.0;
    cib.attr("execution-date")?.parse().ok()
}

/// Lines that are gone and lines that have come, in order.
fn difference(a: &[String], b: &[String]) -> String {
    let width = b.len() + 1;
    let mut longest = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = match a[i] == b[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            text += &format!("-{}\n", a[i]);
            i += 1;
        } else {
            text += &format!("+{}\n", b[j]);
            j += 1;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_stand_in_order() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(difference(&lines("a b c d"), &lines("a c x d")), "-b\n+x\n");
        assert_eq!(difference(&lines("a"), &lines("a")), "");
    }

    #[test]
    fn transitions_are_found_by_number_by_name_and_from_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let node = dir.path().join("n1");
        std::fs::create_dir_all(node.join(INPUTS_DIR)).expect("made");
        std::fs::write(node.join("cib.xml"), "<cib/>").expect("written");
        for (n, at) in [(7, 100), (8, 200), (9, 300)] {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            std::io::Write::write_all(&mut encoder, format!("<cib execution-date=\"{at}\"/>").as_bytes())
                .expect("written");
            std::fs::write(node.join(INPUTS_DIR).join(format!("pe-input-{n}.bz2")), encoder.finish().expect("packed"))
                .expect("written");
        }
        let mut history = History::default();
        assert!(history.set_source(&node).is_err(), "that is no report");
        history.set_source(dir.path()).expect("a report");
        let name =
            |which: &str| history.input(which).ok().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
        assert_eq!(name("0").as_deref(), Some("pe-input-9.bz2"));
        assert_eq!(name("-1").as_deref(), Some("pe-input-8.bz2"));
        assert_eq!(name("7").as_deref(), Some("pe-input-7.bz2"));
        assert_eq!(name("pe-input-8").as_deref(), Some("pe-input-8.bz2"));
        assert!(name("10").is_none() && name("-9").is_none());
        history.window = Some(Window { from: WallTime::from_secs(150), to: WallTime::from_secs(250) });
        assert_eq!(history.inputs().len(), 1);
    }
}
