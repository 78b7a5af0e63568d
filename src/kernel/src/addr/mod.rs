//! Addresses and links of this network namespace over rtnetlink: list, add with a lifetime, renew, delete, and watch.
//!
//! A virtual address is a lease: it goes in with a valid lifetime of seconds and vanishes by itself when nobody renews it.
//! The owner of the lease decides whether it may renew; **a renewal re-creates an address that has lapsed**, so compare
//! [`crate::clock::boottime`] with the last success before each one.
//!
//! [`Addresses`] asks and changes, each request under a deadline; [`watch`](watch::watch) reports what others do.
//! Both live in the network namespace of the thread that connects. rtnetlink's types do not leave this module.

mod convert;
#[cfg(test)]
pub(crate) mod tests;
pub mod watch;

pub(crate) use convert::error as plain_error;
pub use watch::{Event, Events, watch};

use futures_util::{TryStream, TryStreamExt};
use rtnetlink::packet_route::address::AddressMessage;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::task::AbortHandle;

/// How long an answer may take, unless set otherwise.
pub const DEFAULT_DEADLINE_MS: u64 = 2_000;
/// Before a list that the kernel was too busy for is asked for again.
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// Longest label of an IPv4 address (`IFNAMSIZ` - 1).
pub const MAX_LABEL_LEN: usize = 15;

/// How long an address stays without being renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    Permanent,
    /// Valid and preferred lifetime; the kernel removes the address 0–0.4 s after it.
    Seconds(u32),
}

/// An address as it is on a link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    pub link: u32,
    pub addr: IpAddr,
    pub prefix_len: u8,
    pub label: Option<String>,
    pub lifetime: Lifetime,
    /// Duplicate address detection (IPv6) is still going on; the address cannot be used yet.
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub dad_failed: bool,
    /// When it was put there, in 1/100 s since boot; renewals leave it. One that was taken off and put there again has
    /// another.
    #[serde(default)]
    pub created: u32,
}

/// An address to be put on a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub link: u32,
    pub addr: IpAddr,
    /// 32 or 128 for virtual addresses, so that none is another's secondary.
    pub prefix_len: u8,
    /// IPv4 only; must begin with the link's name to be seen by old tools.
    pub label: Option<String>,
    pub broadcast: Option<Ipv4Addr>,
    pub lifetime: Lifetime,
}

impl Wanted {
    /// A virtual address: one host, no label.
    pub fn host(link: u32, addr: IpAddr, lifetime: Lifetime) -> Wanted {
        Wanted { link, addr, prefix_len: if addr.is_ipv4() { 32 } else { 128 }, label: None, broadcast: None, lifetime }
    }
}

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Set up by the administrator.
    pub up: bool,
    /// Up and able to pass packets (carrier).
    pub running: bool,
    pub loopback: bool,
    pub mtu: u32,
    /// Ethernet address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Index of the bridge, bond or VRF that it belongs to.
    pub master: Option<u32>,
}

/// Why a request on addresses or links failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddrError {
    #[error("the address exists already on this link")]
    Exists,
    #[error("the address is not on this link")]
    NoSuchAddress,
    #[error("no network interface is called '{name}'")]
    NoSuchLink { name: String },
    #[error("permission denied: addresses may be changed by root (CAP_NET_ADMIN) only")]
    PermissionDenied,
    #[error("label '{label}' is longer than {MAX_LABEL_LEN} bytes")]
    LabelTooLong { label: String },
    #[error("prefix length {prefix_len} does not fit {addr}")]
    BadPrefix { addr: IpAddr, prefix_len: u8 },
    #[error("the kernel refused: {}", std::io::Error::from_raw_os_error(*.errno))]
    Refused { errno: i32 },
    /// The change may or may not have been made.
    #[error("no answer from the kernel within {waited_ms} ms; whether the request took effect is unknown")]
    Unknown { waited_ms: u64 },
    #[error("netlink connection: {what}")]
    Connection { what: String },
}

/// A connection for requests. Cheap to clone; the last clone ends it.
#[derive(Clone)]
pub struct Addresses {
    handle: rtnetlink::Handle,
    deadline: Duration,
    /// Held by the one who lists.
    turn: std::sync::Arc<tokio::sync::Mutex<()>>,
    _task: std::sync::Arc<Task>,
}

/// The task that moves messages; ends with its owner.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Addresses {
    /// Connects in the calling thread's network namespace; must be called within a tokio runtime.
    pub fn connect() -> Result<Addresses, AddrError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|e| AddrError::Connection { what: e.to_string() })?;
        let task = tokio::spawn(connection).abort_handle();
        let deadline = Duration::from_millis(DEFAULT_DEADLINE_MS);
        Ok(Addresses { handle, deadline, turn: std::sync::Arc::default(), _task: std::sync::Arc::new(Task(task)) })
    }

    pub fn with_deadline_ms(self, deadline_ms: u64) -> Addresses {
        Addresses { deadline: Duration::from_millis(deadline_ms), ..self }
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, AddrError> {
        match tokio::time::timeout(self.deadline, work).await {
            Ok(result) => result.map_err(convert::error),
            Err(_) => Err(AddrError::Unknown { waited_ms: self.deadline.as_millis() as u64 }),
        }
    }

    /// One list at a time: the kernel refuses a second one on the same socket. One that was given up may still be running there.
    async fn dump<M, S>(&self, ask: impl Fn() -> S) -> Result<Vec<M>, AddrError>
    where
        S: TryStream<Ok = M, Error = rtnetlink::Error>,
    {
        let work = async {
            let _turn = self.turn.lock().await;
            loop {
                match ask().try_collect().await {
                    Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code() == -libc::EBUSY => {
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                    other => return other,
                }
            }
        };
        self.within(work).await
    }

    pub async fn links(&self) -> Result<Vec<Link>, AddrError> {
        let found = self.dump(|| self.handle.link().get().execute()).await?;
        Ok(found.iter().map(convert::link).collect())
    }

    /// The link called `name`.
    pub async fn link(&self, name: &str) -> Result<Link, AddrError> {
        let all = self.links().await?;
        all.into_iter().find(|l| l.name == name).ok_or_else(|| AddrError::NoSuchLink { name: name.to_owned() })
    }

    /// All addresses of all links.
    pub async fn list(&self) -> Result<Vec<Address>, AddrError> {
        let found = self.dump(|| self.handle.address().get().execute()).await?;
        Ok(found.iter().filter_map(convert::address).collect())
    }

    /// Where `addr` is, if it is on any link.
    pub async fn find(&self, addr: IpAddr) -> Result<Option<Address>, AddrError> {
        Ok(self.list().await?.into_iter().find(|a| a.addr == addr))
    }

    /// Puts a new address on a link, or [`AddrError::Exists`].
    pub async fn add(&self, wanted: &Wanted) -> Result<(), AddrError> {
        self.put(wanted, false).await
    }

    /// Sets the lifetime of an address anew; **creates it if it is absent**.
    pub async fn renew(&self, wanted: &Wanted) -> Result<(), AddrError> {
        self.put(wanted, true).await
    }

    async fn put(&self, wanted: &Wanted, replace: bool) -> Result<(), AddrError> {
        let message = convert::message(wanted)?;
        let mut request = self.handle.address().add(wanted.link, wanted.addr, wanted.prefix_len);
        *request.message_mut() = message;
        if replace {
            request = request.replace();
        }
        self.within(request.execute()).await
    }

    /// Takes an address off a link, or [`AddrError::NoSuchAddress`].
    pub async fn delete(&self, link: u32, addr: IpAddr, prefix_len: u8) -> Result<(), AddrError> {
        let message: AddressMessage = convert::key_message(link, addr, prefix_len);
        self.within(self.handle.address().del(message).execute()).await
    }
}
