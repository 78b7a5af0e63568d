//! What was read of this host and its files. The rules see nothing else, so that tests can plant any of it.

use super::cluster::{Cluster, Primitive};
use super::corosync::Corosync;
use super::firewall::Firewall;
use super::sbd::Sbd;
use ::ldirectord::config::{Config, Method, Real, Virtual};
use base::ipvs::{Family, ServiceKey, SyncDaemon};
use kernel::addr::{Address, Lifetime, Link};
use kernel::host::{ClockState, DefaultRoute};
use kernel::settings::Topology;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

pub struct Facts {
    pub hostname: String,
    pub root: bool,
    /// Version of IPVS in the kernel, or why there is none.
    pub ipvs: Result<(u8, u8, u8), String>,
    pub sync_daemons: Vec<SyncDaemon>,
    pub modules_loaded: BTreeSet<String>,
    /// `None`: there is no list.
    pub modules_available: Option<BTreeSet<String>>,
    /// Of the loaded `ip_vs`.
    pub conn_tab_bits: Option<u32>,
    /// Kernel settings by path below `/proc/sys`.
    pub settings: BTreeMap<String, String>,
    pub links: Vec<Link>,
    pub kinds: BTreeMap<u32, String>,
    pub addresses: Vec<Address>,
    pub default_routes: Vec<DefaultRoute>,
    pub clock: ClockState,
    pub firewall: Firewall,
    pub directors: Vec<Director>,
    /// Files that were named and could not be used, with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
    pub corosync: Option<Corosync>,
    pub key: Option<KeyFile>,
    /// There is a watchdog device.
    pub watchdog: bool,
    /// Settings of Debian's `sbd`, if it is installed.
    pub sbd: Option<Sbd>,
    /// What the node daemon's status warns of; empty if none answers.
    pub daemon_warnings: Vec<String>,
    /// `None`: no CIB was given and no node daemon answers.
    pub cluster: Option<Cluster>,
    /// Established sessions of the routing daemon that an announcing resource names, or why it does not answer.
    pub routing: BTreeMap<String, Result<usize, String>>,
    /// There are routes with several next hops.
    pub multipath: bool,
    /// The local address from which this host would reach another; `None` without a route.
    pub sources: BTreeMap<IpAddr, Option<IpAddr>>,
}

/// An `ldirectord.cf`.
pub struct Director {
    pub file: PathBuf,
    pub config: Config,
}

pub struct KeyFile {
    pub file: PathBuf,
    /// Why it cannot be read; then the rest is nothing.
    pub missing: Option<String>,
    pub mode: u32,
    pub uid: u32,
    pub bytes: u64,
}

impl Facts {
    pub fn virtuals(&self) -> impl Iterator<Item = (&Director, &Virtual)> {
        self.directors.iter().flat_map(|d| d.config.virtuals.iter().map(move |v| (d, v)))
    }

    pub fn reals(&self) -> impl Iterator<Item = (&Virtual, &Real)> {
        self.virtuals().flat_map(|(_, v)| v.reals.iter().map(move |r| (v, r)))
    }

    pub fn uses(&self, method: Method) -> bool {
        self.reals().any(|(_, r)| r.forward == method)
    }

    pub fn uses_family(&self, method: Method, family: Family) -> bool {
        self.reals().any(|(v, r)| r.forward == method && v.family() == family)
    }

    /// How packets reach the real servers, as the settings' table sorts it.
    pub fn topologies(&self) -> Vec<Topology> {
        let by = |topology, used: bool| used.then_some(topology);
        let marks = self.virtuals().any(|(_, v)| matches!(v.key, ServiceKey::Fwmark { .. }));
        let own = self.reals().any(|(_, r)| self.is_local(r.addr));
        let all = [
            by(Topology::Direct, self.uses(Method::Gate)),
            by(Topology::Tunnel, self.uses(Method::Ipip)),
            by(Topology::Nat, self.uses(Method::Masq)),
            by(Topology::Fwmark, marks),
            by(Topology::Local, own),
        ];
        all.into_iter().flatten().collect()
    }

    /// Addresses that routing daemons announce; none of them is on a LAN.
    pub fn announced(&self) -> BTreeSet<IpAddr> {
        self.cluster.iter().flat_map(Cluster::announcements).flat_map(Primitive::announced).collect()
    }

    /// Virtual addresses of all services and of the cluster's address resources, on the LANs of this host.
    pub fn vips(&self) -> BTreeSet<IpAddr> {
        let served = self.virtuals().filter_map(|(_, v)| match v.key {
            ServiceKey::Address { addr, .. } => Some(addr),
            ServiceKey::Fwmark { .. } => None,
        });
        let all = served.chain(self.cluster.iter().flat_map(|c| c.addresses().map(|(_, a)| a)));
        let announced = self.announced();
        all.filter(|a| !announced.contains(a)).collect()
    }

    pub fn setting(&self, path: &str) -> Option<&str> {
        self.settings.get(path).map(String::as_str)
    }

    pub fn number(&self, path: &str) -> Option<u64> {
        self.setting(path)?.split(' ').next()?.parse().ok()
    }

    /// The larger of a link's own setting and the one for all, which is how the kernel reads `rp_filter`, `arp_ignore`,
    /// `arp_announce` and (as an or) `send_redirects`.
    pub fn effective(&self, link: &str, name: &str) -> Option<u64> {
        let own = self.number(&format!("net/ipv4/conf/{link}/{name}"));
        own.max(self.number(&format!("net/ipv4/conf/all/{name}")))
    }

    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|l| l.index == index)
    }

    pub fn link_name(&self, index: u32) -> &str {
        self.link(index).map_or("?", |l| l.name.as_str())
    }

    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.addr == addr)
    }

    pub fn holder(&self, addr: IpAddr) -> impl Iterator<Item = (&Address, &Link)> {
        self.addresses.iter().filter(move |a| a.addr == addr).filter_map(|a| Some((a, self.link(a.link)?)))
    }

    /// The link by which this host would reach `addr`.
    pub fn way_to(&self, addr: IpAddr) -> Option<&Link> {
        let source = self.sources.get(&addr).copied().flatten()?;
        self.holder(source).map(|(_, link)| link).find(|l| !l.loopback)
    }

    /// The link whose subnet holds `addr`, as seen by plain addresses (no host addresses).
    pub fn link_of_subnet(&self, addr: IpAddr) -> Option<&Link> {
        let within = self.addresses.iter().filter(|a| a.addr != addr && contains(a.addr, a.prefix_len, addr));
        within.max_by_key(|a| a.prefix_len).and_then(|a| self.link(a.link))
    }

    pub fn kind(&self, link: &Link) -> &str {
        self.kinds.get(&link.index).map_or("", String::as_str)
    }

    pub fn tunnels(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|l| matches!(self.kind(l), "ipip" | "sit" | "ip6tnl"))
    }

    /// Whether this host serves as the cluster's director for at least one service.
    pub fn is_director(&self) -> bool {
        self.directors.iter().any(|d| !d.config.virtuals.is_empty())
    }
}

pub fn is_permanent(address: &Address) -> bool {
    address.lifetime == Lifetime::Permanent
}

/// Whether `addr` lies in the subnet of `network`; host prefixes contain nobody else.
pub fn contains(network: IpAddr, prefix_len: u8, addr: IpAddr) -> bool {
    match (network, addr) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix_len.into())).unwrap_or(0);
            u32::from(n) & mask == u32::from(a) & mask
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix_len.into())).unwrap_or(0);
            u128::from(n) & mask == u128::from(a) & mask
        }
        _ => false,
    }
}
