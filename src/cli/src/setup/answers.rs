//! What a pair is made of, as it is typed; each value by itself ([`Answers`]' readers), then all of them together ([`Answers::fit`]).

use ::ldirectord::config::Method;
use std::net::IpAddr;

/// Longest name of an interface.
const MAX_INTERFACE: usize = 15;
/// Directors that a set-up by questions knows how to do.
const DIRECTORS: std::ops::RangeInclusive<usize> = 2..=3;
const MAX_LINKS: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// One for each link.
    pub addresses: Vec<IpAddr>,
}

/// A virtual address, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    pub addr: IpAddr,
    pub interface: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub udp: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    pub addr: IpAddr,
    pub port: Option<u16>,
    pub weight: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub node: String,
    pub agent: String,
    pub params: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub cluster: String,
    pub nodes: Vec<Node>,
    pub vips: Vec<Vip>,
    pub ports: Vec<Port>,
    pub servers: Vec<Server>,
    pub forward: Option<Method>,
    pub gateway: Option<Vip>,
    pub scheduler: String,
    pub check: String,
    pub request: String,
    pub receive: String,
    pub sync: String,
    /// Host and port.
    pub arbitrator: Option<(String, u16)>,
    pub fences: Vec<Fence>,
}

pub const CHECKS: [&str; 8] = ["http", "https", "connect", "ping", "smtp", "dns", "imap", "none"];
pub const SCHEDULERS: [&str; 11] = ["wlc", "wrr", "rr", "lc", "mh", "sh", "dh", "sed", "nq", "lblc", "lblcr"];
/// Of a qnetd.
pub const ARBITRATOR_PORT: u16 = 5403;

fn address(text: &str) -> Result<IpAddr, String> {
    let usable = |a: &IpAddr| !a.is_unspecified() && !a.is_multicast();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse()
        .ok()
        .filter(usable)
        .ok_or_else(|| format!("'{text}' is no address: expected one like 192.0.2.1 or 2001:db8::1"))
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no {what}"))
}

fn port(text: &str) -> Result<u16, String> {
    number(text, "port: expected 1 to 65535").and_then(|p: u16| match p {
        0 => Err("0 is no port: expected 1 to 65535".to_owned()),
        p => Ok(p),
    })
}

/// An interface's name.
pub fn interface(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= MAX_INTERFACE
        && text.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != '@');
    match fits {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("'{text}' is no interface: expected a name like eth0, of up to {MAX_INTERFACE} characters"))
        }
    }
}

/// Letters, digits, '-', '_', '.'.
pub fn name(text: &str, of: &str) -> Result<String, String> {
    match wire::pcsd::is_plain(text) && !text.contains(':') {
        true => Ok(text.to_owned()),
        false => Err(format!("'{text}' is no name of a {of}: expected letters, digits, '-', '_' and '.'")),
    }
}

/// `NAME=ADDRESS[,ADDRESS...]`.
pub fn node(text: &str) -> Result<Node, String> {
    let (called, addresses) =
        text.split_once('=').ok_or_else(|| format!("'{text}': expected NAME=ADDRESS, a further link as ,ADDRESS"))?;
    let addresses: Vec<IpAddr> = addresses.split(',').map(address).collect::<Result<_, _>>()?;
    match addresses.len() <= MAX_LINKS {
        true => Ok(Node { name: name(called, "host")?, addresses }),
        false => Err(format!("{called} has {} addresses, expected at most {MAX_LINKS}", addresses.len())),
    }
}

/// `ADDRESS[@INTERFACE]`.
pub fn vip(text: &str) -> Result<Vip, String> {
    let (addr, on) = text.split_once('@').map_or((text, None), |(a, i)| (a, Some(i)));
    if addr.contains('/') {
        return Err(format!("'{text}': expected an address without a prefix (it is held as a single address)"));
    }
    Ok(Vip { addr: address(addr)?, interface: on.map(interface).transpose()?.unwrap_or_default() })
}

/// `PORT[/tcp|udp]`.
pub fn service_port(text: &str) -> Result<Port, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match protocol {
        "tcp" | "udp" => Ok(Port { number: port(number)?, udp: protocol == "udp" }),
        other => Err(format!("'{other}' is no protocol: expected PORT, PORT/tcp or PORT/udp")),
    }
}

/// `ADDRESS[:PORT][*WEIGHT]`, IPv6 with a port in brackets.
pub fn server(text: &str) -> Result<Server, String> {
    let (place, weight) = text.split_once('*').map_or((text, None), |(p, w)| (p, Some(w)));
    let weight = weight.map(|w| number(w, "weight: expected 0 to 65535")).transpose()?.unwrap_or(1);
    if let Ok(addr) = address(place) {
        return Ok(Server { addr, port: None, weight });
    }
    match place.rsplit_once(':') {
        Some((addr, at)) if !addr.contains(':') || addr.starts_with('[') => {
            Ok(Server { addr: address(addr)?, port: Some(port(at)?), weight })
        }
        _ => Err(format!("'{text}' is no server: expected ADDRESS, ADDRESS:PORT or ADDRESS:PORT*WEIGHT")),
    }
}

/// `HOST[:PORT]`.
pub fn arbitrator(text: &str) -> Result<(String, u16), String> {
    let (host, at) = match text.rsplit_once(':') {
        Some((host, at)) if !host.contains(':') || host.starts_with('[') => (host, port(at)?),
        _ => (text, ARBITRATOR_PORT),
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match wire::pcsd::is_plain(bare) {
        true => Ok((bare.to_owned(), at)),
        false => Err(format!(
            "'{text}' is no host: expected a name or an address, and :PORT where it is not {ARBITRATOR_PORT}"
        )),
    }
}

/// `NODE:AGENT[,NAME=VALUE...]`.
pub fn fence(text: &str) -> Result<Fence, String> {
    let form = || {
        format!(
            "'{text}': expected NODE:AGENT,NAME=VALUE,... like d1:fence_ipmilan,ip=10.0.0.1,username=admin,password=…"
        )
    };
    let (node, rest) = text.split_once(':').ok_or_else(form)?;
    let mut parts = rest.split(',');
    let agent = parts.next().filter(|a| !a.is_empty()).ok_or_else(form)?;
    let params = parts.map(|p| p.split_once('=').filter(|(n, v)| !n.is_empty() && !v.is_empty()).ok_or_else(form));
    let params = params.map(|p| p.map(|(n, v)| (n.to_owned(), v.to_owned()))).collect::<Result<_, _>>()?;
    let agent = agent.trim_start_matches("stonith:").to_owned();
    if !crate::edit::agent_is_there(&format!("stonith:{agent}")) {
        return Err(format!("fence agent '{agent}' is not installed here (on Debian: apt install fence-agents)"));
    }
    Ok(Fence { node: name(node, "host")?, agent, params })
}

pub fn one_of(text: &str, of: &[&str], what: &str) -> Result<String, String> {
    match of.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("'{text}' is no {what}: expected one of {}", of.join(", "))),
    }
}

/// A text for the director's file.
pub fn text(given: &str) -> Result<String, String> {
    match crate::appliance::cf::quoted(given) {
        Some(_) => Ok(given.to_owned()),
        None => Err("expected a text of one line without quotes".to_owned()),
    }
}

impl Answers {
    pub fn method(&self) -> Method {
        self.forward.unwrap_or(Method::Gate)
    }

    /// What is wrong with the nodes, as soon as they are known.
    pub fn fit_nodes(&self) -> Result<(), String> {
        if !DIRECTORS.contains(&self.nodes.len()) {
            return Err(format!("{} directors: expected two or three, each NAME=ADDRESS", self.nodes.len()));
        }
        for (at, node) in self.nodes.iter().enumerate() {
            if self.nodes[..at].iter().any(|n| n.name == node.name) {
                return Err(format!("{} is named twice", node.name));
            }
            if node.addresses.len() != self.nodes[0].addresses.len() {
                return Err(format!(
                    "{} has another number of addresses than {}: one for each link",
                    node.name, self.nodes[0].name
                ));
            }
            let others = self.nodes[..at].iter().flat_map(|n| &n.addresses);
            if let Some(both) = others.clone().find(|a| node.addresses.contains(a)) {
                return Err(format!("{both} is of two directors"));
            }
        }
        Ok(())
    }

    /// What is wrong with the virtual addresses.
    pub fn fit_vips(&self) -> Result<(), String> {
        for (at, vip) in self.vips.iter().chain(&self.gateway).enumerate() {
            if let Some(node) = self.nodes.iter().find(|n| n.addresses.contains(&vip.addr)) {
                return Err(format!(
                    "{} is {}'s own address: a virtual address belongs to no host",
                    vip.addr, node.name
                ));
            }
            if self.vips.iter().take(at).any(|v| v.addr == vip.addr) {
                return Err(format!("{} is named twice", vip.addr));
            }
        }
        Ok(())
    }

    /// What is wrong with the servers.
    pub fn fit_servers(&self) -> Result<(), String> {
        for server in &self.servers {
            if self.vips.iter().any(|v| v.addr == server.addr) {
                return Err(format!("{} is a virtual address, and no server", server.addr));
            }
            if !self.vips.iter().any(|v| v.addr.is_ipv4() == server.addr.is_ipv4()) {
                return Err(format!("{}: there is no virtual address of its family", server.addr));
            }
        }
        let lonely = self.vips.iter().find(|v| !self.servers.iter().any(|s| s.addr.is_ipv4() == v.addr.is_ipv4()));
        match lonely {
            Some(vip) => Err(format!("{}: there is no server of its family", vip.addr)),
            None => Ok(()),
        }
    }

    /// Whether packets can be forwarded like that.
    pub fn fit_forward(&self) -> Result<(), String> {
        for server in self.servers.iter().filter(|s| s.port.is_some()) {
            let [only] = self.ports.as_slice() else {
                return Err(format!("{}: with several ports of the service a server has none of its own", server.addr));
            };
            if self.method() != Method::Masq && server.port != Some(only.number) {
                return Err(format!(
                    "{}: only masq can change the port, {} leaves it as it is ({})",
                    server.addr,
                    self.method().name(),
                    only.number
                ));
            }
        }
        Ok(())
    }

    /// What is wrong with the whole.
    pub fn fit(&self) -> Result<(), String> {
        self.fit_nodes()?;
        self.fit_vips()?;
        self.fit_servers()?;
        self.fit_forward()?;
        self.fit_fences()
    }

    /// Half of the nodes fenced is none: whoever is not would be waited for.
    pub fn fit_fences(&self) -> Result<(), String> {
        for fence in &self.fences {
            if !self.nodes.iter().any(|n| n.name == fence.node) {
                return Err(format!("'{}' is none of the directors", fence.node));
            }
        }
        let without = self.nodes.iter().find(|n| !self.fences.iter().any(|f| f.node == n.name));
        match without.filter(|_| !self.fences.is_empty()) {
            Some(node) => {
                Err(format!("{} has no fence device: expected one for each director, or none at all", node.name))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_are_called() {
        let v6 = server("[2001:db8::7]:8080*5").expect("a server");
        assert_eq!((v6.port, v6.weight, v6.addr.is_ipv6()), (Some(8080), 5, true));
        assert_eq!(server("2001:db8::7").map(|s| s.port), Ok(None));
        assert_eq!(vip("192.0.2.1@eth0").map(|v| v.interface), Ok("eth0".to_owned()));
        assert_eq!(service_port("53/udp"), Ok(Port { number: 53, udp: true }));
        assert_eq!(arbitrator("q.example.org"), Ok(("q.example.org".to_owned(), 5403)));
        assert_eq!(arbitrator("[::1]:99"), Ok(("::1".to_owned(), 99)));
        assert_eq!(node("d1=10.0.0.1,10.1.0.1").map(|n| n.addresses.len()), Ok(2));
    }

    #[test]
    fn what_is_none_is_refused_with_what_was_expected() {
        let wrong = [
            node("d1").map(drop),
            node("d 1=10.0.0.1").map(drop),
            node("d1=ten").map(drop),
            vip("192.0.2.1/24").map(drop),
            vip("192.0.2.1@a/b").map(drop),
            vip("224.0.0.1").map(drop),
            service_port("0").map(drop),
            service_port("80/sctp").map(drop),
            server("10.0.0.1:x").map(drop),
            server("10.0.0.1*70000").map(drop),
            arbitrator("a b").map(drop),
            fence("d1").map(drop),
            text("a\"b").map(drop),
            interface("much-too-long-a-name").map(drop),
        ];
        for (at, refused) in wrong.into_iter().enumerate() {
            assert!(refused.as_ref().is_err_and(|why| why.contains("expected")), "{at}: {refused:?}");
        }
    }

    #[test]
    fn answers_that_contradict_each_other_are_refused() {
        let good = Answers {
            nodes: vec![node("d1=10.0.0.1").expect("one"), node("d2=10.0.0.2").expect("one")],
            vips: vec![vip("192.0.2.1").expect("one")],
            ports: vec![service_port("80").expect("one")],
            servers: vec![server("10.0.0.11").expect("one")],
            ..Answers::default()
        };
        assert_eq!(good.fit(), Ok(()));
        let refused = |change: &dyn Fn(&mut Answers), why: &str| {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(bad.fit().is_err_and(|w| w.contains(why)), "{why}: {:?}", bad.fit());
        };
        refused(&|a| drop(a.nodes.pop()), "expected two or three");
        refused(&|a| a.nodes[1].name = "d1".to_owned(), "named twice");
        refused(&|a| a.nodes[1].addresses = a.nodes[0].addresses.clone(), "of two directors");
        refused(&|a| a.vips[0].addr = a.nodes[0].addresses[0], "own address");
        refused(&|a| a.servers[0].addr = a.vips[0].addr, "no server");
        refused(&|a| a.vips.push(vip("2001:db8::1").expect("one")), "no server of its family");
        refused(&|a| a.servers[0].port = Some(8080), "only masq");
        refused(
            &|a| a.fences.push(Fence { node: "d1".to_owned(), agent: "x".to_owned(), params: Vec::new() }),
            "d2 has no fence device",
        );
    }
}
