//! `ocf:bascule:announce`: draws clients to this director through a routing daemon, FRR or BIRD. A clone: several directors are
//! active for the same addresses, and routers in front spread the connections over them (DESIGN §3.24).
//!
//! ```text
//!                 fit for `settle`                     stop (standby, shutdown, move)
//!   withdrawn ────────────────────► announced ───────────────────────────► draining ── `drain` is over ──► gone
//!       ▲                               │       the same address, on         │
//!       └──── not fit, or no quorum ────┘       another interface            └─ not fit ──► gone
//! ```
//!
//! **The announcement is an address, and the address is a lease.** Nothing is written into the routing daemon. While this director is
//! fit the agent holds the addresses as /32 and /128 on an interface of their own (`bascule-up`), and the daemon's standing
//! configuration says once that addresses there are announced (BIRD: `protocol direct`, FRR: `redistribute connected`). Reasons:
//!
//! - A route cannot outlive us. Should this process die, the guard removes the addresses within 100 ms; should it hang, be
//!   stopped or lose the cluster's permit, the kernel's own expiry does so within the lease's lifetime. A route put into the
//!   daemon by command would stay until somebody came to take it out: exactly what nobody is there for.
//! - A route cannot outlive the routing daemon either: sessions to the routers end with it, and BFD tells within its own time.
//! - A lease that has lapsed comes back by itself once the cluster's state still gives the resource to this node and lets it renew
//!   leases: other than an address that moves, nobody else has taken it instead.
//! - Packets and route agree: where the address is not, IPVS does not take its packets.
//! - One way for both daemons (and any other that reads addresses); their configuration stays the operator's, no reload of it races
//!   with his own.
//!
//! Draining needs the one thing that an address cannot say, the community GRACEFUL_SHUTDOWN (RFC 8326). So the address moves to a
//! second interface (`bascule-drain`), from which the daemon's filter adds it: routers prefer the others, and what still comes is
//! served until the address goes. BIRD gets it on the second interface before it leaves the first, so that there is no moment
//! without a route; FRR right after (seen with 8.4: of one prefix on two interfaces zebra keeps the wrong one).
//!
//! Fit is what [`Directors::fitness`] says: a table that is kept and complete, checks that are fresh, and a server to send
//! clients to. It is looked at every [`LOOK_EVERY`], whatever was true before. The daemon is asked, too (`show` only, over BIRD's
//! control socket or vtysh): at start and at each monitor, a daemon that is not there, does not let us ask or does not carry an
//! announced address is a failure that names its cure. Sessions that are down are no failure, since no restart here helps a
//! router that boots; node attribute `announce-RESOURCE` tells of them.

mod routing;
mod settings;
mod standing;
#[cfg(test)]
mod tests;
mod track;

use crate::agent::Agent;
use crate::attributes::Attributes;
use crate::director::Directors;
use crate::ipaddr2::Addresses;
use crate::lease::{self, LeaseError, Vip};
use crate::meta::Meta;
use crate::net::{Announce, Net, NetError};
use crate::outcome::AgentOutcome;
use base::Instance;
use base::exit::OcfCode;
use base::lease::Bounds;
use kernel::announce::Burst;
use kernel::clock::boottime;
use kernel::links::{LinkError, Links};
use routing::View;
pub(crate) use settings::META;
use settings::Settings;
pub(crate) use standing::Standing;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;
use track::{Place, Track};

/// Between two looks at whether this director is fit.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a routing daemon may take to see an address that has come.
const SEEN_WITHIN: Duration = Duration::from_secs(3);
const SEEN_LOOK: Duration = Duration::from_millis(100);
/// Longest attribute value; the log has all.
const MAX_SHOWN_CHARS: usize = 200;

pub(crate) struct Announcer {
    shared: Arc<Shared>,
    running: Mutex<BTreeMap<String, Running>>,
}

/// What every instance needs.
struct Shared {
    addresses: Arc<Addresses>,
    directors: Directors,
    attributes: Attributes,
    standing: Arc<Standing>,
}

struct Running {
    tracks: Arc<tokio::sync::Mutex<Tracks>>,
    watch: AbortHandle,
}

/// One instance's addresses.
struct Tracks {
    id: String,
    settings: Settings,
    /// Interfaces, in the order of [`Place`].
    links: [u32; 2],
    all: BTreeMap<IpAddr, Track>,
}

impl Announcer {
    pub fn new(
        addresses: Arc<Addresses>,
        directors: Directors,
        attributes: Attributes,
        standing: Arc<Standing>,
    ) -> Announcer {
        let shared = Shared { addresses, directors, attributes, standing };
        Announcer { shared: Arc::new(shared), running: Mutex::default() }
    }

    fn tracks(&self, id: &str) -> Option<Arc<tokio::sync::Mutex<Tracks>>> {
        self.lock().get(id).map(|r| r.tracks.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_start(&self, id: &str, settings: &Settings) -> Result<AgentOutcome, Trouble> {
        let view = settings.daemon.view(&[]).await?;
        let links = [interface(&settings.interface).await?, interface(&settings.drain_interface).await?];
        let tracks = match self.tracks(id) {
            Some(tracks) => tracks,
            None => {
                let all = settings.addresses.iter().map(|a| (*a, Track::default())).collect();
                let tracks = Tracks { id: id.to_owned(), settings: settings.clone(), links, all };
                let tracks = Arc::new(tokio::sync::Mutex::new(tracks));
                let watch = tokio::spawn(watch(self.shared.clone(), tracks.clone())).abort_handle();
                self.lock().insert(id.to_owned(), Running { tracks: tracks.clone(), watch });
                tracks
            }
        };
        let mut tracks = tracks.lock().await;
        self.shared.look(&mut tracks, true).await?;
        let view = self.seen(&mut tracks, view).await?;
        Ok(self.shared.tell(&tracks, &view))
    }

    /// What is announced, once the daemon has seen it.
    async fn seen(&self, tracks: &mut Tracks, at_first: View) -> Result<View, Trouble> {
        let began = boottime();
        loop {
            let announced = tracks.announced();
            if announced.is_empty() {
                return Ok(at_first);
            }
            let view = tracks.settings.daemon.view(&announced).await?;
            match announced.iter().find(|a| !view.carried.contains(a)) {
                None => return Ok(view),
                Some(missing) if boottime().saturating_sub(began) > SEEN_WITHIN => {
                    return Err(Trouble::NotCarried(tracks.settings.not_carried(*missing)));
                }
                Some(_) => tokio::time::sleep(SEEN_LOOK).await,
            }
            // A lease that has run out meanwhile is no fault of the daemon's.
            self.shared.note_lapsed(tracks).await?;
        }
    }

    async fn try_monitor(&self, id: &str, settings: &Settings) -> Result<AgentOutcome, Trouble> {
        let Some(tracks) = self.tracks(id) else {
            // A process before this one may have left it running on purpose.
            return match self.shared.left(settings).await? {
                true => self.try_start(id, settings).await,
                false => Ok(AgentOutcome::not_running()),
            };
        };
        let mut tracks = tracks.lock().await;
        self.shared.look(&mut tracks, false).await?;
        let view = tracks.settings.daemon.view(&[]).await?;
        let view = self.seen(&mut tracks, view).await?;
        Ok(self.shared.tell(&tracks, &view))
    }

    /// Routers are asked to prefer others first; then the addresses go.
    async fn try_stop(&self, id: &str, placed: Option<&Settings>) -> Result<(), Trouble> {
        let running = self.lock().remove(id);
        if let Some(running) = running {
            running.watch.abort();
            let mut tracks = running.tracks.lock().await;
            let drained = self.shared.drain(&mut tracks).await;
            let gone = self.shared.withdraw(&mut tracks).await;
            if gone.is_err() {
                // The next try takes it from here.
                self.lock().insert(id.to_owned(), Running { tracks: running.tracks.clone(), watch: running.watch });
            }
            drained.and(gone)?;
        } else if let Some(settings) = placed {
            self.shared.sweep(id, settings).await?;
        }
        if let Some(settings) = placed {
            self.shared.attributes.set(&settings.attribute, None);
        }
        Ok(())
    }
}

impl Agent for Announcer {
    type Settings = Settings;

    fn meta(&self) -> &'static Meta {
        &META
    }

    fn settings(&self, instance: &Instance) -> Result<Settings, AgentOutcome> {
        Settings::of(instance)
    }

    async fn validate(&self, settings: &Settings) -> AgentOutcome {
        settings.daemon.view(&[]).await.map_or_else(|e| Trouble::from(e).outcome(), |_| AgentOutcome::ok())
    }

    async fn start(&self, id: &str, settings: &Settings) -> AgentOutcome {
        self.try_start(id, settings).await.unwrap_or_else(|e| e.outcome())
    }

    async fn stop(&self, id: &str, placed: Option<&Settings>) -> AgentOutcome {
        self.try_stop(id, placed).await.map_or_else(|e| e.outcome(), |()| AgentOutcome::ok())
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> AgentOutcome {
        self.try_monitor(id, settings).await.unwrap_or_else(|e| e.outcome())
    }

    async fn is_placed(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }
}

/// Until the stop ends it.
async fn watch(shared: Arc<Shared>, tracks: Arc<tokio::sync::Mutex<Tracks>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut tracks = tracks.lock().await;
        if let Err(trouble) = shared.look(&mut tracks, false).await {
            tracing::warn!(resource = tracks.id, %trouble, "announcement");
        }
    }
}

impl Shared {
    /// Brings every address to where it belongs now. `first`: what is fit is announced without waiting for `settle`.
    async fn look(&self, tracks: &mut Tracks, first: bool) -> Result<(), Trouble> {
        let now = boottime();
        self.note_lapsed(tracks).await?;
        let addresses: Vec<IpAddr> = tracks.all.keys().copied().collect();
        for addr in addresses {
            let mut fit = self.fit(&tracks.settings, addr).await;
            if !first && !self.standing.grants(&tracks.id) && tracks.all.get(&addr).is_some_and(Track::has_lapsed) {
                fit = Err("its lease has lapsed, and the cluster does not let this node take it up again".to_owned());
            }
            let (settle, id) = (tracks.settings.settle, tracks.id.clone());
            let Some(track) = tracks.all.get_mut(&addr) else { continue };
            let settle = if first { Duration::ZERO } else { settle };
            match track.step(&fit, settle, now) {
                None => continue,
                Some(true) => {
                    self.put(tracks, addr, Place::Up).await?;
                    tracing::info!(resource = id, "{addr} is announced");
                }
                Some(false) => {
                    self.take(tracks, addr, Place::Up).await?;
                    tracing::warn!(resource = id, "{addr} is withdrawn: {}", fit.err().unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Whether clients may be drawn here for the address; else why not.
    async fn fit(&self, settings: &Settings, addr: IpAddr) -> Result<(), String> {
        if settings.needs_quorum && !self.standing.is_quorate() {
            return Err("this part of the cluster has no quorum".to_owned());
        }
        self.directors.fit(addr, settings.director.as_deref()).await
    }

    async fn put(&self, tracks: &mut Tracks, addr: IpAddr, place: Place) -> Result<(), Trouble> {
        let (name, vip) = tracks.lease(addr, place);
        // Nobody is told of it on its own interface, and this one never has a carrier to lose.
        let silent = Announce { burst: Burst { count: 0, interval_ms: 0 }, refresh_s: 0, check_link: false };
        self.addresses.add(&name, vip, silent).await?;
        if let Some(track) = tracks.all.get_mut(&addr) {
            track.placed(place, true);
        }
        Ok(())
    }

    async fn take(&self, tracks: &mut Tracks, addr: IpAddr, place: Place) -> Result<(), Trouble> {
        let (name, vip) = tracks.lease(addr, place);
        self.addresses.remove(&name, Some(vip)).await?;
        if let Some(track) = tracks.all.get_mut(&addr) {
            track.placed(place, false);
        }
        Ok(())
    }

    /// Addresses that ought to be here and are not: leases that ran out while this process or the cluster stood still, or were taken
    /// away by hand. Nobody else holds them instead, so they come back as soon as they may, without a failure.
    async fn note_lapsed(&self, tracks: &mut Tracks) -> Result<(), Trouble> {
        for addr in tracks.announced() {
            let (name, vip) = tracks.lease(addr, Place::Up);
            let there = self.addresses.present(vip.clone()).await?;
            // Seen twice: a stop that is on its way drains what the cluster's state has just disowned.
            if !tracks.all.get_mut(&addr).is_some_and(|t| t.missed(there)) {
                continue;
            }
            tracing::warn!(resource = tracks.id, "{addr} has lapsed: routers send elsewhere");
            // What was lost counts as lost until it is released.
            self.addresses.remove(&name, Some(vip)).await?;
            if let Some(track) = tracks.all.get_mut(&addr) {
                track.lapsed();
            }
        }
        Ok(())
    }

    /// Moves what is announced to the other interface, and serves what still comes. What is not fit is not worth it.
    async fn drain(&self, tracks: &mut Tracks) -> Result<(), Trouble> {
        let mut moved = false;
        for addr in tracks.announced() {
            // Its lease may have ended a moment ago: with the word to stop, the cluster's state names no owner any more.
            let drains = !tracks.settings.drain.is_zero() && self.fit(&tracks.settings, addr).await.is_ok();
            let at_once = tracks.settings.daemon.takes_two();
            if drains && at_once {
                self.put(tracks, addr, Place::Drain).await?;
            }
            self.take(tracks, addr, Place::Up).await?;
            if drains && !at_once {
                self.put(tracks, addr, Place::Drain).await?;
            }
            moved |= drains;
        }
        if moved {
            tracing::info!(resource = tracks.id, "draining for {} ms", tracks.settings.drain.as_millis());
            self.drained(tracks).await?;
        }
        Ok(())
    }

    /// Until the time is over. The cluster's state names no owner meanwhile, so the leases are granted anew within its grace.
    async fn drained(&self, tracks: &mut Tracks) -> Result<(), Trouble> {
        let end = tokio::time::Instant::now() + tracks.settings.drain;
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            tokio::time::sleep(left.min(Bounds::STANDARD.owner_grace / 2)).await;
            if tokio::time::Instant::now() >= end {
                return Ok(());
            }
            let addresses: Vec<IpAddr> = tracks.all.keys().copied().collect();
            for addr in addresses {
                if tracks.all.get(&addr).is_some_and(|t| t.drains()) {
                    self.put(tracks, addr, Place::Drain).await?;
                }
            }
        }
    }

    async fn withdraw(&self, tracks: &mut Tracks) -> Result<(), Trouble> {
        let addresses: Vec<IpAddr> = tracks.all.keys().copied().collect();
        for addr in addresses {
            for place in [Place::Up, Place::Drain] {
                self.take(tracks, addr, place).await?;
            }
        }
        Ok(())
    }

    /// Whether any of the addresses is on the interface.
    async fn left(&self, settings: &Settings) -> Result<bool, Trouble> {
        let Some(interface_index) = index(&settings.interface).await? else { return Ok(false) };
        for addr in &settings.addresses {
            if self.addresses.present(Vip { addr: *addr, interface_index, label: None }).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a process before this one has left.
    async fn sweep(&self, id: &str, settings: &Settings) -> Result<(), Trouble> {
        for (place, name) in [(Place::Up, &settings.interface), (Place::Drain, &settings.drain_interface)] {
            let Some(link) = index(name).await? else { continue };
            for addr in &settings.addresses {
                let vip = Vip { addr: *addr, interface_index: link, label: None };
                self.addresses.remove(&lease::name_of(id, place.word(), *addr), Some(vip)).await?;
            }
        }
        Ok(())
    }

    /// The node attribute, and the outcome of an operation that found nothing wrong with the daemon.
    fn tell(&self, tracks: &Tracks, view: &View) -> AgentOutcome {
        let text = tracks.summary(view);
        let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
        self.attributes.set(&tracks.settings.attribute, Some(&shown));
        let complete = view.sessions > 0 && tracks.announced().len() == tracks.all.len();
        AgentOutcome::new(OcfCode::OK, if complete { String::new() } else { text })
    }
}

impl Tracks {
    fn announced(&self) -> Vec<IpAddr> {
        self.all.iter().filter(|(_, t)| t.is_announced()).map(|(a, _)| *a).collect()
    }

    fn lease(&self, addr: IpAddr, place: Place) -> (String, Vip) {
        let interface_index = self.links[place as usize];
        (lease::name_of(&self.id, place.word(), addr), Vip { addr, interface_index, label: None })
    }

    fn summary(&self, view: &View) -> String {
        let mut text = format!("{} of {} announced", self.announced().len(), self.all.len());
        if view.sessions == 0 {
            text += ", to nobody: no session of the routing daemon is established";
        }
        let why = self.all.iter().find_map(|(addr, t)| Some(format!("; {addr}: {}", t.why_not()?)));
        text + &why.unwrap_or_default()
    }
}

/// The interface's index if there is one of that name.
async fn index(name: &str) -> Result<Option<u32>, Trouble> {
    let links = Net::open()?.links().await?;
    Ok(links.iter().find(|l| l.name == name).map(|l| l.index))
}

/// The same; it is made if it is missing.
async fn interface(name: &str) -> Result<u32, Trouble> {
    if let Some(index) = index(name).await? {
        return Ok(index);
    }
    Links::open()?.add_dummy(name).await.map_err(|source| Trouble::NoInterface { name: name.to_owned(), source })?;
    index(name).await?.ok_or_else(|| Trouble::Gone(name.to_owned()))
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Routing(#[from] routing::RoutingError),
    #[error("{0}")]
    NotCarried(String),
    #[error(
        "interface {name} cannot be made ({source}); 'modprobe dummy', or make it yourself: ip link add {name} type dummy"
    )]
    NoInterface { name: String, source: LinkError },
    #[error("interface {0} was made and is not there")]
    Gone(String),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Trouble {
    fn outcome(&self) -> AgentOutcome {
        let code = match self {
            Trouble::Routing(e) => e.code(),
            _ => OcfCode::ERROR,
        };
        AgentOutcome::new(code, self.to_string())
    }
}
