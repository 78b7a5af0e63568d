//! From names to addresses, and which entry of the nodelist this host is.

use super::grammar::Position;
use super::{Config, Finding, IpVersion, Node, Severity};
use base::NodeId;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// What this host knows about itself.
#[derive(Clone, Debug, Default)]
pub struct Local {
    pub hostname: String,
    pub addresses: Vec<IpAddr>,
    /// `--node`: a name or id that overrides the look-up.
    pub chosen: Option<String>,
}

impl Local {
    /// Asks the running system.
    pub fn of_this_host(chosen: Option<String>) -> Local {
        let hostname = nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default();
        let addresses =
            nix::ifaddrs::getifaddrs().map(|all| all.filter_map(|i| ip_of(i.address?)).collect()).unwrap_or_default();
        Local { hostname, addresses, chosen }
    }
}

fn ip_of(address: nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (_, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        _ => None,
    }
}

/// A node with its addresses by link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedNode {
    pub id: NodeId,
    pub name: String,
    pub votes: u32,
    pub addresses: Vec<SocketAddr>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    pub me: NodeId,
    pub nodes: Vec<ResolvedNode>,
}

/// Every address looked up, families checked per link, and the local node found; or all that stands against it.
pub fn resolve(config: &Config, local: &Local) -> Result<Resolved, Vec<Finding>> {
    let mut problems = Vec::new();
    let mut nodes = Vec::new();
    for node in &config.nodes {
        let mut addresses = Vec::new();
        for (link, (text, at)) in node.addresses.iter().enumerate() {
            let port = config.links.get(link).map_or(super::DEFAULT_PORT, |l| l.port);
            match lookup(text, port, config.totem.ip_version) {
                Ok(address) => addresses.push(address),
                Err(error) => problems.push(unresolved(config, text, *at, &error)),
            }
        }
        nodes.push(ResolvedNode { id: node.id, name: node.name.clone(), votes: node.votes, addresses });
    }
    if problems.is_empty() {
        problems.extend(mixed_families(config, &nodes));
    }
    match find_local(config, &nodes, local) {
        Some(me) => {
            problems.extend(nodes.iter().zip(&config.nodes).find(|(n, _)| n.id == me).and_then(|(node, raw)| {
                // What could not be looked up is told already.
                problems.is_empty().then(|| elsewhere(config, node, raw, local))?
            }));
            if problems.is_empty() { Ok(Resolved { me, nodes }) } else { Err(problems) }
        }
        None => {
            problems.push(not_listed(config, local));
            Err(problems)
        }
    }
}

fn lookup(text: &str, port: u16, version: IpVersion) -> Result<SocketAddr, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let all: Vec<SocketAddr> = (text, port).to_socket_addrs().map_err(|e| e.to_string())?.collect();
    let v4 = all.iter().find(|a| a.is_ipv4()).copied();
    let v6 = all.iter().find(|a| a.is_ipv6()).copied();
    let found = match version {
        IpVersion::V4 => v4,
        IpVersion::V6 => v6,
        IpVersion::V4First => v4.or(v6),
        IpVersion::V6First => v6.or(v4),
    };
    found.ok_or_else(|| format!("it has no address of the family that `ip_version` asks for ({version:?})"))
}

fn unresolved(config: &Config, text: &str, at: Position, error: &str) -> Finding {
    Finding {
        severity: Severity::Refused,
        file: config.file.clone(),
        at,
        text: format!("expected an address or a host name that resolves, found `{text}`: {error}"),
        cure: format!("write the address, or add a line `ADDRESS {text}` to /etc/hosts on every node"),
    }
}

fn mixed_families(config: &Config, nodes: &[ResolvedNode]) -> Vec<Finding> {
    let Some(first) = nodes.first() else { return Vec::new() };
    let wrong = |node: &ResolvedNode, link: usize| {
        let (mine, theirs) = (first.addresses.get(link)?, node.addresses.get(link)?);
        (mine.is_ipv4() != theirs.is_ipv4()).then_some((*mine, *theirs))
    };
    let mut findings = Vec::new();
    for (node, raw) in nodes.iter().zip(&config.nodes) {
        for (link, (_, at)) in raw.addresses.iter().enumerate() {
            if let Some((a, b)) = wrong(node, link) {
                let text = format!(
                    "ring{link}_addr expected the same address family on every node, found {} on {} and {} on {}",
                    a.ip(),
                    first.name,
                    b.ip(),
                    node.name
                );
                let cure = "write addresses of one family, or set `ip_version` in totem{}".to_owned();
                findings.push(Finding { severity: Severity::Refused, file: config.file.clone(), at: *at, text, cure });
            }
        }
    }
    findings
}

/// The original's order: exact host name, host name without domain, short names equal, then an address of ours.
fn find_local(config: &Config, nodes: &[ResolvedNode], local: &Local) -> Option<NodeId> {
    if let Some(chosen) = &local.chosen {
        return nodes
            .iter()
            .find(|n| base::ids::same_node(&n.name, chosen) || n.id.0.to_string() == *chosen)
            .map(|n| n.id);
    }
    let same = base::ids::same_node;
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let names = |node: &Node| {
        let ring0 = node.addresses.first().map(|(a, _)| a.clone()).filter(|a| a.parse::<IpAddr>().is_err());
        std::iter::once(node.name.clone()).chain(ring0).collect::<Vec<String>>()
    };
    let by = |test: &dyn Fn(&str) -> bool| {
        config.nodes.iter().find(|n| names(n).iter().any(|name| test(name))).map(|n| n.id)
    };
    let host = local.hostname.as_str();
    by(&|name| same(name, host))
        .or_else(|| by(&|name| same(name, &short(host))))
        .or_else(|| by(&|name| name.parse::<IpAddr>().is_err() && same(&short(name), &short(host))))
        .or_else(|| nodes.iter().find(|n| n.addresses.iter().any(|a| local.addresses.contains(&a.ip()))).map(|n| n.id))
}

/// By its name or by `--node` this host is an entry of the nodelist, but none of the entry's addresses is here: it would run as
/// somebody else, or beside it. Addresses of further links may still come up later.
fn elsewhere(config: &Config, node: &ResolvedNode, raw: &Node, local: &Local) -> Option<Finding> {
    let here = |ip: IpAddr| ip.is_loopback() || local.addresses.contains(&ip);
    if node.addresses.iter().any(|a| here(a.ip())) {
        return None;
    }
    let (_, at) = raw.addresses.first()?;
    let theirs: Vec<String> = node.addresses.iter().map(|a| a.ip().to_string()).collect();
    let mine: Vec<String> = local.addresses.iter().filter(|a| !a.is_loopback()).map(ToString::to_string).collect();
    let theirs = theirs.join(" ");
    let by = match &local.chosen {
        Some(chosen) => format!("--node {chosen}"),
        None => format!("the host name `{}`", local.hostname),
    };
    Some(Finding {
        severity: Severity::Absent,
        file: config.file.clone(),
        at: *at,
        text: format!(
            "{theirs} of node {} is not an address of this host, which is that node by {by}; its addresses are {}",
            node.name,
            if mine.is_empty() { "none".to_owned() } else { mine.join(" ") },
        ),
        cure: format!(
            "start node {} on the host that has its address, give this host an entry of its own, correct ring0_addr in every \
             corosync.conf, or bring the interface with {theirs} up",
            node.name
        ),
    })
}

fn not_listed(config: &Config, local: &Local) -> Finding {
    let listed: Vec<&str> = config.nodes.iter().map(|n| n.name.as_str()).collect();
    let looked_for = match &local.chosen {
        Some(chosen) => format!("node `{chosen}`"),
        None => format!("this host (host name `{}`, {} addresses)", local.hostname, local.addresses.len()),
    };
    Finding {
        severity: Severity::Refused,
        file: config.file.clone(),
        at: config.nodes.first().map(|n| n.at).unwrap_or(Position { line: 1, column: 1 }),
        text: format!("expected {looked_for} in the nodelist, found only {}", listed.join(", ")),
        cure: "add a node{} with its ring0_addr, nodeid and name, or name an entry with --node NAME".to_owned(),
    }
}
