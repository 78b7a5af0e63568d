//! `ocf:heartbeat:IPaddr2` and `IPaddr`: a virtual address, held as a lease inside the daemon.
//!
//! The address goes in as /32 or /128 whatever `cidr_netmask` says: a lapsing primary address would take the others of
//! its subnet and the connected route along (`promote_secondaries=0`).

use crate::agent::Agent;
use crate::director::Directors;
use crate::lan::{Lan, LanError, Verdict};
use crate::lease::{Keeper, LeaseError, Vip};
use crate::meta::{Meta, Param, param};
use crate::net::{Announce, Net, NetError, no_carrier};
use crate::outcome::{AgentOutcome, Parameters};
use base::exit::OcfCode;
use base::lease::Bounds;
use base::{Instance, Names};
use kernel::announce::{Burst, MAX_BURST};
use kernel::clock::boottime;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest interface label in bytes (`IFNAMSIZ` - 1).
const MAX_LABEL_LEN: usize = 15;

/// A kernel that leaves a request without an answer is busy, which is no failure of the address: it is asked again, so often.
const ASKED_AGAIN: u32 = 9;

/// What stock configurations may contain and what has no meaning for a leased host address.
const IGNORED: &str = "Accepted for existing configurations and without meaning";
const UNUSED_ARP_BG: Param = param("arp_bg", "boolean", Some("true"), "Accepted: announcements never delay the start");

const PARAMS: &[Param] = &[
    param("ip", "string", None, "IPv4 or IPv6 address to hold").required().unique(),
    param("nic", "string", None, "Interface; without it, the one whose subnet holds the address"),
    param("cidr_netmask", "string", None, "Checked and otherwise without meaning: the address goes in as /32 or /128"),
    param("iflabel", "string", None, "Label of an IPv4 address, put behind the interface's name and a colon"),
    param(
        "arp_count",
        "integer",
        Some("5"),
        "Announcements (gratuitous ARP, unsolicited neighbour advertisements) at start",
    )
    .reloadable(),
    param("arp_interval", "integer", Some("200"), "Milliseconds between them").reloadable(),
    param(
        "lvs_support",
        "boolean",
        Some("false"),
        "The address is on lo at all times, for a director that is a real server itself; needs arp_ignore=1",
    ),
    param("arp_count_refresh", "integer", Some("0"), "Announcements at each monitor operation").reloadable(),
    param(
        "arp_refresh",
        "integer",
        Some("60"),
        "Seconds between single announcements while the address is held; 0 for none",
    )
    .reloadable(),
    param(
        "check_link_status",
        "boolean",
        Some("true"),
        "Whether an address leaves an interface that has no carrier; it may come back when the carrier has",
    )
    .reloadable(),
    UNUSED_ARP_BG,
    param("arp_sender", "string", None, IGNORED),
    param("send_arp_opts", "string", None, IGNORED),
    param("run_arping", "boolean", Some("false"), IGNORED),
    param("broadcast", "string", None, IGNORED),
    param("mac", "string", None, IGNORED),
    param("clusterip_hash", "string", None, IGNORED),
    param("unique_clone_address", "boolean", Some("false"), IGNORED),
    param("lvs_ipv6_addrlabel", "boolean", Some("false"), IGNORED),
    param("lvs_ipv6_addrlabel_value", "integer", Some("99"), IGNORED),
    param("flush_routes", "boolean", Some("false"), IGNORED),
    param("nodad", "boolean", Some("true"), IGNORED),
    param("noprefixroute", "boolean", Some("true"), IGNORED),
    param("preferred_lft", "string", None, IGNORED),
    param("network_namespace", "string", None, IGNORED),
];

const ACTIONS: &[(&str, u32, Option<u32>)] = &[
    ("start", 20, None),
    ("stop", 20, None),
    ("monitor", 20, Some(10)),
    ("reload-agent", 20, None),
    ("meta-data", 5, None),
    ("validate-all", 20, None),
];

pub(crate) const IPADDR2: Meta = Meta {
    name: "IPaddr2",
    providers: &["heartbeat", "bascule"],
    about: "Virtual address, held as a lease that lapses when its node no longer renews it",
    params: PARAMS,
    actions: ACTIONS,
};

pub(crate) const IPADDR: Meta = Meta {
    name: "IPaddr",
    providers: &["heartbeat", "bascule"],
    about: "Virtual address under the older agent's name; the same as IPaddr2",
    params: PARAMS,
    actions: ACTIONS,
};

/// How this process holds addresses.
pub(crate) enum Addresses {
    Leased(Keeper),
    Permanent(Net),
}

impl Addresses {
    pub async fn set_owners(&self, owners: Names) {
        if let Addresses::Leased(keeper) = self {
            keeper.set_owners(owners);
        }
    }

    pub async fn reannounce(&self) {
        if let Addresses::Leased(keeper) = self {
            keeper.reannounce().await;
        }
    }

    pub async fn make_permanent(&self) -> Result<(), LeaseError> {
        match self {
            Addresses::Leased(keeper) => keeper.make_permanent().await,
            Addresses::Permanent(_) => Ok(()),
        }
    }

    /// The leases, if addresses are any.
    pub fn keeper(&self) -> Option<&Keeper> {
        match self {
            Addresses::Leased(keeper) => Some(keeper),
            Addresses::Permanent(_) => None,
        }
    }

    pub async fn add(&self, resource: &str, vip: Vip, announce: Announce) -> Result<(), LeaseError> {
        match self {
            Addresses::Leased(keeper) => keeper.grant(resource, vip, announce).await,
            Addresses::Permanent(net) => {
                net.make_permanent(&vip).await?;
                net.announce_now(&vip, announce.burst).await;
                Ok(())
            }
        }
    }

    /// What is held for the resource, else `hint`.
    pub async fn remove(&self, resource: &str, hint: Option<Vip>) -> Result<(), LeaseError> {
        match (self, hint) {
            (Addresses::Leased(keeper), hint) => keeper.release(resource, hint).await,
            (Addresses::Permanent(net), Some(vip)) => Ok(net.remove(&vip).await.map(drop)?),
            (Addresses::Permanent(_), None) => Ok(()),
        }
    }

    async fn holds(&self, resource: &str) -> bool {
        match self {
            Addresses::Leased(keeper) => keeper.holds(resource).await.unwrap_or(false),
            Addresses::Permanent(_) => false,
        }
    }

    pub async fn present(&self, vip: Vip) -> Result<bool, LeaseError> {
        match self {
            Addresses::Leased(keeper) => keeper.present(vip).await,
            Addresses::Permanent(net) => Ok(net.present(&vip).await?),
        }
    }
}

/// Settings of one address, checked.
#[derive(Clone)]
pub(crate) struct Settings {
    addr: IpAddr,
    nic: Option<String>,
    label: Option<String>,
    announce: Announce,
    /// Sent at each monitor.
    at_monitor: Burst,
    /// The address is on `lo` at all times.
    on_loopback: bool,
}

pub(crate) struct VirtualAddress {
    meta: &'static Meta,
    addresses: Arc<Addresses>,
    directors: Directors,
    lan: Lan,
}

impl VirtualAddress {
    pub fn new(meta: &'static Meta, addresses: Arc<Addresses>, directors: Directors, lan: Lan) -> VirtualAddress {
        VirtualAddress { meta, addresses, directors, lan }
    }

    /// The table is made right, and meanwhile a silent node's LAN is asked for the address; in words, why it cannot be taken.
    async fn prepare(&self, id: &str, settings: &Settings, vip: &Vip) -> Result<Option<String>, LanError> {
        if self.addresses.holds(id).await {
            self.directors.prime(settings.addr).await;
            return Ok(None);
        }
        let (mut verdict, ()) = tokio::join!(self.lan.ask(id, vip), self.directors.prime(settings.addr));
        loop {
            match verdict? {
                Verdict::Kept(by) => return Ok(Some(by)),
                // A table that took longer than that leaves time for somebody else.
                Verdict::Free(at) if boottime().saturating_sub(at) < Bounds::STANDARD.in_flight => return Ok(None),
                Verdict::Free(_) => verdict = self.lan.ask(id, vip).await,
            }
        }
    }

    async fn try_start(&self, id: &str, settings: &Settings) -> Result<AgentOutcome, LeaseError> {
        keep_on_loopback(settings).await?;
        let vip = match locate(settings).await {
            Err(error @ NetError::NoInterface { .. }) => {
                return Ok(AgentOutcome::new(OcfCode::NOT_INSTALLED, error.to_string()));
            }
            other => other?,
        };
        if let Some(outcome) = self.without_carrier(id, settings, &vip).await {
            return Ok(outcome);
        }
        // In a group the address often comes before its director: the table must be right before anyone is drawn here.
        match self.prepare(id, settings, &vip).await {
            Ok(None) => {}
            Ok(Some(kept)) => return Ok(AgentOutcome::error(kept)),
            Err(error) => return Ok(AgentOutcome::error(error.to_string())),
        }
        self.addresses.add(id, vip.clone(), settings.announce).await?;
        self.lan.is_here(id);
        Ok(match self.addresses.present(vip).await? {
            true => AgentOutcome::ok(),
            false => AgentOutcome::error(format!("{} was added and is not there", settings.addr)),
        })
    }

    /// Clients cannot reach an address on a link without carrier.
    async fn without_carrier(&self, id: &str, settings: &Settings, vip: &Vip) -> Option<AgentOutcome> {
        if !settings.announce.check_link {
            return None;
        }
        let link = Net::open().ok()?.dead_link(vip.interface_index).await.ok()??;
        if let Some(keeper) = self.addresses.keeper() {
            keeper.no_carrier(id, vip.interface_index).await;
        }
        Some(AgentOutcome::error(no_carrier(&link)))
    }

    /// The address is there; is it of use?
    async fn held(&self, id: &str, settings: &Settings, vip: &Vip) -> AgentOutcome {
        if let Some(outcome) = self.without_carrier(id, settings, vip).await {
            return outcome;
        }
        if let Some(keeper) = self.addresses.keeper()
            && !keeper.holds(id).await.unwrap_or(true)
        {
            keeper.adopt(id, vip.clone(), settings.announce).await;
        }
        if settings.at_monitor.count > 0
            && let Ok(net) = Net::open()
        {
            net.announce(vip, settings.at_monitor);
        }
        AgentOutcome::ok()
    }

    async fn try_monitor(&self, id: &str, settings: &Settings) -> Result<AgentOutcome, LeaseError> {
        keep_on_loopback(settings).await?;
        let vip = match locate(settings).await {
            Err(NetError::NoInterface { .. }) => return Ok(AgentOutcome::not_running()),
            other => other?,
        };
        Ok(match self.addresses.present(vip.clone()).await? {
            true => self.held(id, settings, &vip).await,
            false => {
                self.lan.is_elsewhere(id, &vip);
                AgentOutcome::not_running()
            }
        })
    }
}

impl Agent for VirtualAddress {
    type Settings = Settings;

    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn settings(&self, instance: &Instance) -> Result<Settings, AgentOutcome> {
        settings(instance)
    }

    async fn validate(&self, settings: &Settings) -> AgentOutcome {
        match locate(settings).await {
            Err(error @ NetError::NoInterface { .. }) => AgentOutcome::new(OcfCode::NOT_INSTALLED, error.to_string()),
            other => other.map_or_else(|e| failed(&e.into()), |_| AgentOutcome::ok()),
        }
    }

    async fn start(&self, id: &str, settings: &Settings) -> AgentOutcome {
        for _ in 0..ASKED_AGAIN {
            match self.try_start(id, settings).await {
                Err(error) if error.is_unknown() => tracing::warn!(resource = id, %error, "the start is tried again"),
                done => return done.unwrap_or_else(|e| failed(&e)),
            }
        }
        self.try_start(id, settings).await.unwrap_or_else(|e| failed(&e))
    }

    async fn stop(&self, id: &str, placed: Option<&Settings>) -> AgentOutcome {
        let vip = match placed {
            Some(settings) => match locate(settings).await {
                // Its interface is gone, and the address with it.
                Err(NetError::NoInterface { .. }) => None,
                Err(error) => return failed(&error.into()),
                Ok(vip) => Some(vip),
            },
            None => None,
        };
        let removed = self.addresses.remove(id, vip.clone()).await;
        if let (Ok(()), Some(vip)) = (&removed, &vip) {
            self.lan.is_elsewhere(id, vip);
        }
        if let Some(settings) = placed {
            self.directors.unprime(settings.addr).await;
            if let Err(error) = keep_on_loopback(settings).await {
                tracing::warn!(resource = id, %error, "the address is not on lo");
            }
        }
        removed.map_or_else(|e| failed(&e), |()| AgentOutcome::ok())
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> AgentOutcome {
        for _ in 0..ASKED_AGAIN {
            match self.try_monitor(id, settings).await {
                Err(error) if error.is_unknown() => tracing::warn!(resource = id, %error, "it is looked for again"),
                done => return done.unwrap_or_else(|e| failed(&e)),
            }
        }
        self.try_monitor(id, settings).await.unwrap_or_else(|e| failed(&e))
    }

    async fn is_placed(&self, id: &str) -> bool {
        self.addresses.holds(id).await
    }

    /// `reload-agent`: how it is announced has changed, so it is announced anew.
    async fn act(&self, id: &str, _action: &str, settings: &Settings) -> AgentOutcome {
        match self.monitor(id, settings).await {
            running if running.code == OcfCode::OK => self.start(id, settings).await,
            other => other,
        }
    }
}

fn failed(error: &LeaseError) -> AgentOutcome {
    AgentOutcome::error(error.to_string())
}

/// A director that is a real server too takes packets for the address even while another one holds it: the address is
/// on `lo` at all times, from the first probe on, and on the interface as well while the group is here. With
/// `arp_ignore=1` (agent director-settings, topology local) nobody hears of it.
async fn keep_on_loopback(settings: &Settings) -> Result<(), NetError> {
    if settings.on_loopback { Net::open()?.keep_on_loopback(settings.addr).await } else { Ok(()) }
}

fn settings(instance: &Instance) -> Result<Settings, AgentOutcome> {
    let Some(ip) = instance.param("ip") else {
        return Err(AgentOutcome::not_configured("parameter 'ip' is missing"));
    };
    let addr: IpAddr =
        ip.parse().map_err(|_| AgentOutcome::not_configured(format!("ip='{ip}' is not an IPv4 or IPv6 address")))?;
    if addr.is_unspecified() || addr.is_multicast() {
        return Err(AgentOutcome::not_configured(NetError::NotUnicast { addr }.to_string()));
    }
    // IPaddr of old takes "eth0:1" as nic; the part behind the colon is a label.
    let nic = instance.param("nic").map(|n| n.split(':').next().unwrap_or(n).to_owned());
    check_netmask(instance, addr)?;
    let label = label(instance, nic.as_deref())?;
    let usual = Announce::default();
    let burst = Burst {
        count: instance.number("arp_count", u64::from(usual.burst.count))?.min(u64::from(MAX_BURST)) as u32,
        interval_ms: instance.number("arp_interval", usual.burst.interval_ms)?.min(60_000),
    };
    let announce = Announce {
        burst,
        refresh_s: instance.number("arp_refresh", usual.refresh_s)?.min(86_400),
        check_link: instance.flag("check_link_status", usual.check_link),
    };
    let at_monitor = instance.number("arp_count_refresh", 0)?.min(u64::from(MAX_BURST)) as u32;
    let at_monitor = Burst { count: at_monitor, ..burst };
    Ok(Settings { addr, nic, label, announce, at_monitor, on_loopback: instance.flag("lvs_support", false) })
}

fn check_netmask(instance: &Instance, addr: IpAddr) -> Result<(), AgentOutcome> {
    let Some(mask) = instance.param("cidr_netmask") else { return Ok(()) };
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    let dotted = mask.parse::<std::net::Ipv4Addr>().is_ok() && addr.is_ipv4();
    if dotted || mask.parse::<u8>().is_ok_and(|bits| bits <= longest) {
        return Ok(());
    }
    Err(AgentOutcome::not_configured(format!("cidr_netmask='{mask}' is not a prefix length of 0 to {longest}")))
}

/// `iflabel=vip` on eth0 becomes `eth0:vip`, as the stock agent names it.
fn label(instance: &Instance, nic: Option<&str>) -> Result<Option<String>, AgentOutcome> {
    let Some(part) = instance.param("iflabel") else { return Ok(None) };
    let Some(nic) = nic else {
        return Err(AgentOutcome::not_configured("iflabel needs nic: a label begins with the interface's name"));
    };
    let label = format!("{nic}:{part}");
    if label.len() > MAX_LABEL_LEN {
        let reason = format!("iflabel='{part}' is too long: '{label}' has more than {MAX_LABEL_LEN} bytes");
        return Err(AgentOutcome::not_configured(reason));
    }
    Ok(Some(label))
}

/// The interface that has the address already, or the one named, or the one whose subnet holds it.
async fn locate(settings: &Settings) -> Result<Vip, NetError> {
    let net = Net::open()?;
    let index = net.interface_for(settings.addr, settings.nic.as_deref()).await?;
    Ok(Vip { addr: settings.addr, interface_index: index, label: settings.label.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(params: &[(&str, &str)]) -> Instance {
        let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Instance { id: "vip".into(), params, ..Instance::default() }
    }

    #[test]
    fn takes_the_stock_parameters() {
        let s = settings(&vip(&[("ip", "192.0.2.7"), ("nic", "eth0:0"), ("cidr_netmask", "24"), ("iflabel", "web")]));
        let s = s.unwrap_or_else(|o| panic!("refused: {}", o.reason));
        assert_eq!((s.nic.as_deref(), s.label.as_deref()), (Some("eth0"), Some("eth0:web")));
    }

    #[test]
    fn says_which_parameter_is_wrong() {
        let refused = |params: &[(&str, &str)]| settings(&vip(params)).err().map(|o| o.reason).unwrap_or_default();
        assert!(refused(&[]).contains("'ip'"));
        assert!(refused(&[("ip", "web.example")]).contains("web.example"));
        assert!(refused(&[("ip", "192.0.2.7"), ("cidr_netmask", "64")]).contains("cidr_netmask"));
        assert!(refused(&[("ip", "192.0.2.7"), ("arp_count", "many")]).contains("arp_count"));
        assert!(
            refused(&[("ip", "192.0.2.7"), ("nic", "eth0"), ("iflabel", "averyverylonglabel")]).contains("too long")
        );
    }
}
