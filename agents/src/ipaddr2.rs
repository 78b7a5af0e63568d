//! `ocf:heartbeat:IPaddr2` and `IPaddr`: a virtual address, held as a lease inside the daemon.
//!
//! The address goes in as /32 or /128 whatever `cidr_netmask` says: a lapsing primary address would take the others of
//! its subnet and the connected route along (`promote_secondaries=0`).

use crate::call::{AgentCall, AgentOutcome};
use crate::director::Directors;
use crate::lease::{Keeper, LeaseError, Vip};
use crate::net::{Announce, Net, NetError};
use base::exit::OcfCode;
use kernel::announce::{Burst, MAX_BURST};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Longest interface label in bytes (`IFNAMSIZ` - 1).
const MAX_LABEL_LEN: usize = 15;

/// How this process holds addresses.
pub(crate) enum Addresses {
    Leased(Keeper),
    Permanent(Net),
}

impl Addresses {
    pub fn leased(keeper: Keeper) -> Addresses {
        Addresses::Leased(keeper)
    }

    pub fn permanent(net: Net) -> Addresses {
        Addresses::Permanent(net)
    }

    pub async fn set_owners(&self, owners: BTreeSet<String>) {
        if let Addresses::Leased(keeper) = self {
            keeper.set_owners(owners).await;
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

    async fn add(&self, resource: &str, vip: Vip, announce: Announce) -> Result<(), LeaseError> {
        match self {
            Addresses::Leased(keeper) => keeper.grant(resource, vip, announce).await,
            Addresses::Permanent(net) => {
                net.make_permanent(&vip).await?;
                net.announce_now(&vip, announce.burst).await;
                Ok(())
            }
        }
    }

    async fn remove(&self, resource: &str, vip: Vip) -> Result<(), LeaseError> {
        match self {
            Addresses::Leased(keeper) => keeper.release(resource, vip).await,
            Addresses::Permanent(net) => Ok(net.remove(&vip).await?),
        }
    }

    async fn present(&self, vip: Vip) -> Result<bool, LeaseError> {
        match self {
            Addresses::Leased(keeper) => keeper.present(vip).await,
            Addresses::Permanent(net) => Ok(net.present(&vip).await?),
        }
    }
}

/// Settings of one address, checked.
struct Settings {
    addr: IpAddr,
    nic: Option<String>,
    label: Option<String>,
    announce: Announce,
    /// Sent at each monitor.
    at_monitor: Burst,
}

pub(crate) async fn run(call: &AgentCall, addresses: &Addresses, directors: &Directors) -> AgentOutcome {
    let settings = match settings(call) {
        Ok(settings) => settings,
        Err(outcome) => return outcome,
    };
    if call.flag("lvs_support", false)
        && let Err(error) = keep_on_loopback(call, settings.addr).await
    {
        return AgentOutcome::error(error.to_string());
    }
    let vip = match locate(&settings).await {
        Ok(vip) => vip,
        Err(error) => return without_interface(call, &error),
    };
    let result = match call.operation.as_str() {
        "validate-all" => return AgentOutcome::ok(),
        "start" => {
            if let Some(outcome) = without_carrier(&settings, &vip).await {
                return outcome;
            }
            // In a group the address often comes before its director: the table must be right before anyone is drawn here.
            directors.prime(settings.addr).await;
            addresses.add(&call.resource, vip, settings.announce).await.map(|()| AgentOutcome::ok())
        }
        "stop" => {
            let removed = addresses.remove(&call.resource, vip).await;
            directors.unprime(settings.addr).await;
            removed.map(|()| AgentOutcome::ok())
        }
        "monitor" | "status" => match addresses.present(vip.clone()).await {
            Ok(true) => return held(&settings, &vip).await,
            other => other.map(|_| AgentOutcome::not_running()),
        },
        other => {
            let reason = format!("{} has no action '{other}'", call.agent);
            return AgentOutcome::new(OcfCode::UNIMPLEMENTED, reason);
        }
    };
    result.unwrap_or_else(|error| AgentOutcome::error(error.to_string()))
}

/// A director that is a real server too takes packets for the address even while another one holds it: the address is
/// on `lo` at all times, from the first probe on, and on the interface as well while the group is here. With
/// `arp_ignore=1` (agent director-settings, topology local) nobody hears of it.
async fn keep_on_loopback(call: &AgentCall, addr: IpAddr) -> Result<(), NetError> {
    match call.operation.as_str() {
        "start" | "stop" | "monitor" | "status" => Net::open()?.keep_on_loopback(addr).await,
        _ => Ok(()),
    }
}

/// The address is there; is it of use?
async fn held(settings: &Settings, vip: &Vip) -> AgentOutcome {
    if let Some(outcome) = without_carrier(settings, vip).await {
        return outcome;
    }
    if settings.at_monitor.count > 0
        && let Ok(net) = Net::open()
    {
        net.announce(vip, settings.at_monitor);
    }
    AgentOutcome::ok()
}

/// Clients cannot reach an address on a link without carrier.
async fn without_carrier(settings: &Settings, vip: &Vip) -> Option<AgentOutcome> {
    if !settings.announce.check_link {
        return None;
    }
    let link = Net::open().ok()?.dead_link(vip.interface_index).await.ok()??;
    Some(AgentOutcome::error(no_carrier(&link)))
}

pub(crate) fn no_carrier(link: &str) -> String {
    format!("{link} is down or has no carrier (check_link_status)")
}

/// An address whose interface is gone is stopped; it can neither start nor run.
fn without_interface(call: &AgentCall, error: &NetError) -> AgentOutcome {
    match (call.operation.as_str(), error) {
        ("stop", NetError::NoInterface { .. }) => AgentOutcome::ok(),
        ("monitor" | "status", NetError::NoInterface { .. }) => AgentOutcome::not_running(),
        (_, NetError::NoInterface { .. }) => AgentOutcome::new(OcfCode::NOT_INSTALLED, error.to_string()),
        _ => AgentOutcome::error(error.to_string()),
    }
}

fn settings(call: &AgentCall) -> Result<Settings, AgentOutcome> {
    let Some(ip) = call.param("ip") else {
        return Err(AgentOutcome::not_configured("parameter 'ip' is missing"));
    };
    let addr: IpAddr =
        ip.parse().map_err(|_| AgentOutcome::not_configured(format!("ip='{ip}' is not an IPv4 or IPv6 address")))?;
    // IPaddr of old takes "eth0:1" as nic; the part behind the colon is a label.
    let nic = call.param("nic").map(|n| n.split(':').next().unwrap_or(n).to_owned());
    check_netmask(call, addr)?;
    let label = label(call, nic.as_deref())?;
    let usual = Announce::default();
    let burst = Burst {
        count: call.number("arp_count", u64::from(usual.burst.count))?.min(u64::from(MAX_BURST)) as u32,
        interval_ms: call.number("arp_interval", usual.burst.interval_ms)?.min(60_000),
    };
    let announce = Announce {
        burst,
        refresh_s: call.number("arp_refresh", usual.refresh_s)?.min(86_400),
        check_link: call.flag("check_link_status", usual.check_link),
    };
    let at_monitor = call.number("arp_count_refresh", 0)?.min(u64::from(MAX_BURST)) as u32;
    Ok(Settings { addr, nic, label, announce, at_monitor: Burst { count: at_monitor, ..burst } })
}

fn check_netmask(call: &AgentCall, addr: IpAddr) -> Result<(), AgentOutcome> {
    let Some(mask) = call.param("cidr_netmask") else { return Ok(()) };
    let longest = if addr.is_ipv4() { 32 } else { 128 };
    let dotted = mask.parse::<std::net::Ipv4Addr>().is_ok() && addr.is_ipv4();
    if dotted || mask.parse::<u8>().is_ok_and(|bits| bits <= longest) {
        return Ok(());
    }
    Err(AgentOutcome::not_configured(format!("cidr_netmask='{mask}' is not a prefix length of 0 to {longest}")))
}

/// `iflabel=vip` on eth0 becomes `eth0:vip`, as the stock agent names it.
fn label(call: &AgentCall, nic: Option<&str>) -> Result<Option<String>, AgentOutcome> {
    let Some(part) = call.param("iflabel") else { return Ok(None) };
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
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn call(params: &[(&str, &str)]) -> AgentCall {
        AgentCall {
            resource: "vip".into(),
            agent: "IPaddr2".into(),
            operation: "start".into(),
            params: params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
            timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn takes_the_stock_parameters() {
        let s = settings(&call(&[("ip", "192.0.2.7"), ("nic", "eth0:0"), ("cidr_netmask", "24"), ("iflabel", "web")]));
        let s = s.unwrap_or_else(|o| panic!("refused: {}", o.reason));
        assert_eq!((s.nic.as_deref(), s.label.as_deref()), (Some("eth0"), Some("eth0:web")));
    }

    #[test]
    fn says_which_parameter_is_wrong() {
        let refused = |params: &[(&str, &str)]| settings(&call(params)).err().map(|o| o.reason).unwrap_or_default();
        assert!(refused(&[]).contains("'ip'"));
        assert!(refused(&[("ip", "web.example")]).contains("web.example"));
        assert!(refused(&[("ip", "192.0.2.7"), ("cidr_netmask", "64")]).contains("cidr_netmask"));
        assert!(refused(&[("ip", "192.0.2.7"), ("arp_count", "many")]).contains("arp_count"));
        assert!(
            refused(&[("ip", "192.0.2.7"), ("nic", "eth0"), ("iflabel", "averyverylonglabel")]).contains("too long")
        );
    }
}
