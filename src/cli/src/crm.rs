//! `crm`: crmsh's levels `status`, `configure`, `resource`, `node` and `ra`, as single commands, from a file, or as a shell.
//!
//! In the shell, `configure` works on a copy until `commit`; a single command is committed at once.

/// Notes and warnings go where crmsh writes them: among the output.
macro_rules! note {
    ($($part:tt)*) => { crate::report::put(&format!("{}\n", format_args!($($part)*))) };
}
use note;

mod alert;
mod configure;
mod constraints;
mod control;
mod primitive;
mod show;
mod table;
mod topology;

use crate::crm_mon::CrmMon;
use crate::edit::{self, error, masked, put_back};
use crate::grammar::{Line, Refused};
use crate::report::put;
use crate::source::{Failure, Source};
use base::exit::crm as codes;
use cib::Version;
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal};
use xml::Element;

/// The session: where the cluster is, and the uncommitted copy of its configuration.
pub struct Shell {
    source: Source,
    working: Option<Working>,
    /// `-F`, or `--force` since the last commit: nobody is asked.
    force: bool,
    /// `-w`: each change is waited for.
    wait: bool,
}

/// What a line wants.
enum Asked {
    Perform(Line),
    Help(String),
}

struct Working {
    read: Version,
    original: Element,
    configuration: Element,
    /// The schema has no masters and slaves any more.
    modern: bool,
}

pub fn main(args: Vec<OsString>) -> i32 {
    let mut words = match crate::args::words("crm", args) {
        Ok(words) => words,
        Err(code) => return code,
    };
    let mut shell = Shell { source: Source::open(), working: None, force: false, wait: false };
    let lines_from = match leading(&mut shell, &mut words) {
        Ok(lines_from) => lines_from,
        Err(failure) => return say(&failure),
    };
    if words.is_empty() {
        return shell.session(lines_from.as_deref());
    }
    if lines_from.is_some() {
        return say(&error("with -f FILE the commands stand in the file, none on the command line"));
    }
    match shell.single(&words) {
        Ok(text) => {
            put(&text);
            codes::OK
        }
        Err(failure) => say(&failure),
    }
}

/// Takes the options before the level; answers the file that the lines are in.
fn leading(shell: &mut Shell, words: &mut Vec<String>) -> Result<Option<String>, Failure> {
    let mut lines_from = None;
    while let Some(first) = words.first().filter(|w| w.starts_with('-')).cloned() {
        if ["--help", "-h", "--version"].contains(&first.as_str()) {
            break;
        }
        words.remove(0);
        let mut value = || match words.is_empty() {
            true => Err(error(format!("option {first} needs a value"))),
            false => Ok(words.remove(0)),
        };
        match first.as_str() {
            "-F" | "--force" => shell.force = true,
            "-w" | "--wait" => shell.wait = true,
            // There is nothing to be told beside what is told, and nothing that is loaded but for a word.
            "-d" | "--debug" | "-n" | "--no" | "-R" | "--regression-tests" => {}
            "-c" | "--cib" => shell.source = Source::File(value()?.into()),
            "-f" | "--file" => lines_from = Some(value()?),
            "-D" | "--display" if value()? == "plain" => {}
            "-D" | "--display" => return Err(error("there is only one form of output: plain")),
            other => return Err(error(format!("unknown option '{other}'\n{}", table::TABLE.usage(&[])))),
        }
    }
    Ok(lines_from)
}

fn say(failure: &Failure) -> i32 {
    kernel::errln!("ERROR: {}", failure.message);
    failure.details.iter().for_each(|d| kernel::errln!("  {d}"));
    codes::ERROR
}

const LEVELS: [&str; 4] = ["configure", "resource", "node", "ra"];

/// Longest time that `-w` waits.
const WAIT_MS: u64 = 3_600_000;

/// Secrets stand in it as they are, so that it can be loaded: for its owner alone.
fn save(file: &str, text: &str) -> Result<String, Failure> {
    let cannot = |e: std::io::Error| Failure::new(codes::CANTCREAT, format!("cannot write {file}: {e}"));
    kernel::files::replace(std::path::Path::new(file), text.as_bytes(), 0o600).map_err(cannot)?;
    Ok(String::new())
}

/// Whether the schema has no masters and slaves any more, as from 4.0.
fn is_modern(cib: &Element) -> bool {
    let number = |v: &str| v.strip_prefix("pacemaker-")?.split('.').next()?.parse().ok();
    cib.attr("validate-with").and_then(number).is_none_or(|major: u32| major >= 4)
}

impl Shell {
    fn single(&mut self, words: &[String]) -> Result<String, Failure> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["--version" | "version"] => return Ok("crm 4.4.1\n".to_owned()),
            [level] if LEVELS.contains(level) => {
                return match self.session_at(level) {
                    0 => Ok(String::new()),
                    _ => Err(error("the session ended with an error")),
                };
            }
            _ => {}
        }
        let line = match self.parse(&words)? {
            Asked::Perform(line) => line,
            Asked::Help(text) => return Ok(text),
        };
        let words = line.words();
        let text = self.level(words[0], &words[1..])?;
        if words[0] == "configure" && !matches!(words[1..], ["commit" | "show" | "save" | "verify" | "schema", ..]) {
            self.commit()?;
        }
        if self.wait && self.source.client().is_some() {
            crate::wait::until_idle(&self.source, WAIT_MS)?;
        }
        Ok(text)
    }

    /// Holds a line to the table.
    fn parse(&mut self, words: &[&str]) -> Result<Asked, Failure> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        match table::TABLE.parse(&words) {
            Ok(line) => {
                self.force |= line.has("--force");
                Ok(Asked::Perform(line))
            }
            Err(Refused::Help(text)) => Ok(Asked::Help(text)),
            Err(Refused::Unknown { words, usage }) => Err(error(format!("unknown command '{words}'\n{usage}"))),
            Err(Refused::Arguments { usage }) => Err(error(format!("these arguments do not fit the command\n{usage}"))),
            Err(Refused::Options { options, usage }) => {
                Err(error(format!("the command has no option {}\n{usage}", options.join(", "))))
            }
            Err(Refused::Value { option, needed }) => {
                Err(error(format!("option {option} {} a value", if needed { "needs" } else { "takes not" })))
            }
        }
    }

    fn level(&mut self, level: &str, words: &[&str]) -> Result<String, Failure> {
        match level {
            "status" | "st" => self.status(words),
            "maintenance" => control::maintenance(&self.source, words),
            "configure" => self.configure(words),
            "resource" => control::resource(&self.source, words),
            "node" => control::node(&self.source, words, self.force),
            "ra" => control::agents(words),
            "cluster" | "corosync" => Err(error(format!(
                "'crm {level}' is not part of Bascule: it reads corosync.conf as it is; 'bascule node --check' explains it, corosync-quorumtool and corosync-cfgtool show its state"
            ))),
            other => Err(error(format!("unknown level '{other}'"))),
        }
    }

    /// With crmsh's words for what is shown; others change nothing, as there.
    fn status(&self, words: &[&str]) -> Result<String, Failure> {
        let cib = self.source.cib()?;
        let view = crate::crm_mon::View::live(&self.source, &cib)?;
        let has = |word: &str| words.contains(&word);
        let full = has("full");
        let mut shown = CrmMon {
            inactive: full || has("inactive") || words.is_empty(),
            group_by_node: has("bynode"),
            operations: full || has("ops"),
            timing_details: full || has("timing"),
            failcounts: full || has("failcounts"),
            show_detail: full || has("verbose"),
            show_node_attributes: full || has("attributes"),
            ..CrmMon::default()
        };
        if has("xml") {
            shown.common.output_as = crate::report::Format::Xml;
        }
        shown.render(&view)
    }

    /// The copy to work on, fetched when first needed.
    fn working(&mut self) -> Result<&mut Working, Failure> {
        if self.working.is_none() {
            let cib = self.source.cib()?;
            let configuration = cib.child("configuration").cloned().unwrap_or_else(|| Element::new("configuration"));
            let modern = is_modern(&cib);
            let read = Version::of(&cib)?;
            self.working = Some(Working { read, original: configuration.clone(), configuration, modern });
        }
        self.working.as_mut().ok_or_else(|| error("no configuration"))
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let Some(working) = &self.working else { return Ok(()) };
        if working.configuration != working.original {
            let running = match self.force {
                true => Vec::new(),
                false => edit::running_without(&self.source, &working.original, &working.configuration)?,
            };
            if !running.is_empty() && !crate::terminal::confirmed("These resources run and would be removed", &running)
            {
                return Err(Failure {
                    details: running,
                    ..error(
                        "these resources run and would be removed; stop them first (crm resource stop), or use --force",
                    )
                });
            }
            put_back(&self.source, working.read, working.configuration.clone())?;
        }
        self.working = None;
        self.force = false;
        Ok(())
    }

    fn configure(&mut self, words: &[&str]) -> Result<String, Failure> {
        match words {
            ["commit"] => self.commit().map(|()| String::new()),
            ["commit", "force"] => {
                self.force = true;
                self.commit().map(|()| String::new())
            }
            ["schema"] => {
                let cib = self.source.cib()?;
                Ok(format!("{}\n", cib.attr("validate-with").unwrap_or("none")))
            }
            ["refresh"] => {
                self.working = None;
                Ok(String::new())
            }
            ["verify" | "validate-all" | "_test", ..] => {
                let working = self.working()?;
                Ok(configure::verify(&working.configuration))
            }
            ["show", "xml", ids @ ..] => {
                let mut cib = self.source.cib()?;
                cib.retain_elements(|e| e.name() == "status");
                let working = self.working()?;
                cib.nodes_mut().clear();
                cib.push(masked(&working.configuration));
                show::xml(&cib, &working.original, ids)
            }
            ["show", ids @ ..] => {
                let working = self.working()?;
                show::configuration(&masked(&working.configuration), &masked(&working.original), ids)
            }
            ["save", file] => {
                let configuration = &self.working()?.configuration;
                save(file, &show::configuration(configuration, configuration, &[])?)
            }
            ["save", "xml", file] => save(file, &self.working()?.configuration.to_pretty()),
            ["edit", ..] => Err(error("edit a copy instead: cibadmin -Q > cib.xml, change it, cibadmin -R -x cib.xml")),
            words => {
                let working = self.working()?;
                let said = configure::run(&mut working.configuration, words)?;
                if working.modern {
                    configure::modernise(&mut working.configuration);
                }
                Ok(said)
            }
        }
    }

    fn session(&mut self, file: Option<&str>) -> i32 {
        match file.filter(|f| *f != "-") {
            None => self.lines(std::io::stdin().lock(), Vec::new(), std::io::stdin().is_terminal()),
            Some(path) => match std::fs::File::open(path) {
                Ok(file) => self.lines(std::io::BufReader::new(file), Vec::new(), false),
                Err(e) => say(&error(format!("cannot read {path}: {e}"))),
            },
        }
    }

    fn session_at(&mut self, level: &str) -> i32 {
        self.lines(std::io::stdin().lock(), vec![level.to_owned()], std::io::stdin().is_terminal())
    }

    /// Lines until `quit` or the end; without a terminal the first error ends the session.
    fn lines(&mut self, input: impl BufRead, mut level: Vec<String>, interactive: bool) -> i32 {
        let mut pending = String::new();
        let prompt = |level: &[String]| {
            if interactive {
                put(&format!("crm(live){}# ", level.join("/")));
            }
        };
        prompt(&level);
        for line in input.lines() {
            let Ok(line) = line else { break };
            // A line that ends with a backslash goes on in the next.
            if let Some(part) = line.trim_end().strip_suffix('\\') {
                pending.push_str(part);
                pending.push(' ');
                continue;
            }
            let whole = std::mem::take(&mut pending) + &line;
            match self.line(&whole, &mut level) {
                Ok(None) => break,
                Ok(Some(text)) => put(&text),
                Err(failure) => {
                    say(&failure);
                    if !interactive {
                        return codes::ERROR;
                    }
                }
            }
            prompt(&level);
        }
        match self.working.as_ref().is_some_and(|w| w.configuration != w.original) {
            true => say(&error("there were changes that were not committed; they are dropped")),
            false => codes::OK,
        }
    }

    /// One line of a session; `None` ends it.
    fn line(&mut self, line: &str, level: &mut Vec<String>) -> Result<Option<String>, Failure> {
        let words = split(line)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => return Ok(Some(String::new())),
            [first, ..] if first.starts_with('#') => return Ok(Some(String::new())),
            ["quit" | "exit" | "bye"] => return Ok(None),
            ["up" | "back" | "end" | "cd" | ".."] => drop(level.pop()),
            [name] if level.is_empty() && LEVELS.contains(name) => level.push((*name).to_owned()),
            words => {
                let words: Vec<&str> =
                    level.last().map(String::as_str).into_iter().chain(words.iter().copied()).collect();
                let words: Vec<&str> = words.into_iter().map(|w| if w == "?" { "help" } else { w }).collect();
                return match self.parse(&words)? {
                    Asked::Perform(line) => self.level(&line.words[0], &line.words()[1..]).map(Some),
                    Asked::Help(text) => Ok(Some(text)),
                };
            }
        }
        Ok(Some(String::new()))
    }
}

/// Words at blanks; quotes hold words together.
pub fn split(line: &str) -> Result<Vec<String>, Failure> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                started = true;
            }
            (None, c) if c.is_whitespace() => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            (None, c) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err(error("a quote is not closed"));
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}
