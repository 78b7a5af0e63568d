//! One node's native agents: the registry, and the state that they share.

use crate::agent::{Agent, Hosted, Native};
use crate::announce::{self, Announcer, Standing};
use crate::attributes::{self, Attributes};
use crate::director::{self, Director, Directors};
use crate::dummy::{self, Dummy};
use crate::fwmark::{self, FwMark};
use crate::guard::GuardLink;
use crate::host::{DataPlane, Event};
use crate::ipaddr2::{self, Addresses, VirtualAddress};
use crate::lan::Lan;
use crate::lease::{Keeper, LeaseError, Permit};
use crate::meta::Meta;
use crate::net::Net;
use crate::outcome::AgentOutcome;
use crate::ping::{self, Ping};
use crate::settings::{self, DirectorSettings};
use crate::sync::{self, Sync as ConnectionSync};
use base::exit::OcfCode;
use base::{Names, Operation};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// All agents of this crate, whether or not they run.
const ALL: &[&Meta] = &[
    &ipaddr2::IPADDR2,
    &ipaddr2::IPADDR,
    &director::META,
    &dummy::META,
    &sync::META,
    &settings::META,
    &fwmark::META,
    &ping::META,
    &announce::META,
];

/// What the agent that configurations call `ocf:PROVIDER:AGENT` says of itself, if it is native.
pub fn meta(provider: &str, agent: &str) -> Option<&'static Meta> {
    ALL.iter().copied().find(|meta| meta.is(provider, agent))
}

/// The registry for those who only ask about it.
pub const NATIVES: base::applet::Natives = base::applet::Natives {
    names: || {
        let of = |meta: &'static Meta| meta.providers.iter().map(|provider| format!("ocf:{provider}:{}", meta.name));
        ALL.iter().copied().flat_map(of).collect()
    },
    document: |name| {
        let (provider, agent) = name.strip_prefix("ocf:")?.split_once(':')?;
        meta(provider, agent).map(Meta::xml)
    },
};

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

struct Shared {
    addresses: Arc<Addresses>,
    directors: Directors,
    lan: Lan,
    standing: Arc<Standing>,
    /// By the agent's name; a name belongs to one agent, whatever its provider.
    registry: BTreeMap<&'static str, Box<dyn Native>>,
}

impl Agents {
    /// Starts the lease keeper (and the guard process, if asked) in the caller's network namespace. Within a tokio runtime.
    pub fn start(options: Options) -> std::io::Result<Agents> {
        let directors = Directors::new(
            options.data_plane.clone(),
            Some(options.run_dir.clone()),
            options.share.clone(),
            options.on_event.clone(),
        );
        let on_event = options.on_event.clone();
        let lan = Lan::new(options.share, Arc::new(move |e| on_event(Event::Lan(e))));
        let permit = options.permit.clone();
        let addresses = if options.leases {
            let guard = options.guard_program.map_or_else(GuardLink::none, GuardLink::start);
            let on_event = options.on_event.clone();
            let keeper = Keeper::start(options.permit, guard, Arc::new(move |e| on_event(Event::Address(e))))?;
            lan.watch(&keeper);
            Addresses::Leased(keeper)
        } else {
            Addresses::Permanent(Net::open().map_err(std::io::Error::other)?)
        };
        let (addresses, attributes) = (Arc::new(addresses), Attributes::new(options.on_event));
        let (dir, standing) = (options.run_dir, Arc::new(Standing::new(options.leases.then_some(permit))));
        let all: Vec<Box<dyn Native>> = vec![
            hosted(VirtualAddress::new(&ipaddr2::IPADDR2, addresses.clone(), directors.clone(), lan.clone())),
            hosted(VirtualAddress::new(&ipaddr2::IPADDR, addresses.clone(), directors.clone(), lan.clone())),
            hosted(Director(directors.clone())),
            hosted(Dummy::new(&dir)),
            hosted(ConnectionSync::new(options.data_plane, attributes.clone(), directors.clone())),
            hosted(DirectorSettings::new(&dir, attributes.clone())),
            hosted(FwMark(directors.clone())),
            hosted(Announcer::new(addresses.clone(), directors.clone(), attributes.clone(), standing.clone())),
            hosted(Ping::new(&dir, attributes)),
        ];
        let registry = all.into_iter().map(|agent| (agent.meta().name, agent)).collect();
        Ok(Agents { shared: Arc::new(Shared { addresses, directors, lan, standing, registry }) })
    }

    /// Whether `ocf:PROVIDER:AGENT` is native here.
    pub fn knows(&self, provider: &str, agent: &str) -> bool {
        self.shared.registry.get(agent).is_some_and(|a| a.meta().is(provider, agent))
    }

    /// Runs one operation. The caller keeps the deadline: what a call did that was dropped is unknown.
    pub async fn run(&self, operation: &Operation) -> AgentOutcome {
        let agent = operation.instance.agent.as_str();
        match self.shared.registry.get(agent) {
            Some(agent) => agent.run(operation).await,
            None => AgentOutcome::new(OcfCode::NOT_INSTALLED, format!("no native agent is called '{agent}'")),
        }
    }

    /// The resources that the applied cluster state gives to this node: only their addresses are renewed.
    pub async fn set_owners(&self, owners: Names) {
        self.shared.standing.set_owners(owners.clone());
        self.shared.addresses.set_owners(owners).await;
    }

    /// The node may hold nothing any more: tables of the directors, the kernel's connection sync and whatever else is not an address
    /// goes, each beside the others; what could not be removed, in words.
    pub async fn abandon(&self, why: &str) -> Vec<String> {
        let all = self.shared.registry.values().map(|agent| agent.abandon(why));
        futures_util::future::join_all(all).await.concat()
    }

    /// Whether this node's part of the cluster has quorum.
    pub fn set_quorate(&self, quorate: bool) {
        self.shared.standing.set_quorate(quorate);
    }

    /// Announces all held addresses again, for instance after a merge.
    pub async fn reannounce(&self) {
        self.shared.addresses.reannounce().await;
    }

    /// Makes all held addresses outlive this process: for a planned stop with resources left running.
    pub async fn make_permanent(&self) -> Result<(), LeaseError> {
        self.shared.addresses.make_permanent().await
    }

    /// The service LANs, and who may still hold an address there.
    pub fn lan(&self) -> &Lan {
        &self.shared.lan
    }

    /// The leases of this node, if it holds any addresses so.
    pub fn leases(&self) -> Option<&Keeper> {
        self.shared.addresses.keeper()
    }

    /// Health and table of each running director, by resource.
    pub fn directors(&self) -> &Directors {
        &self.shared.directors
    }
}

fn hosted(agent: impl Agent) -> Box<dyn Native> {
    Box::new(Hosted::new(agent))
}

#[cfg(test)]
mod tests;
