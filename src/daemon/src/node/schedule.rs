//! The scheduler's worker: one thread, the newest ticket wins, a panic is a failed schedule and nothing more.

use base::WallTime;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use xml::Element;

/// Stack of the worker: deep recursion over large resource trees must not overflow it.
const STACK_BYTES: usize = 16 << 20;

pub(super) struct Job {
    pub ticket: u64,
    pub cib: Arc<Element>,
    pub wall: WallTime,
}

pub(super) type Answer = (u64, Result<Box<scheduler::Schedule>, String>);

/// Starts the worker. Jobs that wait when it is free are skipped but for the newest.
pub(super) fn start(done: tokio::sync::mpsc::UnboundedSender<Answer>) -> std::io::Result<mpsc::Sender<Job>> {
    let (jobs, inbox) = mpsc::channel::<Job>();
    std::thread::Builder::new().name("scheduler".into()).stack_size(STACK_BYTES).spawn(move || {
        while let Ok(first) = inbox.recv() {
            let job = inbox.try_iter().last().unwrap_or(first);
            let ticket = job.ticket;
            if done.send((ticket, run(job))).is_err() {
                return;
            }
        }
    })?;
    Ok(jobs)
}

fn run(job: Job) -> Result<Box<scheduler::Schedule>, String> {
    let options = scheduler::Options { transition: (job.ticket & 0x7fff_ffff) as u32 };
    let result = catch_unwind(AssertUnwindSafe(|| scheduler::schedule(&job.cib, job.wall, &options)));
    match result {
        Ok(Ok(schedule)) => Ok(Box::new(schedule)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the scheduler panicked; the log has the place".to_owned()),
    }
}
