//! A client that changes the configuration at one node after the other all the time, and remembers what it was promised.

use crate::fixture::{cib_call, post};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wire::api::{CibOp, CibReply, Safety};

/// Longest that it waits for one node's answer.
const WAITS: Duration = Duration::from_secs(3);
const BETWEEN: Duration = Duration::from_millis(100);

/// Ends with its thread.
pub struct Writer {
    safe: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Writer {
    pub fn start(run_dirs: Vec<PathBuf>) -> Writer {
        let writer = Writer { safe: Arc::default(), stop: Arc::default() };
        let (safe, stop) = (writer.safe.clone(), writer.stop.clone());
        std::thread::spawn(move || {
            for (n, dir) in run_dirs.iter().cycle().enumerate() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let id = format!("w-{n}");
                let tag = format!("<tag id=\"{id}\"><obj_ref id=\"app\"/></tag>");
                let reply: Option<CibReply> = post(dir, "cib", &cib_call(CibOp::Create, "tags", Some(tag)), WAITS);
                if reply.is_some_and(|r| r.code == 0 && r.safety == Safety::Safe) {
                    safe.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                }
                std::thread::sleep(BETWEEN);
            }
        });
        writer
    }

    pub fn promised(&self) -> Vec<String> {
        self.safe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
