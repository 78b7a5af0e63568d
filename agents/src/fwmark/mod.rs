//! `ocf:bascule:fwmark`: packets to some addresses and ports get a firewall mark, for a virtual service by that mark.
//!
//! Marks are set by an nftables table of the resource's own, put in and taken out in one transaction by the `nft` command
//! (its JSON interface is documented and stable; the netlink crates for nftables are either bindings to C libraries or under
//! a licence that this program does not have). Whole subnets need not be on an interface: a rule for the mark and a local route
//! then make the packets the director's own. Rule and route go over rtnetlink.

mod ruleset;

use crate::agent::Agent;
use crate::director::{Directors, FwMarks};
use crate::meta::{Meta, param};
use crate::outcome::{AgentOutcome, Parameters};
use base::Instance;
use base::exit::OcfCode;
use kernel::policy_route::{LocalRoute, PolicyRoutes, RouteError};
use ruleset::{Marks, Prefix};
use serde_json::Value;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const MAX_PREFIXES: usize = 256;
const MAX_PORTS: usize = 256;
/// Standard input by a name that is there even without udev (`-` means `/dev/stdin`).
const STDIN: &str = "/proc/self/fd/0";
/// Priority of the rule: before the main table (32766).
const DEFAULT_PRIORITY: u64 = 100;

pub(crate) const META: Meta = Meta {
    name: "fwmark",
    providers: &["bascule", "heartbeat"],
    about: "Firewall mark for a virtual service of several ports, addresses or subnets, with its local route",
    params: &[
        param("mark", "integer", None, "The mark, 1 to 4294967295").required().unique(),
        param("ip", "string", None, "Addresses or subnets, IPv4 and IPv6, separated by blanks or commas").required(),
        param("protocol", "string", Some("tcp"), "tcp, udp, sctp, or any"),
        param("ports", "string", None, "Ports and ranges (80,443,8000-8010); all unless set"),
        param("nic", "string", None, "Only packets that come in through this interface"),
        param(
            "local_route",
            "string",
            Some("auto"),
            "Whether marked packets are taken in though the address is on no interface: yes, no, auto (yes for subnets)",
        ),
        param("table", "integer", None, "Routing table of the local route; the mark unless set"),
        param("priority", "integer", Some("100"), "Priority of the routing rule"),
    ],
    actions: &[
        ("start", 20, None),
        ("stop", 20, None),
        ("monitor", 20, Some(20)),
        ("validate-all", 5, None),
        ("meta-data", 5, None),
    ],
};

#[derive(Clone)]
pub(crate) struct Settings {
    marks: Marks,
    /// One for each family in use; empty without local route.
    routes: Vec<LocalRoute>,
}

pub(crate) struct FwMark(pub Directors);

impl FwMark {
    /// The directors prime services by mark with it, wherever the group is now.
    fn note(&self, id: &str, settings: &Settings) {
        let prefixes = settings.marks.prefixes.iter().map(|p| (p.addr, p.len)).collect();
        self.0.note_fwmarks(id, FwMarks { mark: settings.marks.mark, prefixes });
    }
}

impl Agent for FwMark {
    type Settings = Settings;

    fn meta(&self) -> &'static Meta {
        &META
    }

    fn settings(&self, instance: &Instance) -> Result<Settings, AgentOutcome> {
        Settings::of(instance)
    }

    async fn start(&self, id: &str, settings: &Settings) -> AgentOutcome {
        self.note(id, settings);
        let table = ruleset::table_name(id);
        if let Err(problem) = settings.start(&table).await {
            return outcome(problem);
        }
        let seen = settings.monitor(&table).await.unwrap_or_else(outcome);
        match seen.code {
            OcfCode::NOT_RUNNING => AgentOutcome::error(format!("put in and not there: nftables table inet {table}")),
            _ => seen,
        }
    }

    async fn stop(&self, id: &str, placed: Option<&Settings>) -> AgentOutcome {
        let routes = placed.map_or(&[][..], |s| &s.routes);
        stop(&ruleset::table_name(id), routes).await.map_or_else(outcome, |()| AgentOutcome::ok())
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> AgentOutcome {
        self.note(id, settings);
        settings.monitor(&ruleset::table_name(id)).await.unwrap_or_else(outcome)
    }

    async fn is_placed(&self, id: &str) -> bool {
        nft(&["-j", "list", "table", "inet", &ruleset::table_name(id)], None).await.is_ok()
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the command nft is missing: install the package nftables")]
    NoNft,
    #[error("nft: {0}")]
    Nft(String),
    #[error(transparent)]
    Route(#[from] RouteError),
}

fn outcome(problem: Problem) -> AgentOutcome {
    let code = if matches!(problem, Problem::NoNft) { OcfCode::NOT_INSTALLED } else { OcfCode::ERROR };
    AgentOutcome::new(code, problem.to_string())
}

impl Settings {
    async fn start(&self, table: &str) -> Result<(), Problem> {
        if !self.routes.is_empty() {
            let routes = PolicyRoutes::connect()?;
            for route in &self.routes {
                routes.add(route).await?;
            }
        }
        nft(&["-j", "-f", STDIN], Some(&ruleset::install(table, &self.marks))).await.map(drop)
    }

    /// Everything there: running. Nothing: not running. Something: a failure that says what is missing.
    async fn monitor(&self, table: &str) -> Result<AgentOutcome, Problem> {
        let found = match nft(&["-j", "list", "table", "inet", table], None).await {
            Ok(text) => count_rules(&text),
            Err(Problem::NoNft) => return Ok(AgentOutcome::not_running()),
            Err(_) => 0,
        };
        let wanted = ruleset::rules(&self.marks);
        let mut missing = Vec::new();
        if found != wanted {
            missing.push(format!("{found} of {wanted} rules are in nftables table inet {table}"));
        }
        let mut routes_there = 0;
        if !self.routes.is_empty() {
            let routes = PolicyRoutes::connect()?;
            for route in &self.routes {
                match routes.present(route).await? {
                    true => routes_there += 1,
                    false => missing.push(format!("the local route of mark {} is gone", self.marks.mark)),
                }
            }
        }
        Ok(match missing.is_empty() {
            true => AgentOutcome::ok(),
            false if found == 0 && routes_there == 0 => AgentOutcome::not_running(),
            false => AgentOutcome::error(missing.join("; ")),
        })
    }

    fn of(instance: &Instance) -> Result<Settings, AgentOutcome> {
        let mark = match instance.number("mark", 0)? {
            n @ 1..=0xffff_ffff => n as u32,
            _ => return Err(AgentOutcome::not_configured("mark is not within 1 to 4294967295")),
        };
        let prefixes = prefixes(instance)?;
        let protocol = match instance.param("protocol").unwrap_or("tcp") {
            "tcp" => Some("tcp"),
            "udp" => Some("udp"),
            "sctp" => Some("sctp"),
            "any" => None,
            other => {
                return Err(AgentOutcome::not_configured(format!("protocol='{other}' is none of tcp, udp, sctp, any")));
            }
        };
        let ports = ports(instance)?;
        if protocol.is_none() && !ports.is_empty() {
            return Err(AgentOutcome::not_configured("ports need a protocol that has ports"));
        }
        let routes = routes(instance, mark, &prefixes)?;
        let interface = instance.param("nic").map(str::to_owned);
        let marks = Marks { mark, prefixes, protocol, ports, interface };
        Ok(Settings { marks, routes })
    }
}

async fn stop(table: &str, routes: &[LocalRoute]) -> Result<(), Problem> {
    if let Err(error) = nft(&["-j", "-f", STDIN], Some(&ruleset::remove(table))).await
        // Without nft, or where the kernel knows no such table, there is none of ours.
        && nft(&["-j", "list", "table", "inet", table], None).await.is_ok()
    {
        return Err(error);
    }
    if !routes.is_empty() {
        let connection = PolicyRoutes::connect()?;
        for route in routes {
            connection.remove(route).await?;
        }
    }
    Ok(())
}

fn prefixes(instance: &Instance) -> Result<Vec<Prefix>, AgentOutcome> {
    let words = instance.param("ip").unwrap_or_default().split([' ', ',', '\t', '\n']).filter(|w| !w.is_empty());
    let mut all = Vec::new();
    for word in words {
        let wrong = || AgentOutcome::not_configured(format!("ip: '{word}' is neither an address nor a subnet"));
        all.push(Prefix::parse(word).ok_or_else(wrong)?);
    }
    all.sort_unstable();
    all.dedup();
    if all.is_empty() || all.len() > MAX_PREFIXES {
        return Err(AgentOutcome::not_configured(format!("ip needs 1 to {MAX_PREFIXES} addresses or subnets")));
    }
    Ok(all)
}

fn ports(instance: &Instance) -> Result<Vec<(u16, u16)>, AgentOutcome> {
    let mut all = Vec::new();
    for word in instance.param("ports").unwrap_or_default().split([' ', ',', '\t']).filter(|w| !w.is_empty()) {
        let (from, to) = word.split_once('-').unwrap_or((word, word));
        match (from.parse::<u16>(), to.parse::<u16>()) {
            (Ok(from), Ok(to)) if 0 < from && from <= to && all.len() < MAX_PORTS => all.push((from, to)),
            _ => return Err(AgentOutcome::not_configured(format!("ports: '{word}' is neither a port nor a range"))),
        }
    }
    Ok(all)
}

fn routes(instance: &Instance, mark: u32, prefixes: &[Prefix]) -> Result<Vec<LocalRoute>, AgentOutcome> {
    let subnets = prefixes.iter().any(|p| !p.is_host());
    let wanted = match instance.param("local_route").unwrap_or("auto") {
        "auto" => subnets,
        word => base::text::parse_bool(word)
            .ok_or_else(|| AgentOutcome::not_configured(format!("local_route='{word}' is none of yes, no, auto")))?,
    };
    let table = instance.number("table", u64::from(mark))?;
    // 253 to 255 are default, main and local.
    let table = u32::try_from(table).ok().filter(|t| *t > 0 && !(253..=255).contains(t));
    let table = table.ok_or_else(|| AgentOutcome::not_configured("table must not be 0 or 253 to 255: set table="))?;
    let priority = instance.number("priority", DEFAULT_PRIORITY)?.min(32_000) as u32;
    let families = [true, false].into_iter().filter(|v4| wanted && prefixes.iter().any(|p| p.addr.is_ipv4() == *v4));
    Ok(families.map(|ipv4| LocalRoute { ipv4, mark, table, priority }).collect())
}

fn count_rules(listing: &str) -> usize {
    let Ok(document) = serde_json::from_str::<Value>(listing) else { return 0 };
    let entries = document.get("nftables").and_then(Value::as_array);
    entries.map_or(0, |all| all.iter().filter(|entry| entry.get("rule").is_some()).count())
}

async fn nft(args: &[&str], input: Option<&Value>) -> Result<String, Problem> {
    let spawned = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Problem::NoNft),
        Err(error) => return Err(Problem::Nft(error.to_string())),
    };
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input.to_string().as_bytes()).await.map_err(|e| Problem::Nft(e.to_string()))?;
    }
    let out = child.wait_with_output().await.map_err(|e| Problem::Nft(e.to_string()))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    Err(Problem::Nft(String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or("failed").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(params: &[(&str, &str)]) -> Result<Settings, AgentOutcome> {
        let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Settings::of(&Instance { params, ..Instance::default() })
    }

    #[test]
    fn subnets_get_a_local_route_and_addresses_none() {
        let hosts = settings(&[("mark", "1"), ("ip", "192.0.2.1, 2001:db8::1"), ("ports", "80,443,8000-8010")]);
        let hosts = hosts.unwrap_or_else(|o| panic!("{}", o.reason));
        assert!(hosts.routes.is_empty());
        assert_eq!(hosts.marks.ports, [(80, 80), (443, 443), (8000, 8010)]);
        let subnet = settings(&[("mark", "7"), ("ip", "192.0.2.0/28 2001:db8::/64")]);
        let subnet = subnet.unwrap_or_else(|o| panic!("{}", o.reason));
        assert_eq!(subnet.routes.iter().map(|r| (r.ipv4, r.table)).collect::<Vec<_>>(), [(true, 7), (false, 7)]);
    }

    #[test]
    fn says_which_parameter_is_wrong() {
        let base = [("mark", "1"), ("ip", "192.0.2.1")];
        for (name, value) in [
            ("mark", "0"),
            ("ip", "web"),
            ("ports", "0"),
            ("ports", "90-80"),
            ("protocol", "icmp"),
            ("table", "254"),
            ("local_route", "perhaps"),
        ] {
            let mut params: Vec<_> = base.iter().copied().filter(|(n, _)| *n != name).collect();
            params.push((name, value));
            assert!(settings(&params).err().is_some_and(|o| o.reason.contains(name)), "{name}={value}");
        }
    }
}
