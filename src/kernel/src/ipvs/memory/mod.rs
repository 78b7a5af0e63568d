//! An IPVS table in memory that behaves as the kernel's (Linux 6.1 `ip_vs_ctl.c`): same order of checks, same refusals.
//!
//! Used by tests, by `--table FILE.json`, and by dry runs. Only [`Ipvs::apply`] alters the table; the file format is in
//! `file.rs`. Destinations are listed newest first as in the kernel; services in the order of their making, where the
//! kernel's hash order would be arbitrary.

mod file;
#[cfg(test)]
mod tests;

pub use file::FileError;

use super::{Change, Error, Ipvs, MAX_NAME_LEN};
use base::ipvs::{
    Dest, DestEntry, DestKey, Family, Forward, Info, Service, ServiceEntry, ServiceKey, Stats, SyncDaemon, SyncState,
    Timeouts, Tunnel, service_flags,
};
use std::net::{IpAddr, Ipv4Addr};

/// Schedulers of Linux 6.1; `none` asks for no scheduler.
pub const SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos", "none"];
/// Persistence engines of Linux 6.1.
pub const PERSISTENCE_ENGINES: &[&str] = &["sip"];
/// Largest weight that the kernel's signed field takes.
const MAX_WEIGHT: u32 = i32::MAX as u32;
/// Largest timeout in seconds (`INT_MAX / HZ` with HZ = 250).
const MAX_TIMEOUT_S: u32 = (i32::MAX / 250) as u32;
/// Payload of a sync message on an Ethernet of MTU 1500.
const DEFAULT_SYNC_MAXLEN: u16 = 1472;
const DEFAULT_SYNC_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const DEFAULT_SYNC_PORT: u16 = 8848;
/// More services or destinations than this are refused as ENOMEM: a double is no place to fill the memory.
const MAX_ENTRIES: usize = 1_000_000;

/// The table. `Default` is an empty one with the kernel's default timeouts.
#[derive(Clone, PartialEq, Debug)]
pub struct Memory {
    info: Info,
    services: Vec<ServiceEntry>,
    timeouts: Timeouts,
    daemons: Vec<SyncDaemon>,
    /// Interfaces that sync daemons may name; `None` takes any.
    interfaces: Option<Vec<String>>,
    any_scheduler: bool,
    /// Every next request fails with this, as with a kernel without memory or rights.
    refusal: Option<Error>,
    /// Changes that were made, if asked for by [`Memory::record`].
    log: Option<Vec<Change>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            info: Info { version: (1, 2, 1), conn_table_size: 4096 },
            services: Vec::new(),
            timeouts: Timeouts { tcp_s: 900, tcp_fin_s: 120, udp_s: 300 },
            daemons: Vec::new(),
            interfaces: None,
            any_scheduler: false,
            refusal: None,
            log: None,
        }
    }
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }

    /// A table that holds `services` as given, without any check.
    pub fn with_services(services: Vec<ServiceEntry>) -> Memory {
        Memory { services, ..Memory::default() }
    }

    /// A copy of another table as it is now.
    pub fn snapshot(table: &mut dyn Ipvs) -> Result<Memory, Error> {
        Ok(Memory {
            info: table.info()?,
            services: table.services()?,
            timeouts: table.timeouts()?,
            daemons: table.daemons()?,
            ..Memory::default()
        })
    }

    /// Takes any name of a scheduler or persistence engine: the kernel may have modules that this list does not know.
    pub fn accept_any_scheduler(&mut self) {
        self.any_scheduler = true;
    }

    /// From now on only these interfaces exist for sync daemons.
    pub fn set_interfaces(&mut self, names: &[&str]) {
        self.interfaces = Some(names.iter().map(|n| n.to_string()).collect());
    }

    /// Makes every request fail with `error` until called with `None`.
    pub fn refuse(&mut self, error: Option<Error>) {
        self.refusal = error;
    }

    /// Keeps the changes made from now on, for [`Memory::take_log`].
    pub fn record(&mut self) {
        self.log = Some(Vec::new());
    }

    /// The changes made since the last call.
    pub fn take_log(&mut self) -> Vec<Change> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The table as it is, without going through the trait.
    pub fn entries(&self) -> &[ServiceEntry] {
        &self.services
    }

    pub fn timeouts_now(&self) -> Timeouts {
        self.timeouts
    }

    pub fn daemons_now(&self) -> &[SyncDaemon] {
        &self.daemons
    }

    /// For tests that need counters and connection numbers.
    pub fn entries_mut(&mut self) -> &mut [ServiceEntry] {
        &mut self.services
    }

    fn gate(&self) -> Result<(), Error> {
        self.refusal.clone().map_or(Ok(()), Err)
    }

    fn find(&mut self, key: &ServiceKey) -> Result<&mut ServiceEntry, Error> {
        self.services.iter_mut().find(|s| s.service.key == *key).ok_or(Error::NoSuchService)
    }

    fn add_service_checked(&mut self, service: &Service) -> Result<(), Error> {
        if self.services.iter().any(|s| s.service.key == service.key) {
            return Err(Error::ServiceExists);
        }
        check_service(service, self.any_scheduler)?;
        if self.services.len() >= MAX_ENTRIES {
            return Err(Error::OutOfMemory);
        }
        self.services.push(ServiceEntry { service: service.clone(), stats: Stats::default(), dests: Vec::new() });
        Ok(())
    }

    fn edit_service_checked(&mut self, service: &Service) -> Result<(), Error> {
        let any_scheduler = self.any_scheduler;
        let entry = self.find(&service.key)?;
        check_service(service, any_scheduler)?;
        entry.service = service.clone();
        Ok(())
    }

    /// The kernel's sync protocol cannot name a connection whose ends have different families.
    fn check_mixed(&mut self, key: &ServiceKey, dest: &Dest) -> Result<(), Error> {
        let syncing = !self.daemons.is_empty();
        self.find(key)?;
        if Family::of(dest.key.addr) != key.family() && (syncing || dest.forward != Forward::Tunnel) {
            return Err(Error::Invalid);
        }
        Ok(())
    }

    fn add_dest_checked(&mut self, key: &ServiceKey, dest: &Dest) -> Result<(), Error> {
        self.check_mixed(key, dest)?;
        check_dest(dest)?;
        let entry = self.find(key)?;
        if entry.dests.iter().any(|d| d.dest.key == dest.key) {
            return Err(Error::DestExists);
        }
        if !is_unicast(dest.key.addr) {
            return Err(Error::Invalid);
        }
        if entry.dests.len() >= MAX_ENTRIES {
            return Err(Error::OutOfMemory);
        }
        let fresh = DestEntry {
            dest: dest.clone(),
            active_conns: 0,
            inactive_conns: 0,
            persistent_conns: 0,
            stats: Stats::default(),
        };
        entry.dests.insert(0, fresh);
        Ok(())
    }

    fn edit_dest_checked(&mut self, key: &ServiceKey, dest: &Dest) -> Result<(), Error> {
        self.check_mixed(key, dest)?;
        check_dest(dest)?;
        let entry = self.find(key)?;
        let old = entry.dests.iter_mut().find(|d| d.dest.key == dest.key).ok_or(Error::NoSuchDest)?;
        old.dest = dest.clone();
        Ok(())
    }

    fn delete_dest_checked(&mut self, key: &ServiceKey, dest: &DestKey) -> Result<(), Error> {
        let entry = self.find(key)?;
        let at = entry.dests.iter().position(|d| d.dest.key == *dest).ok_or(Error::NoSuchDest)?;
        entry.dests.remove(at);
        Ok(())
    }

    fn zero_checked(&mut self, key: Option<&ServiceKey>) -> Result<(), Error> {
        if let Some(key) = key {
            zero_entry(self.find(key)?);
        } else {
            self.services.iter_mut().for_each(zero_entry);
        }
        Ok(())
    }

    fn set_timeouts_checked(&mut self, new: &Timeouts) -> Result<(), Error> {
        if [new.tcp_s, new.tcp_fin_s, new.udp_s].iter().any(|&t| t > MAX_TIMEOUT_S) {
            return Err(Error::Invalid);
        }
        let keep = |old: u32, new: u32| if new == 0 { old } else { new };
        let old = self.timeouts;
        self.timeouts = Timeouts {
            tcp_s: keep(old.tcp_s, new.tcp_s),
            tcp_fin_s: keep(old.tcp_fin_s, new.tcp_fin_s),
            udp_s: keep(old.udp_s, new.udp_s),
        };
        Ok(())
    }

    fn start_daemon_checked(&mut self, daemon: &SyncDaemon) -> Result<(), Error> {
        if daemon.group.is_some_and(|g| !g.is_multicast()) || self.has_mixed_dests() {
            return Err(Error::Invalid);
        }
        if daemon.interface.len() > MAX_NAME_LEN {
            return Err(Error::Invalid);
        }
        if self.interfaces.as_ref().is_some_and(|known| !known.contains(&daemon.interface)) {
            return Err(Error::NoInterface { name: daemon.interface.clone() });
        }
        if self.daemons.iter().any(|d| d.state == daemon.state) {
            return Err(Error::DaemonRunning);
        }
        self.daemons.push(SyncDaemon {
            max_len: daemon.max_len.filter(|&l| l > 0).or(Some(DEFAULT_SYNC_MAXLEN)),
            group: daemon.group.or(Some(DEFAULT_SYNC_GROUP)),
            port: daemon.port.filter(|&p| p > 0).or(Some(DEFAULT_SYNC_PORT)),
            ttl: daemon.ttl.filter(|&t| t > 0).or(Some(1)),
            ..daemon.clone()
        });
        self.daemons.sort_by_key(|d| d.state);
        Ok(())
    }

    fn has_mixed_dests(&self) -> bool {
        self.services.iter().any(|s| s.dests.iter().any(|d| Family::of(d.dest.key.addr) != s.service.key.family()))
    }

    fn stop_daemon_checked(&mut self, state: SyncState) -> Result<(), Error> {
        let at = self.daemons.iter().position(|d| d.state == state).ok_or(Error::NoDaemon)?;
        self.daemons.remove(at);
        Ok(())
    }
}

impl Ipvs for Memory {
    fn has_scheduler(&mut self, name: &str) -> bool {
        self.any_scheduler || SCHEDULERS.contains(&name)
    }

    fn has_engine(&mut self, name: &str) -> bool {
        self.any_scheduler || PERSISTENCE_ENGINES.contains(&name)
    }

    fn info(&mut self) -> Result<Info, Error> {
        self.gate()?;
        Ok(self.info)
    }

    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        self.gate()?;
        Ok(self.services.clone())
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceEntry, Error> {
        self.gate()?;
        self.find(key).map(|s| s.clone())
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.gate()?;
        Ok(self.timeouts)
    }

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        self.gate()?;
        Ok(self.daemons.clone())
    }

    fn apply(&mut self, change: &Change) -> Result<(), Error> {
        self.gate()?;
        match change {
            Change::AddService(service) => self.add_service_checked(service),
            Change::EditService(service) => self.edit_service_checked(service),
            Change::DeleteService(key) => {
                self.find(key)?;
                self.services.retain(|s| s.service.key != *key);
                Ok(())
            }
            Change::AddDest(key, dest) => self.add_dest_checked(key, dest),
            Change::EditDest(key, dest) => self.edit_dest_checked(key, dest),
            Change::DeleteDest(key, dest) => self.delete_dest_checked(key, dest),
            Change::Zero(key) => self.zero_checked(key.as_ref()),
            Change::Flush => {
                self.services.clear();
                Ok(())
            }
            Change::SetTimeouts(timeouts) => self.set_timeouts_checked(timeouts),
            Change::StartDaemon(daemon) => self.start_daemon_checked(daemon),
            Change::StopDaemon { state, .. } => self.stop_daemon_checked(*state),
        }?;
        if let Some(log) = &mut self.log {
            log.push(change.clone());
        }
        Ok(())
    }
}

fn zero_entry(entry: &mut ServiceEntry) {
    entry.stats = Stats::default();
    for dest in &mut entry.dests {
        dest.stats = Stats::default();
    }
}

fn check_service(service: &Service, any_scheduler: bool) -> Result<(), Error> {
    let unknown = || Error::NoScheduler { scheduler: service.scheduler.clone(), pe: service.pe.clone() };
    if service.scheduler.len() > MAX_NAME_LEN || service.pe.as_ref().is_some_and(|pe| pe.len() > MAX_NAME_LEN) {
        return Err(Error::Invalid);
    }
    if matches!(service.key, ServiceKey::Fwmark { mark: 0, .. }) || service.flags & !allowed_flags() != 0 {
        return Err(Error::Invalid);
    }
    if !any_scheduler && !SCHEDULERS.contains(&service.scheduler.as_str()) {
        return Err(unknown());
    }
    if !any_scheduler && service.pe.as_ref().is_some_and(|pe| !PERSISTENCE_ENGINES.contains(&pe.as_str())) {
        return Err(unknown());
    }
    if service.key.family() == Family::IPv6 && !(1..=128).contains(&service.netmask) {
        return Err(Error::Invalid);
    }
    Ok(())
}

fn allowed_flags() -> u32 {
    use service_flags::*;
    PERSISTENT | HASHED | ONE_PACKET | SCHED1 | SCHED2 | SCHED3
}

fn check_dest(dest: &Dest) -> Result<(), Error> {
    if dest.weight > MAX_WEIGHT || dest.l_threshold > dest.u_threshold {
        return Err(Error::OutOfRange);
    }
    if matches!(dest.tunnel, Tunnel::Gue { port: 0, .. }) {
        return Err(Error::Invalid);
    }
    Ok(())
}

/// What the kernel takes as a real server's address without looking at its own addresses: unicast, and no link-local IPv6.
fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(a) => !(a.is_multicast() || a.is_broadcast() || a.octets()[0] == 0),
        IpAddr::V6(a) => !(a.is_multicast() || a.is_unspecified() || (a.segments()[0] & 0xffc0) == 0xfe80),
    }
}
