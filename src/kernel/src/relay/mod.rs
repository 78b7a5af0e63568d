//! The embedded user-space data plane, for machines whose kernel has no IPVS.
//!
//! [`Relay`] is an [`Ipvs`] like the kernel: the same table ([`Memory`] decides what is refused), the same schedulers
//! (rr, wrr, lc, wlc, sh), weights, quiescence, persistence and thresholds. What differs is stated, not hidden:
//!
//! - masquerading only, and real servers see this node's address instead of the client's;
//! - TCP and UDP on an address and port; no firewall marks, no port 0, no connection synchronisation (all refused);
//! - a TCP client is accepted before a real server is asked; if that one refuses, the client gets a reset;
//! - packets are counted as reads of the relay, and rates are not estimated.
//!
//! Sockets listen on virtual addresses whether or not this node holds them (`IP_FREEBIND`), so taking an address over
//! needs no action here. When an address goes, its connections are reset: another node answers for it now.
//!
//! The data plane runs on a thread of its own; the table is shared by mutex ([`table`]).

mod schedule;
mod table;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use schedule::NAMES as SCHEDULERS;

use crate::addr::{Addresses, Event, watch};
use crate::ipvs::{Change, Error, FileError, Ipvs, Memory};
use base::ipvs::{Dest, Forward, Info, Protocol, Service, ServiceEntry, ServiceKey, SyncDaemon, Timeouts};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use table::{Shared, lock};
use tokio::task::{AbortHandle, JoinHandle};

/// File of [`Relay::keep_snapshot`] in a node's run directory.
pub const SNAPSHOT_NAME: &str = "relay.json";
const SNAPSHOT_EVERY_MS: u64 = 1_000;
/// Longest wait for the data plane's thread to make a socket.
const ANSWER_WITHIN_MS: u64 = 2_000;

/// The user-space data plane. Clones share one table, as every netlink socket shares the kernel's; when the last one is
/// dropped, every socket closes.
#[derive(Clone)]
pub struct Relay {
    table: Shared,
    runtime: tokio::runtime::Handle,
    /// Ends the thread when the last clone drops it.
    _stop: Arc<tokio::sync::oneshot::Sender<()>>,
    /// Held throughout a change, so that changes of several users do not mix.
    listeners: Arc<Mutex<Listeners>>,
}

type Listeners = BTreeMap<ServiceKey, Listener>;

/// Aborts its task on drop, which closes the socket.
struct Listener(AbortHandle);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Relay {
    /// Starts the data plane's thread in the calling thread's network namespace.
    pub fn start() -> io::Result<Relay> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (ready, started) = sync_channel(1);
        let table = Shared::default();
        let watched = table.clone();
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(e) => {
                    let _ = ready.send(Err(e));
                    return;
                }
            };
            let _ = ready.send(Ok(runtime.handle().clone()));
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = follow_addresses(watched) => {}
                }
            });
        })?;
        let runtime = started.recv().map_err(|_| io::Error::other("the relay's thread ended"))??;
        Ok(Relay { table, runtime, _stop: Arc::new(stop), listeners: Arc::default() })
    }

    /// Writes the table with its counters in the format of `ipvsadm --table FILE`.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        Memory::with_services(lock(&self.table).entries()).save(path)
    }

    /// From now on writes the table to `path` every second while it changes, so that `ipvsadm --table PATH -L` shows it.
    pub fn keep_snapshot(&self, path: PathBuf) {
        let table = self.table.clone();
        self.runtime.spawn(async move {
            let mut written = None;
            loop {
                let entries = lock(&table).entries();
                if written.as_ref() != Some(&entries) {
                    let (path, memory) = (path.clone(), Memory::with_services(entries.clone()));
                    // Elsewhere, since a slow disk must not hold the data plane up.
                    let saved = tokio::task::spawn_blocking(move || memory.save(&path)).await;
                    if let Ok(Err(error)) = &saved {
                        tracing::warn!(%error, "relay: the table could not be written");
                    }
                    written = Some(entries);
                }
                tokio::time::sleep(Duration::from_millis(SNAPSHOT_EVERY_MS)).await;
            }
        });
    }

    /// Makes the service's socket; the change to the table comes after, so a port in use refuses the whole change.
    fn listen(&self, listeners: &mut Listeners, key: ServiceKey) -> Result<(), Error> {
        let ServiceKey::Address { protocol, addr, port } = key else { return Err(unsupported()) };
        let (table, addr) = (self.table.clone(), SocketAddr::new(addr, port));
        let (answer, answered) = sync_channel::<io::Result<JoinHandle<()>>>(1);
        self.runtime.spawn(async move {
            let started = match protocol {
                Protocol::Tcp => tcp::bind(addr).map(|socket| tokio::spawn(tcp::serve(socket, table, key))),
                _ => udp::bind(addr).map(|socket| tokio::spawn(udp::serve(socket, table, key))),
            };
            let _ = answer.send(started);
        });
        match answered.recv_timeout(Duration::from_millis(ANSWER_WITHIN_MS)) {
            Ok(Ok(task)) => {
                listeners.insert(key, Listener(task.abort_handle()));
                Ok(())
            }
            Ok(Err(e)) => Err(Error::Refused { errno: e.raw_os_error().unwrap_or(libc::EIO) }),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(Error::Unknown { waited_ms: ANSWER_WITHIN_MS })
            }
        }
    }
}

impl Ipvs for Relay {
    fn info(&mut self) -> Result<Info, Error> {
        lock(&self.table).memory.info()
    }

    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        Ok(lock(&self.table).entries())
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceEntry, Error> {
        self.services()?.into_iter().find(|s| s.service.key == *key).ok_or(Error::NoSuchService)
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        lock(&self.table).memory.timeouts()
    }

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        Ok(Vec::new())
    }

    fn apply(&mut self, change: &Change) -> Result<(), Error> {
        check(change)?;
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let new_service = match change {
            Change::AddService(service) => {
                // What the table would refuse anyhow must not cost a socket.
                lock(&self.table).memory.clone().apply(change)?;
                self.listen(&mut listeners, service.key)?;
                Some(service.key)
            }
            _ => None,
        };
        let mut table = lock(&self.table);
        let made = table.memory.apply(change);
        match (&made, change) {
            (Ok(()), Change::Zero(key)) => table.zero(key.as_ref()),
            (Ok(()), _) => table.follow(),
            (Err(_), _) => {}
        }
        let left: BTreeSet<ServiceKey> = table.memory.entries().iter().map(|e| e.service.key).collect();
        drop(table);
        listeners.retain(|key, _| left.contains(key) || (made.is_ok() && new_service == Some(*key)));
        made
    }
}

/// Refuses what the kernel could do and the relay cannot.
fn check(change: &Change) -> Result<(), Error> {
    match change {
        Change::AddService(s) | Change::EditService(s) => check_service(s),
        Change::AddDest(_, d) | Change::EditDest(_, d) => check_dest(d),
        Change::StartDaemon(_) => Err(unsupported()),
        _ => Ok(()),
    }
}

fn check_service(service: &Service) -> Result<(), Error> {
    match service.key {
        ServiceKey::Fwmark { .. } | ServiceKey::Address { port: 0, .. } => return Err(unsupported()),
        ServiceKey::Address { protocol: Protocol::Sctp, .. } => return Err(unsupported()),
        ServiceKey::Address { .. } => {}
    }
    if !SCHEDULERS.contains(&service.scheduler.as_str()) || service.pe.is_some() {
        return Err(Error::NoScheduler { scheduler: service.scheduler.clone(), pe: service.pe.clone() });
    }
    Ok(())
}

fn check_dest(dest: &Dest) -> Result<(), Error> {
    if dest.forward == Forward::Masq { Ok(()) } else { Err(unsupported()) }
}

fn unsupported() -> Error {
    Error::Refused { errno: libc::EOPNOTSUPP }
}

/// A socket that may be bound to an address which is not (yet) on this node.
fn socket(addr: SocketAddr, kind: socket2::Type) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), kind, None)?;
    if addr.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    if kind == socket2::Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Resets the connections of addresses that leave this node. Runs as long as the relay.
async fn follow_addresses(table: Shared) {
    let mut present: BTreeSet<IpAddr> = BTreeSet::new();
    loop {
        if let Ok(mut events) = watch() {
            // Listed after watching began, so nothing falls in between.
            compare(&table, &mut present).await;
            while let Some(event) = events.next().await {
                match event {
                    Event::Address(a) => {
                        present.insert(a.addr);
                    }
                    Event::AddressGone(a) => {
                        present.remove(&a.addr);
                        lock(&table).address_lost(a.addr);
                    }
                    Event::Lost => compare(&table, &mut present).await,
                    Event::Link(_) | Event::LinkGone(_) => {}
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn compare(table: &Shared, present: &mut BTreeSet<IpAddr>) {
    let Ok(addresses) = Addresses::connect() else { return };
    let Ok(list) = addresses.list().await else { return };
    let now: BTreeSet<IpAddr> = list.into_iter().map(|a| a.addr).collect();
    for gone in present.difference(&now) {
        lock(table).address_lost(*gone);
    }
    *present = now;
}
