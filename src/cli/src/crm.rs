//! `crm`: crmsh's levels `status`, `configure`, `resource`, `node` and `ra`, as single commands, from a file, or as a shell.
//!
//! In the shell, `configure` works on a copy until `commit`; a single command is committed at once.

/// Notes and warnings go where crmsh writes them: among the output.
macro_rules! note {
    ($($part:tt)*) => { crate::report::put(&format!("{}\n", format_args!($($part)*))) };
}
use note;

mod acl;
mod alert;
mod assist;
mod bundle;
mod cluster;
mod configure;
mod constraints;
mod control;
mod history;
mod load;
mod meta;
mod operator;
mod options;
mod primitive;
mod ra;
mod scripts;
mod sets;
mod shadow;
mod show;
mod table;
mod topology;
mod trace;
mod what_if;
mod words;

pub use configure::modernise;
pub use words::split;

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
    always_force: bool,
    /// `-w`: each change is waited for.
    wait: bool,
    options: options::Options,
    shadows: shadow::Shadows,
    history: history::History,
    templates: scripts::Templates,
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
    if let Some((_, typed)) = words.split_first().filter(|(first, _)| *first == crate::completion::ASKS) {
        put(&crate::completion::next(&table::TABLE, typed));
        return codes::OK;
    }
    let options = options::Options::load();
    let wait = options.wait();
    let mut shell = Shell {
        source: Source::open(),
        working: None,
        force: false,
        always_force: false,
        wait,
        options,
        shadows: shadow::Shadows::default(),
        history: history::History::default(),
        templates: scripts::Templates::default(),
    };
    let lines_from = match leading(&mut shell, &mut words) {
        Ok(lines_from) => lines_from,
        Err(failure) => {
            say(&failure);
            return failure.code;
        }
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
            true => Err(Failure::new(MISUSED, format!("option {first} needs a value"))),
            false => Ok(words.remove(0)),
        };
        match first.as_str() {
            "-F" | "--force" => (shell.force, shell.always_force) = (true, true),
            "-w" | "--wait" => shell.wait = true,
            // There is nothing to be told beside what is told, and nothing that is loaded but for a word.
            "-d" | "--debug" | "-n" | "--no" | "-R" | "--regression-tests" => {}
            "-c" | "--cib" => shell.source = shadow::named(&value()?)?,
            "-f" | "--file" => lines_from = Some(value()?),
            // Whatever is chosen, what is written is plain.
            "-D" | "--display" => {
                let style = value()?;
                if !STYLES.contains(&style.as_str()) {
                    return Err(error(format!("{style} not in {}", STYLES.join(", "))));
                }
            }
            other => {
                let usage = table::TABLE.usage(&[]);
                return Err(Failure::new(MISUSED, format!("unknown option '{other}'\n{usage}")));
            }
        }
    }
    Ok(lines_from)
}

/// What was said already has no message.
fn say(failure: &Failure) -> i32 {
    if !failure.message.is_empty() {
        kernel::errln!("ERROR: {}", failure.message);
    }
    failure.details.iter().for_each(|d| kernel::errln!("  {d}"));
    codes::ERROR
}

const LEVELS: [&str; 9] = ["configure", "resource", "node", "ra", "options", "cib", "script", "history", "cluster"];
/// Levels within levels.
const INNER: [[&str; 2]; 3] = [["configure", "assist"], ["configure", "template"], ["cib", "cibstatus"]];

const STYLES: [&str; 4] = ["plain", "color-always", "color", "uppercase"];

/// What crmsh ends with where its own options are wrong.
const MISUSED: i32 = 2;

/// Words of `configure` that have a new one.
const FORMER: [(&str, &str); 4] =
    [("collocation", "colocation"), ("master", "ms"), ("rm", "delete"), ("del", "delete")];

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

/// `none`, or a schema of a number that there may be.
fn is_schema(name: &str) -> bool {
    let numbers = name.strip_prefix("pacemaker-").and_then(|v| v.split_once('.'));
    let sound = |major: &str, minor: &str| matches!(major.parse(), Ok(1..=4)) && matches!(minor.parse(), Ok(0..=20));
    name == "none" || numbers.is_some_and(|(major, minor)| sound(major, minor))
}

impl Shell {
    fn single(&mut self, words: &[String]) -> Result<String, Failure> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["--version" | "version"] => return Ok("crm 4.4.1\n".to_owned()),
            [level] if LEVELS.contains(level) => {
                return match self.session_at(level) {
                    0 => Ok(String::new()),
                    code => Err(Failure::new(code, "")),
                };
            }
            _ => {}
        }
        let line = match self.parse(&words)? {
            Asked::Perform(line) => line,
            Asked::Help(text) => return Ok(text),
        };
        let words = line.words();
        if words[0] == "cluster" {
            return cluster::run(&line, &words[1..]);
        }
        let text = self.level(words[0], &words[1..])?;
        if words[0] == "configure"
            && !matches!(
                words[1..],
                ["commit" | "show" | "save" | "verify" | "upgrade" | "simulate" | "ptest", ..]
                    | ["schema"]
                    | ["template", "list" | "show" | "new" | "edit" | "delete" | "load", ..]
            )
        {
            self.commit()?;
        }
        if self.wait && self.source.client().is_some() {
            crate::wait::until_idle(&self.source, WAIT_MS)?;
        }
        Ok(text)
    }

    /// Holds a line to the table.
    fn parse(&mut self, words: &[&str]) -> Result<Asked, Failure> {
        let mut words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        for (at, word) in table::TABLE.begun(&words) {
            note!("INFO: \"{}\" is accepted as \"{word}\"", words[at]);
            words[at] = word.to_owned();
        }
        match table::TABLE.parse(&words) {
            Ok(line) => {
                self.force |= line.has("--force");
                Ok(Asked::Perform(line))
            }
            Err(Refused::Help(text)) => Ok(Asked::Help(text)),
            Err(Refused::Unknown { words, .. }) => {
                let near = crate::terminal::hint(table::TABLE.nearest(&words::of(&words)));
                let mut words = words.split(' ');
                let (first, second) = (words.next().unwrap_or_default(), words.next());
                let path = match second.filter(|_| LEVELS.contains(&first)) {
                    Some(second) => format!("{first}.{second}"),
                    None => first.to_owned(),
                };
                Err(Failure { details: near, ..error(format!("{path}: No such command")) })
            }
            Err(Refused::Arguments { usage }) => Err(error(match table::expected(&words) {
                Some(expected) => expected,
                None => format!("these arguments do not fit the command\n{usage}"),
            })),
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
            "verify" => {
                put(&configure::verify(&self.working()?.configuration, true));
                let faults = cib::schema::verify(&self.source.cib()?);
                let sound = faults.iter().all(|p| p.severity == cib::Severity::Info);
                if sound { Ok(String::new()) } else { Err(Failure::new(codes::ERROR, "")) }
            }
            "script" => match scripts::run(words)? {
                scripts::Outcome::Said(text) => Ok(text),
                outcome => {
                    let said = self.fill_in(outcome)?;
                    self.commit()?;
                    Ok(said)
                }
            },
            "history" => self.history.run(&self.source, words),
            "configure" => self.configure(words),
            "resource" => control::resource(&self.source, words, self.asking()),
            "node" => control::node(&self.source, words, self.asking()),
            "ra" => ra::run(words),
            "options" => self.options.run(words),
            "cib" => {
                if self.working.as_ref().is_some_and(|w| w.configuration != w.original) {
                    return Err(error("there are changes that were not committed: commit or refresh first"));
                }
                self.working = None;
                self.shadows.run(&Source::beneath_shadow(), &mut self.source, words)
            }
            "corosync" => Err(error(format!(
                "'crm {level}' is not part of Bascule: it reads corosync.conf as it is; 'bascule node --check' explains it, corosync-quorumtool and corosync-cfgtool show its state"
            ))),
            other => Err(error(format!("unknown level '{other}'"))),
        }
    }

    fn asking(&self) -> meta::Asking {
        meta::Asking { force: self.force, children: self.options.children() }
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
        let text = shown.render(&view)?;
        Ok(if self.source.client().is_none() { crate::report::of_a_file(&text) } else { text })
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
        self.force = self.always_force;
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
            ["schema", name] => self.set_schema(name),
            ["upgrade", rest @ ..] => {
                if !self.force && *rest != ["force"] {
                    return Err(error("'force' option is required"));
                }
                let request = cib::Request::new(cib::Op::Upgrade, cib::Target::Whole, None);
                self.source.call(crate::attributes::sign(request))?;
                Ok(String::new())
            }
            ["simulate" | "ptest", rest @ ..] => {
                let configuration = self.working()?.configuration.clone();
                operator::simulate(&self.source, &configuration, rest)
            }
            ["assist", rest @ ..] => assist::run(&mut self.working()?.configuration, rest),
            ["template"] => Ok(String::new()),
            ["template", rest @ ..] => {
                let editor = self.options.editor();
                let outcome = self.templates.run(rest, |text| load::edited(&editor, text))?;
                self.fill_in(outcome)
            }
            [verb @ ("verify" | "validate-all" | "_test"), ..] => {
                let working = self.working()?;
                Ok(configure::verify(&working.configuration, *verb == "verify"))
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
                let sorted = self.options.sorted();
                let working = self.working()?;
                show::configuration(&masked(&working.configuration), &masked(&working.original), ids, sorted)
            }
            ["save", file] => {
                let sorted = self.options.sorted();
                let configuration = &self.working()?.configuration;
                save(file, &show::configuration(configuration, configuration, &[], sorted)?)
            }
            ["save", "xml", file] => save(file, &self.working()?.configuration.to_pretty()),
            ["filter", program, ids @ ..] => self.through(ids, &|text| load::filtered(program, text)),
            ["edit", ids @ ..] => {
                let editor = self.options.editor();
                self.through(ids, &|text| load::edited(&editor, text))
            }
            words => {
                let mut words = words.to_vec();
                if let Some((former, today)) = FORMER.iter().find(|(former, _)| *former == words[0]) {
                    note!("WARNING: This command '{former}' is deprecated, please use '{today}'");
                    note!("INFO: \"{former}\" is accepted as \"{today}\"");
                    words[0] = today;
                }
                let asking = self.asking();
                let working = self.working()?;
                let said = configure::run(&mut working.configuration, &words, asking)?;
                if working.modern {
                    configure::modernise(&mut working.configuration);
                }
                Ok(said)
            }
        }
    }

    /// Lines of a recipe, as if they were typed.
    fn fill_in(&mut self, outcome: scripts::Outcome) -> Result<String, Failure> {
        let (said, lines) = match outcome {
            scripts::Outcome::Said(text) => return Ok(text),
            scripts::Outcome::Configure { said, lines } => (said, lines),
        };
        let asking = self.asking();
        let working = self.working()?;
        let told = load::text(&mut working.configuration, &lines, "template", load::How::Update, asking)?;
        if working.modern {
            configure::modernise(&mut working.configuration);
        }
        Ok(told + &said)
    }

    fn set_schema(&self, name: &str) -> Result<String, Failure> {
        let wanted = is_schema(name).then_some(name).ok_or_else(|| error(format!("schema {name} does not exist")))?;
        let change = Element::new("cib").with("validate-with", wanted);
        self.source.call(crate::attributes::sign(cib::Request::new(
            cib::Op::Modify,
            cib::Target::Whole,
            Some(change),
        )))?;
        Ok(String::new())
    }

    /// Objects as text, through somebody's hands, and back.
    fn through(&mut self, ids: &[&str], hands: &dyn Fn(&str) -> Result<String, Failure>) -> Result<String, Failure> {
        let (sorted, asking) = (self.options.sorted(), self.asking());
        let working = self.working()?;
        let before = show::configuration(&working.configuration, &working.original, ids, sorted)?;
        let after = hands(&before)?;
        if after == before {
            return Ok(String::new());
        }
        load::text(&mut working.configuration, &after, "input", load::How::Update, asking)?;
        if working.modern {
            configure::modernise(&mut working.configuration);
        }
        Ok(String::new())
    }

    fn session(&mut self, file: Option<&str>) -> i32 {
        match file.filter(|f| *f != "-") {
            None => self.lines(std::io::stdin().lock(), Vec::new(), std::io::stdin().is_terminal()),
            Some(path) => match std::fs::File::open(path) {
                Ok(file) => self.lines(std::io::BufReader::new(file), Vec::new(), false),
                Err(e) => {
                    say(&error(format!("cannot read {path}: {e}")));
                    MISUSED
                }
            },
        }
    }

    fn session_at(&mut self, level: &str) -> i32 {
        self.lines(std::io::stdin().lock(), vec![level.to_owned()], std::io::stdin().is_terminal())
    }

    /// Lines until `quit` or the end; the code tells whether one of them failed. What was not committed is lost, unless it is forced.
    fn lines(&mut self, input: impl BufRead, mut level: Vec<String>, interactive: bool) -> i32 {
        let mut pending = String::new();
        let mut code = codes::OK;
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
                        code = codes::ERROR;
                    }
                }
            }
            prompt(&level);
        }
        match self.working.as_ref().is_some_and(|w| w.configuration != w.original) {
            true if self.force => match self.commit() {
                Ok(()) => code,
                Err(failure) => say(&failure),
            },
            true => say(&error("there were changes that were not committed; they are dropped")),
            false => code,
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
            [name] if level.len() == 1 && INNER.iter().any(|[outer, inner]| *outer == level[0] && inner == name) => {
                level.push((*name).to_owned());
            }
            words => {
                let words: Vec<&str> = level.iter().map(String::as_str).chain(words.iter().copied()).collect();
                let words: Vec<&str> = words.into_iter().map(|w| if w == "?" { "help" } else { w }).collect();
                return match self.parse(&words)? {
                    Asked::Perform(line) if line.words[0] == "cluster" => {
                        cluster::run(&line, &line.words()[1..]).map(Some)
                    }
                    Asked::Perform(line) => self.level(&line.words[0], &line.words()[1..]).map(Some),
                    Asked::Help(text) => Ok(Some(text)),
                };
            }
        }
        Ok(Some(String::new()))
    }
}
