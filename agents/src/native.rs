//! One node's native agents and the state that they share.

use crate::attributes::{self, Attributes};
use crate::call::{AgentCall, AgentOutcome};
use crate::guard::GuardLink;
use crate::lease::{Keeper, KeeperEvent, Permit};
use crate::net::Net;
use crate::settings::DirectorSettings;
use crate::sync::Sync as ConnectionSync;
use crate::{director, dummy, fwmark, ipaddr2, metadata, ping};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens the table that a director programs: the kernel's, or the embedded relay's.
pub type DataPlane = Arc<dyn Fn() -> Result<Box<dyn kernel::ipvs::Ipvs>, kernel::ipvs::Error> + Send + Sync>;

/// What happened in an agent, for the log and the fail-over timeline.
#[derive(Clone, Debug)]
pub enum Event {
    Address(KeeperEvent),
    /// A director has the table now, and on what it rests.
    Director {
        resource: String,
        text: String,
    },
    /// A node attribute of this node, to be set or (`None`) removed.
    Attribute {
        name: String,
        value: Option<String>,
    },
}

pub struct Options {
    /// State files of agents go below this directory.
    pub run_dir: PathBuf,
    pub data_plane: DataPlane,
    pub permit: Permit,
    /// The binary that is started as guard process; `None` starts none.
    pub guard_program: Option<PathBuf>,
    /// Addresses are leases; else they are permanent (agents run by hand, outside a daemon).
    pub leases: bool,
    pub on_event: Arc<dyn Fn(Event) + Send + Sync>,
    /// How directors tell those of other nodes what they know; `None`: there are none.
    pub share: Option<director::Share>,
}

impl Options {
    /// For one call outside a daemon.
    pub fn standalone(run_dir: PathBuf) -> Options {
        Options {
            run_dir,
            data_plane: Arc::new(|| Ok(Box::new(kernel::ipvs::Kernel::new()))),
            permit: Permit::default(),
            guard_program: None,
            leases: false,
            on_event: Arc::new(|event| {
                if let Event::Attribute { name, value } = event {
                    attributes::by_command(&name, value.as_deref());
                }
            }),
            share: None,
        }
    }
}

/// All native resources of this node. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub run_dir: PathBuf,
    pub addresses: ipaddr2::Addresses,
    pub directors: director::Directors,
    attributes: Attributes,
    sync: ConnectionSync,
    settings: DirectorSettings,
}

impl Agents {
    /// Starts the lease keeper (and the guard process, if asked) in the caller's network namespace. Within a tokio runtime.
    pub fn start(options: Options) -> std::io::Result<Agents> {
        let directors = director::Directors::new(
            options.data_plane.clone(),
            Some(options.run_dir.clone()),
            options.share,
            options.on_event.clone(),
        );
        let addresses = if options.leases {
            let guard = options.guard_program.map_or_else(GuardLink::none, GuardLink::start);
            let on_event = options.on_event.clone();
            let keeper = Keeper::start(options.permit, guard, Arc::new(move |e| on_event(Event::Address(e))))?;
            ipaddr2::Addresses::leased(keeper)
        } else {
            ipaddr2::Addresses::permanent(Net::open().map_err(std::io::Error::other)?)
        };
        let attributes = Attributes::new(options.on_event);
        let shared = Shared {
            addresses,
            sync: ConnectionSync::new(options.data_plane, attributes.clone()),
            settings: DirectorSettings::new(&options.run_dir, attributes.clone()),
            directors,
            attributes,
            run_dir: options.run_dir,
        };
        Ok(Agents { shared: Arc::new(shared) })
    }

    /// Whether an agent of class `ocf`, provider `heartbeat`, `pacemaker` or `bascule` is native here.
    pub fn knows(&self, agent: &str) -> bool {
        metadata::NATIVE.contains(&agent)
    }

    /// Runs one operation under the call's deadline. A timed-out call has not failed: what it did is unknown.
    pub async fn run(&self, call: AgentCall) -> AgentOutcome {
        let limit = call.timeout;
        match tokio::time::timeout(limit, self.dispatch(&call)).await {
            Ok(outcome) => outcome,
            Err(_) => AgentOutcome::error(format!("{} did not finish within {} ms", call.operation, limit.as_millis())),
        }
    }

    /// The resources that the applied cluster state gives to this node: only their addresses are renewed.
    pub async fn set_owners(&self, owners: BTreeSet<String>) {
        self.shared.addresses.set_owners(owners).await;
    }

    /// Announces all held addresses again, for instance after a merge.
    pub async fn reannounce(&self) {
        self.shared.addresses.reannounce().await;
    }

    /// Makes all held addresses outlive this process: for a planned stop with resources left running.
    pub async fn make_permanent(&self) -> Result<(), crate::lease::LeaseError> {
        self.shared.addresses.make_permanent().await
    }

    /// Health and table of each running director, by resource.
    pub fn directors(&self) -> &director::Directors {
        &self.shared.directors
    }

    /// Whether every director here has an answer to each of its checks; asked only where somebody waits for it.
    async fn all_checked(&self, call: &AgentCall) -> bool {
        if call.operation != "monitor" || call.param("preempt_delay").is_none() {
            return false;
        }
        let directors = self.shared.directors.status().await;
        let mut reals = directors.values().flat_map(|d| &d.virtuals).flat_map(|v| &v.reals);
        reals.all(|real| real.last_check_age_ms.is_some())
    }

    async fn dispatch(&self, call: &AgentCall) -> AgentOutcome {
        if call.operation == "meta-data" {
            return metadata::answer(&call.agent);
        }
        match call.agent.as_str() {
            "IPaddr2" | "IPaddr" => ipaddr2::run(call, &self.shared.addresses, &self.shared.directors).await,
            "ldirectord" => director::run(call, &self.shared.directors).await,
            "ipvs-sync" => self.shared.sync.run(call, self.all_checked(call).await).await,
            "director-settings" => self.shared.settings.run(call).await,
            "fwmark" => fwmark::run(call, &self.shared.directors).await,
            "ping" => ping::run(call, &self.shared.run_dir, &self.shared.attributes).await,
            "Dummy" => dummy::run(call, &self.shared.run_dir).await,
            other => {
                AgentOutcome::new(base::exit::OcfCode::NOT_INSTALLED, format!("no native agent is called '{other}'"))
            }
        }
    }
}
