//! Building test networks over rtnetlink: veth pairs into namespaces, bridges, plain addresses, routes.
//!
//! A [`Links`] is one netlink socket; it belongs to the network namespace in which it was opened, whoever uses it later.
//! This module is for laying out test hosts. Virtual addresses with lifetimes, and their events, are `addr`'s.

use crate::netns::{Namespace, NetnsError, netns_fd};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};
use rtnetlink::{
    AddressMessageBuilder, LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan,
    RouteMessageBuilder,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

/// Why a request about links failed; `what` says which.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("{what}: {source}")]
    Refused { what: String, source: io::Error },
    #[error("{what}: {message}")]
    Protocol { what: String, message: String },
    #[error("no link {0}")]
    NoLink(String),
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
}

/// One link as listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Administratively up.
    pub up: bool,
    /// Up and with carrier.
    pub running: bool,
    pub mac: Vec<u8>,
    pub mtu: u32,
}

/// One address as listed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkAddr {
    pub index: u32,
    pub addr: IpAddr,
    pub prefix_len: u8,
}

/// A netlink socket in one network namespace. Needs a tokio runtime; its background task ends when it is dropped.
pub struct Links {
    handle: rtnetlink::Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    /// In the calling thread's namespace.
    pub fn open() -> Result<Links, LinkError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Links { handle, task: tokio::spawn(connection) })
    }

    /// In a held namespace.
    pub fn open_in(ns: &Namespace) -> Result<Links, LinkError> {
        let runtime = tokio::runtime::Handle::current();
        ns.run_net(move || {
            let _guard = runtime.enter();
            Links::open()
        })?
    }

    pub async fn add_bridge(&self, name: &str) -> Result<(), LinkError> {
        // Ports forward at once: a test switch has no loops to wait for.
        self.add(LinkBridge::new(name).forward_delay(0).up().build(), || format!("add bridge {name}")).await
    }

    pub async fn add_dummy(&self, name: &str) -> Result<(), LinkError> {
        self.add(LinkDummy::new(name).up().build(), || format!("add dummy {name}")).await
    }

    pub async fn add_vlan(&self, name: &str, parent: &str, id: u16) -> Result<(), LinkError> {
        let parent = self.index(parent).await?;
        self.add(LinkVlan::new(name, parent, id).up().build(), || format!("add vlan {name}")).await
    }

    pub async fn add_veth(&self, name: &str, peer: &str) -> Result<(), LinkError> {
        self.add(LinkVeth::new(name, peer).build(), || format!("add veth {name}")).await
    }

    /// A veth pair whose other end becomes `inner` inside `ns`.
    pub async fn add_veth_into(&self, name: &str, ns: &Namespace, inner: &str) -> Result<(), LinkError> {
        let mut passing: String = format!("~{name}");
        passing.truncate(15); // IFNAMSIZ - 1
        self.add_veth(name, &passing).await?;
        let fd = netns_fd(ns)?;
        let index = self.index(&passing).await?;
        let message = LinkUnspec::new_with_index(index).setns_by_fd(fd.as_raw_fd()).name(inner).build();
        self.change(message, || format!("move {inner} into {}", ns.name())).await
    }

    pub async fn delete(&self, name: &str) -> Result<(), LinkError> {
        let index = self.index(name).await?;
        self.handle.link().del(index).execute().await.map_err(|e| refused(format!("delete {name}"), e))
    }

    pub async fn up(&self, name: &str) -> Result<(), LinkError> {
        let message = self.unspec(name).await?.up().build();
        self.change(message, || format!("{name} up")).await
    }

    pub async fn down(&self, name: &str) -> Result<(), LinkError> {
        let message = self.unspec(name).await?.down().build();
        self.change(message, || format!("{name} down")).await
    }

    /// Makes `name` a port of bridge `master`, or takes it out.
    pub async fn set_master(&self, name: &str, master: Option<&str>) -> Result<(), LinkError> {
        let port = self.unspec(name).await?;
        let message = match master {
            Some(m) => port.controller(self.index(m).await?).build(),
            None => port.nocontroller().build(),
        };
        self.change(message, || format!("{name} master {}", master.unwrap_or("none"))).await
    }

    pub async fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), LinkError> {
        let message = self.unspec(name).await?.mtu(mtu).build();
        self.change(message, || format!("{name} mtu {mtu}")).await
    }

    /// A plain address, for ever, without duplicate address detection.
    pub async fn add_address(&self, name: &str, addr: IpAddr, prefix_len: u8) -> Result<(), LinkError> {
        let index = self.index(name).await?;
        let mut request = self.handle.address().add(index, addr, prefix_len);
        if addr.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request.execute().await.map_err(|e| refused(format!("add {addr}/{prefix_len} to {name}"), e))
    }

    pub async fn del_address(&self, name: &str, addr: IpAddr, prefix_len: u8) -> Result<(), LinkError> {
        let index = self.index(name).await?;
        let message = match addr {
            IpAddr::V4(a) => AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(a, prefix_len).build(),
            IpAddr::V6(a) => AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(a, prefix_len).build(),
        };
        self.handle
            .address()
            .del(message)
            .execute()
            .await
            .map_err(|e| refused(format!("delete {addr}/{prefix_len} from {name}"), e))
    }

    /// All addresses of the namespace.
    pub async fn addresses(&self) -> Result<Vec<LinkAddr>, LinkError> {
        let list: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| refused("list addresses".into(), e))?;
        Ok(list
            .into_iter()
            .filter_map(|m| {
                // On a point-to-point link ADDRESS is the peer; LOCAL is ours when present.
                let local = m
                    .attributes
                    .iter()
                    .find_map(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
                let plain = m
                    .attributes
                    .iter()
                    .find_map(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None });
                Some(LinkAddr { index: m.header.index, addr: local.or(plain)?, prefix_len: m.header.prefix_len })
            })
            .collect())
    }

    /// Route to `destination` (None = default) by gateway `via`.
    pub async fn add_route(&self, destination: Option<(IpAddr, u8)>, via: IpAddr) -> Result<(), LinkError> {
        let what = || format!("add route via {via}");
        let everywhere =
            if via.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let (net, len) = destination.unwrap_or((everywhere, 0));
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(net, len)
            .map_err(|e| LinkError::Protocol { what: what(), message: e.to_string() })?;
        let route =
            route.gateway(via).map_err(|e| LinkError::Protocol { what: what(), message: e.to_string() })?.build();
        self.handle.route().add(route).execute().await.map_err(|e| refused(what(), e))
    }

    /// Neighbour table: address and link-layer address where known.
    pub async fn neighbours(&self) -> Result<Vec<(IpAddr, Option<Vec<u8>>)>, LinkError> {
        let list: Vec<_> = self
            .handle
            .neighbours()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| refused("list neighbours".into(), e))?;
        Ok(list
            .into_iter()
            .filter_map(|m| {
                let addr = m.attributes.iter().find_map(|a| match a {
                    NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
                    NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
                    _ => None,
                })?;
                let mac = m
                    .attributes
                    .iter()
                    .find_map(|a| if let NeighbourAttribute::LinkLayerAddress(l) = a { Some(l.clone()) } else { None });
                Some((addr, mac))
            })
            .collect())
    }

    pub async fn list(&self) -> Result<Vec<Link>, LinkError> {
        let list: Vec<_> =
            self.handle.link().get().execute().try_collect().await.map_err(|e| refused("list links".into(), e))?;
        Ok(list.into_iter().map(plain_link).collect())
    }

    async fn index(&self, name: &str) -> Result<u32, LinkError> {
        // A dump instead of a lookup by name: the answer to a missing name is then ours, not an errno to interpret.
        self.list()
            .await?
            .into_iter()
            .find(|l| l.name == name)
            .map(|l| l.index)
            .ok_or_else(|| LinkError::NoLink(name.to_owned()))
    }

    async fn unspec(&self, name: &str) -> Result<LinkMessageBuilder<LinkUnspec>, LinkError> {
        Ok(LinkUnspec::new_with_index(self.index(name).await?))
    }

    async fn add(&self, message: LinkMessage, what: impl FnOnce() -> String) -> Result<(), LinkError> {
        self.handle.link().add(message).execute().await.map_err(|e| refused(what(), e))
    }

    async fn change(&self, message: LinkMessage, what: impl FnOnce() -> String) -> Result<(), LinkError> {
        self.handle.link().change(message).execute().await.map_err(|e| refused(what(), e))
    }
}

/// Writes a kernel setting inside a namespace, `key` with dots or slashes: `net.ipv4.ip_forward`.
pub fn sysctl(ns: &Namespace, key: &str, value: &str) -> Result<(), LinkError> {
    // Interface names may hold dots; with slashes in the key it is taken as it is.
    let path =
        if key.contains('/') { format!("/proc/sys/{key}") } else { format!("/proc/sys/{}", key.replace('.', "/")) };
    ns.run(|| std::fs::write(path, value))?
        .map_err(|source| LinkError::Refused { what: format!("sysctl {key}={value}"), source })
}

fn plain_link(m: LinkMessage) -> Link {
    let mut link = Link {
        index: m.header.index,
        name: String::new(),
        up: m.header.flags.contains(LinkFlags::Up),
        running: m.header.flags.contains(LinkFlags::LowerUp) && m.header.flags.contains(LinkFlags::Up),
        mac: Vec::new(),
        mtu: 0,
    };
    for attribute in m.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            _ => {}
        }
    }
    link
}

fn refused(what: String, error: rtnetlink::Error) -> LinkError {
    match error {
        rtnetlink::Error::NetlinkError(e) => LinkError::Refused { what, source: e.to_io() },
        other => LinkError::Protocol { what, message: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Spec;

    #[tokio::test]
    async fn two_hosts_on_a_bridge_talk() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let switch = Namespace::create(&Spec::new("switch")).unwrap();
        let (a, b) = (Namespace::create(&Spec::new("a")).unwrap(), Namespace::create(&Spec::new("b")).unwrap());
        let links = Links::open_in(&switch).unwrap();
        links.add_bridge("br0").await.unwrap();
        for (port, host, ip) in [("pa", &a, "10.9.0.1"), ("pb", &b, "10.9.0.2")] {
            links.add_veth_into(port, host, "eth0").await.unwrap();
            links.set_master(port, Some("br0")).await.unwrap();
            links.up(port).await.unwrap();
            let inside = Links::open_in(host).unwrap();
            inside.up("lo").await.unwrap();
            inside.up("eth0").await.unwrap();
            inside.add_address("eth0", ip.parse().unwrap(), 24).await.unwrap();
            assert!(inside.addresses().await.unwrap().iter().any(|x| x.addr.to_string() == ip && x.prefix_len == 24));
            inside.add_route(None, "10.9.0.254".parse().unwrap()).await.unwrap();
        }
        let listener = b.run_net(|| std::net::TcpListener::bind("10.9.0.2:80")).unwrap().unwrap();
        let connect = || {
            a.run_net(|| {
                std::net::TcpStream::connect_timeout(
                    &"10.9.0.2:80".parse().unwrap(),
                    std::time::Duration::from_millis(500),
                )
            })
            .unwrap()
        };
        assert_eq!(connect().unwrap().peer_addr().unwrap(), listener.local_addr().unwrap());
        assert!(
            Links::open_in(&a)
                .unwrap()
                .neighbours()
                .await
                .unwrap()
                .iter()
                .any(|(ip, mac)| ip.to_string() == "10.9.0.2" && mac.is_some())
        );
        links.down("pb").await.unwrap();
        assert!(connect().is_err());
        assert!(matches!(links.up("nosuch").await, Err(LinkError::NoLink(n)) if n == "nosuch"));
        assert!(
            matches!(links.add_bridge("br0").await, Err(LinkError::Refused { source, .. }) if source.raw_os_error() == Some(libc::EEXIST))
        );
        sysctl(&a, "net.ipv4.ip_forward", "1").unwrap();
        assert!(sysctl(&a, "net.no.such", "1").is_err());
    }
}
