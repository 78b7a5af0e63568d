//! `nft -j list ruleset` (libnftables-json(5)).

use super::{Action, Chain, Hook, Rule, Test, What};
use serde_json::Value;
use std::net::IpAddr;

/// Reads the listing; an error says what is not as documented.
pub fn read(text: &str) -> Result<Vec<Chain>, String> {
    let document: Value = serde_json::from_str(text).map_err(|e| format!("nft -j: {e}"))?;
    let items = document["nftables"].as_array().ok_or("nft -j: no list \"nftables\"")?;
    let sets: Vec<&Value> = items.iter().filter_map(|i| i.get("set").or_else(|| i.get("map"))).collect();
    let mut chains: Vec<Chain> = items.iter().filter_map(|i| chain(i.get("chain")?)).collect();
    for rule in items.iter().filter_map(|i| i.get("rule")) {
        let (table, name) = (table(rule), rule["chain"].as_str().unwrap_or_default());
        if let Some(chain) = chains.iter_mut().find(|c| c.table == table && c.name == name) {
            chain.rules.extend(rules(rule, &sets));
        }
    }
    Ok(chains)
}

fn table(item: &Value) -> String {
    format!("{} {}", item["family"].as_str().unwrap_or_default(), item["table"].as_str().unwrap_or_default())
}

fn chain(chain: &Value) -> Option<Chain> {
    let family = chain["family"].as_str()?;
    let v6 = match family {
        "ip" => Some(false),
        "ip6" => Some(true),
        "inet" => None,
        // arp, bridge, netdev: not on the way of a routed packet.
        _ => return None,
    };
    let hook = match (chain["hook"].as_str(), chain["type"].as_str()) {
        (_, Some("nat")) => None,
        (Some("input"), _) => Some(Hook::Input),
        (Some("forward"), _) => Some(Hook::Forward),
        (Some("output"), _) => Some(Hook::Output),
        _ => None,
    };
    let drops = chain["policy"].as_str() == Some("drop");
    Some(Chain { table: table(chain), name: chain["name"].as_str()?.to_owned(), v6, hook, drops, rules: Vec::new() })
}

/// One rule; a verdict map becomes one for each of its entries.
fn rules(rule: &Value, sets: &[&Value]) -> Vec<Rule> {
    let mut tests = Vec::new();
    for statement in rule["expr"].as_array().into_iter().flatten() {
        if let Some(m) = statement.get("match") {
            tests.push(test(m, rule, sets));
        } else if let Some(map) = statement.get("vmap") {
            return verdict_map(&tests, map, rule, sets);
        } else if let Some(action) = verdict(statement) {
            return vec![Rule { tests, action }];
        } else if !["counter", "log", "mangle", "comment", "notrack"].iter().any(|k| statement.get(k).is_some()) {
            // limit, quota, xt, fib and whatever else may stop the rule here.
            tests.push(unknown());
        }
    }
    vec![Rule { tests, action: Action::Continue }]
}

fn unknown() -> Test {
    Test { not: false, what: What::Unknown }
}

fn verdict(statement: &Value) -> Option<Action> {
    let target = |name: &str| statement.get(name).and_then(|t| t["target"].as_str()).map(str::to_owned);
    let is = |name: &str| statement.get(name).is_some();
    if is("accept") {
        Some(Action::Accept)
    } else if is("drop") || is("reject") {
        Some(Action::Drop)
    } else if is("return") {
        Some(Action::Return)
    } else {
        target("jump").map(Action::Jump).or_else(|| target("goto").map(Action::Goto))
    }
}

fn verdict_map(tests: &[Test], map: &Value, rule: &Value, sets: &[&Value]) -> Vec<Rule> {
    let elements = elements(&map["data"], rule, sets);
    let entry = |pair: &Value| {
        let action = verdict(&pair[1])?;
        let one = Test { not: false, what: what(&map["key"], &[pair[0].clone()]) };
        Some(Rule { tests: tests.iter().cloned().chain([one]).collect(), action })
    };
    elements.iter().filter_map(entry).collect()
}

/// What a right side stands for, sets resolved.
fn elements(right: &Value, rule: &Value, sets: &[&Value]) -> Vec<Value> {
    if let Some(name) = right.as_str().and_then(|s| s.strip_prefix('@')) {
        let set =
            sets.iter().find(|s| s["name"] == name && s["table"] == rule["table"] && s["family"] == rule["family"]);
        return set.and_then(|s| s["elem"].as_array()).cloned().unwrap_or_default();
    }
    match right.get("set").unwrap_or(right) {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    }
}

fn test(m: &Value, rule: &Value, sets: &[&Value]) -> Test {
    let not = match m["op"].as_str() {
        Some("==" | "in") | None => false,
        Some("!=") => true,
        _ => return unknown(),
    };
    Test { not, what: what(&m["left"], &elements(&m["right"], rule, sets)) }
}

fn what(left: &Value, right: &[Value]) -> What {
    let meta = left["meta"]["key"].as_str().unwrap_or_default();
    let (protocol, field) = (
        left["payload"]["protocol"].as_str().unwrap_or_default(),
        left["payload"]["field"].as_str().unwrap_or_default(),
    );
    let words = || right.iter().map(|v| v.as_str().map(str::to_owned).unwrap_or_else(|| v.to_string())).collect();
    match (meta, protocol, field) {
        ("l4proto", ..) | (_, "ip", "protocol") | (_, "ip6", "nexthdr") => What::Protocol(names_of_protocols(right)),
        ("nfproto", ..) => match right {
            [one] => What::V6(one.as_str() == Some("ipv6")),
            _ => What::Unknown,
        },
        ("iifname" | "iif", ..) => What::InLink(words()),
        (_, "tcp" | "udp" | "th" | "sctp", "dport") => {
            right.iter().map(port).collect::<Option<_>>().map_or(What::Unknown, What::Port)
        }
        (_, "ip" | "ip6", "saddr") => right.iter().map(net).collect::<Option<_>>().map_or(What::Unknown, What::Source),
        (_, "ip" | "ip6", "daddr") => {
            right.iter().map(net).collect::<Option<_>>().map_or(What::Unknown, What::Destination)
        }
        _ if left["ct"]["key"] == "state" => What::State(words()),
        _ => What::Unknown,
    }
}

fn names_of_protocols(right: &[Value]) -> Vec<String> {
    let name = |v: &Value| match (v.as_str(), v.as_u64()) {
        (Some(name), _) => name.to_owned(),
        (_, Some(6)) => "tcp".to_owned(),
        (_, Some(17)) => "udp".to_owned(),
        _ => v.to_string(),
    };
    right.iter().map(name).collect()
}

/// Set elements with a timeout or comment are wrapped.
fn plain(value: &Value) -> &Value {
    value.get("elem").and_then(|e| e.get("val")).unwrap_or(value)
}

fn port(value: &Value) -> Option<(u16, u16)> {
    let number = |v: &Value| u16::try_from(v.as_u64()?).ok();
    match plain(value).get("range") {
        Some(range) => Some((number(&range[0])?, number(&range[1])?)),
        None => number(plain(value)).map(|n| (n, n)),
    }
}

fn net(value: &Value) -> Option<(IpAddr, u8)> {
    let value = plain(value);
    if let Some(prefix) = value.get("prefix") {
        return Some((prefix["addr"].as_str()?.parse().ok()?, u8::try_from(prefix["len"].as_u64()?).ok()?));
    }
    let addr: IpAddr = value.as_str()?.parse().ok()?;
    Some((addr, if addr.is_ipv4() { 32 } else { 128 }))
}
