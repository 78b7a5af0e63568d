//! `pcs`: the commands of its guides, on the cluster's API or a CIB file (`-f FILE` or `CIB_file`).
//!
//! [`table::TABLE`] says what there is. What concerns other hosts goes through [`crate::hosts`]; what Bascule does otherwise is
//! refused with what to do instead.

mod acl;
mod alert;
mod backup;
mod booth;
mod bundle;
mod cluster;
mod constraint;
mod corosync;
mod create;
mod defaults;
mod describe;
mod hosts;
mod live;
mod members;
mod node;
mod operations;
mod power;
mod qdevice;
mod relations;
mod remote;
mod report;
mod resource;
mod sbd;
pub mod setup;
mod stonith;
mod table;
mod tag;
mod utilization;

use crate::edit::error;
use crate::grammar::{Line, Refused};
use crate::source::{Failure, Source};
use base::exit::crm;
use std::ffi::OsString;

pub fn main(args: Vec<OsString>) -> i32 {
    let Ok(args) = crate::args::words("pcs", args) else { return crm::ERROR };
    if let Some((_, typed)) = args.split_first().filter(|(first, _)| *first == crate::completion::ASKS) {
        crate::report::put(&crate::completion::next(&table::TABLE, typed));
        return crm::OK;
    }
    match run(&args) {
        Ok((text, code)) => {
            crate::report::put(&text);
            code
        }
        Err(failure) => {
            kernel::errln!("Error: {}", failure.message);
            failure.details.iter().for_each(|d| kernel::errln!("  {d}"));
            // pcs knows one code for all that fails.
            crm::ERROR
        }
    }
}

fn run(args: &[String]) -> Result<(String, i32), Failure> {
    if args.is_empty() {
        return Ok((table::TABLE.usage(&[]), crm::OK));
    }
    if args.contains(&"--version".to_owned()) {
        return Ok(("0.11.5\n".to_owned(), crm::OK));
    }
    let line = match table::TABLE.parse(args) {
        Ok(line) => line,
        Err(Refused::Help(text)) => return Ok((text, crm::OK)),
        Err(refused @ Refused::Unknown { .. }) => {
            let near = table::TABLE.nearest(line_words(args).as_slice());
            return Err(Failure { details: crate::terminal::hint(near), ..words_for(refused) });
        }
        Err(refused) => return Err(words_for(refused)),
    };
    let source = match line.value("-f") {
        Some(file) => Source::File(file.into()),
        None => Source::open(),
    };
    // Those that start nodes wait for these.
    let starts = matches!(line.words().as_slice(), ["cluster", "start" | "setup", ..] | ["cluster", "node", "add", ..]);
    let wait = (line.has("--wait") && !starts).then(|| wait_ms(&line, &source)).transpose()?;
    let answer = perform(&source, &line)?;
    if let Some(timeout_ms) = wait {
        crate::wait::until_idle(&source, timeout_ms)?;
    }
    Ok(answer)
}

/// As if it had been typed as `pcs …`.
pub fn typed(words: &[&str]) -> Result<(String, i32), Failure> {
    run(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
}

/// A line of this front end, taken apart.
pub fn line(words: &[&str]) -> Result<Line, Failure> {
    table::TABLE.parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).map_err(words_for)
}

pub use hosts::known as known_hosts;

fn line_words(args: &[String]) -> Vec<String> {
    args.iter().filter(|a| !a.starts_with('-')).cloned().collect()
}

/// The original's words.
fn words_for(refused: Refused) -> Failure {
    error(match refused {
        Refused::Help(usage) => usage,
        Refused::Unknown { words, usage } => format!("unknown command '{words}'\n{usage}"),
        Refused::Arguments { usage } => format!("these arguments do not fit the command\n{usage}"),
        Refused::Options { options, .. } => {
            let (word, is) = if options.len() == 1 { ("option", "is") } else { ("options", "are") };
            let options = report::quoted(options.iter().map(String::as_str));
            format!("Specified {word} {options} {is} not supported in this command")
        }
        Refused::Value { option, needed: true } => format!("option {option} requires an argument"),
        Refused::Value { option, needed: false } => format!("option {option} must not have an argument"),
    })
}

/// Several faults, and the original's word that it stops.
fn unable(messages: &[String]) -> Failure {
    error(format!("{}\nError: Errors have occurred, therefore pcs is unable to continue", messages.join("\nError: ")))
}

/// An hour, as the original waits, unless `--wait=SECONDS` says otherwise.
fn wait_ms(line: &Line, source: &Source) -> Result<u64, Failure> {
    if source.client().is_none() {
        return Err(error("Cannot use '-f' together with '--wait'"));
    }
    match line.value("--wait") {
        None => Ok(3_600_000),
        Some(text) => {
            cib::interval_ms(text).ok_or_else(|| error(format!("{text} is not a valid number of seconds to wait")))
        }
    }
}

fn perform(source: &Source, line: &Line) -> Result<(String, i32), Failure> {
    let text = match line.words().as_slice() {
        words if corosync::is(line, words) => corosync::run(line, words)?,
        words if hosts::is(words) => return hosts::run(line, words),
        words if power::is(words) => power::run(source, line, words)?,
        words if members::is(words) => members::run(source, line, words)?,
        ["cluster", "setup", rest @ ..] => setup::run(line, rest)?,
        ["status", rest @ ..] => cluster::status(source, line, rest)?,
        ["resource", action, id] if live::by_hand(action).is_some() => return live::debug(source, line, action, id),
        ["resource", rest @ ..] => resource::run(source, line, rest)?,
        ["constraint", rest @ ..] => constraint::run(source, line, rest)?,
        ["acl", rest @ ..] => acl::run(source, line, rest)?,
        ["property", rest @ ..] => node::property(source, rest, line.has("--force"))?,
        ["node", "utilization", rest @ ..] => utilization::nodes(source, line, rest)?,
        ["node", rest @ ..] => node::run(source, line, rest)?,
        ["tag", rest @ ..] => tag::run(source, line, rest)?,
        ["stonith", rest @ ..] => stonith::run(source, line, rest)?,
        ["alert", rest @ ..] => alert::run(source, line, rest)?,
        ["quorum", rest @ ..] => return cluster::quorum(line, rest),
        ["booth", rest @ ..] => booth::run(source, line, rest)?,
        ["cluster", "node", rest @ ..] if remote::is(rest) => remote::run(source, line, rest)?,
        ["cluster", rest @ ..] => return cluster::run(source, line, rest),
        ["qdevice", rest @ ..] if !matches!(rest, ["net-client" | "sign-net-cert-request", ..]) => {
            qdevice::run(line, rest)?
        }
        ["config", "backup", rest @ ..] => backup::backup(source, line, rest)?,
        ["config", "restore", rest @ ..] => backup::restore(line, rest)?,
        ["config", ..] => cluster::config(source, line)?,
        [elsewhere, ..] => return Err(cluster::elsewhere(elsewhere)),
        [] => table::TABLE.usage(&[]),
    };
    Ok((text, crm::OK))
}
