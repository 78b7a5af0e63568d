//! What others ask of the core's task, and how they look at what it shows.

use crate::node::board::{self, Board, Reader, Shown};
use controller::{Request, Response};
use tokio::sync::{mpsc, oneshot};

/// Requests of clients that wait for the task.
const ASKS: usize = 1024;

/// What the API asks of the task.
pub enum Ask {
    Request(Box<Request>, oneshot::Sender<Response>),
    /// Read corosync.conf again, on all members.
    Reload(oneshot::Sender<crate::node::reload::Answer>),
    Votes(wire::api::VotesCall, oneshot::Sender<wire::api::Done>),
    Kill(base::NodeId, oneshot::Sender<wire::api::Done>),
    Group(crate::groups::Wish),
    ReopenLogs,
    /// Leave the ring; with `true` resources are left running.
    Leave(bool, oneshot::Sender<Result<(), LeaveRefused>>),
}

/// Why the node stays.
#[derive(Debug, thiserror::Error)]
pub enum LeaveRefused {
    #[error(
        "resources can be left running only in maintenance: the other nodes would start them a second time; \
         run `crm_attribute --type crm_config --name maintenance-mode --update true` first"
    )]
    NotInMaintenance,
    #[error("{0}")]
    Addresses(String),
}

/// The API's end.
#[derive(Clone)]
pub struct Asker {
    asks: mpsc::Sender<Ask>,
    reader: Reader,
}

impl Asker {
    /// `None` if the task has ended.
    pub async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (to, answer) = oneshot::channel();
        self.asks.send(make(to)).await.ok()?;
        answer.await.ok()
    }

    /// Needs no answer.
    pub async fn tell(&self, ask: Ask) {
        // A task that has ended does nothing more.
        let _ = self.asks.send(ask).await;
    }

    /// What was shown last, without waiting.
    pub fn last(&self) -> Option<std::sync::Arc<Shown>> {
        self.reader.last()
    }

    /// What is applied here; the task is not asked. `None` if it has ended.
    pub async fn look(&self) -> Option<std::sync::Arc<Shown>> {
        self.reader.look().await
    }
}

pub(in crate::node) fn channel() -> (Asker, mpsc::Receiver<Ask>, Board) {
    let (asks, inbox) = mpsc::channel(ASKS);
    let (board, reader) = board::board();
    (Asker { asks, reader }, inbox, board)
}
