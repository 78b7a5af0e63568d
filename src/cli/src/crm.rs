//! `crm`: crmsh's levels `status`, `configure`, `resource`, `node` and `ra`, as single commands, from a file, or as a shell.
//!
//! In the shell, `configure` works on a copy until `commit`; a single command is committed at once.

mod configure;
mod control;
mod show;

use crate::crm_mon::CrmMon;
use crate::edit::{error, put_back};
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
}

struct Working {
    read: Version,
    original: Element,
    configuration: Element,
}

pub fn main(args: Vec<OsString>) -> i32 {
    let mut words: Vec<String> = args.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let mut source = Source::open();
    let mut lines_from: Option<String> = None;
    while let Some(first) = words.first().cloned() {
        match first.as_str() {
            "-F" | "--force" | "-w" | "--wait" | "-d" | "--debug" | "-R" | "-D" => drop(words.remove(0)),
            "-c" | "--cib" if words.len() > 1 => {
                source = Source::File(words.remove(1).into());
                words.remove(0);
            }
            "-f" | "--file" if words.len() > 1 => {
                lines_from = Some(words.remove(1));
                words.remove(0);
            }
            _ => break,
        }
    }
    let mut shell = Shell { source, working: None };
    if words.is_empty() {
        return shell.session(lines_from.as_deref());
    }
    match shell.single(&words) {
        Ok(text) => {
            put(&text);
            codes::OK
        }
        Err(failure) => say(&failure),
    }
}

fn say(failure: &Failure) -> i32 {
    kernel::errln!("ERROR: {}", failure.message);
    failure.details.iter().for_each(|d| kernel::errln!("  {d}"));
    codes::ERROR
}

const LEVELS: [&str; 4] = ["configure", "resource", "node", "ra"];

const USAGE: &str = "Usage: crm [-c FILE] [-f LINES] [LEVEL COMMAND ...]

  status
  configure  show [xml] [ID...] | primitive | group | clone | ms | location | colocation | order | monitor | property | rsc_defaults
             | op_defaults | delete ID... | rename OLD NEW | verify | commit | erase | load update FILE
  resource   status [ID] | start | stop | restart | move ID [NODE] | clear ID | ban ID [NODE] | cleanup [ID] | refresh [ID]
             | manage | unmanage | meta ID show|set|delete NAME [VALUE] | param … | utilization … | locate ID | failcount ID show|delete NODE
  node       show | standby [NODE] | online [NODE] | maintenance [NODE] | ready [NODE] | attribute NODE show|set|delete NAME [VALUE] | delete NODE
  ra         classes | list CLASS [PROVIDER] | info AGENT

Examples:
  crm configure primitive vip ocf:heartbeat:IPaddr2 params ip=192.0.2.1 op monitor interval=10s
  crm configure group director vip lvs
  crm configure location l1 director 100: d1
  crm resource move director d2
  crm                       a shell: configure … commit
";

impl Shell {
    fn single(&mut self, words: &[String]) -> Result<String, Failure> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["--version" | "version", ..] => Ok("crm 4.4.1\n".to_owned()),
            ["help" | "--help" | "-h", ..] => Ok(USAGE.to_owned()),
            ["status" | "st", ..] => self.status(),
            [level] if LEVELS.contains(level) => Ok(match self.session_at(level) {
                0 => String::new(),
                _ => return Err(error("the session ended with an error")),
            }),
            ["configure", rest @ ..] => {
                let text = self.configure(rest)?;
                if !matches!(rest.first(), Some(&"commit" | &"show" | &"verify")) {
                    self.commit()?;
                }
                Ok(text)
            }
            [level, rest @ ..] => self.level(level, rest),
            [] => Ok(USAGE.to_owned()),
        }
    }

    fn level(&mut self, level: &str, words: &[&str]) -> Result<String, Failure> {
        match level {
            "configure" => self.configure(words),
            "resource" => control::resource(&self.source, words),
            "node" => control::node(&self.source, words),
            "ra" => control::agents(words),
            "cluster" | "corosync" => Err(error(format!(
                "'crm {level}' is not part of Bascule: it reads corosync.conf as it is; 'bascule node --check' explains it, corosync-quorumtool and corosync-cfgtool show its state"
            ))),
            other => Err(error(format!("unknown level '{other}'\n{USAGE}"))),
        }
    }

    fn status(&self) -> Result<String, Failure> {
        let cib = self.source.cib()?;
        let now = crate::source::now();
        let view = crate::crm_mon::View {
            cluster: crate::cluster::read(&cib, now)?,
            operations: crate::cluster::operations(&cib),
            now,
            cib: &cib,
        };
        CrmMon { inactive: true, ..CrmMon::default() }.render(&view)
    }

    /// The copy to work on, fetched when first needed.
    fn working(&mut self) -> Result<&mut Working, Failure> {
        if self.working.is_none() {
            let cib = self.source.cib()?;
            let configuration = cib.child("configuration").cloned().unwrap_or_else(|| Element::new("configuration"));
            self.working = Some(Working { read: Version::of(&cib)?, original: configuration.clone(), configuration });
        }
        self.working.as_mut().ok_or_else(|| error("no configuration"))
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let Some(working) = &self.working else { return Ok(()) };
        if working.configuration != working.original {
            put_back(&self.source, working.read, working.configuration.clone())?;
        }
        self.working = None;
        Ok(())
    }

    fn configure(&mut self, words: &[&str]) -> Result<String, Failure> {
        match words {
            ["commit", ..] => self.commit().map(|()| String::new()),
            ["refresh"] => {
                self.working = None;
                Ok(String::new())
            }
            ["verify" | "validate-all", ..] => {
                let working = self.working()?;
                Ok(configure::verify(&working.configuration))
            }
            ["show", "xml", ..] => Ok(self.working()?.configuration.to_pretty()),
            ["show", ids @ ..] => show::configuration(&self.working()?.configuration, ids),
            ["edit", ..] => Err(error("edit a copy instead: cibadmin -Q > cib.xml, change it, cibadmin -R -x cib.xml")),
            words => configure::run(&mut self.working()?.configuration, words),
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
            ["help" | "?", ..] => return Ok(Some(USAGE.to_owned())),
            ["status", ..] if level.is_empty() => return self.status().map(Some),
            words => {
                return match level.last().cloned() {
                    Some(level) => self.level(&level, words).map(Some),
                    None => self.level(words[0], &words[1..]).map(Some),
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
