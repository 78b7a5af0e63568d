//! What a diagnosis needs to know of this host: links and their kinds, default routes, kernel settings, modules, the clock.
//!
//! Reads only. Network facts are those of the calling thread's network namespace.

mod clock;
mod modules;

pub use clock::{ClockState, clock_state};
pub use modules::{available_modules, loaded_modules};

use crate::addr::{AddrError, Address, Addresses, Link};
use futures_util::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::link::{LinkAttribute, LinkInfo};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMetric};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

/// How long the kernel may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// A route to everywhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefaultRoute {
    pub v6: bool,
    /// `None` for a route that only names a link.
    pub gateway: Option<IpAddr>,
    /// Index of the link; `None` for a route over several.
    pub link: Option<u32>,
    /// TCP segment size that it makes this host announce.
    pub advmss: Option<u32>,
}

/// Links, addresses and default routes as they are now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    pub links: Vec<Link>,
    /// By link index, the kind of links that were made by software: `ipip`, `vlan`, `bridge`.
    pub kinds: BTreeMap<u32, String>,
    pub addresses: Vec<Address>,
    pub default_routes: Vec<DefaultRoute>,
}

/// Needs a tokio runtime.
pub async fn network() -> Result<Network, AddrError> {
    let addresses = Addresses::connect()?;
    let links = addresses.links().await?;
    let list = addresses.list().await?;
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|e| AddrError::Connection { what: e.to_string() })?;
    let task = tokio::spawn(connection);
    let rest = tokio::time::timeout(DEADLINE, async {
        let kinds = kinds(&handle).await?;
        let mut routes = default_routes(&handle, false).await?;
        routes.extend(default_routes(&handle, true).await?);
        Ok((kinds, routes))
    });
    let rest = rest.await.unwrap_or(Err(AddrError::Unknown { waited_ms: DEADLINE.as_millis() as u64 }));
    task.abort();
    let (kinds, default_routes) = rest?;
    Ok(Network { links, kinds, addresses: list, default_routes })
}

async fn kinds(handle: &rtnetlink::Handle) -> Result<BTreeMap<u32, String>, AddrError> {
    let all: Vec<_> = handle.link().get().execute().try_collect().await.map_err(unreadable)?;
    let kind = |attributes: &[LinkAttribute]| {
        let infos = attributes.iter().find_map(|a| if let LinkAttribute::LinkInfo(i) = a { Some(i) } else { None })?;
        infos.iter().find_map(|i| if let LinkInfo::Kind(kind) = i { Some(kind.to_string()) } else { None })
    };
    Ok(all.iter().filter_map(|m| Some((m.header.index, kind(&m.attributes)?))).collect())
}

async fn default_routes(handle: &rtnetlink::Handle, v6: bool) -> Result<Vec<DefaultRoute>, AddrError> {
    let message = if v6 {
        RouteMessageBuilder::<Ipv6Addr>::new().build()
    } else {
        RouteMessageBuilder::<Ipv4Addr>::new().build()
    };
    let all: Vec<_> = handle.route().get(message).execute().try_collect().await.map_err(unreadable)?;
    let main = |m: &&rtnetlink::packet_route::route::RouteMessage| {
        m.header.destination_prefix_length == 0 && m.header.table == libc::RT_TABLE_MAIN
    };
    Ok(all.iter().filter(main).map(|m| default_route(&m.attributes, v6)).collect())
}

fn default_route(attributes: &[RouteAttribute], v6: bool) -> DefaultRoute {
    let mut route = DefaultRoute { v6, gateway: None, link: None, advmss: None };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(a)) => route.gateway = Some(IpAddr::V4(*a)),
            RouteAttribute::Gateway(RouteAddress::Inet6(a)) => route.gateway = Some(IpAddr::V6(*a)),
            RouteAttribute::Oif(index) => route.link = Some(*index),
            RouteAttribute::Metrics(metrics) => {
                route.advmss = metrics.iter().find_map(|m| if let RouteMetric::Advmss(n) = m { Some(*n) } else { None })
            }
            _ => {}
        }
    }
    route
}

fn unreadable(error: rtnetlink::Error) -> AddrError {
    match error {
        rtnetlink::Error::NetlinkError(m) => {
            AddrError::Refused { errno: m.code.map_or(0, |c| c.get().saturating_neg()) }
        }
        other => AddrError::Connection { what: other.to_string() },
    }
}

/// Longest value of a kernel setting that is read.
const MAX_SETTING_BYTES: usize = 4096;

/// A kernel setting, its path with slashes since names of links may hold dots: `net/ipv4/conf/eth0.5/rp_filter`.
pub fn setting(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?;
    (text.len() <= MAX_SETTING_BYTES).then(|| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// All settings directly below a directory of `/proc/sys`; empty if there is no such directory.
pub fn settings_below(directory: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(Path::new("/proc/sys").join(directory)).into_iter().flatten().flatten();
    let named = entries.filter_map(|e| e.file_name().into_string().ok());
    named.filter_map(|name| Some((format!("{directory}/{name}"), setting(&format!("{directory}/{name}"))?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::{self, Links};
    use crate::netns::{Namespace, Spec};

    #[tokio::test]
    async fn a_host_that_was_laid_out_is_read() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let ns = Namespace::create(&Spec::new("host")).unwrap();
        let links = Links::open_in(&ns).unwrap();
        links.up("lo").await.unwrap();
        links.add_veth("eth0", "peer").await.unwrap();
        links.up("eth0").await.unwrap();
        links.up("peer").await.unwrap();
        links.add_address("eth0", "10.9.0.1".parse().unwrap(), 24).await.unwrap();
        links.add_route(None, "10.9.0.254".parse().unwrap()).await.unwrap();
        links::sysctl(&ns, "net.ipv4.conf.eth0.rp_filter", "2").unwrap();
        let read = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            (runtime.block_on(network()).unwrap(), setting("net/ipv4/conf/eth0/rp_filter"))
        };
        let (network, rp_filter) = ns.run_net(read).unwrap();
        assert_eq!(rp_filter.as_deref(), Some("2"));
        let eth0 = network.links.iter().find(|l| l.name == "eth0").unwrap();
        assert_eq!(network.kinds.get(&eth0.index).map(String::as_str), Some("veth"));
        let gateway = Some("10.9.0.254".parse().unwrap());
        let route = DefaultRoute { v6: false, gateway, link: Some(eth0.index), advmss: None };
        assert_eq!(network.default_routes, [route]);
        assert!(setting("net/no/such/thing").is_none());
    }
}
