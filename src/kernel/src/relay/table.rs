//! The relay's table at run time: which destination a client gets, who is connected, what to close.
//!
//! [`Table`] sits behind one mutex, held for short, never across an await. A connection holds a [`Ticket`]; dropping it is
//! what takes the connection out of the counters. Closing works through channels: when a destination or service leaves the
//! table its sender is dropped, and every connection that watches it ends.

use super::schedule::{Candidate, Scheduler};
use crate::ipvs::{Ipvs, Memory};
use base::ipvs::{Dest, DestEntry, DestKey, Service, ServiceEntry, ServiceKey, Stats, service_flags};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Persistence templates per service; beyond it clients are scheduled without one.
pub const MAX_TEMPLATES: usize = 65_536;

/// Traffic of a service or destination. Packets are counted as reads and writes of the relay.
#[derive(Default, Debug)]
pub struct Traffic {
    conns: AtomicU64,
    inpkts: AtomicU64,
    outpkts: AtomicU64,
    inbytes: AtomicU64,
    outbytes: AtomicU64,
}

impl Traffic {
    fn stats(&self) -> Stats {
        Stats {
            conns: self.conns.load(Relaxed),
            inpkts: self.inpkts.load(Relaxed),
            outpkts: self.outpkts.load(Relaxed),
            inbytes: self.inbytes.load(Relaxed),
            outbytes: self.outbytes.load(Relaxed),
            ..Stats::default()
        }
    }

    fn zero(&self) {
        for counter in [&self.conns, &self.inpkts, &self.outpkts, &self.inbytes, &self.outbytes] {
            counter.store(0, Relaxed);
        }
    }
}

/// Connections of a destination now.
#[derive(Default, Debug)]
struct Load {
    active: AtomicU32,
    inactive: AtomicU32,
    traffic: Traffic,
}

struct DestState {
    dest: Dest,
    load: Arc<Load>,
    overloaded: bool,
    /// Dropped with the destination: its connections end.
    closer: watch::Sender<()>,
}

impl DestState {
    fn new(dest: Dest) -> DestState {
        DestState { dest, load: Arc::default(), overloaded: false, closer: watch::channel(()).0 }
    }

    fn total(&self) -> u32 {
        self.load.active.load(Relaxed) + self.load.inactive.load(Relaxed)
    }

    /// After a connection came (`ip_vs_bind_dest`) or the thresholds changed.
    fn judge_rise(&mut self) {
        self.overloaded |= self.dest.u_threshold != 0 && self.total() >= self.dest.u_threshold;
    }

    /// After a connection went (`ip_vs_unbind_dest`): below the lower threshold, or three quarters of the upper one.
    fn judge_fall(&mut self) {
        let (upper, lower) = (u64::from(self.dest.u_threshold), u64::from(self.dest.l_threshold));
        let total = u64::from(self.total());
        if if lower != 0 { total < lower } else { upper == 0 || total * 4 < upper * 3 } {
            self.overloaded = false;
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            weight: self.dest.weight,
            active: self.load.active.load(Relaxed),
            inactive: self.load.inactive.load(Relaxed),
            overloaded: self.overloaded,
        }
    }
}

/// A client (network) that stays with a destination.
struct Template {
    dest: DestKey,
    load: Arc<Load>,
    connections: u32,
    expires: Instant,
}

struct ServiceState {
    service: Service,
    scheduler: Scheduler,
    dests: Vec<DestState>,
    templates: HashMap<IpAddr, Template>,
    traffic: Arc<Traffic>,
    /// Incremented when the address was lost; dropped with the service.
    closer: watch::Sender<u64>,
}

impl ServiceState {
    fn candidates(&self) -> Vec<Candidate> {
        self.dests.iter().map(DestState::candidate).collect()
    }

    /// Takes over the table's list, keeping the state of destinations that stay.
    fn follow(&mut self, entry: &ServiceEntry) {
        let same = (&self.service.scheduler, self.service.flags) == (&entry.service.scheduler, entry.service.flags);
        if let Some(fresh) = Scheduler::new(&entry.service.scheduler, entry.service.flags).filter(|_| !same) {
            self.scheduler = fresh;
        }
        self.service = entry.service.clone();
        let old: Vec<DestKey> = self.dests.iter().map(|d| d.dest.key).collect();
        let mut kept: BTreeMap<DestKey, DestState> = self.dests.drain(..).map(|d| (d.dest.key, d)).collect();
        for DestEntry { dest, .. } in &entry.dests {
            let mut state = kept.remove(&dest.key).unwrap_or_else(|| DestState::new(dest.clone()));
            state.dest = dest.clone();
            state.judge_fall();
            state.judge_rise();
            self.dests.push(state);
        }
        let dests = &self.dests;
        self.templates.retain(|_, t| dests.iter().any(|d| d.dest.key == t.dest && Arc::ptr_eq(&d.load, &t.load)));
        let now: Vec<DestKey> = self.dests.iter().map(|d| d.dest.key).collect();
        // Where an old position is now; a removed one falls back on its predecessor.
        let moved = |i: usize| (0..=i).rev().find_map(|j| now.iter().position(|k| Some(k) == old.get(j)));
        let candidates = self.candidates();
        self.scheduler.changed(&candidates, moved);
    }

    /// The destination of a client that persistence holds, if its template still stands.
    fn held(&mut self, network: IpAddr, now: Instant) -> Option<usize> {
        let template = self.templates.get(&network)?;
        if template.connections == 0 && template.expires <= now {
            self.templates.remove(&network);
            return None;
        }
        let dest = template.dest;
        self.dests.iter().position(|d| d.dest.key == dest)
    }

    fn pick(&mut self, client: SocketAddr, now: Instant) -> Option<(usize, Option<IpAddr>)> {
        let persistent = self.service.flags & service_flags::PERSISTENT != 0;
        let network = persistent.then(|| mask(client.ip(), self.service.netmask));
        if let Some(network) = network
            && let Some(held) = self.held(network, now)
        {
            return Some((held, Some(network)));
        }
        let candidates = self.candidates();
        let at = self.scheduler.pick(&candidates, client)?;
        let kept = network.filter(|&n| self.keep_template(n, at, now));
        Some((at, kept))
    }

    fn keep_template(&mut self, network: IpAddr, at: usize, now: Instant) -> bool {
        if self.templates.len() >= MAX_TEMPLATES {
            self.templates.retain(|_, t| t.connections > 0 || t.expires > now);
        }
        if self.templates.len() >= MAX_TEMPLATES {
            tracing::warn!(limit = MAX_TEMPLATES, "relay: too many persistent clients; one is scheduled without");
            return false;
        }
        let dest = &self.dests[at];
        let template = Template { dest: dest.dest.key, load: dest.load.clone(), connections: 0, expires: now };
        self.templates.insert(network, template);
        true
    }

    fn entry(&self, now: Instant) -> ServiceEntry {
        let dests = self.dests.iter().map(|d| DestEntry {
            dest: d.dest.clone(),
            active_conns: d.load.active.load(Relaxed),
            inactive_conns: d.load.inactive.load(Relaxed),
            persistent_conns: self
                .templates
                .values()
                .filter(|t| t.dest == d.dest.key && (t.connections > 0 || t.expires > now))
                .count() as u32,
            stats: d.load.traffic.stats(),
        });
        ServiceEntry { service: self.service.clone(), stats: self.traffic.stats(), dests: dests.collect() }
    }
}

/// The client's address under the service's persistence mask.
fn mask(addr: IpAddr, netmask: u32) -> IpAddr {
    match addr {
        IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from(u32::from(a) & netmask)),
        IpAddr::V6(a) => {
            let bits = u128::MAX.checked_shl(128 - netmask.min(128)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(a) & bits))
        }
    }
}

/// Table and run-time state; see the module.
#[derive(Default)]
pub struct Table {
    pub memory: Memory,
    services: BTreeMap<ServiceKey, ServiceState>,
}

pub type Shared = Arc<Mutex<Table>>;

/// A panic elsewhere must not take the data plane down; the table's invariants hold between statements.
pub fn lock(shared: &Shared) -> MutexGuard<'_, Table> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// Brings the run-time state in line with the table after a change.
    pub fn follow(&mut self) {
        let entries = self.memory.entries();
        self.services.retain(|key, _| entries.iter().any(|e| e.service.key == *key));
        for entry in entries {
            let key = entry.service.key;
            if let Some(state) = self.services.get_mut(&key) {
                state.follow(entry);
            } else if let Some(scheduler) = Scheduler::new(&entry.service.scheduler, entry.service.flags) {
                let mut state = ServiceState {
                    service: entry.service.clone(),
                    scheduler,
                    dests: Vec::new(),
                    templates: HashMap::new(),
                    traffic: Arc::default(),
                    closer: watch::channel(0).0,
                };
                state.follow(entry);
                self.services.insert(key, state);
            }
        }
    }

    /// The table with live counters, in the table's order.
    pub fn entries(&self) -> Vec<ServiceEntry> {
        let now = Instant::now();
        self.memory.entries().iter().filter_map(|e| self.services.get(&e.service.key)).map(|s| s.entry(now)).collect()
    }

    pub fn zero(&mut self, key: Option<&ServiceKey>) {
        for (_, service) in self.services.iter().filter(|(k, _)| key.is_none_or(|wanted| wanted == *k)) {
            service.traffic.zero();
            service.dests.iter().for_each(|d| d.load.traffic.zero());
        }
    }

    /// Ends every connection of services on an address that this node no longer has.
    pub fn address_lost(&mut self, addr: IpAddr) {
        for (key, service) in &self.services {
            if matches!(key, ServiceKey::Address { addr: a, .. } if *a == addr) {
                service.closer.send_modify(|generation| *generation += 1);
            }
        }
    }

    pub fn udp_timeout(&mut self) -> Duration {
        let seconds = self.memory.timeouts().map(|t| t.udp_s).unwrap_or(300);
        Duration::from_secs(u64::from(seconds.max(1)))
    }

    /// Whether every datagram is scheduled for itself.
    pub fn one_packet(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|s| s.service.flags & service_flags::ONE_PACKET != 0)
    }
}

/// How the kernel counts a connection: an established TCP connection is active, a UDP one never is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    Active,
    Inactive,
}

/// One connection's place in the table.
pub struct Ticket {
    table: Shared,
    service: ServiceKey,
    pub dest: DestKey,
    counted: Counted,
    network: Option<IpAddr>,
    load: Arc<Load>,
    traffic: Arc<Traffic>,
    dest_closed: watch::Receiver<()>,
    service_closed: watch::Receiver<u64>,
}

impl Ticket {
    /// Schedules a new connection; `None` if nobody takes it.
    pub fn take(table: &Shared, key: &ServiceKey, client: SocketAddr, counted: Counted) -> Option<Ticket> {
        let mut guard = lock(table);
        let service = guard.services.get_mut(key)?;
        let (at, network) = service.pick(client, Instant::now())?;
        if let Some(template) = network.and_then(|n| service.templates.get_mut(&n)) {
            template.connections += 1;
        }
        let mut service_closed = service.closer.subscribe();
        service_closed.mark_unchanged();
        let traffic = service.traffic.clone();
        let dest = &mut service.dests[at];
        match counted {
            Counted::Active => &dest.load.active,
            Counted::Inactive => &dest.load.inactive,
        }
        .fetch_add(1, Relaxed);
        dest.load.traffic.conns.fetch_add(1, Relaxed);
        traffic.conns.fetch_add(1, Relaxed);
        dest.judge_rise();
        Some(Ticket {
            table: table.clone(),
            service: *key,
            dest: dest.dest.key,
            counted,
            network,
            load: dest.load.clone(),
            traffic,
            dest_closed: dest.closer.subscribe(),
            service_closed,
        })
    }

    /// Returns when the connection must end: destination or service removed, or the address lost.
    pub async fn closed(&mut self) {
        tokio::select! {
            _ = self.dest_closed.changed() => {}
            _ = self.service_closed.changed() => {}
        }
    }

    pub fn counter(&self) -> TrafficCounter {
        TrafficCounter { dest: self.load.clone(), service: self.traffic.clone() }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.counted {
            Counted::Active => &self.load.active,
            Counted::Inactive => &self.load.inactive,
        }
        .fetch_sub(1, Relaxed);
        let mut guard = lock(&self.table);
        let Some(service) = guard.services.get_mut(&self.service) else { return };
        let timeout = Duration::from_secs(u64::from(service.service.timeout_s));
        if let Some(dest) = service.dests.iter_mut().find(|d| Arc::ptr_eq(&d.load, &self.load)) {
            dest.judge_fall();
        }
        if let Some(template) = self.network.and_then(|n| service.templates.get_mut(&n))
            && Arc::ptr_eq(&template.load, &self.load)
        {
            template.connections = template.connections.saturating_sub(1);
            template.expires = Instant::now() + timeout;
        }
    }
}

/// Counts bytes for a destination and its service.
#[derive(Clone)]
pub struct TrafficCounter {
    dest: Arc<Load>,
    service: Arc<Traffic>,
}

impl TrafficCounter {
    /// From the client.
    pub fn inward(&self, bytes: usize) {
        for traffic in [&self.dest.traffic, &*self.service] {
            traffic.inpkts.fetch_add(1, Relaxed);
            traffic.inbytes.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// From the real server.
    pub fn outward(&self, bytes: usize) {
        for traffic in [&self.dest.traffic, &*self.service] {
            traffic.outpkts.fetch_add(1, Relaxed);
            traffic.outbytes.fetch_add(bytes as u64, Relaxed);
        }
    }
}
