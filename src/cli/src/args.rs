//! From the argument list to a typed command, with the original's exit codes; and the form of every command's main.

use crate::report::Common;
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;

/// A command's arguments, all of one family in their common options.
pub trait Command: Parser {
    const NAME: &'static str;
    fn common(&self) -> &Common;
    fn execute(&self) -> Result<i32, Failure>;
}

/// Parses and performs a command; the exit code is the result.
pub fn run<C: Command>(args: Vec<OsString>) -> i32 {
    let parsed = match parse::<C>(C::NAME, args) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    if parsed.common().version {
        crate::report::put(&format!("{}\n", version()));
        return crm::OK;
    }
    if parsed.common().verbose > 0 {
        crate::log::verbose();
    }
    let ended = parsed.execute().and_then(|code| parsed.common().finish(code).map(|()| code));
    match ended {
        Ok(code) => code,
        Err(failure) => parsed.common().fail(C::NAME, &failure),
    }
}

/// Only the chosen command's argument tree is built; help ends with 0, a mistake with 64.
pub fn parse<C: Parser>(name: &str, args: Vec<OsString>) -> Result<C, i32> {
    // Programs look in it for what there is.
    let spoken = |a: OsString| if a == "--help-all" { "--help".into() } else { a };
    let line = std::iter::once(OsString::from(name)).chain(args.into_iter().map(spoken));
    // The last of repeated options counts, as with getopt.
    let matches = C::command().args_override_self(true).try_get_matches_from(line);
    matches.and_then(|m| C::from_arg_matches(&m)).map_err(|e| {
        kernel::output::say(e.render().ansi(), e.render(), e.use_stderr());
        if e.use_stderr() { crm::USAGE } else { crm::OK }
    })
}

/// The words of a command line; or what the command ends with, where one of them is no text.
pub fn words(name: &str, args: Vec<OsString>) -> Result<Vec<String>, i32> {
    args.into_iter().map(OsString::into_string).collect::<Result<_, _>>().map_err(|word| {
        kernel::errln!("{name}: {word:?} is not UTF-8 text");
        crm::USAGE
    })
}

/// What `--version` prints; scripts look for Pacemaker's number.
pub fn version() -> String {
    let pacemaker = if compat_21() { "2.1.5" } else { "3.0.1" };
    format!("Pacemaker {pacemaker}\nCommands of Bascule {}", env!("CARGO_PKG_VERSION"))
}

/// Whether the forms of Pacemaker 2.1 are asked for (links made with `bascule links --compat 2.1`).
pub fn compat_21() -> bool {
    std::env::var_os("BASCULE_COMPAT").is_some_and(|v| v == "2.1")
}
