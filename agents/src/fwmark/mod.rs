//! `ocf:bascule:fwmark`: packets to some addresses and ports get a firewall mark, for a virtual service by that mark.
//!
//! Marks are set by an nftables table of the resource's own, put in and taken out in one transaction by the `nft` command
//! (its JSON interface is documented and stable; the netlink crates for nftables are either bindings to C libraries or under
//! a licence that this program does not have). Whole subnets need not be on an interface: a rule for the mark and a local route
//! then make the packets the director's own. Rule and route go over rtnetlink.

mod ruleset;

use crate::call::{AgentCall, AgentOutcome};
use crate::director::{Directors, FwMarks};
use crate::metadata::{Agent, Param, param};
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

pub(crate) const META: Agent = Agent {
    name: "fwmark",
    about: "Firewall mark for a virtual service of several ports, addresses or subnets, with its local route",
    params: &[
        Param { required: true, unique: true, ..param("mark", "integer", None, "The mark, 1 to 4294967295") },
        Param {
            required: true,
            ..param("ip", "string", None, "Addresses or subnets, IPv4 and IPv6, separated by blanks or commas")
        },
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

struct Settings {
    table: String,
    marks: Marks,
    /// One for each family in use; empty without local route.
    routes: Vec<LocalRoute>,
}

pub(crate) async fn run(call: &AgentCall, directors: &Directors) -> AgentOutcome {
    let settings = match Settings::of(call) {
        Ok(settings) => settings,
        Err(outcome) => return outcome,
    };
    let prefixes = settings.marks.prefixes.iter().map(|p| (p.addr, p.len)).collect();
    directors.note_fwmarks(&call.resource, FwMarks { mark: settings.marks.mark, prefixes });
    let result = match call.operation.as_str() {
        "start" => settings.start().await,
        "stop" => settings.stop().await,
        "monitor" | "status" => return settings.monitor().await.unwrap_or_else(outcome),
        "validate-all" => Ok(()),
        other => return AgentOutcome::new(OcfCode::UNIMPLEMENTED, format!("fwmark has no action '{other}'")),
    };
    result.map_or_else(outcome, |()| AgentOutcome::ok())
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
    async fn start(&self) -> Result<(), Problem> {
        if !self.routes.is_empty() {
            let routes = PolicyRoutes::connect()?;
            for route in &self.routes {
                routes.add(route).await?;
            }
        }
        nft(&["-j", "-f", STDIN], Some(&ruleset::install(&self.table, &self.marks))).await.map(drop)
    }

    async fn stop(&self) -> Result<(), Problem> {
        match nft(&["-j", "-f", STDIN], Some(&ruleset::remove(&self.table))).await {
            // Without nft there can be no table of ours.
            Ok(_) | Err(Problem::NoNft) => {}
            Err(error) => return Err(error),
        }
        if !self.routes.is_empty() {
            let routes = PolicyRoutes::connect()?;
            for route in &self.routes {
                routes.remove(route).await?;
            }
        }
        Ok(())
    }

    /// Everything there: running. Nothing: not running. Something: a failure that says what is missing.
    async fn monitor(&self) -> Result<AgentOutcome, Problem> {
        let found = match nft(&["-j", "list", "table", "inet", &self.table], None).await {
            Ok(text) => count_rules(&text),
            Err(Problem::NoNft) => return Ok(AgentOutcome::not_running()),
            Err(_) => 0,
        };
        let wanted = ruleset::rules(&self.marks);
        let mut missing = Vec::new();
        if found != wanted {
            missing.push(format!("{found} of {wanted} rules are in nftables table inet {}", self.table));
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

    fn of(call: &AgentCall) -> Result<Settings, AgentOutcome> {
        let mark = match call.number("mark", 0)? {
            n @ 1..=0xffff_ffff => n as u32,
            _ => return Err(AgentOutcome::not_configured("mark is not within 1 to 4294967295")),
        };
        let prefixes = prefixes(call)?;
        let protocol = match call.param("protocol").unwrap_or("tcp") {
            "tcp" => Some("tcp"),
            "udp" => Some("udp"),
            "sctp" => Some("sctp"),
            "any" => None,
            other => {
                return Err(AgentOutcome::not_configured(format!("protocol='{other}' is none of tcp, udp, sctp, any")));
            }
        };
        let ports = ports(call)?;
        if protocol.is_none() && !ports.is_empty() {
            return Err(AgentOutcome::not_configured("ports need a protocol that has ports"));
        }
        let routes = routes(call, mark, &prefixes)?;
        let interface = call.param("nic").map(str::to_owned);
        let marks = Marks { mark, prefixes, protocol, ports, interface };
        Ok(Settings { table: ruleset::table_name(&call.resource), marks, routes })
    }
}

fn prefixes(call: &AgentCall) -> Result<Vec<Prefix>, AgentOutcome> {
    let words = call.param("ip").unwrap_or_default().split([' ', ',', '\t', '\n']).filter(|w| !w.is_empty());
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

fn ports(call: &AgentCall) -> Result<Vec<(u16, u16)>, AgentOutcome> {
    let mut all = Vec::new();
    for word in call.param("ports").unwrap_or_default().split([' ', ',', '\t']).filter(|w| !w.is_empty()) {
        let (from, to) = word.split_once('-').unwrap_or((word, word));
        match (from.parse::<u16>(), to.parse::<u16>()) {
            (Ok(from), Ok(to)) if 0 < from && from <= to && all.len() < MAX_PORTS => all.push((from, to)),
            _ => return Err(AgentOutcome::not_configured(format!("ports: '{word}' is neither a port nor a range"))),
        }
    }
    Ok(all)
}

fn routes(call: &AgentCall, mark: u32, prefixes: &[Prefix]) -> Result<Vec<LocalRoute>, AgentOutcome> {
    let subnets = prefixes.iter().any(|p| !p.is_host());
    let wanted = match call.param("local_route").unwrap_or("auto") {
        "auto" => subnets,
        word => base::text::parse_bool(word)
            .ok_or_else(|| AgentOutcome::not_configured(format!("local_route='{word}' is none of yes, no, auto")))?,
    };
    let table = call.number("table", u64::from(mark))?;
    // 253 to 255 are default, main and local.
    let table = u32::try_from(table).ok().filter(|t| *t > 0 && !(253..=255).contains(t));
    let table = table.ok_or_else(|| AgentOutcome::not_configured("table must not be 0 or 253 to 255: set table="))?;
    let priority = call.number("priority", DEFAULT_PRIORITY)?.min(32_000) as u32;
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
        Settings::of(&AgentCall {
            resource: "marks".into(),
            agent: "fwmark".into(),
            operation: "start".into(),
            params: params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            timeout: std::time::Duration::from_secs(5),
        })
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
