//! `-R`: rules from standard input; plain as the original does it, or checked as a whole first.
//!
//! Plain: lines are carried out in order; a wrong line ends the run with 2, a refused listing with 1; a refused change is
//! told and the run goes on; the last line's result is the exit code. Changes travel to the kernel in trains.
//! `--check` reads and tries everything in memory and changes nothing. `--replace` checks, then makes the table equal to the
//! file by the fewest changes (see `replace`).

use super::options::{Given, Opt};
use super::parse::{EXIT_REFUSED, EXIT_USAGE, Request, Stop, parse};
use super::rules::Command;
use super::{Io, execute, replace, report_stop};
use kernel::ipvs::{Change, Error, Ipvs, Memory};
use std::io::BufRead;

/// Changes collected before they are sent.
const TRAIN: usize = 1024;
/// Lines between two signs of progress.
const PROGRESS_LINES: usize = 5_000;
/// Longest line and largest input, so that a wrong file cannot fill the memory.
const MAX_LINE_BYTES: usize = 64 * 1024;
pub const MAX_INPUT_BYTES: usize = 512 << 20;

/// Carries out `-R` in the asked manner; returns the exit code.
pub fn restore(given: Given, table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    if given.any(&[Opt::Check, Opt::Replace]) { checked(given, table, io) } else { plain(table, io) }
}

fn plain(table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    let mut train: Vec<Change> = Vec::new();
    let (mut code, mut count) = (0, 0usize);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(io.input, &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(message) => {
                send(&mut train, table, io);
                return report_stop(&Stop::usage(message), io);
            }
        }
        count += 1;
        let words = split(&line);
        if words.is_empty() {
            continue;
        }
        let request = match parse(&words, true, io.lookup) {
            Ok(request) => request,
            // Words that are no options count as the line's result; other errors end the run.
            Err(Stop::Fail { code: EXIT_REFUSED, message }) => {
                send(&mut train, table, io);
                code = report_stop(&Stop::Fail { code: EXIT_REFUSED, message }, io);
                continue;
            }
            Err(stop) => {
                send(&mut train, table, io);
                return report_stop(&stop, io);
            }
        };
        code = if reads(&request) {
            send(&mut train, table, io);
            let code = execute::execute(&request, table, io);
            if code == execute::EXIT_LISTING {
                return code;
            }
            code
        } else {
            match execute::change_of(&request, table) {
                Ok(Some(change)) => train.push(change),
                _ => return report_stop(&Stop::TryHelp, io),
            }
            if train.len() >= TRAIN { send(&mut train, table, io) } else { code }
        };
        progress(count, io);
    }
    if train.is_empty() { code } else { send(&mut train, table, io) }
}

/// Whether a request needs the table as the lines before it leave it.
fn reads(request: &Request) -> bool {
    matches!(request.command, Command::List | Command::Save) || request.given.has(Opt::Keep)
}

/// Sends what has been collected; returns the last one's exit code, 0 if there was nothing.
fn send(train: &mut Vec<Change>, table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    let results = table.apply_all(train);
    let code = train.iter().zip(&results).map(|(change, result)| execute::report(change, result, io)).last();
    train.clear();
    code.unwrap_or(0)
}

fn progress(count: usize, io: &mut Io<'_>) {
    if io.interactive && count.is_multiple_of(PROGRESS_LINES) {
        let _ = write!(io.err, "\r{count} lines");
        let _ = io.err.flush();
    }
}

/// Reads one line without growing beyond the limit; 0 at the end.
fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<usize, String> {
    let mut bounded = std::io::Read::take(input, MAX_LINE_BYTES as u64);
    let len = bounded.read_until(b'\n', line).map_err(|e| format!("standard input: {e}"))?;
    if len == MAX_LINE_BYTES {
        return Err(format!("a line is longer than {MAX_LINE_BYTES} bytes"));
    }
    Ok(len)
}

fn split(line: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(line).split_ascii_whitespace().map(str::to_owned).collect()
}

/// `--check` and `--replace`.
fn checked(given: Given, table: &mut dyn Ipvs, io: &mut Io<'_>) -> i32 {
    let mut text = Vec::new();
    let mut bounded = std::io::Read::take(&mut *io.input, MAX_INPUT_BYTES as u64);
    if let Err(e) = std::io::Read::read_to_end(&mut bounded, &mut text) {
        return report_stop(&Stop::usage(format!("standard input: {e}")), io);
    }
    let wanted = match wanted_table(&text, table, io) {
        Ok(wanted) => wanted,
        Err(problems) => {
            for problem in &problems {
                let _ = writeln!(io.err, "{problem}");
            }
            let _ = writeln!(io.err, "{} wrong; nothing was changed", lines(problems.len()));
            return EXIT_USAGE;
        }
    };
    if !given.has(Opt::Replace) {
        return 0;
    }
    match replace::replace(table, &wanted) {
        Ok(_) => 0,
        Err(failure) => {
            let _ = writeln!(io.err, "{failure}");
            EXIT_REFUSED
        }
    }
}

fn lines(count: usize) -> String {
    if count == 1 { "1 line is".to_owned() } else { format!("{count} lines are") }
}

/// The table that rules, or a table in JSON, make from nothing; or what `table` would refuse, line by line. Comments are fine here.
pub fn wanted_table(text: &[u8], table: &mut dyn Ipvs, io: &Io<'_>) -> Result<replace::Wanted, Vec<String>> {
    let text = String::from_utf8_lossy(text);
    if text.trim_start().starts_with('{') {
        let memory = Memory::from_json(&text, "standard input").map_err(|e| vec![e.to_string()])?;
        return Ok(replace::Wanted { timeouts: true, daemons: true, table: memory });
    }
    let mut wanted = replace::Wanted { timeouts: false, daemons: false, table: Memory::new() };
    // Which of them there are is the kernel's to say, not this list's.
    wanted.table.accept_any_scheduler();
    let mut problems = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let words = split(line.as_bytes());
        if words.is_empty() || words[0].starts_with('#') {
            continue;
        }
        if let Err(problem) = add_rule(&words, &mut wanted, table, io) {
            problems.push(format!("line {}: {problem}", i + 1));
        }
    }
    if problems.is_empty() { Ok(wanted) } else { Err(problems) }
}

fn add_rule(words: &[String], wanted: &mut replace::Wanted, table: &mut dyn Ipvs, io: &Io<'_>) -> Result<(), String> {
    let request = parse(words, true, io.lookup).map_err(|stop| match stop {
        Stop::Fail { message, .. } => message.trim_end().to_owned(),
        _ => "not a rule".to_owned(),
    })?;
    let allowed = [Command::AddService, Command::AddServer, Command::Set, Command::StartDaemon];
    if !allowed.contains(&request.command) {
        return Err(format!("'{}' has no place in a table's rules", request.command.name()));
    }
    wanted.timeouts |= request.command == Command::Set;
    wanted.daemons |= request.command == Command::StartDaemon;
    let change = execute::change_of(&request, &mut wanted.table).map_err(|e| e.to_string())?;
    let change = change.ok_or_else(|| "not a rule".to_owned())?;
    let missing = match &change {
        Change::AddService(s) => {
            let there = table.has_scheduler(&s.scheduler) && s.pe.as_deref().is_none_or(|pe| table.has_engine(pe));
            (!there).then(|| Error::NoScheduler { scheduler: s.scheduler.clone(), pe: s.pe.clone() })
        }
        _ => None,
    };
    let done = match missing {
        // What the table says of the service itself comes first; nothing is placed.
        Some(missing) => wanted.table.clone().apply(&change).and(Err(missing)),
        None => wanted.table.apply(&change),
    };
    done.map_err(|e| super::messages::of_change(&change, &e))
}
