//! `iptables-save` and `ip6tables-save`.

use super::{Action, Chain, Hook, Rule, Test, What};
use std::net::IpAddr;

/// Reads a listing of one family. Unknown lines are passed over, unknown options make a rule's match unknown.
pub fn read(text: &str, v6: bool) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::new();
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = format!("{} {name}", if v6 { "ip6tables" } else { "iptables" });
        } else if let Some(rest) = line.strip_prefix(':') {
            chains.extend(chain(&table, rest, v6));
        } else if let Some(rest) = line.strip_prefix("-A ") {
            let words = words(rest);
            let Some((name, options)) = words.split_first() else { continue };
            if let Some(chain) = chains.iter_mut().find(|c| c.table == table && c.name == *name) {
                chain.rules.push(rule(options));
            }
        }
    }
    chains
}

fn chain(table: &str, rest: &str, v6: bool) -> Option<Chain> {
    let mut words = rest.split(' ');
    let (name, policy) = (words.next()?, words.next()?);
    let hook = match name {
        _ if table.ends_with(" nat") => None,
        "INPUT" => Some(Hook::Input),
        "FORWARD" => Some(Hook::Forward),
        "OUTPUT" => Some(Hook::Output),
        _ => None,
    };
    let (table, name) = (table.to_owned(), name.to_owned());
    Some(Chain { table, name, v6: Some(v6), hook, drops: policy == "DROP", rules: Vec::new() })
}

/// Splits at blanks; a comment may be quoted.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|w| !w.is_empty());
    words
}

fn rule(options: &[String]) -> Rule {
    let mut rule = Rule { tests: Vec::new(), action: Action::Continue };
    let mut not = false;
    let mut options = options.iter().map(String::as_str);
    while let Some(option) = options.next() {
        if option == "!" {
            not = true;
            continue;
        }
        let mut value = || options.next().unwrap_or_default();
        let what = match option {
            "-p" => What::Protocol(vec![value().to_owned()]),
            "-s" => net(value()).map_or(What::Unknown, |n| What::Source(vec![n])),
            "-d" => net(value()).map_or(What::Unknown, |n| What::Destination(vec![n])),
            "-i" => What::InLink(vec![value().to_owned()]),
            "--dport" | "--dports" => ports(value()).map_or(What::Unknown, What::Port),
            "--state" | "--ctstate" => What::State(value().split(',').map(str::to_owned).collect()),
            "-m" if ["tcp", "udp", "sctp", "multiport", "state", "conntrack", "comment"].contains(&value()) => continue,
            "--comment" => {
                value();
                continue;
            }
            "-j" => {
                rule.action = action(value());
                break;
            }
            "-g" => {
                rule.action = Action::Goto(value().to_owned());
                break;
            }
            _ => What::Unknown,
        };
        rule.tests.push(Test { not, what });
        not = false;
    }
    rule
}

fn action(target: &str) -> Action {
    match target {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        // A chain of that name if there is one; LOG, MARK and the like are none.
        name => Action::Jump(name.to_owned()),
    }
}

fn net(text: &str) -> Option<(IpAddr, u8)> {
    let (addr, len) = text.split_once('/').unwrap_or((text, ""));
    let addr: IpAddr = addr.parse().ok()?;
    Some((addr, if len.is_empty() { if addr.is_ipv4() { 32 } else { 128 } } else { len.parse().ok()? }))
}

fn ports(text: &str) -> Option<Vec<(u16, u16)>> {
    let range = |part: &str| {
        let (low, high) = part.split_once(':').unwrap_or((part, part));
        Some((low.parse().ok()?, high.parse().ok()?))
    };
    text.split(',').map(range).collect()
}
