//! The worker's own process: orders on standard input, replies on standard output, bounded memory, first to go when the
//! machine has none left.

use super::frame::{Order, Reply};
use base::exit::crm;
use nix::sys::resource::{Resource, setrlimit};
use std::ffi::OsString;

/// Address space of the worker: the scheduler's stack and a few thousand bytes for each of the largest cluster's actions.
const MEMORY_BYTES: u64 = 4 << 30;

/// Entry point of the hidden applet.
pub(crate) fn run(_args: Vec<OsString>) -> i32 {
    if let Err(error) = setrlimit(Resource::RLIMIT_AS, MEMORY_BYTES, MEMORY_BYTES) {
        kernel::errln!("memory is not limited: {error}");
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // It is handed the whole configuration, secrets and all, and only computes.
    let confined = [
        kernel::confine::no_core_dump(),
        kernel::confine::keep_capabilities(&[]),
        kernel::confine::refuse_calls(kernel::confine::Filter::Guard),
    ];
    if nix::unistd::geteuid().is_root() {
        confined.into_iter().filter_map(Result::err).for_each(|e| kernel::errln!("the scheduler is not confined: {e}"));
    }
    let (mut input, mut output) = (std::io::stdin().lock(), kernel::output::stdout());
    loop {
        let order = match Order::read(&mut input) {
            Ok(Some(order)) => order,
            // The daemon has ended.
            Ok(None) => return crm::OK,
            Err(error) => return complain(&error.to_string()),
        };
        if let Err(error) = answer(&order).write(&mut output) {
            return complain(&error.to_string());
        }
    }
}

fn answer(order: &Order) -> Reply {
    let cib = match xml::parse(&order.cib) {
        Ok(cib) => cib,
        Err(error) => return Reply::Refused(format!("the CIB cannot be read: {error}")),
    };
    let options = scheduler::Options { transition: order.transition };
    match scheduler::schedule(&cib, order.wall, &options) {
        Ok(schedule) => Reply::Schedule(Box::new(schedule)),
        // The thread's panic is on standard error already.
        Err(scheduler::ScheduleError::Thread(_)) => Reply::Panicked,
        Err(error) => Reply::Refused(error.to_string()),
    }
}

fn complain(text: &str) -> i32 {
    kernel::errln!("{text}");
    crm::PROTOCOL
}
