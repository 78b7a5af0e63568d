//! Whether the configured fencing can do what it is there for; for `doctor` and `crm_verify`.

use crate::fence_values;
use cib::config::{self, Index};
use std::collections::{BTreeMap, BTreeSet};
use xml::Element;

/// Agents that look or pretend, but never switch anything off.
const HARMLESS_AGENTS: [&str; 2] = ["fence_heuristics_ping", "fence_dummy"];

/// Something that will not work when it is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advice {
    pub what: String,
    pub consequence: &'static str,
    pub cure: String,
}

struct Device<'a> {
    id: &'a str,
    agent: &'a str,
    /// Nodes that it can fence; `None` if nobody can say without asking it.
    targets: Option<BTreeSet<String>>,
    delays: bool,
    /// Parameters of the cluster's that mean nothing, and what was expected.
    senseless: Vec<(&'a str, &'a str, String)>,
}

/// What is wrong with fencing in this configuration section, while fencing is enabled.
pub fn check(configuration: &Element) -> Vec<Advice> {
    let property = |name: &str| config::property_of(configuration, name);
    let enabled = property("fencing-enabled").or(property("stonith-enabled")).and_then(base::text::parse_bool);
    if enabled == Some(false) {
        return Vec::new();
    }
    let devices = devices(configuration);
    let nodes: Vec<&str> = configuration
        .child("nodes")
        .into_iter()
        .flat_map(|n| n.elements_named("node"))
        .filter(|n| n.attr("type").is_none_or(|t| t == "member" || t == "normal"))
        .filter_map(|n| n.attr("uname"))
        .collect();
    if devices.is_empty() {
        let has_resources = configuration.child("resources").is_some_and(|r| r.elements().next().is_some());
        return match watchdog_timeout_ms(configuration) {
            Some(_) if property("have-watchdog") == Some("false") => vec![no_watchdog()],
            None if has_resources => vec![none_at_all()],
            _ => Vec::new(),
        };
    }
    let mut all: Vec<Advice> = devices.iter().flat_map(senseless).collect();
    all.extend(uncovered(&devices, &nodes));
    all.extend(harmless(&devices, &nodes));
    all.extend(harmless_levels(configuration, &devices));
    all.extend(undelayed(configuration, &devices, &nodes));
    all
}

/// `fencing-watchdog-timeout` by that or its old name; `None` if no watchdog is counted on.
pub fn watchdog_timeout_ms(configuration: &Element) -> Option<i64> {
    let property = |name: &str| config::property_of(configuration, name);
    let set = property("fencing-watchdog-timeout").or(property("stonith-watchdog-timeout"));
    set.and_then(base::text::parse_ms).filter(|ms| *ms != 0)
}

/// The cluster says so itself.
fn no_watchdog() -> Advice {
    Advice {
        what: "stonith-watchdog-timeout is set, there is no fence device, and no node has a watchdog".to_owned(),
        consequence: "nobody is counted dead by it: after the loss of a node its resources are started nowhere",
        cure: "in corosync.conf of every node: resources { watchdog_device: /dev/watchdog }   (sbd's own settings are not read)"
            .to_owned(),
    }
}

fn none_at_all() -> Advice {
    Advice {
        what: "fencing is enabled and there is no fence device".to_owned(),
        consequence: "after the loss of a node its resources are started nowhere, since nobody can confirm its death",
        cure:
            "pcs stonith create NAME fence_… …, or with leased addresses only: pcs property set stonith-enabled=false"
                .to_owned(),
    }
}

/// Devices that are switched on.
fn devices<'a>(configuration: &'a Element) -> Vec<Device<'a>> {
    let index = Index::new(configuration);
    let resources = configuration.child("resources").into_iter().flat_map(Element::descendants);
    let fences = resources.filter(|e| e.name() == "primitive" && e.attr("class") == Some("stonith"));
    let mut all = Vec::new();
    for e in fences {
        let meta = config::values(e, "meta_attributes", &index);
        if meta.get("target-role").is_some_and(|r| r.eq_ignore_ascii_case("stopped")) {
            continue;
        }
        let params = config::values(e, "instance_attributes", &index);
        let targets = targets(&params);
        let delays = ["pcmk_delay_base", "pcmk_delay_max"].iter().any(|n| params.get(n).is_some_and(|v| is_delay(v)));
        let wrong = |(name, value): (&&'a str, &&'a str)| Some((*name, *value, fence_values::expected(name, value)?));
        let senseless = params.iter().filter_map(wrong).collect();
        let (id, agent) = (e.id().unwrap_or_default(), e.attr("type").unwrap_or_default());
        all.push(Device { id, agent, targets, delays, senseless });
    }
    all
}

/// Whether any time in it is more than none; a delay may differ by node (`node1:5s;node2:0`).
fn is_delay(value: &str) -> bool {
    value.split([';', ',', ' ']).any(|part| {
        let time = part.rsplit_once(':').map_or(part, |(_, time)| time);
        base::text::parse_ms(time.trim()).is_some_and(|ms| ms > 0)
    })
}

fn targets(params: &BTreeMap<&str, &str>) -> Option<BTreeSet<String>> {
    let of = |name: &str| params.get(name).copied().filter(|v| !v.trim().is_empty());
    let check = of("pcmk_host_check");
    if matches!(check, Some("none" | "dynamic-list" | "status")) {
        return None;
    }
    let separators = [';', ',', ' ', '\t'];
    let names =
        |text: &str| -> Vec<String> { text.split(separators).filter(|w| !w.is_empty()).map(str::to_owned).collect() };
    let mapped = of("pcmk_host_map").map(|m| {
        let entries = m.split(separators).filter(|w| !w.is_empty());
        entries.filter_map(|w| w.split_once([':', '='])).map(|(node, _)| node.to_owned()).collect::<Vec<_>>()
    });
    let listed = of("pcmk_host_list").map(names);
    if mapped.is_none() && listed.is_none() {
        // A static list that lists nobody fences nobody.
        return (check == Some("static-list")).then(BTreeSet::new);
    }
    Some(mapped.into_iter().flatten().chain(listed.into_iter().flatten()).collect())
}

fn senseless<'a>(device: &'a Device<'_>) -> impl Iterator<Item = Advice> + 'a {
    device.senseless.iter().map(|(name, value, expected)| Advice {
        what: format!("{}: {name}={}: expected {expected}", device.id, base::text::one_line(value, 80)),
        consequence: "the default or the nearest sensible value is taken, which shows when a node has to be fenced",
        cure: format!("pcs stonith update {} {name}=VALUE", device.id),
    })
}

fn covers(device: &Device<'_>, node: &str) -> bool {
    device.targets.as_ref().is_none_or(|t| t.iter().any(|n| base::ids::same_node(n, node)))
}

fn uncovered(devices: &[Device<'_>], nodes: &[&str]) -> Option<Advice> {
    let bare: Vec<&str> = nodes.iter().copied().filter(|n| !devices.iter().any(|d| covers(d, n))).collect();
    (!bare.is_empty()).then(|| Advice {
        what: format!("no fence device covers {}", bare.join(", ")),
        consequence: "when that node is lost or a stop fails there, nobody can fence it, and its resources stay where they are",
        cure: format!("add a device with pcmk_host_list or pcmk_host_map naming {}", bare.join(", ")),
    })
}

fn harmless(devices: &[Device<'_>], nodes: &[&str]) -> Option<Advice> {
    let kills = |d: &&Device<'_>| !HARMLESS_AGENTS.contains(&d.agent);
    let alive: Vec<&str> = nodes
        .iter()
        .copied()
        .filter(|n| devices.iter().any(|d| covers(d, n)) && !devices.iter().filter(kills).any(|d| covers(d, n)))
        .collect();
    let idle: Vec<&str> = devices.iter().filter(|d| !kills(d)).map(|d| d.id).collect();
    let of_all = nodes.is_empty() && !devices.iter().any(|d| kills(&d));
    (!alive.is_empty() || of_all).then(|| Advice {
        what: format!("devices that cannot kill are all there is for {}: {}", named(&alive), idle.join(", ")),
        consequence: "they report success for a node that lives on, and its resources and addresses are started a second time",
        cure: "fence_heuristics_ping belongs before a real device in one fencing level; fence_dummy is for tests alone"
            .to_owned(),
    })
}

fn named(nodes: &[&str]) -> String {
    if nodes.is_empty() { "any node".to_owned() } else { nodes.join(", ") }
}

/// A level is done when all its devices are: one that only looks is no level.
fn harmless_levels(configuration: &Element, devices: &[Device<'_>]) -> Vec<Advice> {
    let agent = |id: &str| devices.iter().find(|d| d.id == id).map(|d| d.agent);
    let levels = crate::edit::levels::all(configuration);
    let idle = levels.filter(|level| {
        let devices = crate::edit::levels::devices(level);
        !devices.is_empty() && devices.iter().all(|d| agent(d).is_some_and(|a| HARMLESS_AGENTS.contains(&a)))
    });
    idle.map(|level| Advice {
        what: format!(
            "fencing level {} ({}) has only devices that cannot kill: {}",
            level.id().unwrap_or_default(),
            level.attr("index").unwrap_or_default(),
            level.attr("devices").unwrap_or_default()
        ),
        consequence: "when it reports success, the node lives on, and its resources and addresses are started a second time",
        cure: "put a device that switches the node off into the same level".to_owned(),
    })
    .collect()
}

fn undelayed(configuration: &Element, devices: &[Device<'_>], nodes: &[&str]) -> Option<Advice> {
    let priority = config::property_of(configuration, "priority-fencing-delay").is_some_and(is_delay);
    let real = devices.iter().any(|d| !HARMLESS_AGENTS.contains(&d.agent));
    (nodes.len() == 2 && real && !priority && !devices.iter().any(|d| d.delays)).then(|| Advice {
        what: "two nodes fence each other without any delay".to_owned(),
        consequence: "when the link between them is cut, both may be switched off at the same time",
        cure: format!("pcs stonith update {} pcmk_delay_base=5s   (or priority-fencing-delay)", devices[0].id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(options: &str, devices: &[(&str, &str, &str)], more: &str) -> Vec<String> {
        let device = |(id, agent, params): &(&str, &str, &str)| {
            let pairs: String = params
                .split_whitespace()
                .filter_map(|p| p.split_once('='))
                .map(|(n, v)| format!("<nvpair id='{id}-{n}' name='{n}' value='{v}'/>"))
                .collect();
            format!(
                "<primitive id='{id}' class='stonith' type='{agent}'><instance_attributes id='{id}-i'>{pairs}</instance_attributes></primitive>"
            )
        };
        let pairs: String = options
            .split_whitespace()
            .filter_map(|p| p.split_once('='))
            .map(|(n, v)| format!("<nvpair id='o-{n}' name='{n}' value='{v}'/>"))
            .collect();
        let text = format!(
            "<configuration><crm_config><cluster_property_set id='o'>{pairs}</cluster_property_set></crm_config><nodes>\
             <node id='1' uname='d1'/><node id='2' uname='d2'/></nodes><resources><primitive id='x' class='lsb' type='x'/>{}\
             </resources>{more}</configuration>",
            devices.iter().map(device).collect::<String>()
        );
        check(&xml::parse(&text).expect("good")).into_iter().map(|a| a.what).collect()
    }

    #[test]
    fn what_cannot_work_is_found() {
        let delay = "pcmk_delay_base=d1:5s;d2:0";
        assert_eq!(found("stonith-enabled=false", &[], ""), [""; 0]);
        assert_eq!(found("", &[], ""), ["fencing is enabled and there is no fence device"]);
        assert_eq!(found("stonith-watchdog-timeout=10", &[], ""), [""; 0], "the watchdog is the device");
        assert_eq!(found("stonith-watchdog-timeout=10 have-watchdog=true", &[], ""), [""; 0]);
        assert_eq!(found("stonith-watchdog-timeout=0 have-watchdog=true", &[], "").len(), 1, "it is off");
        let without = found("stonith-watchdog-timeout=10 have-watchdog=false", &[], "");
        assert!(without.len() == 1 && without[0].contains("no node has a watchdog"), "{without:?}");
        assert_eq!(
            found("", &[("f", "fence_ipmilan", delay)], ""),
            [""; 0],
            "who can be fenced is not known before it is asked"
        );
        let partly = format!("pcmk_host_list=d1 {delay}");
        assert_eq!(found("", &[("f", "fence_ipmilan", &partly)], ""), ["no fence device covers d2"]);
        let mapped = format!("pcmk_host_map=d1:3;d2:4 {delay}");
        assert_eq!(found("", &[("f", "fence_apc", &mapped)], ""), [""; 0]);
    }

    #[test]
    fn values_that_mean_nothing_are_named() {
        let params = "pcmk_delay_base=600h pcmk_host_check=banana pcmk_reboot_timeout=-5";
        let all = found("", &[("f", "fence_ipmilan", params)], "");
        assert_eq!(all.len(), 3, "{all:?}");
        assert!(
            all.iter().any(|a| a == "f: pcmk_host_check=banana: expected static-list, dynamic-list, status or none")
        );
    }

    #[test]
    fn devices_that_cannot_kill_are_named() {
        let only = found("", &[("h", "fence_heuristics_ping", ""), ("t", "fence_dummy", "")], "");
        assert_eq!(only, ["devices that cannot kill are all there is for d1, d2: h, t"]);
        let with = [("h", "fence_heuristics_ping", ""), ("f", "fence_ipmilan", "pcmk_delay_base=5")];
        assert_eq!(found("", &with, ""), [""; 0]);
        let level = |devices: &str| {
            format!(
                "<fencing-topology><fencing-level id='l' target='d1' index='1' devices='{devices}'/></fencing-topology>"
            )
        };
        assert_eq!(found("", &with, &level("h")), ["fencing level l (1) has only devices that cannot kill: h"]);
        assert_eq!(found("", &with, &level("h,f")), [""; 0]);
    }

    #[test]
    fn two_nodes_need_a_delay() {
        let devices = [("f1", "fence_ipmilan", "pcmk_host_list=d1"), ("f2", "fence_ipmilan", "pcmk_host_list=d2")];
        assert_eq!(found("", &devices, ""), ["two nodes fence each other without any delay"]);
        assert_eq!(found("priority-fencing-delay=15s", &devices, ""), [""; 0]);
        let delayed = [devices[0], ("f2", "fence_ipmilan", "pcmk_host_list=d2 pcmk_delay_max=10s")];
        assert_eq!(found("", &delayed, ""), [""; 0]);
        let zero = [devices[0], ("f2", "fence_ipmilan", "pcmk_host_list=d2 pcmk_delay_base=0s")];
        assert_eq!(found("", &zero, "").len(), 1);
    }
}
