//! The running director: checks, policy and table kept together, with reload and takeover.
//!
//! ```text
//!   runner (what is due, when) --results--> core (one task owns configuration, health, timers) --wanted--> table (one thread)
//!        ^                                   |   ^                                                            |
//!        +------- checks of the plan --------+   +--------------------- what was changed -------------------+
//! ```
//!
//! [`Director::start`] runs it within the caller's tokio runtime, so the cluster's agent has it in its process; the command
//! `ldirectord` wraps the same in a daemon. The table is reconciled at each change of health and once a second, so that what others
//! alter by hand is repaired.

mod alerts;
mod control;
mod core;
mod edits;
mod hooks;
mod log;
mod look;
mod maintenance;
mod monitor;
mod notices;
mod operator;
mod others;
mod owned;
mod place;
mod remembered;
mod runner;
mod state_file;
mod status;
mod table;
mod takeover;
#[cfg(test)]
mod tests;
mod watch;

pub use self::core::Fitness;
pub use control::{Identity, MAX_REQUEST_BYTES, Request, SOCKET_SUFFIX, control_path, state_path};
pub use edits::{Change, Difference, MAX_WEIGHT, RealError, RealRequest, RealWish, applied};
pub use log::{LogMode, Logger};
pub use look::{RUN_DIR, sockets, statuses};
pub use operator::{MarkError, MarkRequest, Marked, Wish, kept_edits};
pub use place::Place;
pub use policy::{Edit, Mark, MarkEntry, Marks, RealId, Standing, TakenOver, VerdictEntry, Verdicts};
pub use runner::MAX_CONCURRENT;
pub use status::{RealStatus, ReloadNote, Status, VirtualStatus};
pub use table::Failed;

use crate::config::{self, Accepted, Config, Problem, Refused, System};
use crate::names::Resolvers;
use kernel::ipvs::Ipvs;
use remembered::Known;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Verdicts of a peer that are older than this say nothing.
pub const DEFAULT_MAX_VERDICT_AGE: Duration = Duration::from_secs(30);

pub struct Options {
    /// Where the configuration came from; needed for `autoreload`, `callback` and [`Director::reload_file`].
    pub config_path: Option<PathBuf>,
    pub logger: Logger,
    /// A director that is not active checks, but leaves the table alone.
    pub active: bool,
    /// What a peer knew; with it the first table is complete.
    pub verdicts: Verdicts,
    /// Drains, maintenance and edits by command that other directors of the group know.
    pub marks: Vec<MarkEntry>,
    pub max_verdict_age: Duration,
    /// Says each check's outcome to the logger.
    pub debug: bool,
    /// Where the control socket is made, if one is wanted.
    pub control: Option<PathBuf>,
    /// Where drains, maintenance and edits by command are kept over a restart.
    pub state: Option<PathBuf>,
    /// Whom to ask what names stand for; this machine's resolver if absent.
    pub resolvers: Option<Resolvers>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            config_path: None,
            logger: Logger::tracing(),
            active: true,
            verdicts: Verdicts::default(),
            marks: Vec::new(),
            max_verdict_age: DEFAULT_MAX_VERDICT_AGE,
            debug: false,
            control: None,
            state: None,
            resolvers: None,
        }
    }
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: {why}", path.display())]
    Read { path: PathBuf, why: String },
    #[error("{}: {refused}", path.display())]
    Refused { path: PathBuf, refused: Refused },
    #[error("the director has stopped")]
    Stopped,
}

/// Reads and parses a file.
pub fn load(path: &Path) -> Result<Accepted, LoadError> {
    load_in(path, &mut System::default())
}

/// The same at the start of a director with this state file: a name without an answer stands for what it stood for last.
pub fn load_remembering(path: &Path, state: Option<&Path>) -> Result<Accepted, LoadError> {
    load_in(path, &mut System::remembering(remembered::read(state)))
}

/// The same where it is known what some names stand for: they are asked when their time is over, not now.
fn load_knowing(path: &Path, known: Known) -> Result<Accepted, LoadError> {
    load_in(path, &mut System::knowing(known))
}

fn load_in(path: &Path, machine: &mut System) -> Result<Accepted, LoadError> {
    let read = |e: std::io::Error| LoadError::Read { path: path.to_owned(), why: e.to_string() };
    let bytes = kernel::files::read_regular(path, config::MAX_BYTES as u64).map_err(read)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    config::parse(&text, machine).map_err(|refused| LoadError::Refused { path: path.to_owned(), refused })
}

/// A running director. Dropping it stops the checks and leaves the table as it is.
pub struct Director {
    commands: mpsc::Sender<core::Command>,
    changes: tokio::sync::watch::Receiver<u64>,
}

impl Director {
    /// Starts checks, and returns after the first pass over the table: from then on it is as far complete as verdicts are known.
    pub async fn start(config: Config, table: Box<dyn Ipvs>, options: Options) -> Director {
        let (commands, inbox) = mpsc::channel(64);
        let (ready, first_pass) = oneshot::channel();
        let core = core::Core::new(config, table, options, Handle { commands: commands.downgrade() });
        let changes = core.changes();
        tokio::spawn(core.run(inbox, ready));
        // An error means that the core ended at once, which the next call will tell.
        let _ = first_pass.await;
        Director { commands, changes }
    }

    /// Changes to a new configuration: checks and servers that are in both keep their state.
    pub async fn reload(&self, config: Config) -> Result<(), LoadError> {
        self.ask(|done| core::Command::Reload { config: Box::new(config), done }).await.ok_or(LoadError::Stopped)
    }

    /// Reads the file again. With any error in it, or with nothing left to serve, everything goes on as before. Returns the warnings.
    pub async fn reload_file(&self) -> Result<Vec<Problem>, LoadError> {
        self.ask(|done| core::Command::ReloadFile { force: false, done }).await.unwrap_or(Err(LoadError::Stopped))
    }

    /// Begins or ends to keep the table; returns when a first pass over it is done.
    pub async fn set_active(&self, active: bool) {
        self.ask(|done| core::Command::SetActive { active, done }).await;
    }

    /// Takes the table over from a peer with what it knew (`policy::TakenOver` has the rules), and returns after a first pass
    /// over the table. `None`, and nothing done, if there is no virtual service on `serving`.
    pub async fn take_over(&self, verdicts: Verdicts, serving: Option<Place>) -> Option<TakenOver> {
        let (placed, pass) = oneshot::channel();
        let taken = self.ask(|done| core::Command::TakeOver { verdicts, serving, placed, done }).await??;
        let _ = pass.await;
        Some(taken)
    }

    /// Whether every virtual service in this place has a server that is up, or none that is still unchecked.
    pub async fn is_settled(&self, place: Place) -> bool {
        self.ask(|done| core::Command::Settled { place, done }).await.unwrap_or(true)
    }

    /// Changes whenever a server comes up or goes down, or the configuration changes.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.clone()
    }

    /// All verdicts known, with their age.
    pub async fn export_verdicts(&self) -> Verdicts {
        self.ask(core::Command::Export).await.unwrap_or_default()
    }

    /// Takes a peer's verdicts where there are no own ones; returns how many.
    pub async fn import_verdicts(&self, verdicts: Verdicts) -> usize {
        self.ask(|done| core::Command::Import { verdicts, done }).await.unwrap_or(0)
    }

    /// Drains and maintenance by command, with their versions.
    pub async fn export_marks(&self) -> Vec<MarkEntry> {
        self.ask(core::Command::Marks).await.unwrap_or_default()
    }

    /// Takes what another director of the group knows of them; returns how many servers it changes.
    pub async fn import_marks(&self, entries: Vec<MarkEntry>) -> usize {
        self.ask(|done| core::Command::ImportMarks { entries, done }).await.unwrap_or(0)
    }

    /// Takes in what the active directors have agreed on: it counts instead of the checks here. Empty: nothing is agreed on.
    pub async fn agree(&self, agreed: BTreeMap<RealId, bool>) {
        let _ = self.commands.send(core::Command::Agree(agreed)).await;
    }

    pub async fn status(&self) -> Option<Status> {
        self.ask(core::Command::Status).await
    }

    /// For those who ask and command, but do not keep it alive.
    pub fn handle(&self) -> Handle {
        Handle { commands: self.commands.downgrade() }
    }

    /// Stops the checks and, where `cleanstop` says so, takes the services out of the table. Returns what could not be removed.
    pub async fn stop(self, reason: &str) -> Vec<Failed> {
        let reason = reason.to_owned();
        self.ask(|done| core::Command::Stop { reason, done }).await.unwrap_or_default()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> core::Command) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.ok()?;
        answer.await.ok()
    }
}

/// A running director, as the control socket and other helpers know it.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::WeakSender<core::Command>,
}

impl Handle {
    async fn config_path(&self) -> Option<Option<PathBuf>> {
        self.ask(core::Command::ConfigPath).await
    }

    pub async fn status(&self) -> Option<Status> {
        self.ask(core::Command::Status).await
    }

    /// Whether clients may be drawn to this director for this place; `None`: it has ended.
    pub async fn fitness(&self, place: Place) -> Option<Fitness> {
        self.ask(|done| core::Command::Fitness { place, done }).await
    }

    /// Drains a server or puts it into maintenance, or ends that; returns when it is saved and in the table.
    pub async fn mark(&self, request: MarkRequest) -> Result<Vec<Marked>, MarkError> {
        self.ask(|done| core::Command::Mark { request, done }).await.unwrap_or(Err(MarkError::Stopped))
    }

    /// Adds, removes or weights a server against the file, or takes that back; returns when it is saved and in the table.
    pub async fn real(&self, request: RealRequest) -> Result<Vec<Marked>, RealError> {
        self.ask(|done| core::Command::Real { request, done }).await.unwrap_or(Err(MarkError::Stopped.into()))
    }

    /// As [`Director::reload_file`]; `force`: even if it leaves nothing to serve.
    pub async fn reload_file(&self, force: bool) -> Result<Vec<Problem>, LoadError> {
        self.ask(|done| core::Command::ReloadFile { force, done }).await.unwrap_or(Err(LoadError::Stopped))
    }

    /// No new connections on a real server; established ones go on. `Status` tells how many are left.
    pub async fn drain(&self, real: &str, on: bool) -> Result<Vec<Marked>, MarkError> {
        self.mark(MarkRequest { wish: Wish::Drain, on, real: real.to_owned(), virtual_service: None }).await
    }

    pub async fn maintenance(&self, real: &str, on: bool) -> Result<Vec<Marked>, MarkError> {
        self.mark(MarkRequest { wish: Wish::Maintenance, on, real: real.to_owned(), virtual_service: None }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> core::Command) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.commands.upgrade()?.send(command(done)).await.ok()?;
        answer.await.ok()
    }
}
