//! Meta-data of the native agents, as tools such as pcs and crmsh read it (OCF Resource Agent API 1.1).

use crate::call::AgentOutcome;
use base::exit::OcfCode;
use std::fmt::Write;

/// Agents that run inside the daemon.
pub(crate) const NATIVE: &[&str] =
    &["IPaddr2", "IPaddr", "ldirectord", "Dummy", "ipvs-sync", "director-settings", "fwmark", "ping"];

pub(crate) struct Agent {
    pub name: &'static str,
    pub about: &'static str,
    pub params: &'static [Param],
    /// Action, timeout, interval; in seconds.
    pub actions: &'static [(&'static str, u32, Option<u32>)],
}

pub(crate) struct Param {
    pub name: &'static str,
    pub kind: &'static str,
    pub default: Option<&'static str>,
    pub required: bool,
    pub unique: bool,
    pub about: &'static str,
}

pub(crate) const fn param(
    name: &'static str,
    kind: &'static str,
    default: Option<&'static str>,
    about: &'static str,
) -> Param {
    Param { name, kind, default, required: false, unique: false, about }
}

/// What stock configurations may contain and what has no meaning for a leased host address.
const IGNORED: &str = "Accepted for existing configurations and without meaning";
const UNUSED_ARP_BG: Param = param("arp_bg", "boolean", Some("true"), "Accepted: announcements never delay the start");

const ADDRESS_PARAMS: &[Param] = &[
    Param { required: true, unique: true, ..param("ip", "string", None, "IPv4 or IPv6 address to hold") },
    param("nic", "string", None, "Interface; without it, the one whose subnet holds the address"),
    param("cidr_netmask", "string", None, "Checked and otherwise without meaning: the address goes in as /32 or /128"),
    param("iflabel", "string", None, "Label of an IPv4 address, put behind the interface's name and a colon"),
    param(
        "arp_count",
        "integer",
        Some("5"),
        "Announcements (gratuitous ARP, unsolicited neighbour advertisements) at start",
    ),
    param("arp_interval", "integer", Some("200"), "Milliseconds between them"),
    param(
        "lvs_support",
        "boolean",
        Some("false"),
        "The address is on lo at all times, for a director that is a real server itself; needs arp_ignore=1",
    ),
    param("arp_count_refresh", "integer", Some("0"), "Announcements at each monitor operation"),
    param(
        "arp_refresh",
        "integer",
        Some("60"),
        "Seconds between single announcements while the address is held; 0 for none",
    ),
    param(
        "check_link_status",
        "boolean",
        Some("false"),
        "Whether an address on an interface without carrier has failed; a start that failed so needs a clean-up afterwards",
    ),
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

const ADDRESS_ACTIONS: &[(&str, u32, Option<u32>)] = &[
    ("start", 20, None),
    ("stop", 20, None),
    ("monitor", 20, Some(10)),
    ("meta-data", 5, None),
    ("validate-all", 20, None),
];

const AGENTS: &[Agent] = &[
    crate::sync::META,
    crate::settings::META,
    crate::fwmark::META,
    crate::ping::META,
    Agent {
        name: "IPaddr2",
        about: "Virtual address, held as a lease that lapses when its node no longer renews it",
        params: ADDRESS_PARAMS,
        actions: ADDRESS_ACTIONS,
    },
    Agent {
        name: "IPaddr",
        about: "Virtual address under the older agent's name; the same as IPaddr2",
        params: ADDRESS_PARAMS,
        actions: ADDRESS_ACTIONS,
    },
    Agent {
        name: "ldirectord",
        about: "Director: checks the real servers and keeps the IPVS table right",
        params: &[
            Param {
                unique: true,
                ..param("configfile", "string", Some("/etc/ha.d/ldirectord.cf"), "Configuration of virtual services")
            },
            param(
                "ldirectord",
                "string",
                Some("/usr/sbin/ldirectord"),
                "Accepted for existing configurations; the director is Bascule's own",
            ),
            param(
                "warm_standby",
                "boolean",
                Some("yes"),
                "Whether a node that may take over checks the servers as well; without, it relies on what the active director tells",
            ),
        ],
        actions: &[
            ("start", 15, None),
            ("stop", 15, None),
            ("monitor", 10, Some(20)),
            ("meta-data", 10, None),
            ("validate-all", 10, None),
        ],
    },
    Agent {
        name: "Dummy",
        about: "A resource that does nothing but remember that it runs",
        params: &[
            Param { unique: true, ..param("state", "string", None, "File that exists while the resource runs") },
            param("fake", "string", Some("dummy"), "Can be changed to make the cluster restart the resource"),
            param("op_sleep", "string", Some("0"), "Seconds that every action takes"),
            param("fail_start_on", "string", None, "Host name on which start fails"),
        ],
        actions: &[
            ("start", 20, None),
            ("stop", 20, None),
            ("monitor", 20, Some(10)),
            ("reload", 20, None),
            ("migrate_to", 20, None),
            ("migrate_from", 20, None),
            ("validate-all", 20, None),
            ("meta-data", 5, None),
        ],
    },
];

/// The meta-data document of `agent`, as the action's output.
pub(crate) fn answer(agent: &str) -> AgentOutcome {
    match AGENTS.iter().find(|a| a.name == agent) {
        Some(agent) => AgentOutcome { output: document(agent), ..AgentOutcome::ok() },
        None => AgentOutcome::new(OcfCode::NOT_INSTALLED, format!("no native agent is called '{agent}'")),
    }
}

fn document(agent: &Agent) -> String {
    let mut out = format!(
        "<?xml version=\"1.0\"?>\n<resource-agent name=\"{}\" version=\"{}\">\n  <version>1.1</version>\n  \
         <longdesc lang=\"en\">{about}</longdesc>\n  <shortdesc lang=\"en\">{about}</shortdesc>\n  <parameters>\n",
        agent.name,
        env!("CARGO_PKG_VERSION"),
        about = agent.about
    );
    for p in agent.params {
        let default = p.default.map(|d| format!(" default=\"{d}\"")).unwrap_or_default();
        let _ = write!(
            out,
            "    <parameter name=\"{}\" required=\"{}\" unique=\"{}\">\n      <longdesc lang=\"en\">{about}</longdesc>\n      \
             <shortdesc lang=\"en\">{about}</shortdesc>\n      <content type=\"{}\"{default}/>\n    </parameter>\n",
            p.name,
            u8::from(p.required),
            u8::from(p.unique),
            p.kind,
            about = p.about
        );
    }
    out.push_str("  </parameters>\n  <actions>\n");
    for (name, timeout_s, interval_s) in agent.actions {
        let interval = interval_s.map(|s| format!(" interval=\"{s}s\" depth=\"0\"")).unwrap_or_default();
        let _ = writeln!(out, "    <action name=\"{name}\" timeout=\"{timeout_s}s\"{interval}/>");
    }
    out.push_str("  </actions>\n</resource-agent>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_native_agent_has_meta_data() {
        for agent in NATIVE {
            let outcome = answer(agent);
            assert_eq!(outcome.code, OcfCode::OK, "{agent}");
            assert!(outcome.output.contains("<action name=\"monitor\""), "{agent}");
        }
        assert_eq!(answer("Filesystem").code, OcfCode::NOT_INSTALLED);
    }
}
