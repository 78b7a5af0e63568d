//! Parameters of the agent.

use super::routing::Daemon;
use crate::meta::{Meta, param};
use crate::outcome::AgentOutcome;
use base::Instance;
use kernel::ipvs::MAX_NAME_LEN;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Addresses of one resource.
const MAX_ADDRESSES: usize = 64;
const MAX_TIME: Duration = Duration::from_secs(3600);

pub(crate) const META: Meta = Meta {
    name: "announce",
    providers: &["bascule"],
    about: "Announces addresses through FRR or BIRD while this director's table is right and its checks are fresh (a clone)",
    params: &[
        param("ip", "string", None, "IPv4 and IPv6 addresses to announce as /32 and /128, separated by blanks")
            .required(),
        param("daemon", "string", None, "Routing daemon: bird or frr").required(),
        param(
            "socket",
            "string",
            None,
            "BIRD's control socket, /run/bird/bird.ctl unless set; FRR's directory of vty sockets",
        ),
        param("vtysh", "string", Some("vtysh"), "FRR's command"),
        param("pathspace", "string", None, "FRR's pathspace (option -N of its daemons), if it has one"),
        param(
            "interface",
            "string",
            Some("bascule-up"),
            "Interface from which the routing daemon announces addresses; made (dummy) if it is missing",
        ),
        param(
            "drain_interface",
            "string",
            Some("bascule-drain"),
            "The same, from which it announces them with the community GRACEFUL_SHUTDOWN (65535:0)",
        ),
        param(
            "drain",
            "string",
            Some("5s"),
            "How long a stop announces the addresses so before it withdraws them; 0 for not at all",
        ),
        param("settle", "string", Some("2s"), "How long a director must be fit again before it announces anew"),
        param(
            "director",
            "string",
            None,
            "Resource of the director that must be fit; every active one that serves the address unless set",
        ),
        param(
            "without_quorum",
            "string",
            Some("withdraw"),
            "What to do without quorum: withdraw, or keep (needs no-quorum-policy=freeze or ignore, else the cluster stops it)",
        ),
        param("attribute", "string", None, "Node attribute that tells what is announced; announce-RESOURCE unless set"),
    ],
    actions: &[
        ("start", 20, None),
        ("stop", 60, None),
        ("monitor", 20, Some(10)),
        ("validate-all", 20, None),
        ("meta-data", 5, None),
    ],
};

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) daemon: Daemon,
    pub(super) interface: String,
    pub(super) drain_interface: String,
    pub(super) drain: Duration,
    pub(super) settle: Duration,
    pub(super) director: Option<String>,
    pub(super) needs_quorum: bool,
    pub(super) attribute: String,
}

impl Settings {
    pub(super) fn of(instance: &Instance) -> Result<Settings, AgentOutcome> {
        let interface = name(instance, "interface", "bascule-up")?;
        let drain_interface = name(instance, "drain_interface", "bascule-drain")?;
        if interface == drain_interface {
            return Err(refused("interface and drain_interface are the same: routers could not tell them apart"));
        }
        let needs_quorum = match instance.param("without_quorum").unwrap_or("withdraw") {
            "withdraw" => true,
            "keep" => false,
            other => return Err(refused(&format!("without_quorum='{other}' is neither withdraw nor keep"))),
        };
        Ok(Settings {
            addresses: addresses(instance)?,
            daemon: daemon(instance)?,
            interface,
            drain_interface,
            drain: time(instance, "drain", 5_000)?,
            settle: time(instance, "settle", 2_000)?,
            director: instance.param("director").map(str::to_owned),
            needs_quorum,
            attribute: instance
                .param("attribute")
                .map_or_else(|| format!("announce-{}", base_id(&instance.id)), str::to_owned),
        })
    }

    /// The address is here and the daemon has no route for it: how its configuration must look.
    pub(super) fn not_carried(&self, addr: IpAddr) -> String {
        let (name, interface) = (self.daemon.name(), &self.interface);
        let cure = match self.daemon {
            Daemon::Bird { .. } => {
                format!("protocol direct {{ ipv4; ipv6; interface \"{interface}\", \"{}\"; }}", self.drain_interface)
            }
            Daemon::Frr { .. } => {
                let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
                format!(
                    "router bgp …, address-family {family} unicast: redistribute connected route-map …, which matches interface {interface}"
                )
            }
        };
        format!(
            "{addr} is on {interface} and {name} has no route for it: its configuration needs '{cure}' (configs/topologies/ecmp)"
        )
    }
}

fn addresses(instance: &Instance) -> Result<Vec<IpAddr>, AgentOutcome> {
    let mut found = Vec::new();
    for word in instance.param("ip").unwrap_or_default().split_whitespace() {
        let addr: IpAddr =
            word.parse().map_err(|_| refused(&format!("ip: '{word}' is not an IPv4 or IPv6 address")))?;
        if addr.is_unspecified() || addr.is_multicast() || addr.is_loopback() {
            return Err(refused(&format!("ip: {addr} is not an address that can be announced")));
        }
        if !found.contains(&addr) {
            found.push(addr);
        }
    }
    match found.len() {
        1..=MAX_ADDRESSES => Ok(found),
        n => Err(refused(&format!("ip: {n} addresses, 1 to {MAX_ADDRESSES} are needed"))),
    }
}

fn daemon(instance: &Instance) -> Result<Daemon, AgentOutcome> {
    let socket = instance.param("socket").map(PathBuf::from);
    match instance.param("daemon") {
        Some("bird") => Ok(Daemon::Bird { socket: socket.unwrap_or_else(|| "/run/bird/bird.ctl".into()) }),
        Some("frr") => Ok(Daemon::Frr {
            vtysh: instance.param("vtysh").unwrap_or("vtysh").into(),
            sockets: socket,
            pathspace: instance.param("pathspace").map(str::to_owned),
        }),
        Some(other) => Err(refused(&format!("daemon='{other}' is neither bird nor frr"))),
        None => Err(refused("parameter 'daemon' is missing: bird or frr")),
    }
}

fn name(instance: &Instance, param: &str, default: &str) -> Result<String, AgentOutcome> {
    let name = instance.param(param).unwrap_or(default);
    if name.is_empty()
        || name.len() > MAX_NAME_LEN
        || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
    {
        return Err(refused(&format!("{param}='{name}' is no interface's name (1 to {MAX_NAME_LEN} characters)")));
    }
    Ok(name.to_owned())
}

fn time(instance: &Instance, param: &str, default_ms: u64) -> Result<Duration, AgentOutcome> {
    let Some(text) = instance.param(param) else { return Ok(Duration::from_millis(default_ms)) };
    let ms = base::text::parse_interval_ms(text).map(Duration::from_millis);
    ms.filter(|t| *t <= MAX_TIME)
        .ok_or_else(|| refused(&format!("{param}='{text}' is not a time of an hour at most, e.g. 5s")))
}

/// Without the number of a clone's instance.
fn base_id(resource: &str) -> &str {
    resource.split(':').next().unwrap_or(resource)
}

fn refused(why: &str) -> AgentOutcome {
    AgentOutcome::not_configured(why)
}
