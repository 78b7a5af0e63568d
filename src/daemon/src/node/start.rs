//! Starts the threads and tasks of a node, waits for its end, and takes everything down again.

use super::args::{Args, DataPlane};
use super::core::{Beside, Core, Identity, Inbox};
use super::facts::Facts;
use super::fenced::{Dog, End};
use super::hindrance::{Forgiver, Happening};
use super::perform::{Outlets, Performer};
use super::records::{self, Records};
use super::settings::{self, Settings};
use super::signals;
use super::{core, far, keep, native};
use crate::alerts::Alerts;
use crate::changes::Changes;
use crate::exec::{Places, Runner};
use crate::remote::Remotes;
use crate::ring::{self, Ring};
use crate::store::{self, Store};
use crate::timeline::Timeline;
use crate::{api, blackbox, clock, groups, logging, schedule, service};
use agents::{Agents, lan, lease};
use base::exit::{OcfCode, crm};
use base::{Reason, Value, Word};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a start waits for the state directory to reserve ring numbers.
const RESERVE_WITHIN: Duration = Duration::from_secs(2);

/// Time for making the links of the helper commands.
const HELPERS_WITHIN: Duration = Duration::from_secs(5);

/// Time for setting one attribute.
const ATTRIBUTE_WITHIN: Duration = Duration::from_secs(5);

/// Bulletins of directors that wait for the ring; more are told anew later.
const BULLETINS: usize = 256;
/// Why a node does not start. Each text names the cure where it is known.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Ring(#[from] ring::StartError),
    #[error("{0}")]
    Cib(String),
    #[error(
        "{dir} was written by {by}, which is newer than this program (bascule {own}, form {form}): nothing was changed. Either install \
         that version again; or restore the back-up that was made before the upgrade (pcs config restore --local FILE); or let this node \
         take everything from the others: pcs cluster destroy here, then pcs cluster node add on one of them",
        own = env!("CARGO_PKG_VERSION"),
        form = store::FORMAT
    )]
    Newer { dir: String, by: String },
    #[error("quorum: {0}")]
    Quorum(#[from] quorum::ConfigError),
    #[error("run directory {dir}: {error}")]
    RunDir { dir: String, error: std::io::Error },
    #[error("API socket: {0}")]
    Api(#[from] api::ServeError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

pub(super) fn run(args: Args, settings: Settings) -> i32 {
    clock::now();
    let dumps = kernel::confine::no_core_dump();
    let log_problems = logging::start(&settings.config.logging, args.log_file.as_deref());
    if let Err(error) = dumps {
        tracing::warn!("core dumps cannot be turned off, and may hold secrets: {error}");
    }
    settings.warnings.iter().chain(&log_problems).for_each(|w| tracing::warn!("{w}"));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            kernel::errln!("bascule node: {error}");
            return crm::OSERR;
        }
    };
    let silent = !settings.config.logging.to_stderr;
    let result = runtime.block_on(node(args, settings));
    // Child processes and blocking calls that are still under way must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_millis(200));
    let ended = |text: &str| {
        tracing::error!("bascule node: {text}");
        if silent {
            kernel::errln!("bascule node: {text}");
        }
    };
    let code = match result {
        Ok(Ok(())) => {
            tracing::info!("left the cluster");
            crm::OK
        }
        Ok(Err(End { reason, code })) => {
            ended(&format!("ended: {reason}"));
            crate::blackbox::ended(&reason);
            code
        }
        Err(error) => {
            ended(&format!("not started: {error}"));
            // To be tried again helps as little as with a configuration that is refused.
            if matches!(error, StartError::Newer { .. }) { crm::CONFIG } else { crm::ERROR }
        }
    };
    logging::finish();
    code
}

async fn node(args: Args, settings: Settings) -> Result<Result<(), End>, StartError> {
    // First: until then a signal does what it does to any process.
    let signals = signals::listen()?;
    let timeline = Timeline::new(&settings.my_name());
    let run_dir = args.run_dir.clone();
    kernel::files::private_dir(&run_dir)
        .map_err(|error| StartError::RunDir { dir: run_dir.display().to_string(), error })?;
    let (store, loaded) = Store::open(&args.state_dir);
    if let Some(by) = loaded.newer.clone() {
        return Err(StartError::Newer { dir: args.state_dir.display().to_string(), by });
    }
    loaded.damage.iter().for_each(|d| tracing::error!("state directory: {d}"));
    let cib = first_cib(&args, &loaded)?;
    let (notes_to, notes) = mpsc::unbounded_channel();
    let keeper = keep::start(store, notes_to)?;
    let ring_seq = reserved_ring_seq(&keeper, &loaded).await;
    let listener = api::bind(&run_dir)?;
    let groups_listener = groups::bind(&run_dir)?;

    let permit = lease::Permit::default();
    let (happenings_to, happenings) = mpsc::unbounded_channel();
    let lost_to = happenings_to.clone();
    let (bulletins_to, bulletins) = mpsc::channel(BULLETINS);
    let (asker, asks, board) = core::channel();
    let agents = start_agents(
        &args,
        &settings.my_name(),
        permit.clone(),
        &timeline,
        happenings_to,
        bulletins_to,
        asker.clone(),
    )?;
    let incarnation = u64::from_le_bytes(random()?);
    let options = ring::Options {
        core: settings::totem(&settings, incarnation, ring_seq),
        nodes: settings.resolved.nodes.clone(),
        key: settings.key.clone(),
        cluster_name: settings.config.totem.cluster_name.clone(),
        session: random()?,
        block_unlisted: settings.config.totem.block_unlisted_ips,
        realtime: settings.config.system.sched_rr,
        permit,
        reserve: {
            let keeper = keeper.clone();
            Box::new(move |seq| keeper.reserve(seq))
        },
    };
    let quorum = quorum::Quorum::new(settings::quorum(&settings))?;
    let lineage = match &loaded.cib {
        Some((_, lineage)) => lineage.clone(),
        None if loaded.lost => cib::Lineage::NONE.to_string(),
        None => String::new(),
    };
    let mut config =
        controller::Config::new(settings.me(), settings.names(), &settings.config.totem.cluster_name, incarnation);
    config.two_node = quorum.config().two_node_effective();
    config.votes = quorum.config().votes.clone();
    config.expected_votes = quorum.config().expected_votes();
    let instances = run_dir.join("instances");
    let (records, problems) = records::load(&instances);
    let mut standing = settings.standing.clone();
    standing.extend(loaded.damage.iter().map(|d| format!("state directory: {d}")));
    standing.extend(problems.iter().map(|p| format!("record of an instance: {p}")));
    standing.extend(data_plane_warning(&args));

    let (executed_to, executed) = mpsc::unbounded_channel();
    let (facts_to, facts) = mpsc::unbounded_channel();
    let (fenced_to, fenced) = mpsc::unbounded_channel();
    let (scheduled_to, scheduled) = mpsc::unbounded_channel();
    let schedules = schedule::start(scheduled_to, args.state_dir.clone())?;
    let mut places = Places::standard(run_dir.clone());
    places.helpers = helper_links(&run_dir).await;
    let runner = Runner::new(Some(Arc::new(native::InProcess(agents.clone()))), places);
    let (standing_to, known) = watch::channel(crate::claims::Standing::default());
    let to = Outlets {
        standing: standing_to,
        executed: executed_to,
        fenced: fenced_to,
        schedules,
        keeper,
        records: Records::start(instances)?,
        facts: Facts::new(runner.places(), facts_to),
    };
    let alerts = Alerts::new(runner.places(), timeline.clone(), &settings.my_name());
    let (news_to, news) = mpsc::unbounded_channel();
    let remotes = Remotes::new(&settings.my_name(), news_to);
    let performer = Performer::new((runner, remotes), agents, timeline.clone(), alerts, to);
    let (ring, reports) = Ring::start(settings.me(), options)?;
    let changes = Changes::new(settings.me(), &settings.my_name());
    blackbox::know(blackbox::Sources {
        timeline: timeline.clone(),
        node: settings.my_name(),
        state_dir: args.state_dir.clone(),
        asker: asker.clone(),
    });
    let groups_asker = asker.clone();
    let state = api::State::new(asker.clone(), timeline.clone(), ring.clone(), changes.clone(), &settings.my_name());
    tokio::spawn(far::follow(news, (performer.remotes.clone(), lost_to), asker, state.clone()));
    let server = tokio::spawn(api::serve(listener, state));
    let clients_in_groups = groups::Clients::default();
    let members = tokio::spawn(groups::serve(groups_listener, clients_in_groups.clone(), ring.clone(), groups_asker));
    service::notify("READY=1");
    tracing::info!(
        "node {} ({}) of cluster `{}` runs",
        settings.my_name(),
        settings.me(),
        settings.config.totem.cluster_name
    );
    let reach = crate::reach::start(settings.config.quorum.ping_targets.clone());
    let data_plane = args.data_plane.name();
    // From here on the watchdog bites: nothing that is slow or can fail may stand between it and the first tick.
    let (dog, no_dog) = Dog::open(settings.config.system.watchdog.as_ref(), &kernel::machine::Place::here());
    no_dog.iter().for_each(|why| tracing::error!("{why}"));
    standing.extend(no_dog);
    config.watchdog_ms = dog.timeout_ms();
    let mut controller = controller::Controller::new(config, cib, &lineage, clock::now());
    controller.restore(clock::wall(), records);
    let identity = Identity { settings, args, data_plane, started: clock::wall(), standing, reload: None };
    let mut claims = ClaimsTask { standing: known, task: None };
    claims.restart(&identity.settings, &performer.agents, &timeline);
    let core = Core::new(
        controller,
        quorum,
        ring,
        performer,
        identity,
        Beside { board, dog, claims, changes, clients_in_groups },
    );
    let inbox =
        Inbox { reports, asks, executed, facts, scheduled, fenced, notes, happenings, bulletins, reach, signals };
    // On a worker, which also waits for its timers; from the main thread each of them would wake two threads.
    let result = match tokio::spawn(core.run(inbox)).await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => Err(End { reason: format!("the core's task: {ended}"), code: crm::ERROR }),
        },
    };
    service::notify("STOPPING=1");
    server.abort();
    members.abort();
    api::remove(&run_dir);
    Ok(result)
}

/// The ring number to go on from, reserved on disk; or one from the clock, where the disk does not take it in time: that one
/// is above all that an earlier life may have used without telling.
async fn reserved_ring_seq(keeper: &keep::Keeper, loaded: &store::Loaded) -> u64 {
    let first = loaded.first_ring_seq(clock::wall());
    keeper.reserve(first);
    let _ = tokio::time::timeout(RESERVE_WITHIN, keeper.flush()).await;
    if keeper.reserve(first) {
        return first;
    }
    let higher = first.max(store::ring_seq_of_clock(clock::wall()));
    tracing::error!("the state directory takes no ring numbers: going on with {higher}, from the clock");
    keeper.reserve(higher);
    higher
}

/// The stored CIB, the operator's own, or an empty one. A document that is not a CIB stops the start: nothing is changed.
fn first_cib(args: &Args, loaded: &store::Loaded) -> Result<cib::Cib, StartError> {
    let Some((text, _)) = &loaded.cib else {
        return Ok(cib::Cib::new_empty(clock::wall()));
    };
    let file = args.state_dir.join("cib.xml");
    let cib = cib::Cib::parse(text).map_err(|e| {
        StartError::Cib(format!("{}: {e}; correct it (crm_verify -x FILE) or move it away", file.display()))
    })?;
    for problem in cib::schema::check(cib.root()) {
        tracing::warn!("{}: {problem}", file.display());
    }
    Ok(cib)
}

/// Links of all commands, for agents that call them (`crm_attribute`, `crm_node`, …); `None` if they cannot be made.
pub(crate) async fn helper_links(run_dir: &Path) -> Option<PathBuf> {
    let dir = run_dir.join("helpers");
    let program = std::env::current_exe().ok()?;
    let made = tokio::process::Command::new(program).arg("links").arg(&dir).kill_on_drop(true).output();
    match tokio::time::timeout(HELPERS_WITHIN, made).await {
        Ok(Ok(output)) if output.status.success() => Some(dir),
        Ok(Ok(output)) => {
            tracing::warn!("agents have no helper commands: {}", String::from_utf8_lossy(&output.stderr).trim());
            None
        }
        Ok(Err(error)) => {
            tracing::warn!("agents have no helper commands: {error}");
            None
        }
        Err(_) => {
            tracing::warn!("agents have no helper commands: making the links took too long");
            None
        }
    }
}

fn start_agents(
    args: &Args,
    me: &str,
    permit: lease::Permit,
    timeline: &Timeline,
    happenings: mpsc::UnboundedSender<Happening>,
    bulletins: mpsc::Sender<Vec<u8>>,
    asker: core::Asker,
) -> Result<Agents, StartError> {
    let (timeline, forgiver) = (timeline.clone(), Forgiver::new(asker.clone(), me.to_owned()));
    let on_event = move |event: agents::Event| {
        let event = match event {
            agents::Event::Address(event) => event,
            agents::Event::Lan(event) => return on_lan(event, &timeline, &happenings, &forgiver),
            agents::Event::Director { resource, text } => {
                timeline.add("director", &resource, &text);
                return tracing::info!("director {resource}: {text}");
            }
            agents::Event::Attribute { name, value } => return set_attribute(asker.clone(), name, value),
        };
        let (kind, resource, text) = describe(&event);
        let happening = match &event {
            lease::KeeperEvent::Dropped { .. } => {
                let (code, reason) = (OcfCode::NOT_RUNNING, Reason::cleaned(&text));
                Some(Happening::Failed { resource: resource.clone(), code, reason })
            }
            lease::KeeperEvent::LinkDown { reason, .. } => {
                forgiver.hindered(&resource);
                Some(Happening::Hindered { resource: resource.clone(), text: reason.clone() })
            }
            lease::KeeperEvent::LinkFit { .. } => {
                forgiver.forgive(&resource);
                Some(Happening::Free { resource: resource.clone() })
            }
            lease::KeeperEvent::Added { .. } => Some(Happening::Free { resource: resource.clone() }),
            _ => None,
        };
        if let Some(happening) = happening {
            let _ = happenings.send(happening);
        }
        timeline.add(kind, &resource, &text);
        tracing::info!("{kind} {resource}: {text}");
    };
    let guard_program = if args.no_guard { None } else { std::env::current_exe().ok() };
    Ok(Agents::start(agents::Options {
        run_dir: args.run_dir.clone(),
        data_plane: data_plane(args)?,
        permit,
        guard_program,
        leases: true,
        share: Some(Arc::new(move |payload| bulletins.try_send(payload).is_ok())),
        on_event: Arc::new(on_event),
    })?)
}

/// What talks to other holders on the LANs of the addresses.
pub(super) struct ClaimsTask {
    standing: watch::Receiver<crate::claims::Standing>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl ClaimsTask {
    /// With sessions of their own: the ring's may be of another network and another age.
    pub fn restart(&mut self, settings: &Settings, agents: &Agents, timeline: &Timeline) {
        let session = match random() {
            Ok(session) => session,
            Err(error) => return tracing::error!("claims on the LAN go on as they were: {error}"),
        };
        let (me, cluster) = (settings.me(), format!("{} lan", settings.config.totem.cluster_name));
        let mut endpoint = wire::session::Endpoint::new(&settings.key, me, &cluster, session);
        endpoint.set_peers(clock::now(), settings.resolved.nodes.iter().map(|n| n.id));
        let (agents, timeline, standing) = (agents.clone(), timeline.clone(), self.standing.clone());
        let claims = crate::claims::Claims { me, endpoint, agents, timeline, standing };
        if let Some(old) = self.task.replace(tokio::spawn(claims.run())) {
            old.abort();
        }
    }
}

impl Drop for ClaimsTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Others on the LAN of an address: told in timeline, log and status, and forgotten when it is over.
fn on_lan(event: lan::Event, timeline: &Timeline, happenings: &mpsc::UnboundedSender<Happening>, forgiver: &Forgiver) {
    let (kind, resource, text) = match event {
        lan::Event::Contested { resource, text } => {
            forgiver.hindered(&resource);
            let _ = happenings.send(Happening::Hindered { resource: resource.clone(), text: text.clone() });
            ("address_contested", resource, text)
        }
        lan::Event::Duplicate { resource, text } => {
            let _ = happenings.send(Happening::Troubled { resource: resource.clone(), text: text.clone() });
            ("address_duplicate", resource, text)
        }
        lan::Event::Ended { resource, text, failed } => {
            let _ = happenings.send(Happening::Free { resource: resource.clone() });
            if failed {
                forgiver.forgive(&resource);
            }
            ("address_free", resource, text)
        }
    };
    timeline.add(kind, &resource, &text);
    tracing::warn!("{kind} {resource}: {text}");
}

/// An agent's attribute on its own node; the agent sets it again at its next monitor, so that a refusal is only logged.
fn set_attribute(asker: core::Asker, name: String, value: Option<String>) {
    let value = value.as_deref().map(Value::cleaned);
    tokio::spawn(async move {
        let request = controller::Request::Attribute { node: None, name: Word::cleaned(&name), value };
        let asked = asker.ask(|to| core::Ask::Request(Box::new(request), to));
        match tokio::time::timeout(ATTRIBUTE_WITHIN, asked).await {
            Ok(Some(controller::Response::Failed { message, .. })) => tracing::warn!("attribute {name}: {message}"),
            Ok(_) => {}
            Err(_) => tracing::warn!("attribute {name} was not set within {} s", ATTRIBUTE_WITHIN.as_secs()),
        }
    });
}

/// One relay for the node's life, shared by all who open it: table and sockets outlive a restart of the director.
fn data_plane(args: &Args) -> std::io::Result<agents::DataPlane> {
    Ok(match args.data_plane {
        DataPlane::Kernel => Arc::new(|| Ok(Box::new(kernel::ipvs::Kernel::new()))),
        DataPlane::Relay => {
            let relay = kernel::relay::Relay::start()?;
            relay.keep_snapshot(args.run_dir.join(kernel::relay::SNAPSHOT_NAME));
            Arc::new(move || Ok(Box::new(relay.clone())))
        }
    })
}

fn data_plane_warning(args: &Args) -> Option<String> {
    match args.data_plane {
        DataPlane::Relay => Some(
            "packets are forwarded by the embedded relay: for trying out, not for real directors (--data-plane relay)"
                .to_owned(),
        ),
        DataPlane::Kernel => {
            let error = kernel::ipvs::Kernel::new().probe().err()?;
            Some(format!("this kernel offers no IPVS: {error} (only to try: --data-plane relay)"))
        }
    }
}

fn describe(event: &lease::KeeperEvent) -> (&'static str, String, String) {
    use lease::KeeperEvent;
    match event {
        KeeperEvent::Added { resource, vip } => ("address_added", resource.clone(), vip.addr.to_string()),
        KeeperEvent::Announced { resource, vip } => ("announced", resource.clone(), vip.addr.to_string()),
        KeeperEvent::Dropped { resource, vip, why } => {
            ("address_dropped", resource.clone(), format!("{}: {why}", vip.addr))
        }
        KeeperEvent::Lapsed { resource, vip, why } => {
            ("address_lapsed", resource.clone(), format!("{}: {why}", vip.addr))
        }
        KeeperEvent::RenewFailed { resource, vip, reason } => {
            ("renew_failed", resource.clone(), format!("{}: {reason}", vip.addr))
        }
        KeeperEvent::LinkDown { resource, reason } => ("link_failed", resource.clone(), reason.clone()),
        KeeperEvent::LinkFit { resource } => {
            ("link_fit", resource.clone(), "its link has a carrier again, and keeps it".to_owned())
        }
    }
}

pub(crate) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| std::io::Error::other("the system gives no random numbers"))?;
    Ok(bytes)
}
