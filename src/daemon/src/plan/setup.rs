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
    if on_one_network(&rings, &resources.addresses) {
        warn("ring and addresses share one network: a cut takes both at once; a second ring link elsewhere lets the nodes hear each other".into());
    }
    all
}

/// Whether every address is on a network of the ring, and the ring on no other. Numbers of another family than the ring's say nothing:
/// they are mostly those of the same LAN.
fn on_one_network(rings: &[IpAddr], addresses: &[(IpAddr, u8)]) -> bool {
    let told = |addr: &IpAddr| rings.iter().any(|ring| ring.is_ipv4() == addr.is_ipv4());
    let comparable: Vec<&(IpAddr, u8)> = addresses.iter().filter(|(addr, _)| told(addr)).collect();
    let shared = |(addr, bits): &&(IpAddr, u8)| rings.iter().any(|ring| same_network(*ring, *addr, *bits));
    let has_address = |ring: &IpAddr| addresses.iter().any(|(addr, bits)| same_network(*ring, *addr, *bits));
    !comparable.is_empty() && comparable.iter().all(shared) && rings.iter().all(has_address)
}

/// Whether a half that is cut off loses its vote.
pub(crate) fn arbitrated(config: &Config) -> bool {
    config.nodes.len() > 2 || config.quorum.two_node && !config.quorum.ping_targets.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rings: &[&str], addresses: &[&str]) -> bool {
        let rings: Vec<IpAddr> = rings.iter().map(|r| r.parse().unwrap()).collect();
        let usual = |a: &IpAddr| if a.is_ipv4() { USUAL_V4 } else { USUAL_V6 };
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).map(|a: IpAddr| (a, usual(&a)));
        on_one_network(&rings, &addresses.collect::<Vec<_>>())
    }

    #[test]
    fn ring_and_addresses_share_one_network() {
        assert!(one(&["192.0.2.1", "192.0.2.2"], &["192.0.2.100"]));
        assert!(one(&["192.0.2.1", "192.0.2.2"], &["192.0.2.100", "2001:db8::100"]), "IPv6 of the same LAN");
        assert!(!one(&["10.1.0.1", "10.1.0.2"], &["192.0.2.100", "2001:db8::100"]));
        assert!(!one(&["192.0.2.1", "10.1.0.1"], &["192.0.2.100"]), "the second link is the cure");
        assert!(!one(&["192.0.2.1"], &["192.0.2.100", "198.51.100.1"]), "another LAN can be asked");
        assert!(!one(&["2001:db8::1"], &["192.0.2.100"]) && !one(&[], &["192.0.2.100"]) && !one(&["192.0.2.1"], &[]));
    }
}
