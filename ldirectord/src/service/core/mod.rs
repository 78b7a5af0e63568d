//! The one task that owns configuration, health and timers, and decides when the table is reconciled.
//!
//! | part | what it does |
//! |---|---|
//! | `agreed` | what the active directors have agreed on |
//! | `counts` | connections of each server, as last read |
//! | `findings` | takes in what checks and agents say |
//! | `fitness` | whether clients may be drawn to this director |
//! | `upkeep` | the tick: maintenance directory, reminders, the file's changes |
//! | `leaving` | servers that a reload has taken out while they served |
//! | `marks` | drain, maintenance and edits of servers by command |
//! | `names` | what names stand for, asked again |
//! | `reconcile` | hands passes over the table to its thread, tells of their changes |
//! | `reload` | new configurations |

mod agreed;
mod counts;
mod findings;
mod fitness;
mod leaving;
mod marks;
mod names;
mod reconcile;
mod reload;
mod report;
mod upkeep;

pub use fitness::Fitness;

use super::alerts::{Alerts, Phase};
use super::control::{ControlSocket, serve};
use super::edits::{Difference, RealError, RealRequest, applied};
use super::hooks::Hooks;
use super::maintenance::{Mark, Scanner};
use super::monitor::Monitor;
use super::operator::{Kept, MarkError, MarkRequest, Marked};
use super::others::{Others, Watch};
use super::owned::Owned;
use super::place::Place;
use super::remembered::Remembered;
use super::runner::{CheckId, Finding, Runner};
use super::status::Status;
use super::table::{Failed, Report, Table};
use super::watch::{Found, Seen};
use super::{Handle, LoadError, Options};
use crate::config::{Accepted, Config, Problem};
use crate::plan::plan;
use base::Time;
use base::ipvs::{DestKey, ServiceKey};
use kernel::ipvs::Ipvs;
use policy::{Health, MarkEntry, Plan, RealId, TakenOver, Tuning, Verdicts, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// How often the table is compared though nothing has happened, and directory and file are looked at.
const TICK: Duration = Duration::from_secs(1);
/// The director's clock when it starts.
const HEADROOM: Duration = Duration::from_secs(24 * 3600);
/// Findings that wait for the core.
const MAX_FINDINGS: usize = 4_096;
/// Findings taken in before the table is looked at again.
const MAX_BATCH: usize = 1_024;

/// Who waits for a reload to be done.
type Loaded = Option<oneshot::Sender<Result<Vec<Problem>, LoadError>>>;

pub enum Command {
    Reload {
        config: Box<Config>,
        done: oneshot::Sender<()>,
    },
    ReloadFile {
        /// Even if nothing is left to serve.
        force: bool,
        done: oneshot::Sender<Result<Vec<Problem>, LoadError>>,
    },
    SetActive {
        active: bool,
        done: oneshot::Sender<()>,
    },
    Export(oneshot::Sender<Verdicts>),
    Import {
        verdicts: Verdicts,
        done: oneshot::Sender<usize>,
    },
    TakeOver {
        verdicts: Verdicts,
        serving: Option<Place>,
        placed: oneshot::Sender<()>,
        done: oneshot::Sender<Option<TakenOver>>,
    },
    Settled {
        place: Place,
        done: oneshot::Sender<bool>,
    },
    /// What the active directors have agreed on.
    Agree(BTreeMap<RealId, bool>),
    Fitness {
        place: Place,
        done: oneshot::Sender<Fitness>,
    },
    Status(oneshot::Sender<Status>),
    ConfigPath(oneshot::Sender<Option<PathBuf>>),
    /// All drains, maintenance and edits by command, also those taken back.
    Marks(oneshot::Sender<Vec<MarkEntry>>),
    /// What another director of the group knows of them; the answer is how many servers it changes.
    ImportMarks {
        entries: Vec<MarkEntry>,
        done: oneshot::Sender<usize>,
    },
    Mark {
        request: MarkRequest,
        done: oneshot::Sender<Result<Vec<Marked>, MarkError>>,
    },
    Real {
        request: RealRequest,
        done: oneshot::Sender<Result<Vec<Marked>, RealError>>,
    },
    Stop {
        reason: String,
        done: oneshot::Sender<Vec<Failed>>,
    },
}

/// What the helper tasks send back.
enum Event {
    Pass(Option<Report>),
    Marks(BTreeSet<Mark>, Scanner),
    File(Seen, Found),
    Names(names::Answers),
    Others(Watch, Others),
    Loaded {
        loaded: Box<Result<Accepted, LoadError>>,
        force: bool,
        done: Loaded,
    },
    /// A command's marks are saved and in the table.
    Marked {
        reals: Vec<RealId>,
        changed: BTreeSet<RealId>,
        done: oneshot::Sender<Result<Vec<Marked>, MarkError>>,
    },
}

pub struct Core {
    /// As the file says, and as operators have changed it by command: what counts.
    file: Arc<Config>,
    pub(super) config: Arc<Config>,
    differences: Vec<Difference>,
    names: names::Names,
    remembered: Remembered,
    pub(super) plan: Plan,
    pub(super) health: Health,
    pub(super) options: Options,
    pub(super) born: Instant,
    pub(super) runner: Runner,
    pub(super) active: bool,
    pub(super) last_reload: Option<(Instant, Option<String>)>,
    pub(super) table_error: Option<String>,
    pub(super) refused: BTreeSet<String>,
    /// Services (`None`) and servers that the table did not take at the last whole pass.
    pub(super) unplaced: BTreeSet<(ServiceKey, Option<DestKey>)>,
    pub(super) repairs: u64,
    /// As read at the last whole pass, and when.
    pub(super) counts: counts::Counts,
    pub(super) entries_read: Option<Instant>,
    /// What the operator has asked for by command, and what stands in the maintenance directory.
    pub(super) marks: Kept,
    pub(super) dir_marks: BTreeSet<Mark>,
    /// Where each service stands in the plan.
    index: BTreeMap<ServiceKey, usize>,
    table: Table,
    findings: mpsc::Receiver<Finding>,
    events: mpsc::Receiver<Event>,
    events_in: mpsc::Sender<Event>,
    alerts: Alerts,
    hooks: Hooks,
    monitor: Monitor,
    phase: Phase,
    /// Services that this director has placed and wants no more, until it is certain that they are gone.
    dropped: BTreeSet<ServiceKey>,
    /// The record of what it has placed, for the next start.
    owned: Owned,
    /// What other directors of this machine have placed, and who looks after that.
    others: Arc<Others>,
    watch: Option<Watch>,
    /// Servers that have left the configuration, but not all of their clients.
    leaving: leaving::Leaving,
    /// What the active directors have agreed on; empty: nothing, or there is nobody to agree with.
    agreed: BTreeMap<RealId, bool>,
    /// Services whose health has changed since the last pass was handed over.
    dirty: BTreeSet<ServiceKey>,
    pub(super) whole_due: bool,
    passing: bool,
    /// The wanted table of the last pass that was done in full: a difference under the same one is somebody else's doing.
    pub(super) settled: Option<Wanted>,
    /// Who waits for a whole pass that is still to be handed over, and for the one that is under way.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    promised: Vec<oneshot::Sender<()>>,
    /// Counts what those who share the verdicts want to know of.
    pub(super) changed: watch::Sender<u64>,
    fallback_state: BTreeMap<ServiceKey, bool>,
    reminded: BTreeMap<RealId, Instant>,
    scanner: Option<Scanner>,
    seen: Option<Seen>,
    local_trouble: Option<Instant>,
    /// Agents that did not answer when last asked.
    mute_agents: BTreeSet<CheckId>,
    control: Option<ControlSocket>,
    /// When memory that is no longer used is given back.
    tidy_at: Instant,
}

impl Core {
    pub fn new(config: Config, table: Box<dyn Ipvs>, options: Options, handle: Handle) -> Core {
        let (findings_in, findings) = mpsc::channel(MAX_FINDINGS);
        let (events_in, events) = mpsc::channel(64);
        let logger = options.logger.clone();
        let control = options.control.as_deref().and_then(|path| serve(path, handle, &logger));
        let mut marks = Kept::load(options.state.as_deref(), &logger);
        marks.merge(&options.marks);
        let file = Arc::new(config);
        let (config, differences) = applied(&file, &marks.edits());
        let plan = plan(&config);
        let owned = Owned::load(options.state.as_deref(), &logger);
        Core {
            others: Arc::default(),
            watch: Some(owned.watch()),
            index: index(&plan),
            health: Health::default(),
            born: Instant::now(),
            runner: Runner::new(findings_in),
            active: options.active,
            last_reload: None,
            table_error: None,
            refused: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            repairs: 0,
            counts: counts::Counts::default(),
            entries_read: None,
            marks,
            dir_marks: BTreeSet::new(),
            table: Table::start(table),
            findings,
            events,
            events_in,
            alerts: Alerts::start(logger.clone()),
            hooks: Hooks::start(logger),
            monitor: Monitor::new(&config),
            phase: Phase::Starting,
            dropped: owned.left(&plan.services()),
            owned,
            leaving: leaving::Leaving::default(),
            agreed: BTreeMap::new(),
            dirty: BTreeSet::new(),
            whole_due: true,
            passing: false,
            settled: None,
            waiting: Vec::new(),
            promised: Vec::new(),
            changed: watch::Sender::new(0),
            fallback_state: BTreeMap::new(),
            reminded: BTreeMap::new(),
            scanner: Some(Scanner::default()),
            seen: options.config_path.as_deref().map(Seen::now),
            local_trouble: None,
            mute_agents: BTreeSet::new(),
            control,
            plan,
            tidy_at: Instant::now() + upkeep::TIDY_SOON,
            file,
            config,
            differences,
            names: names::Names::default(),
            remembered: Remembered::load(options.state.as_deref()),
            options,
        }
    }

    pub async fn run(mut self, mut inbox: mpsc::Receiver<Command>, ready: oneshot::Sender<()>) {
        let now = self.now();
        self.names.follow(&self.file);
        self.remember_names();
        self.health.follow(&self.plan, now);
        if let Some(watch) = &mut self.watch {
            let others = watch.look();
            self.others_seen(others);
        }
        self.adopt().await;
        let verdicts = std::mem::take(&mut self.options.verdicts);
        self.believe(&verdicts);
        self.scan_now().await;
        self.health.take_for_granted();
        self.apply_marks();
        if self.active {
            self.waiting.push(ready);
        } else {
            let _ = ready.send(());
        }
        self.reconcile();
        self.likely_mistakes();
        self.runner.follow(&self.config);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Stop { reason, done }) => {
                        let failed = self.stop(&reason).await;
                        // Its name is free again before the answer.
                        self.control = None;
                        self.alerts.finish().await;
                        let _ = done.send(failed);
                        return;
                    }
                    Some(command) => self.command(command),
                    // The owner has dropped the director.
                    None => return,
                },
                Some(finding) = self.findings.recv() => {
                    self.finding(finding);
                    for _ in 0..MAX_BATCH {
                        let Ok(next) = self.findings.try_recv() else { break };
                        self.finding(next);
                    }
                }
                Some(event) = self.events.recv() => self.event(event),
                _ = tick.tick() => self.tick(),
            }
            self.reconcile();
        }
    }

    pub(super) fn now(&self) -> Time {
        // Begins late enough for verdicts that are older than this director.
        let since = HEADROOM.saturating_add(self.born.elapsed());
        Time(since.as_micros().min(u128::from(u64::MAX)) as u64)
    }

    pub(super) fn log(&self, text: &str) {
        self.options.logger.log(text);
    }

    pub(super) fn tuning(&self, service: &ServiceKey) -> Option<&Tuning> {
        self.index.get(service).and_then(|at| self.plan.virtuals.get(*at)).map(|v| &v.tuning)
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Reload { config, done } => {
                self.reload(*config);
                let _ = done.send(());
            }
            Command::ReloadFile { force, done } => {
                self.log("Reloading Linux Director Daemon config on signal");
                self.load_file(force, Some(done));
            }
            Command::SetActive { active, done } => {
                self.active = active;
                self.health.take_for_granted();
                self.settled = None;
                self.whole_due = active;
                if active {
                    self.waiting.push(done);
                } else {
                    // No pass will come for those who wait for one.
                    self.waiting.clear();
                    self.entries_read = None;
                    let _ = done.send(());
                }
            }
            Command::Export(done) => {
                let _ = done.send(self.health.export(self.now()));
            }
            Command::Import { verdicts, done } => {
                let taken = self.health.import(&verdicts, self.options.max_verdict_age, self.now());
                self.whole_due |= taken > 0;
                self.health.take_for_granted();
                let _ = done.send(taken);
            }
            Command::TakeOver { verdicts, serving, placed, done } => {
                let _ = done.send(self.take_over(&verdicts, serving.as_ref(), placed));
            }
            Command::Settled { place, done } => {
                let _ = done.send(self.is_settled(&place));
            }
            Command::Agree(agreed) => self.agree(agreed),
            Command::Fitness { place, done } => {
                let _ = done.send(self.fitness(&place));
            }
            Command::Status(done) => {
                let _ = done.send(self.status());
            }
            Command::ConfigPath(done) => {
                let _ = done.send(self.options.config_path.clone());
            }
            Command::Marks(done) => {
                let _ = done.send(self.marks.entries());
            }
            Command::ImportMarks { entries, done } => {
                let _ = done.send(self.import_marks(&entries));
            }
            Command::Mark { request, done } => self.mark(request, done),
            Command::Real { request, done } => self.edit(request, done),
            // Handled by the loop, which ends with it.
            Command::Stop { .. } => {}
        }
    }
}

fn index(plan: &Plan) -> BTreeMap<ServiceKey, usize> {
    plan.virtuals.iter().enumerate().map(|(at, v)| (v.service.key, at)).collect()
}
