//! The applet `bascule node`: from files to a running node.
//!
//! ```text
//!   args -> settings (files read, checked) -> start (threads, tasks) -> core task until the ring is left -> exit code
//! ```
//!
//! [`core`] is the one task that owns controller and quorum; [`keep`] is a thread that it gives work to, as is
//! [`crate::schedule`].

mod args;
mod board;
mod check;
mod core;
mod device;
mod facts;
mod far;
mod fenced;
mod hindrance;
mod keep;
mod native;
mod notices;
mod orders;
#[cfg(test)]
mod panics;
mod perform;
mod reach;
mod records;
mod reload;
mod settings;
mod signals;
mod stalls;
mod start;
mod told;
mod view;
mod votes;

pub use self::board::Shown;
pub use self::core::{Ask, Asker};
pub(crate) use check::timing;
pub(crate) use start::{helper_links, random};

use args::Args;
use base::exit::crm;
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Entry point of the applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let line = std::iter::once(OsString::from("node")).chain(args);
    // The last of repeated options counts, as with getopt.
    let matches = Args::command().args_override_self(true).try_get_matches_from(line);
    let args = match matches.and_then(|m| Args::from_arg_matches(&m)) {
        Ok(args) => args,
        Err(error) => {
            kernel::output::say(error.render().ansi(), error.render(), error.use_stderr());
            return if error.use_stderr() { crm::USAGE } else { crm::OK };
        }
    };
    if args.check {
        return check::run(&args);
    }
    let settings = match settings::read(&args) {
        Ok(settings) => settings,
        Err(refused) => {
            refused.lines.iter().for_each(|line| kernel::errln!("{line}"));
            kernel::errln!("bascule node: not started: the configuration is refused");
            return refused.code;
        }
    };
    start::run(args, settings)
}
