//! What a configuration lacks that would make a cut between its nodes safer: for `plan` and `node --check`.

use crate::config::Config;
use base::net::same_network;
use cib::config::{Index, property, values};
use std::net::IpAddr;
use std::path::Path;
use xml::Element;

/// Prefix lengths that are assumed where nothing says otherwise.
const USUAL_V4: u8 = 24;
const USUAL_V6: u8 = 64;
const WATCHDOGS: [&str; 2] = ["/dev/watchdog", "/dev/watchdog0"];

/// As much of a CIB as matters here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Resources {
    pub fence_devices: usize,
    /// Leased addresses, with the prefix length of their network.
    pub addresses: Vec<(IpAddr, u8)>,
}

impl Resources {
    pub fn read(cib: &Element) -> Resources {
        let mut all = Resources::default();
        let Some(configuration) = cib.child("configuration") else { return all };
        let index = Index::new(configuration);
        let enabled = property(cib, "fencing-enabled").or(property(cib, "stonith-enabled"));
        let enabled = enabled.and_then(base::text::parse_bool).unwrap_or(true);
        let resources = configuration.child("resources").into_iter().flat_map(Element::descendants);
        for primitive in resources.filter(|e| e.name() == "primitive") {
            match (primitive.attr("class"), primitive.attr("type")) {
                (Some("stonith"), _) if enabled => all.fence_devices += 1,
                (Some("ocf"), Some("IPaddr2" | "IPaddr")) => {
                    let params = values(primitive, "instance_attributes", &index);
                    let param = |name: &str| params.get(name).copied();
                    let Some(addr) = param("ip").and_then(|ip| ip.parse::<IpAddr>().ok()) else { continue };
                    let usual = if addr.is_ipv4() { USUAL_V4 } else { USUAL_V6 };
                    let bits = param("cidr_netmask").and_then(|mask| mask.parse().ok()).unwrap_or(usual);
                    all.addresses.push((addr, bits));
                }
                _ => {}
            }
        }
        all
    }
}

/// One line each.
pub(crate) fn warnings(config: &Config, resources: Option<&Resources>) -> Vec<String> {
    let mut all = Vec::new();
    if config.nodes.len() < 2 {
        return all;
    }
    let mut warn = |text: String| all.push(text);
    if config.quorum.two_node && !arbitrated(config) {
        warn(
            "two nodes without arbitrator: each half of a cut has quorum; a third node decides, or quorum.ping_targets"
                .into(),
        );
    }
    if !WATCHDOGS.iter().any(|path| Path::new(path).exists()) {
        warn("no watchdog device on this host: nothing restarts a node whose kernel hangs (modprobe softdog, or the hardware's)".into());
    }
    let Some(resources) = resources else { return all };
    if resources.fence_devices == 0 {
        warn(
            "no fence device is in use: nobody makes sure that a lost node is down; only addresses end by themselves"
                .into(),
        );
    }
    if resources.addresses.is_empty() {
        warn("no leased address (IPaddr2): the LAN cannot tell whether a silent node lives".into());
    }
    let rings: Vec<IpAddr> =
        config.nodes.iter().flat_map(|n| n.addresses.iter()).filter_map(|(a, _)| a.parse().ok()).collect();
    let shared = |(addr, bits): &(IpAddr, u8)| rings.iter().any(|ring| same_network(*ring, *addr, *bits));
    if !resources.addresses.is_empty() && !rings.is_empty() && resources.addresses.iter().all(shared) {
        warn("ring and addresses share one network: a cut takes both at once; a second ring link elsewhere lets the nodes hear each other".into());
    }
    all
}

/// Whether a half that is cut off loses its vote.
pub(crate) fn arbitrated(config: &Config) -> bool {
    config.nodes.len() > 2 || config.quorum.two_node && !config.quorum.ping_targets.is_empty()
}
