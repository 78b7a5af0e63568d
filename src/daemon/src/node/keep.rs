//! The thread that writes the state directory, so that no disk delays the controller, which is told of each write. Replies
//! pass through here as well: even a provisional change has been written on this node. Writes that wait are joined into one.

use crate::store::Store;
use controller::Response;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use tokio::sync::oneshot;
use xml::Element;

pub(super) enum Work {
    Cib {
        ticket: u64,
        cib: Arc<Element>,
        lineage: String,
    },
    Discarded {
        cib: Arc<Element>,
        reason: String,
    },
    Reply(oneshot::Sender<Response>, Response),
    Quorum(quorum::Persisted),
    /// Answered when all work before it is done.
    Flush(oneshot::Sender<()>),
}

/// What the thread has to say.
#[derive(Debug)]
pub(super) enum Note {
    /// The CIB with this ticket was written, or could not be.
    Stored {
        ticket: u64,
        written: bool,
    },
    Failed(String),
    Discarded {
        file: PathBuf,
        reason: String,
    },
}

pub(super) fn start(
    store: Store,
    run_dir: PathBuf,
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
) -> std::io::Result<mpsc::Sender<Work>> {
    let (work, inbox) = mpsc::channel::<Work>();
    std::thread::Builder::new().name("store".into()).spawn(move || {
        let mut keeper = Keeper { store, run_dir, notes };
        while let Ok(first) = inbox.recv() {
            let batch: Vec<Work> = std::iter::once(first).chain(inbox.try_iter()).collect();
            keeper.batch(batch);
        }
    })?;
    Ok(work)
}

struct Keeper {
    store: Store,
    run_dir: PathBuf,
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
}

impl Keeper {
    fn batch(&mut self, batch: Vec<Work>) {
        let mut newest = None;
        let mut after: Vec<Box<dyn FnOnce() -> bool>> = Vec::new();
        for work in batch {
            match work {
                Work::Cib { ticket, cib, lineage } => newest = Some((ticket, cib, lineage)),
                Work::Discarded { cib, reason } => self.discard(&cib, reason),
                Work::Quorum(flags) => {
                    if let Err(error) = crate::store::save_quorum(&self.run_dir, flags) {
                        self.fail(error.to_string());
                    }
                }
                Work::Reply(to, response) => after.push(Box::new(move || to.send(response).is_ok())),
                Work::Flush(to) => after.push(Box::new(move || to.send(()).is_ok())),
            }
        }
        if let Some((ticket, cib, lineage)) = newest {
            let saved = self.store.save_cib(&cib.to_pretty(), &lineage);
            let _ = self.notes.send(Note::Stored { ticket, written: saved.is_ok() });
            if let Err(error) = saved {
                self.fail(format!("the CIB was not written: {error}"));
            }
        }
        // A client that has gone needs no answer.
        for answer in after {
            answer();
        }
    }

    fn discard(&mut self, cib: &Element, reason: String) {
        let stamp = stamp(crate::clock::wall().secs());
        match self.store.save_discarded(&stamp, &cib.to_pretty()) {
            Ok(file) => {
                let _ = self.notes.send(Note::Discarded { file, reason });
            }
            Err(error) => self.fail(format!("discarded content was not written: {error}")),
        }
    }

    fn fail(&self, text: String) {
        tracing::error!("{text}");
        let _ = self.notes.send(Note::Failed(text));
    }
}

/// `20260131T235959Z`.
fn stamp(secs: i64) -> String {
    jiff::Timestamp::from_second(secs)
        .map(|t| t.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_else(|_| secs.to_string())
}
