//! What older guides teach: unauthenticated transports, multicast without a nodelist, plugins. Each works with a warning,
//! or is refused with the exact cure.

use super::Allow;
use super::grammar::Section;
use super::keys::{Value, Values};
use super::settings::Findings;

pub(super) const NODE_EXAMPLE: &str = "add one node{} per director:\nnodelist {\n    node {\n        ring0_addr: ADDRESS\n        name: HOSTNAME\n        nodeid: 1\n    }\n    node {\n        ring0_addr: ADDRESS\n        name: HOSTNAME\n        nodeid: 2\n    }\n}";

/// Whether packets will be sealed. What switches sealing off is refused, unless the operator allows it.
pub(super) fn authentication(findings: &mut Findings, v: &Values, allow: Allow) -> bool {
    let sealed_anyway = strong_crypto(v);
    let mut open: Vec<(&Value, String, String)> = Vec::new();
    if let Some(t) = v.get("transport").filter(|t| t.text != "knet") {
        let text =
            format!("`transport: {}` carries no authentication: expected `transport: knet`, or no such line", t.text);
        open.push((t, text, format!("sed -i 's/^\\([[:space:]]*transport:\\).*/\\1 knet/' {}", findings.file())));
    }
    if let Some(s) = v.get("secauth").filter(|s| !s.truth && !sealed_anyway) {
        let text =
            "`secauth: off` lets anyone on the network join the cluster: expected `secauth: on`, or no such line"
                .to_owned();
        open.push((s, text, format!("sed -i 's/^\\([[:space:]]*secauth:\\).*/\\1 on/' {}", findings.file())));
    }
    if let Some(hash) = v.get("crypto_hash").filter(|h| h.text == "none") {
        let text = "`crypto_hash: none` lets anyone on the network join the cluster: expected sha256, or no such line"
            .to_owned();
        open.push((
            hash,
            text,
            format!("sed -i '/^[[:space:]]*crypto_hash:/d;/^[[:space:]]*crypto_cipher:/d' {}", findings.file()),
        ));
    }
    weak_crypto(findings, v);
    let unauthenticated = !open.is_empty();
    for (value, text, command) in open {
        if allow.unauthenticated {
            findings.warn(value.entry.at, text, "running without authentication, as --allow-unauthenticated says");
        } else {
            let cure = format!(
                "{command}\ntest -e /etc/corosync/authkey || corosync-keygen\nscp -p {} /etc/corosync/authkey OTHERNODE:/etc/corosync/\n(or, only to try it: bascule node --allow-unauthenticated)",
                findings.file()
            );
            findings.refuse(value.entry.at, text, cure);
        }
    }
    !(unauthenticated && allow.unauthenticated)
}

/// `crypto_hash` or `crypto_cipher` set to something overrides `secauth: off`, as in the original.
fn strong_crypto(v: &Values) -> bool {
    let set = |name: &str| v.text(name).is_some_and(|t| t != "none");
    set("crypto_hash") || set("crypto_cipher")
}

fn weak_crypto(findings: &mut Findings, v: &Values) {
    for name in ["crypto_cipher", "crypto_hash"] {
        let Some(value) = v.get(name) else { continue };
        if !matches!(value.text.as_str(), "aes256" | "sha256" | "none") {
            let text = format!("`{name}: {}`: packets are sealed with AES-256-GCM whatever this says", value.text);
            findings.warn(value.entry.at, text, "remove the line");
        }
    }
}

/// Multicast without a nodelist, plugins, users.
pub(super) fn check(findings: &mut Findings, root: &Section, interfaces: &[(Section, Values)], has_nodes: bool) {
    for (_, v) in interfaces {
        multicast(findings, v, has_nodes);
    }
    if !has_nodes
        && root.named("nodelist").next().is_none()
        && interfaces.iter().all(|(_, v)| v.get("bindnetaddr").is_none())
    {
        let at = super::grammar::Position { line: 1, column: 1 };
        findings.refuse(at, "expected a nodelist{}, found none", NODE_EXAMPLE);
    }
    for section in root.named("service") {
        service(findings, section);
    }
    for section in root.named("aisexec") {
        aisexec(findings, section);
    }
}

fn multicast(findings: &mut Findings, v: &Values, has_nodes: bool) {
    if let Some(bind) = v.get("bindnetaddr") {
        if has_nodes {
            findings.warn(
                bind.entry.at,
                "`bindnetaddr` has no effect: each node binds its own ringN_addr",
                "remove the line",
            );
        } else {
            let text = format!(
                "`bindnetaddr: {}` expected a nodelist{{}} beside it, found none: members are listed here, not discovered by multicast",
                bind.text
            );
            findings.refuse(bind.entry.at, text, NODE_EXAMPLE);
        }
    }
    for name in ["mcastaddr", "broadcast", "ttl"] {
        if let Some(value) = v.get(name) {
            findings.warn(
                value.entry.at,
                format!("`{name}` has no effect: packets go to each listed node, never by multicast"),
                "remove the line",
            );
        }
    }
}

fn service(findings: &mut Findings, section: &Section) {
    let name = section.entries().find(|e| e.key == "name").map(|e| e.value.as_str());
    for entry in section.entries().filter(|e| !matches!(e.key.as_str(), "name" | "ver" | "use_mgmtd" | "use_logd")) {
        findings.warn(
            entry.at,
            format!("unknown key `{}` in service{{}}", entry.key),
            if entry.key == "var" { "did you mean `ver`?" } else { "kept, without effect" },
        );
    }
    match name {
        Some("pacemaker") => findings.warn(
            section.at,
            "service{ name: pacemaker } has no effect: the resource manager is built in",
            "remove the section",
        ),
        Some("corosync_quorum" | "corosync_quorum_ykd") => findings.warn(
            section.at,
            "service{} plugins are of corosync 1: quorum is configured in quorum{}",
            "remove the section",
        ),
        Some(other) => findings.refuse(
            section.at,
            format!("service{{}} expected `name: pacemaker`, found `{other}`: there are no plugins"),
            "remove the section",
        ),
        None => {
            findings.refuse(section.at, "service{} expected `name: pacemaker`, found no name", "remove the section")
        }
    }
}

fn aisexec(findings: &mut Findings, section: &Section) {
    for entry in section.entries() {
        match (entry.key.as_str(), entry.value.as_str()) {
            ("user" | "group", "root" | "0") => {}
            ("user" | "group", other) => findings.refuse(
                entry.value_at,
                format!("aisexec{{}} expected `{}: root`, found `{other}`: addresses and IPVS need root", entry.key),
                "remove the section aisexec{}",
            ),
            (key, _) => findings.warn(entry.at, format!("unknown key `{key}` in aisexec{{}}"), "kept, without effect"),
        }
    }
    findings.warn(section.at, "aisexec{} has no effect: it is of corosync 1", "remove the section");
}
