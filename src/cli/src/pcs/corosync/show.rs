//! A `corosync.conf` in pcs's words, as JSON, or as the command that sets up the like.

use super::file::Section;
use super::{COMPRESSION, CRYPTO, KNET, QUORUM, TOTEM, UDP};
use crate::edit::error;
use crate::grammar::Line;
use crate::source::Failure;
use std::fmt::Write;

type Pairs = Vec<(String, String)>;

/// The file's options by part.
struct Parts {
    transport: Pairs,
    compression: Pairs,
    crypto: Pairs,
    totem: Pairs,
    quorum: Pairs,
    links: Vec<Pairs>,
}

/// Those of a section that are known, under their short names, in order.
fn known(section: Option<&Section>, names: &[&str], prefix: &str) -> Pairs {
    let all = section.into_iter().flat_map(|s| names.iter().map(move |n| (s, n)));
    all.filter_map(|(s, n)| Some(((*n).to_owned(), s.value(&format!("{prefix}{n}"))?.to_owned()))).collect()
}

fn parts(conf: &Section) -> Parts {
    let totem = conf.section("totem");
    let transport: Vec<&str> = if kind(conf) == "knet" { KNET.to_vec() } else { UDP.to_vec() };
    let link = |s: &Section| -> Pairs {
        let short = |n: &str| n.strip_prefix("knet_").unwrap_or(n).to_owned();
        let mut all: Pairs = s.items().map(|(n, v)| (short(n), v.to_owned())).collect();
        all.sort();
        all
    };
    let interfaces = totem.into_iter().flat_map(|t| t.sections.iter().filter(|s| s.name == "interface"));
    Parts {
        transport: known(totem, &transport, ""),
        compression: known(totem, &COMPRESSION, "knet_compression_"),
        crypto: known(totem, &CRYPTO, "crypto_"),
        totem: known(totem, &TOTEM, ""),
        quorum: known(conf.section("quorum"), &QUORUM, ""),
        links: interfaces.map(link).collect(),
    }
}

fn without_model(s: &Section) -> Pairs {
    s.items().filter(|(n, _)| *n != "model").map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn kind(conf: &Section) -> &str {
    conf.section("totem").and_then(|t| t.value("transport")).unwrap_or("knet")
}

fn addresses(node: &Section) -> Vec<(String, String)> {
    let link = |n: &str| n.strip_prefix("ring").and_then(|n| n.strip_suffix("_addr")).map(str::to_owned);
    node.items().filter_map(|(n, v)| Some((link(n)?, v.to_owned()))).collect()
}

pub fn cluster(conf: &Section, line: &Line) -> Result<String, Failure> {
    match line.value("--output-format").unwrap_or("text") {
        "text" => Ok(text(conf)),
        "cmd" => Ok(command(conf)),
        "json" => Ok(json(conf)),
        other => Err(error(format!(
            "Unknown value '{other}' for '--output-format' option. Supported values are: 'cmd', 'json', 'text'"
        ))),
    }
}

fn block(title: &str, pairs: &Pairs, level: usize, out: &mut String) {
    if pairs.is_empty() {
        return;
    }
    let pad = "  ".repeat(level);
    let _ = writeln!(out, "{pad}{title}:");
    pairs.iter().for_each(|(n, v)| {
        let _ = writeln!(out, "{pad}  {n}: {v}");
    });
}

fn text(conf: &Section) -> String {
    let parts = parts(conf);
    let totem = |name: &str| conf.section("totem").and_then(|t| t.value(name));
    let mut out = format!("Cluster Name: {}\n", totem("cluster_name").unwrap_or_default());
    if let Some(uuid) = totem("cluster_uuid") {
        let _ = writeln!(out, "Cluster UUID: {uuid}");
    }
    let _ = writeln!(out, "Transport: {}\nNodes:", kind(conf));
    for node in conf.nodes() {
        let _ = writeln!(out, "  {}:", node.value("name").unwrap_or_default());
        for (link, address) in addresses(node) {
            let _ = writeln!(out, "    Link {link} address: {address}");
        }
        let _ = writeln!(out, "    nodeid: {}", node.value("nodeid").unwrap_or_default());
    }
    if !parts.links.is_empty() {
        out.push_str("Links:\n");
    }
    for (at, link) in parts.links.iter().enumerate() {
        let number = link.iter().find(|(n, _)| n == "linknumber").map_or_else(|| at.to_string(), |(_, v)| v.clone());
        block(&format!("Link {number}"), link, 1, &mut out);
    }
    block("Transport Options", &parts.transport, 0, &mut out);
    block("Compression Options", &parts.compression, 0, &mut out);
    block("Crypto Options", &parts.crypto, 0, &mut out);
    block("Totem Options", &parts.totem, 0, &mut out);
    block("Quorum Options", &parts.quorum, 0, &mut out);
    if let Some(device) = conf.section("quorum").and_then(|q| q.section("device")) {
        let model = device.value("model").unwrap_or_default();
        let _ = writeln!(out, "Quorum Device: {model}");
        let sorted = |s: Option<&Section>| {
            let mut all: Pairs = s.map(without_model).unwrap_or_default();
            all.sort();
            all
        };
        block("Options", &sorted(Some(device)), 1, &mut out);
        block("Model Options", &sorted(device.section(model)), 1, &mut out);
        block("Heuristics", &sorted(device.section("heuristics")), 1, &mut out);
    }
    out
}

fn command(conf: &Section) -> String {
    let parts = parts(conf);
    let name = conf.section("totem").and_then(|t| t.value("cluster_name")).unwrap_or_default();
    let mut lines = vec![format!("pcs cluster setup {name}")];
    for node in conf.nodes() {
        let all: String = addresses(node).iter().map(|(_, a)| format!(" addr={a}")).collect();
        lines.push(format!("  {}{all}", node.value("name").unwrap_or_default()));
    }
    lines.push("  transport".to_owned());
    lines.push(format!("  {}", kind(conf)));
    let mut add = |title: &str, pairs: &Pairs, level: usize| {
        let pad = "  ".repeat(level);
        if !title.is_empty() && !pairs.is_empty() {
            lines.push(format!("{pad}{title}"));
        }
        lines.extend(pairs.iter().map(|(n, v)| format!("{pad}  {n}={v}")));
    };
    add("", &parts.transport, 3);
    parts.links.iter().for_each(|link| add("link", link, 2));
    add("compression", &parts.compression, 2);
    add("crypto", &parts.crypto, 2);
    add("totem", &parts.totem, 1);
    add("quorum", &parts.quorum, 1);
    if conf.section("totem").and_then(|t| t.value("cluster_uuid")).is_none() {
        lines.push("  --no-cluster-uuid".to_owned());
    }
    if conf.section("quorum").and_then(|q| q.section("device")).is_some() {
        crate::pcs::report::warn("Quorum device configuration detected but not yet supported by this command.");
    }
    lines.join(" \\\n") + "\n"
}

fn json(conf: &Section) -> String {
    use serde_json::{Map, Value, json};
    let parts = parts(conf);
    let object = |pairs: &Pairs| -> Value {
        pairs.iter().map(|(n, v)| (n.clone(), Value::from(v.as_str()))).collect::<Map<String, Value>>().into()
    };
    let of = |name: &str| conf.section("totem").and_then(|t| t.value(name));
    let node = |n: &Section| {
        let all: Vec<Value> =
            addresses(n).iter().map(|(link, a)| json!({"addr": a, "link": link, "type": address_kind(a)})).collect();
        json!({"name": n.value("name"), "nodeid": n.value("nodeid"), "addrs": all})
    };
    let links: Map<String, Value> = parts
        .links
        .iter()
        .map(|l| (l.iter().find(|(n, _)| n == "linknumber").map(|(_, v)| v.clone()).unwrap_or_default(), object(l)))
        .collect();
    let device = conf.section("quorum").and_then(|q| q.section("device")).map(|d| {
        let model = d.value("model").unwrap_or_default();
        let all = |s: Option<&Section>| object(&s.map(without_model).unwrap_or_default());
        json!({"model": model, "model_options": all(d.section(model)), "generic_options": all(Some(d)), "heuristics_options": all(d.section("heuristics"))})
    });
    let whole = json!({
        "cluster_name": of("cluster_name"),
        "cluster_uuid": of("cluster_uuid"),
        "transport": kind(conf).to_uppercase(),
        "totem_options": object(&parts.totem),
        "transport_options": object(&parts.transport),
        "compression_options": object(&parts.compression),
        "crypto_options": object(&parts.crypto),
        "nodes": conf.nodes().map(node).collect::<Vec<_>>(),
        "links_options": links,
        "quorum_options": object(&parts.quorum),
        "quorum_device": device,
    });
    format!("{whole}\n")
}

fn address_kind(address: &str) -> &'static str {
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => "IPv4",
        Ok(std::net::IpAddr::V6(_)) => "IPv6",
        Err(_) => "FQDN",
    }
}

pub fn quorum(conf: &Section) -> String {
    let mut out = "Options:\n".to_owned();
    parts(conf).quorum.iter().for_each(|(n, v)| {
        let _ = writeln!(out, "  {n}: {v}");
    });
    let Some(device) = conf.section("quorum").and_then(|q| q.section("device")) else { return out };
    let model = device.value("model").unwrap_or_default();
    let list = |s: &Section, level: usize, out: &mut String| {
        let mut all = without_model(s);
        all.sort();
        all.iter().for_each(|(n, v)| {
            let _ = writeln!(out, "{}{n}: {v}", "  ".repeat(level));
        });
    };
    out.push_str("Device:\n");
    list(device, 1, &mut out);
    let _ = writeln!(out, "  Model: {model}");
    device.section(model).into_iter().for_each(|s| list(s, 2, &mut out));
    if let Some(heuristics) = device.section("heuristics") {
        out.push_str("  Heuristics:\n");
        list(heuristics, 2, &mut out);
    }
    out
}
