//! The one task that owns configuration, health and timers, and decides when the table is reconciled.

use super::alerts::{Alerts, Phase};
use super::hooks::{self, Hooks};
use super::log;
use super::maintenance::{Mark, Scanner};
use super::monitor::Monitor;
use super::runner::{Finding, Runner};
use super::status::{ReloadNote, Status};
use super::table::{Failed, Job, Report, Table};
use super::watch::Seen;
use super::{LoadError, Options, load, notices};
use crate::config::{Config, Problem, Virtual, service_label};
use crate::plan::{plan, real_id};
use base::Time;
use base::ipvs::{ServiceEntry, ServiceKey};
use kernel::ipvs::Ipvs;
use policy::{Health, Op, Plan, RealId, Role, TakenOver, Transition, Verdicts, Wanted, wanted};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
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

pub enum Command {
    Reload {
        config: Box<Config>,
        done: oneshot::Sender<()>,
    },
    ReloadFile(oneshot::Sender<Result<Vec<Problem>, LoadError>>),
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
        serving: Option<IpAddr>,
        placed: oneshot::Sender<()>,
        done: oneshot::Sender<Option<TakenOver>>,
    },
    Settled {
        addr: IpAddr,
        done: oneshot::Sender<bool>,
    },
    Status(oneshot::Sender<Status>),
    Stop {
        reason: String,
        done: oneshot::Sender<Vec<Failed>>,
    },
}

/// What the helper tasks send back.
enum Event {
    Pass(Option<Report>),
    Marks(BTreeSet<Mark>, Scanner),
    FileChanged(Seen),
    FileSame(Seen),
    Loaded(Box<Result<crate::config::Accepted, LoadError>>, Option<oneshot::Sender<Result<Vec<Problem>, LoadError>>>),
}

pub struct Core {
    pub(super) config: Config,
    pub(super) plan: Plan,
    pub(super) health: Health,
    pub(super) options: Options,
    pub(super) born: Instant,
    pub(super) runner: Runner,
    pub(super) active: bool,
    pub(super) last_reload: Option<(Instant, Option<String>)>,
    pub(super) table_error: Option<String>,
    pub(super) refused: BTreeSet<String>,
    pub(super) repairs: u64,
    /// As read at the last whole pass.
    pub(super) entries: Vec<ServiceEntry>,
    table: Table,
    findings: mpsc::Receiver<Finding>,
    events: mpsc::Receiver<Event>,
    events_in: mpsc::Sender<Event>,
    alerts: Alerts,
    hooks: Hooks,
    monitor: Monitor,
    phase: Phase,
    /// Services that this director keeps, or kept until the next whole pass removes them.
    dropped: BTreeSet<ServiceKey>,
    /// Services whose health has changed since the last pass was handed over.
    dirty: BTreeSet<ServiceKey>,
    pub(super) whole_due: bool,
    passing: bool,
    /// The wanted table of the last pass that was done in full: a difference under the same one is somebody else's doing.
    pub(super) settled: Option<Wanted>,
    /// Who waits for a whole pass to be done.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    /// Counts what those who share the verdicts want to know of.
    pub(super) changed: watch::Sender<u64>,
    fallback_state: BTreeMap<ServiceKey, bool>,
    reminded: BTreeMap<RealId, Instant>,
    scanner: Option<Scanner>,
    seen: Option<Seen>,
    local_trouble: Option<Instant>,
}

impl Core {
    pub fn new(config: Config, table: Box<dyn Ipvs>, options: Options) -> Core {
        let (findings_in, findings) = mpsc::channel(MAX_FINDINGS);
        let (events_in, events) = mpsc::channel(64);
        let logger = options.logger.clone();
        Core {
            plan: plan(&config),
            health: Health::default(),
            born: Instant::now(),
            runner: Runner::new(findings_in),
            active: options.active,
            last_reload: None,
            table_error: None,
            refused: BTreeSet::new(),
            repairs: 0,
            entries: Vec::new(),
            table: Table::start(table),
            findings,
            events,
            events_in,
            alerts: Alerts::start(logger.clone()),
            hooks: Hooks::start(logger),
            monitor: Monitor::new(&config),
            phase: Phase::Starting,
            dropped: BTreeSet::new(),
            dirty: BTreeSet::new(),
            whole_due: true,
            passing: false,
            settled: None,
            waiting: Vec::new(),
            changed: watch::Sender::new(0),
            fallback_state: BTreeMap::new(),
            reminded: BTreeMap::new(),
            scanner: Some(Scanner::default()),
            seen: options.config_path.as_deref().map(Seen::now),
            local_trouble: None,
            config,
            options,
        }
    }

    pub async fn run(mut self, mut inbox: mpsc::Receiver<Command>, ready: oneshot::Sender<()>) {
        let now = self.now();
        self.health.follow(&self.plan, now);
        self.adopt().await;
        let verdicts = std::mem::take(&mut self.options.verdicts);
        self.believe(&verdicts);
        self.scan_now().await;
        if self.active {
            self.waiting.push(ready);
        } else {
            let _ = ready.send(());
        }
        let config = self.config.clone();
        self.reconcile();
        self.likely_mistakes();
        self.runner.follow(&config);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Stop { reason, done }) => {
                        let failed = self.stop(&reason).await;
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

    // --- commands

    fn command(&mut self, command: Command) {
        match command {
            Command::Reload { config, done } => {
                self.reload(*config);
                let _ = done.send(());
            }
            Command::ReloadFile(done) => {
                self.log("Reloading Linux Director Daemon config on signal");
                self.load_file(Some(done));
            }
            Command::SetActive { active, done } => {
                self.active = active;
                self.settled = None;
                self.whole_due = active;
                if active {
                    self.waiting.push(done);
                } else {
                    let _ = done.send(());
                }
            }
            Command::Export(done) => {
                let _ = done.send(self.health.export(self.now()));
            }
            Command::Import { verdicts, done } => {
                let taken = self.health.import(&verdicts, self.options.max_verdict_age, self.now());
                self.whole_due |= taken > 0;
                let _ = done.send(taken);
            }
            Command::TakeOver { verdicts, serving, placed, done } => {
                let _ = done.send(self.take_over(&verdicts, serving, placed));
            }
            Command::Settled { addr, done } => {
                let _ = done.send(self.is_settled(addr));
            }
            Command::Status(done) => {
                let _ = done.send(self.status());
            }
            // Handled by the loop, which ends with it.
            Command::Stop { .. } => {}
        }
    }

    /// Everything new is built from the new configuration before anything old is let go; nothing here can fail.
    fn reload(&mut self, config: Config) {
        let now = self.now();
        let plan = plan(&config);
        self.dropped.extend(self.plan.services().difference(&plan.services()));
        self.dropped.retain(|key| !plan.services().contains(key));
        self.health.follow(&plan, now);
        self.fallback_state.retain(|key, _| plan.services().contains(key));
        self.monitor = Monitor::new(&config);
        self.options.logger.set_target(&config.global.log);
        self.plan = plan;
        self.config = config;
        self.phase = Phase::Reloading;
        self.whole_due = true;
        self.settled = None;
        self.last_reload = Some((Instant::now(), None));
        self.changed.send_modify(|n| *n += 1);
        self.likely_mistakes();
        let config = self.config.clone();
        self.runner.follow(&config);
    }

    /// Whoever looks into the log for why a server is down finds what the file does not say plainly.
    fn likely_mistakes(&self) {
        for warning in crate::config::lint(&self.config) {
            self.log(&format!("Warning: {warning}"));
        }
    }

    /// Reading and resolving names may block, so it is done elsewhere.
    fn load_file(&mut self, done: Option<oneshot::Sender<Result<Vec<Problem>, LoadError>>>) {
        let Some(path) = self.options.config_path.clone() else {
            let why =
                LoadError::Read { path: PathBuf::new(), why: "this director has no configuration file".to_owned() };
            if let Some(done) = done {
                let _ = done.send(Err(why));
            }
            return;
        };
        let events = self.events_in.clone();
        tokio::task::spawn_blocking(move || {
            let loaded = Box::new(load(&path));
            let _ = events.blocking_send(Event::Loaded(loaded, done));
        });
    }

    fn loaded(
        &mut self,
        loaded: Result<crate::config::Accepted, LoadError>,
        done: Option<oneshot::Sender<Result<Vec<Problem>, LoadError>>>,
    ) {
        let result = match loaded {
            Ok(accepted) => {
                for warning in &accepted.warnings {
                    self.log(&format!("Warning: {warning}"));
                }
                self.reload(accepted.config);
                Ok(accepted.warnings)
            }
            Err(error) => {
                self.log(&format!("Error: configuration not reloaded, the old one stays in force: {error}"));
                self.last_reload = Some((Instant::now(), Some(error.to_string())));
                Err(error)
            }
        };
        if let Some(done) = done {
            let _ = done.send(result);
        }
    }

    async fn stop(&mut self, reason: &str) -> Vec<Failed> {
        self.phase = Phase::Stopping;
        self.runner.follow(&Config { virtuals: Vec::new(), ..self.config.clone() });
        let clean = self.config.virtuals.iter().filter(|v| v.clean_stop).map(|v| v.key);
        let dropped: BTreeSet<ServiceKey> = clean.chain(self.dropped.iter().copied()).collect();
        let mut failed = Vec::new();
        if self.active {
            let job = Job { wanted: Wanted::default(), dropped, scope: None };
            if let Some(report) = self.table.pass(job).await {
                for op in &report.done {
                    let text = notices::of_op(op, true);
                    self.log(&text);
                    if let Some(v) = self.config.virtuals.iter().find(|v| v.key == op.service()) {
                        self.alerts.tell(v, self.config.global.alert_from.as_deref(), self.phase, &text);
                    }
                }
                for f in &report.failed {
                    self.log(&format!("{} failed: {}", notices::of_op(&f.op, true), f.error));
                }
                failed = report.failed;
            }
        }
        self.log(&format!("Linux Director Daemon terminated on signal: {reason}"));
        failed
    }

    // --- checks

    fn finding(&mut self, finding: Finding) {
        let Some((check, reals)) = self.runner.reals(finding.id) else { return };
        let label = check.label();
        let reals = reals.to_vec();
        let verdict = match finding.outcome {
            Ok(verdict) => verdict,
            Err(why) => {
                // Said at most every ten seconds: with no descriptors left every check would say it.
                if self.local_trouble.is_none_or(|t| t.elapsed() > Duration::from_secs(10)) {
                    self.local_trouble = Some(Instant::now());
                    self.log(&format!("Cannot check, verdicts stay as they are: {label}: {why}"));
                }
                return;
            }
        };
        if self.options.debug {
            let state = if verdict.up { "up" } else { "down" };
            self.log(&format!("check {label}: {state}: {} ({} us)", verdict.answer, verdict.latency_us));
        }
        let now = self.now();
        for id in reals {
            let limit = self.failure_count(&id.service);
            let transition = self.health.record(id, &verdict, limit, now);
            if let Some(text) = notices::of_transition(&id, transition) {
                self.log(&text);
            }
            if matches!(transition, Transition::Up | Transition::Down) {
                self.dirty.insert(id.service);
                self.changed.send_modify(|n| *n += 1);
            }
            let maintained = self.health.get(&id).is_some_and(|r| r.maintenance);
            let line = match maintained {
                true => self.monitor.line(&id, false, "Server in maintenance"),
                false => self.monitor.of_verdict(&id, &verdict),
            };
            if let Some((file, line)) = line {
                log::append(&file, &line);
            }
        }
    }

    fn failure_count(&self, service: &ServiceKey) -> u32 {
        self.plan.virtuals.iter().find(|v| v.service.key == *service).map_or(1, |v| v.failure_count)
    }

    // --- time

    fn tick(&mut self) {
        self.whole_due = true;
        self.remind();
        if let (Some(dir), Some(mut scanner)) = (self.config.global.maintenance_dir.clone(), self.scanner.take()) {
            let events = self.events_in.clone();
            tokio::task::spawn_blocking(move || {
                let marks = scanner.scan(&dir);
                let _ = events.blocking_send(Event::Marks(marks, scanner));
            });
        } else if self.config.global.maintenance_dir.is_none() {
            self.maintain(&BTreeSet::new());
        }
        let watching = self.config.global.autoreload || self.config.global.callback.is_some();
        if let (true, Some(path), Some(mut seen)) = (watching, self.options.config_path.clone(), self.seen.take()) {
            let events = self.events_in.clone();
            tokio::task::spawn_blocking(move || {
                let changed = seen.changed(&path);
                let event = if changed { Event::FileChanged(seen) } else { Event::FileSame(seen) };
                let _ = events.blocking_send(event);
            });
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Pass(report) => self.passed(report),
            Event::Marks(marks, scanner) => {
                self.scanner = Some(scanner);
                self.maintain(&marks);
            }
            Event::FileSame(seen) => self.seen = Some(seen),
            Event::FileChanged(seen) => {
                self.seen = Some(seen);
                self.file_changed();
            }
            Event::Loaded(loaded, done) => self.loaded(*loaded, done),
        }
    }

    fn file_changed(&mut self) {
        let path = self.options.config_path.clone().unwrap_or_default();
        let path = path.display();
        self.log(&format!("Configuration file '{path}' has changed on disk"));
        if self.config.global.autoreload {
            self.log(" - reread new configuration");
            self.load_file(None);
        } else {
            self.log(" - ignore new configuration");
        }
        if let Some(callback) = &self.config.global.callback {
            self.hooks.shell(format!("{} {}", hooks::quote(callback), hooks::quote(&path.to_string())));
        }
    }

    async fn scan_now(&mut self) {
        let (Some(dir), Some(mut scanner)) = (self.config.global.maintenance_dir.clone(), self.scanner.take()) else {
            return;
        };
        let scanned = tokio::task::spawn_blocking(move || (scanner.scan(&dir), scanner)).await;
        if let Ok((marks, scanner)) = scanned {
            self.scanner = Some(scanner);
            self.maintain(&marks);
        }
    }

    fn maintain(&mut self, marks: &BTreeSet<Mark>) {
        let now = self.now();
        for v in &self.config.virtuals {
            for real in &v.reals {
                let id = real_id(v, real);
                let ports = [real.port, id.dest.port];
                let on = marks.iter().any(|m| m.covers(real.name.as_deref(), real.addr, ports));
                if self.health.set_maintenance(id, on, now) {
                    let word = if on { "put into" } else { "taken out of" };
                    self.options
                        .logger
                        .log(&format!("Real server {word} maintenance: {}", notices::pair(&id.service, &id.dest)));
                    self.dirty.insert(id.service);
                }
            }
        }
    }

    fn remind(&mut self) {
        let from = self.config.global.alert_from.as_deref();
        for v in self.config.virtuals.iter().filter(|v| v.alert.frequency_s > 0 && !v.alert.to.is_empty()) {
            let every = Duration::from_secs(u64::from(v.alert.frequency_s));
            for real in &v.reals {
                let id = real_id(v, real);
                let down = self.health.get(&id).is_some_and(|r| r.known() && !r.serves());
                if !down {
                    self.reminded.remove(&id);
                    continue;
                }
                let last = self.reminded.entry(id).or_insert_with(Instant::now);
                if last.elapsed() >= every {
                    *last = Instant::now();
                    let text = format!("Inaccessible real server: {}", notices::pair(&id.service, &id.dest));
                    self.alerts.tell(v, from, self.phase, &text);
                }
            }
        }
    }

    // --- the table

    /// What stands in the table when we come counts as up until checked.
    async fn adopt(&mut self) {
        let nothing = Job { wanted: Wanted::default(), dropped: BTreeSet::new(), scope: None };
        if let Some(Report { read: Ok(entries), .. }) = self.table.pass(nothing).await {
            let now = self.now();
            if self.active {
                self.health.adopt_table(&entries, now);
            }
        }
    }

    /// Hands a pass to the table's thread if one is due and none is under way.
    fn reconcile(&mut self) {
        let due = self.active && (self.whole_due || !self.dirty.is_empty());
        if self.passing || !due {
            return;
        }
        let wanted = wanted(&self.plan, &self.health, self.now());
        self.fallback_commands(&wanted);
        let dirty = std::mem::take(&mut self.dirty);
        let whole = std::mem::take(&mut self.whole_due);
        let job = Job { wanted, dropped: self.dropped.clone(), scope: (!whole).then_some(dirty) };
        self.passing = true;
        let (table, events) = (self.table.handle(), self.events_in.clone());
        tokio::spawn(async move {
            let report = table.pass(job).await;
            let _ = events.send(Event::Pass(report)).await;
        });
    }

    fn passed(&mut self, report: Option<Report>) {
        self.passing = false;
        let Some(report) = report else {
            self.table_trouble(Some("the table's thread has ended".to_owned()));
            return;
        };
        match &report.read {
            Ok(entries) => {
                self.table_trouble(None);
                if report.whole {
                    self.entries.clone_from(entries);
                }
            }
            Err(e) => self.table_trouble(Some(e.to_string())),
        }
        let drift = self.settled.as_ref() == Some(&report.wanted) && !report.done.is_empty();
        if drift {
            self.repairs += 1;
            self.log("The table was changed by another program; it is set right:");
        }
        for op in &report.done {
            self.made(op, drift);
        }
        self.refusals(&report);
        self.note_placed(&report.wanted);
        if report.whole && report.read.is_ok() {
            self.settled = report.failed.is_empty().then(|| report.wanted.clone());
        } else if self.settled.as_ref() != Some(&report.wanted) {
            self.settled = None;
        }
        let quiet = report.whole && report.done.is_empty() && self.health.iter().all(|(_, r)| r.known());
        if quiet && matches!(self.phase, Phase::Starting | Phase::Reloading) {
            self.phase = Phase::Running;
        }
        if report.whole {
            self.dropped.clear();
            for done in self.waiting.drain(..) {
                let _ = done.send(());
            }
        }
    }

    /// Logs a change, and tells those who want to know of servers that come and go.
    fn made(&mut self, op: &Op, drift: bool) {
        let text = self.worded(op);
        self.log(&text);
        let about_server = matches!(op, Op::AddDest { .. } | Op::EditDest { .. } | Op::DeleteDest { .. });
        if about_server
            && !drift
            && let Some(v) = self.config.virtuals.iter().find(|v| v.key == op.service())
        {
            self.alerts.tell(v, self.config.global.alert_from.as_deref(), self.phase, &text);
        }
    }

    /// A destination that leaves is a real server of the plan that went down, or a stranger.
    fn worded(&self, op: &Op) -> String {
        match op {
            Op::DeleteDest { service, dest, role: Role::Foreign }
                if self.health.get(&RealId { service: *service, dest: *dest }).is_some() =>
            {
                notices::of_op(&Op::DeleteDest { service: *service, dest: *dest, role: Role::Real }, false)
            }
            op => notices::of_op(op, false),
        }
    }

    /// A refusal is said once, until it changes or goes away.
    fn refusals(&mut self, report: &Report) {
        let now: BTreeSet<String> =
            report.failed.iter().map(|f| format!("{} failed: {}", self.worded(&f.op), f.error)).collect();
        for text in now.difference(&self.refused) {
            self.log(text);
        }
        if report.whole {
            self.refused = now;
        } else {
            self.refused.extend(now);
        }
    }

    fn table_trouble(&mut self, error: Option<String>) {
        match &error {
            Some(text) if self.table_error != error => self.log(&format!("Cannot read the IPVS table: {text}")),
            None if self.table_error.is_some() => self.log("The IPVS table can be read again"),
            _ => {}
        }
        self.table_error = error;
    }

    fn note_placed(&mut self, wanted: &Wanted) {
        for (key, service) in &wanted.services {
            for (dest, want) in service.dests.iter().filter(|(_, w)| w.role == Role::Real && w.dest.weight == 0) {
                if !want.only_if_present {
                    self.health.note_placed(RealId { service: *key, dest: *dest });
                }
            }
        }
    }

    /// `fallbackcommand start|stop VIP:port proto` when the last server has gone and when the first has come.
    fn fallback_commands(&mut self, wanted: &Wanted) {
        for v in &self.config.virtuals {
            let Some(command) = &v.fallback_command else { continue };
            let Some(all_down) = wanted.services.get(&v.key).and_then(|s| s.all_down) else { continue };
            if self.fallback_state.insert(v.key, all_down) != Some(all_down) {
                let word = if all_down { "start" } else { "stop" };
                self.hooks.shell(format!("{command} {word} {} {}", service_label(&v.key), protocol(v)));
            }
        }
    }

    pub(super) fn reload_note(&self) -> Option<ReloadNote> {
        let (when, error) = self.last_reload.as_ref()?;
        Some(ReloadNote { age_ms: when.elapsed().as_millis() as u64, error: error.clone() })
    }
}

fn protocol(v: &Virtual) -> &'static str {
    match v.protocol() {
        Some(base::ipvs::Protocol::Udp) => "udp",
        Some(_) => "tcp",
        None => "fwm",
    }
}
