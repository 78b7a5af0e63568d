//! The applet `bascule qnetd`: an arbitrator for many clusters, in the place of `corosync-qnetd`.
//!
//! One task owns the core ([`quorum::qnetd::Server`]); each connection is a task of its own ([`crate::qnet::drive`]), and so is
//! the local socket that `corosync-qnetd-tool` talks to. Nothing is kept on disk but certificates.

mod args;
mod local;
mod serve;
mod text;

use args::Args;
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Exit codes of the original.
const USAGE: i32 = 1;
const FAILED: i32 = 1;

/// Entry point of the applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let line = std::iter::once(OsString::from("qnetd")).chain(args);
    let matches = Args::command().args_override_self(true).try_get_matches_from(line);
    let args = match matches.and_then(|m| Args::from_arg_matches(&m)) {
        Ok(args) => args,
        Err(error) => {
            kernel::output::say(error.render().ansi(), error.render(), error.use_stderr());
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    if args.show_version {
        kernel::outln!("bascule qnetd {}: messages 0 to 17, options 0 to 23", env!("CARGO_PKG_VERSION"));
        return 0;
    }
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(why) => {
            kernel::errln!("bascule qnetd: {why}");
            return FAILED;
        }
    };
    crate::logging::start_service("qnetd", args.debug > 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(serve::serve(settings)));
    if let Err(error) = &ended {
        tracing::error!("bascule qnetd: {error}");
    }
    crate::logging::finish();
    if ended.is_ok() { 0 } else { FAILED }
}
