//! `ocf:heartbeat:ldirectord`: the director, in process.
//!
//! ```text
//!   probe ──► standby ──start──────────────────────────► active ──stop──► standby
//!                │                                         ▲
//!                └─ an address of its services comes here ─┤
//!                                                  primed ─┘ (back to standby if no start follows)
//! ```
//!
//! A director on standby checks the real servers but leaves the table alone; `warm_standby=no` gives that up where twice
//! the checks are too many. Whoever is active tells the others what it knows ([`share`]), so that the next one programs a
//! table that is right at once, either way. Where the address comes before the director in its group, the address agent
//! primes the director: the table is complete before the address is added and announced (DESIGN §3.8).
//!
//! Each resource has a slot; whoever holds its lock may change it.

mod agreed;
mod board;
mod bulletin;
pub(crate) mod command;
mod fit;
mod outbox;
mod prime;
mod share;
mod slot;
#[cfg(test)]
mod tests;

pub use bulletin::{BulletinError, MAX_BULLETIN_BYTES, is_bulletin};
pub use share::Share;

use crate::agent::Agent;
use crate::host::{DataPlane, Event};
use crate::meta::{Meta, param};
use crate::outcome::{AgentOutcome, Parameters};
use base::exit::OcfCode;
use base::{Instance, NodeId};
use board::Board;
use kernel::ipvs;
use ldirectord::service::{self, LoadError, Logger, MarkEntry, Options, Status, Verdicts};
use slot::{Role, Running, Slot, Stamp, State};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Where the stock agent looks, if `configfile` is not set.
const DEFAULT_CONFIG: &str = "/etc/ha.d/ldirectord.cf";
/// Directors of one node that are on standby; more resources start cold.
const MAX_STANDBY: usize = 64;
/// Resources that a node may know as directors.
const MAX_SLOTS: usize = 1024;

pub(crate) const META: Meta = Meta {
    name: "ldirectord",
    providers: &["heartbeat", "bascule"],
    about: "Director: checks the real servers and keeps the IPVS table right",
    params: &[
        param("configfile", "string", Some(DEFAULT_CONFIG), "Configuration of virtual services").unique(),
        param(
            "ldirectord",
            "string",
            Some("/usr/sbin/ldirectord"),
            "Accepted for existing configurations; the director is Bascule's own",
        ),
        param(
            "warm_standby",
            "boolean",
            Some("yes"),
            "Whether a node that may take over checks the servers as well; without, it relies on what the active director tells",
        ),
        param(
            "agreed_health",
            "boolean",
            Some("no"),
            "Whether several active directors (a clone) act on the health that they agree on: all choose the same server",
        ),
    ],
    actions: &[
        ("start", 15, None),
        ("stop", 15, None),
        ("monitor", 10, Some(20)),
        ("meta-data", 10, None),
        ("validate-all", 10, None),
    ],
};

/// Directors of this node by resource, whatever their role. Cheap to clone.
#[derive(Clone)]
pub struct Directors {
    inner: Arc<Inner>,
}

struct Inner {
    data_plane: DataPlane,
    /// Where directors have their control sockets, for `ldirectord CONFIG status --json`, `drain` and the like.
    run_dir: Option<PathBuf>,
    on_event: Arc<dyn Fn(Event) + Send + Sync>,
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    board: Mutex<Board>,
    /// Words of all directors, those of this node included: what can be agreed on.
    words: Mutex<Board>,
    members: Mutex<BTreeSet<NodeId>>,
    /// Resources of the configuration; `None` as long as nobody has said.
    configured: Mutex<Option<BTreeSet<String>>>,
    /// What gets which firewall mark, by the resource of the mark agent.
    fwmarks: Mutex<BTreeMap<String, FwMarks>>,
    /// There is something to tell the other nodes.
    news: Arc<Notify>,
    newcomers: AtomicBool,
    /// Drains or maintenance by command at another node that the directors here have not been told of.
    marks_heard: AtomicBool,
    alone: AtomicBool,
    life: u64,
}

/// Addresses and subnets whose packets get a firewall mark.
pub(crate) struct FwMarks {
    pub mark: u32,
    pub prefixes: Vec<(IpAddr, u8)>,
}

impl Directors {
    /// Within a tokio runtime if there is someone to `share` with.
    pub(crate) fn new(
        data_plane: DataPlane,
        run_dir: Option<PathBuf>,
        share: Option<Share>,
        on_event: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Directors {
        let inner = Arc::new(Inner {
            data_plane,
            run_dir,
            on_event,
            slots: Mutex::default(),
            board: Mutex::default(),
            words: Mutex::default(),
            members: Mutex::default(),
            configured: Mutex::default(),
            fwmarks: Mutex::default(),
            news: Arc::default(),
            newcomers: AtomicBool::new(false),
            marks_heard: AtomicBool::new(false),
            alone: AtomicBool::new(true),
            life: kernel::clock::boottime().as_micros() as u64,
        });
        if let Some(share) = share {
            tokio::spawn(share::run(Arc::downgrade(&inner), share));
        }
        Directors { inner }
    }

    /// State of every director, by resource.
    pub async fn status(&self) -> BTreeMap<String, Status> {
        let mut all = BTreeMap::new();
        for slot in self.inner.slots() {
            let state = slot.state.lock().await;
            if let Some(running) = &state.running
                && let Some(status) = running.director.status().await
            {
                all.insert(slot.resource.clone(), status);
            }
        }
        all
    }

    /// Who is in the cluster now, this node included, and whether some are new.
    pub fn set_members(&self, members: BTreeSet<NodeId>, newcomers: bool) {
        self.inner.alone.store(members.len() < 2, Ordering::Release);
        *lock(&self.inner.members) = members;
        self.inner.newcomers.fetch_or(newcomers, Ordering::AcqRel);
        self.inner.news.notify_one();
    }

    /// What a mark agent of this node does or, once its group is here, will do: by it an address primes services by mark.
    pub(crate) fn note_fwmarks(&self, resource: &str, marking: FwMarks) {
        let mut marks = lock(&self.inner.fwmarks);
        if marks.len() < MAX_SLOTS || marks.contains_key(resource) {
            marks.insert(resource.to_owned(), marking);
        }
    }

    /// A bulletin of another node's directors.
    pub fn receive(&self, from: NodeId, payload: &[u8]) -> Result<(), BulletinError> {
        let bulletin = bulletin::decode(payload)?;
        self.hear(from, bulletin.clone());
        if lock(&self.inner.board).take(from, bulletin, kernel::clock::boottime()) {
            self.inner.marks_heard.store(true, Ordering::Release);
            self.inner.news.notify_one();
        }
        Ok(())
    }

    /// A bulletin of this node's own directors, as it was delivered to all.
    pub fn receive_own(&self, me: NodeId, payload: &[u8]) -> Result<(), BulletinError> {
        self.hear(me, bulletin::decode(payload)?);
        Ok(())
    }

    fn hear(&self, from: NodeId, bulletin: bulletin::Bulletin) {
        if !matches!(bulletin.body, bulletin::Body::Marks { .. }) {
            lock(&self.inner.words).take(from, bulletin, kernel::clock::boottime());
            self.inner.news.notify_one();
        }
    }

    /// The resources that the cluster's configuration has. Those that are gone are forgotten: nobody checks for them.
    pub async fn set_configured(&self, resources: BTreeSet<String>) {
        *lock(&self.inner.configured) = Some(resources);
        lock(&self.inner.fwmarks).retain(|resource, _| self.inner.is_configured(resource));
        for slot in self.inner.slots() {
            if self.inner.is_configured(&slot.resource) {
                continue;
            }
            let mut state = slot.state.lock().await;
            // An active one is the cluster's to stop; then it goes as well.
            if state.running.as_ref().is_none_or(|r| r.role == Role::Standby) {
                state.running = None;
                lock(&self.inner.slots).remove(&slot.resource);
                lock(&self.inner.board).forget(base_id(&slot.resource));
                lock(&self.inner.words).forget(base_id(&slot.resource));
                tracing::info!("{}: not configured any more; its servers are not checked any more", slot.resource);
            }
        }
    }

    /// Ends all directors and takes their tables away, as far as `cleanstop` permits; what could not be removed, in words. Of an
    /// operation that is under way it waits for the end.
    pub async fn abandon(&self, why: &str) -> Vec<String> {
        let mut left = Vec::new();
        for slot in self.inner.slots() {
            let running = slot.state.lock().await.running.take();
            if let Some(running) = running {
                let entries = running.director.stop(why).await;
                left.extend(entries.iter().map(|entry| format!("{}: {}", slot.resource, entry.error)));
            }
        }
        left
    }

    /// Whether every director here has an answer to each of its checks.
    pub(crate) async fn all_checked(&self) -> bool {
        let directors = self.status().await;
        let mut reals = directors.values().flat_map(|d| &d.virtuals).flat_map(|v| &v.reals);
        reals.all(|real| real.last_check_age_ms.is_some())
    }

    async fn start(&self, id: &str, settings: &Settings) -> Result<(), AgentOutcome> {
        let slot = self.inner.slot(id)?;
        let mut state = slot.state.lock().await;
        self.inner.note(&mut state, settings).await;
        let state = &mut *state;
        // A director without a table would hold the group where it is of no use.
        self.inner.table_is_there().await?;
        match &mut state.running {
            Some(r) if r.role == Role::Active => {}
            Some(r) if r.role == Role::Primed => r.role = Role::Active,
            Some(r) => {
                // The file may have changed while this node was on standby.
                r.follow_file(&state.config).await.map_err(|e| refused(&e))?;
                let taken = r.director.take_over(self.inner.told(&slot.resource), None).await;
                r.role = Role::Active;
                self.inner.say_taken(&slot.resource, taken, "started");
            }
            None => {
                let verdicts = self.inner.told(&slot.resource);
                let options = Options { active: true, verdicts, ..Options::default() };
                let running =
                    self.inner.launch(&slot.resource, state, options, Role::Active).await.map_err(|e| refused(&e))?;
                state.running = Some(running);
            }
        }
        state.outbox.reset();
        self.inner.news.notify_one();
        works(state).await
    }

    /// Clears the table and, on warm standby, goes on checking.
    async fn stop(&self, id: &str) -> Result<(), AgentOutcome> {
        let Some(slot) = self.inner.known(id) else { return Ok(()) };
        let mut state = slot.state.lock().await;
        self.inner.demote(&slot, &mut state).await
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> Result<(), AgentOutcome> {
        // One more than this node takes cannot have been started.
        let slot = self.inner.slot(id).map_err(|full| AgentOutcome::new(OcfCode::NOT_RUNNING, full.reason))?;
        let mut state = slot.state.lock().await;
        if state.running.is_none() {
            self.inner.note(&mut state, settings).await;
            self.inner.stand_by(&slot, &mut state, Verdicts::default()).await;
        }
        works(&state).await
    }
}

/// Whether the director is the cluster's, and has its table.
async fn works(state: &State) -> Result<(), AgentOutcome> {
    match &state.running {
        Some(found) if found.role == Role::Active => match found.director.status().await {
            None => Err(AgentOutcome::error("the director has ended unexpectedly")),
            Some(Status { table_error: Some(why), .. }) => Err(AgentOutcome::error(why)),
            Some(_) => Ok(()),
        },
        _ => Err(AgentOutcome::not_running()),
    }
}

impl Inner {
    fn slots(&self) -> Vec<Arc<Slot>> {
        lock(&self.slots).values().cloned().collect()
    }

    fn known(&self, resource: &str) -> Option<Arc<Slot>> {
        lock(&self.slots).get(resource).cloned()
    }

    fn slot(&self, resource: &str) -> Result<Arc<Slot>, AgentOutcome> {
        let mut slots = lock(&self.slots);
        if slots.len() >= MAX_SLOTS && !slots.contains_key(resource) {
            return Err(AgentOutcome::error(format!("this node knows {MAX_SLOTS} directors; no more are taken")));
        }
        Ok(slots.entry(resource.to_owned()).or_insert_with(|| Arc::new(Slot::new(resource))).clone())
    }

    fn is_configured(&self, resource: &str) -> bool {
        let configured = lock(&self.configured);
        configured.as_ref().is_none_or(|all| all.contains(resource) || all.contains(base_id(resource)))
    }

    async fn table_is_there(&self) -> Result<(), AgentOutcome> {
        let open = self.data_plane.clone();
        let asked = tokio::task::spawn_blocking(move || open().and_then(|mut table| table.info())).await;
        match asked.unwrap_or(Err(ipvs::Error::Unknown { waited_ms: 0 })) {
            Ok(_) => Ok(()),
            Err(error @ ipvs::Error::NoIpvs { .. }) => {
                Err(AgentOutcome::new(OcfCode::NOT_INSTALLED, error.to_string()))
            }
            Err(error) => Err(AgentOutcome::error(error.to_string())),
        }
    }

    /// What the other nodes' directors have told of this resource's servers.
    fn told(&self, resource: &str) -> Verdicts {
        lock(&self.board).verdicts(base_id(resource), kernel::clock::boottime())
    }

    /// Drains and maintenance by command as this node and the others know them.
    async fn common_marks(&self, resource: &str, running: Option<&Running>) -> Vec<MarkEntry> {
        let own = match running {
            Some(running) => running.director.export_marks().await,
            None => Vec::new(),
        };
        let mut board = lock(&self.board);
        board.note_marks(base_id(resource), &own);
        board.marks(base_id(resource))
    }

    /// Takes the parameters; what runs with another file ends.
    async fn note(&self, state: &mut State, settings: &Settings) {
        state.warm = settings.warm;
        state.agrees = settings.agrees;
        if state.config != settings.config {
            state.config = settings.config.clone();
            if let Some(old) = state.running.take() {
                old.director.stop("its configfile was changed").await;
            }
        }
    }

    /// Ends keeping the table, if it does; on warm standby the checks go on.
    async fn demote(&self, slot: &Slot, state: &mut State) -> Result<(), AgentOutcome> {
        let Some(found) = state.running.take_if(|r| r.role != Role::Standby) else { return Ok(()) };
        let verdicts = found.director.export_verdicts().await;
        self.common_marks(&slot.resource, Some(&found)).await;
        let left = found.director.stop("cluster").await;
        self.stand_by(slot, state, verdicts).await;
        match left.first() {
            None => Ok(()),
            Some(first) => Err(AgentOutcome::error(format!(
                "{} entries of the table could not be removed: {}",
                left.len(),
                first.error
            ))),
        }
    }

    async fn stand_by(&self, slot: &Slot, state: &mut State, verdicts: Verdicts) {
        let room = lock(&self.slots).len() <= MAX_STANDBY;
        if state.warm && room && self.is_configured(&slot.resource) {
            let options = Options { active: false, verdicts, ..Options::default() };
            match self.launch(&slot.resource, state, options, Role::Standby).await {
                Ok(running) => state.running = Some(running),
                Err(error) => tracing::info!("{}: no warm standby: {error}", slot.resource),
            }
        }
    }

    async fn launch(&self, resource: &str, state: &State, options: Options, role: Role) -> Result<Running, LoadError> {
        let stamp = Stamp::of(&state.config);
        let own = self.run_dir.as_deref().map(|dir| service::state_path(dir, &state.config));
        let accepted = load_remembering(&state.config, own).await?;
        self.launch_with(resource, state, accepted.config, stamp, options, role).await
    }

    async fn launch_with(
        &self,
        resource: &str,
        state: &State,
        config: ldirectord::config::Config,
        stamp: Option<Stamp>,
        options: Options,
        role: Role,
    ) -> Result<Running, LoadError> {
        let table =
            (self.data_plane)().map_err(|e| LoadError::Read { path: "the IPVS table".into(), why: e.to_string() })?;
        let options = Options {
            config_path: Some(state.config.clone()),
            logger: Logger::tracing(),
            marks: lock(&self.board).marks(base_id(resource)),
            control: self.run_dir.as_deref().map(|dir| service::control_path(dir, &state.config)),
            state: self.run_dir.as_deref().map(|dir| service::state_path(dir, &state.config)),
            ..options
        };
        let director = service::Director::start(config, table, options).await;
        Ok(Running::new(director, stamp, role, self.news.clone()))
    }

    fn say_taken(&self, resource: &str, taken: Option<service::TakenOver>, how: &str) {
        let Some(t) = taken else { return };
        let text = format!(
            "{how}: {} servers known by own checks, {} by the former director's, {} from the table, {} unchecked",
            t.own, t.peer, t.table, t.unchecked
        );
        (self.on_event)(Event::Director { resource: resource.to_owned(), text });
    }
}

/// Parameters of the agent.
#[derive(Clone)]
pub(crate) struct Settings {
    pub config: PathBuf,
    warm: bool,
    agrees: bool,
}

impl Settings {
    pub fn of(instance: &Instance) -> Settings {
        let config = PathBuf::from(instance.param("configfile").unwrap_or(DEFAULT_CONFIG));
        Settings { config, warm: instance.flag("warm_standby", true), agrees: instance.flag("agreed_health", false) }
    }
}

/// The agent.
pub(crate) struct Director(pub Directors);

impl Agent for Director {
    type Settings = Settings;

    fn meta(&self) -> &'static Meta {
        &META
    }

    async fn abandon(&self, why: &str) -> Vec<String> {
        self.0.abandon(why).await
    }

    fn settings(&self, instance: &Instance) -> Result<Settings, AgentOutcome> {
        Ok(Settings::of(instance))
    }

    async fn validate(&self, settings: &Settings) -> AgentOutcome {
        load(&settings.config).await.map_or_else(|e| refused(&e), |_| AgentOutcome::ok())
    }

    async fn start(&self, id: &str, settings: &Settings) -> AgentOutcome {
        self.0.start(id, settings).await.err().unwrap_or_else(AgentOutcome::ok)
    }

    async fn stop(&self, id: &str, _placed: Option<&Settings>) -> AgentOutcome {
        self.0.stop(id).await.err().unwrap_or_else(AgentOutcome::ok)
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> AgentOutcome {
        self.0.monitor(id, settings).await.err().unwrap_or_else(AgentOutcome::ok)
    }
}

/// Reading may resolve names, which may block.
async fn load(path: &Path) -> Result<ldirectord::config::Accepted, LoadError> {
    load_remembering(path, None).await
}

/// What names stood for last counts, for the director with this state file, where they have no answer.
async fn load_remembering(path: &Path, state: Option<PathBuf>) -> Result<ldirectord::config::Accepted, LoadError> {
    let path = path.to_owned();
    let loaded = tokio::task::spawn_blocking(move || service::load_remembering(&path, state.as_deref())).await;
    loaded.unwrap_or(Err(LoadError::Stopped))
}

/// A missing file is a matter of this node, a file with errors one of the configuration.
fn refused(error: &LoadError) -> AgentOutcome {
    let code = match error {
        LoadError::Read { .. } => OcfCode::NOT_INSTALLED,
        LoadError::Refused { .. } => OcfCode::NOT_CONFIGURED,
        LoadError::Stopped => OcfCode::ERROR,
    };
    AgentOutcome::new(code, error.to_string())
}

/// The resource without the number of a clone's instance.
fn base_id(resource: &str) -> &str {
    resource.split(':').next().unwrap_or(resource)
}

/// No code that holds one of these locks panics, and their content stays whole if it does.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
