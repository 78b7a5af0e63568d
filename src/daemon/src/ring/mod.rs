//! The ring's own thread: totem over sealed UDP, real-time where permitted, sharing nothing with the rest but two bounded
//! queues and a few atomics.
//!
//! ```text
//!   commands (broadcast, leave) --> [ thread: packets, timers -> totem core -> packets ] --> events (views, messages)
//!                tick stamp --------------^         |                       +--------------> status snapshot
//!                                                   +-- lease permit: only while ring current and controller ticks
//! ```
//!
//! Only the thread touches the core and the sockets. Readiness is judged here: a controller that has not ticked for
//! [`NOT_READY_AFTER`] makes this node not ready, after [`LEAVE_AFTER`] it leaves the ring. Time in which the thread itself did
//! not run (the whole process was stopped) does not count; then the core starts over by itself.

mod batch;
mod links;
mod thread;
mod unread;
mod unreserved;
mod watch;

#[cfg(test)]
mod tests;

pub use links::{Counters as LinkCounters, LinkError, Links, Traffic};
pub use unread::HELD_FOR as UNREADABLE_FOR;

use crate::config::ResolvedNode;
use agents::lease::Permit;
use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Commands that wait for the thread.
const COMMANDS: usize = 256;
/// Events that wait for the controller's task; beyond them the thread keeps up to [`MAX_BACKLOG`] more.
const EVENTS: usize = 4096;
/// Events kept for a controller that does not take them; then the node leaves the ring.
const MAX_BACKLOG: usize = 100_000;
/// A controller silent for that long is not ready.
pub const NOT_READY_AFTER: Duration = Duration::from_secs(2);
/// … and after this its node leaves the ring.
pub const LEAVE_AFTER: Duration = Duration::from_secs(5);

/// What the thread needs to know.
pub struct Options {
    pub core: totem::Config,
    pub nodes: Vec<ResolvedNode>,
    pub key: wire::seal::Root,
    pub cluster_name: String,
    /// Random, new at every start.
    pub session: [u8; 16],
    pub block_unlisted: bool,
    /// Real-time priority and locked memory are wanted.
    pub realtime: bool,
    pub permit: Permit,
    /// Has ring numbers beyond this one reserved on disk, without waiting; says whether this one is.
    pub reserve: Box<dyn FnMut(u64) -> bool + Send>,
}

/// What a reload changes in the thread. The ring numbers and the incarnation of `core` do not count.
#[derive(Debug)]
pub struct Change {
    pub core: totem::Config,
    pub nodes: Vec<ResolvedNode>,
    /// Another key, with a session that is random and new.
    pub key: Option<(wire::seal::Root, [u8; 16])>,
    pub block_unlisted: bool,
}

enum Command {
    Broadcast(Vec<u8>),
    Change(Box<Change>),
    StepOut(Duration),
    Leave,
}

/// What the thread reports, each with the moment at which it happened.
#[derive(Debug)]
pub struct Report {
    pub at: Time,
    pub event: RingEvent,
}

#[derive(Debug)]
pub enum RingEvent {
    View(totem::View),
    Deliver(totem::Message),
    Safe {
        view: totem::ViewId,
        seq: u64,
    },
    /// The view ends; until the next one, `Safe` speaks only of those who come along.
    Transitional,
    Event(totem::Event),
    /// The host of this peer is heard, but what it sends cannot be read; with the cure. Once a second while it lasts.
    Unreadable {
        node: NodeId,
        text: String,
    },
    /// A host that is not in the nodelist uses the number of one that is.
    TakenNumber {
        node: NodeId,
        address: std::net::IpAddr,
    },
    /// Whether leases may rely on the ring.
    Current(bool),
    /// The thread has ended; the ring is left.
    Ended(String),
}

/// A snapshot for status displays.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub totem: totem::Status,
    pub dropped: wire::session::DropCounters,
    pub links: LinkCounters,
    pub traffic: BTreeMap<(NodeId, u8), Traffic>,
    pub realtime: bool,
    pub memory_locked: bool,
    pub unsealed: u64,
    /// Ring numbers that were used before the disk had them.
    pub unreserved: u64,
    /// Peers that are heard but cannot be read at present, and why.
    pub unreadable: Vec<(NodeId, String)>,
    /// Hosts outside the nodelist that use a number of it.
    pub strangers: Vec<(NodeId, std::net::IpAddr)>,
}

/// State that both sides see.
#[derive(Default)]
struct Shared {
    /// Monotonic µs of the controller's last tick.
    tick: AtomicU64,
    /// The controller says that the applied state may be relied on.
    owners_current: AtomicBool,
    quorate: AtomicBool,
    status: Mutex<Status>,
}

/// The daemon's end.
#[derive(Clone)]
pub struct Ring {
    commands: mpsc::Sender<Command>,
    wake: Arc<UnixStream>,
    shared: Arc<Shared>,
}

impl Ring {
    /// Binds the links and starts the thread.
    pub fn start(me: NodeId, options: Options) -> Result<(Ring, mpsc::Receiver<Report>), StartError> {
        let links = Links::open(me, &options.nodes, options.block_unlisted)?;
        let (wake, woken) = UnixStream::pair().map_err(StartError::Thread)?;
        wake.set_nonblocking(true).map_err(StartError::Thread)?;
        woken.set_nonblocking(true).map_err(StartError::Thread)?;
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, reports) = mpsc::channel(EVENTS);
        let shared = Arc::new(Shared::default());
        shared.tick.store(crate::clock::now().0, Ordering::Relaxed);
        let parts = thread::Parts { links, inbox, woken, events, shared: shared.clone() };
        std::thread::Builder::new()
            .name("ring".into())
            .spawn(move || thread::run(me, options, parts))
            .map_err(StartError::Thread)?;
        Ok((Ring { commands, wake: Arc::new(wake), shared }, reports))
    }

    /// Hands a message over for ordering; waits while the thread's queue is full. False when the ring has ended.
    pub async fn broadcast(&self, payload: Vec<u8>) -> bool {
        self.send(Command::Broadcast(payload)).await
    }

    /// Leaves in good order; the thread then ends.
    pub async fn leave(&self) {
        self.send(Command::Leave).await;
    }

    /// Leaves at once and comes back after `out` as a newcomer; what waits to be sent is dropped.
    pub async fn step_out(&self, out: Duration) {
        self.send(Command::StepOut(out)).await;
    }

    /// The file was reloaded.
    pub async fn change(&self, change: Change) {
        self.send(Command::Change(Box::new(change))).await;
    }

    /// The controller is alive.
    pub fn tick(&self, now: Time) {
        self.shared.tick.store(now.0, Ordering::Release);
    }

    /// When [`Ring::tick`] was called last.
    pub fn last_tick(&self) -> Time {
        Time(self.shared.tick.load(Ordering::Acquire))
    }

    pub fn set_owners_current(&self, current: bool) {
        self.shared.owners_current.store(current, Ordering::Release);
    }

    pub fn set_quorate(&self, quorate: bool) {
        self.shared.quorate.store(quorate, Ordering::Release);
    }

    pub fn status(&self) -> Status {
        self.shared.status.lock().map(|s| s.clone()).unwrap_or_default()
    }

    async fn send(&self, command: Command) -> bool {
        use std::io::Write;
        let sent = self.commands.send(command).await.is_ok();
        // A full pipe means that the thread is about to wake anyway.
        let _ = (&*self.wake).write(&[1]);
        sent
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the ring's thread does not start: {0}")]
    Thread(std::io::Error),
}
