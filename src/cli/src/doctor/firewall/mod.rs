//! Would this host's packet filter let a packet through? Answered from the rules as listed, in three values.
//!
//! [`nft`] and [`iptables`] read the two kinds of listings into the one form here. What a rule tests and this does not
//! understand makes the answer unknown unless it is the same either way.

pub mod iptables;
pub mod nft;
#[cfg(test)]
mod tests;

use super::facts::contains;
use std::net::IpAddr;

/// What could be read of this host's packet filters.
#[derive(Clone, PartialEq, Debug)]
pub enum Firewall {
    /// Why it cannot be known.
    Unread(String),
    Rules(Vec<Chain>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    Input,
    Forward,
    Output,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Chain {
    /// `inet filter`: names within one table only.
    pub table: String,
    pub name: String,
    /// Addresses of the other family pass it by; `None` for both.
    pub v6: Option<bool>,
    pub hook: Option<Hook>,
    pub drops: bool,
    pub rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub tests: Vec<Test>,
    pub action: Action,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    /// Counts, logs, marks: no verdict.
    Continue,
}

/// One condition; the flag turns it round.
#[derive(Clone, PartialEq, Debug)]
pub struct Test {
    pub not: bool,
    pub what: What,
}

#[derive(Clone, PartialEq, Debug)]
pub enum What {
    Protocol(Vec<String>),
    V6(bool),
    Port(Vec<(u16, u16)>),
    Source(Vec<(IpAddr, u8)>),
    Destination(Vec<(IpAddr, u8)>),
    /// Name, with `+` or `*` behind for a prefix.
    InLink(Vec<String>),
    /// States that match; a first packet is `new`.
    State(Vec<String>),
    Unknown,
}

/// The first packet of an exchange.
#[derive(Clone, PartialEq, Debug)]
pub struct Packet {
    pub hook: Hook,
    pub protocol: &'static str,
    pub source: Option<IpAddr>,
    pub destination: IpAddr,
    pub port: u16,
    pub link: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    Accepted,
    /// By which chain.
    Dropped(String),
    Unknown(String),
}

/// Longest way through chains that jump to each other.
const MAX_DEPTH: usize = 16;
/// Rules looked at for one packet.
const MAX_STEPS: usize = 100_000;

/// What may still come out of a walk.
#[derive(Default)]
struct Outcome {
    accept: bool,
    drop: Option<String>,
    steps: usize,
}

/// How a chain was left.
#[derive(PartialEq)]
enum Left {
    Decided,
    End,
}

impl Firewall {
    pub fn fate(&self, packet: &Packet) -> Fate {
        let chains = match self {
            Firewall::Unread(why) => return Fate::Unknown(why.clone()),
            Firewall::Rules(chains) => chains,
        };
        let mut unknown = None;
        for base in chains.iter().filter(|c| c.hook == Some(packet.hook) && c.is_for(packet)) {
            let name = format!("{} {}", base.table, base.name);
            let mut outcome = Outcome::default();
            if walk(chains, base, packet, 0, &mut outcome) == Left::End {
                if base.drops {
                    outcome.drop.get_or_insert_with(|| format!("the policy of chain {name}"));
                } else {
                    outcome.accept = true;
                }
            }
            match (outcome.accept, outcome.drop) {
                (true, None) => {}
                (false, Some(by)) => return Fate::Dropped(by),
                _ => unknown = Some(format!("chain {name} has rules that this does not understand")),
            }
        }
        unknown.map_or(Fate::Accepted, Fate::Unknown)
    }
}

impl Chain {
    fn is_for(&self, packet: &Packet) -> bool {
        self.v6.is_none_or(|v6| v6 == packet.destination.is_ipv6())
    }
}

fn walk(chains: &[Chain], chain: &Chain, packet: &Packet, depth: usize, outcome: &mut Outcome) -> Left {
    for (n, rule) in chain.rules.iter().enumerate() {
        outcome.steps += 1;
        if outcome.steps > MAX_STEPS {
            outcome.accept = true;
            outcome.drop.get_or_insert_with(String::new);
            return Left::Decided;
        }
        let matched = matches(&rule.tests, packet);
        if matched == Some(false) {
            continue;
        }
        let sure = matched == Some(true);
        let left = match &rule.action {
            Action::Continue => continue,
            Action::Return if sure => return Left::End,
            // Whether what follows in this chain counts is not known.
            Action::Return => {
                outcome.accept = true;
                outcome.drop.get_or_insert_with(String::new);
                continue;
            }
            Action::Accept => {
                outcome.accept = true;
                Left::Decided
            }
            Action::Drop => {
                outcome.drop.get_or_insert_with(|| format!("rule {} of chain {} {}", n + 1, chain.table, chain.name));
                Left::Decided
            }
            Action::Jump(name) | Action::Goto(name) => {
                let target = chains.iter().find(|c| c.table == chain.table && c.name == *name);
                match target.filter(|_| depth < MAX_DEPTH) {
                    Some(target) => walk(chains, target, packet, depth + 1, outcome),
                    None => continue,
                }
            }
        };
        if sure && (left == Left::Decided || matches!(rule.action, Action::Goto(_))) {
            return left;
        }
    }
    Left::End
}

/// All conditions: false if one is, unknown if one is and none is false.
fn matches(tests: &[Test], packet: &Packet) -> Option<bool> {
    let mut result = Some(true);
    for test in tests {
        match test.what.holds(packet) {
            Some(holds) if holds == test.not => return Some(false),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl What {
    fn holds(&self, packet: &Packet) -> Option<bool> {
        let within = |nets: &[(IpAddr, u8)], addr: IpAddr| nets.iter().any(|(net, len)| contains(*net, *len, addr));
        Some(match self {
            What::Protocol(names) => names.iter().any(|n| n == packet.protocol),
            What::V6(v6) => *v6 == packet.destination.is_ipv6(),
            What::Port(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&packet.port)),
            What::Source(nets) => within(nets, packet.source?),
            What::Destination(nets) => within(nets, packet.destination),
            What::State(states) => states.iter().any(|s| s.eq_ignore_ascii_case("new")),
            What::InLink(names) => {
                let link = packet.link.as_deref()?;
                names.iter().any(|n| match n.strip_suffix(['+', '*']) {
                    Some(prefix) => link.starts_with(prefix),
                    None => link == n,
                })
            }
            What::Unknown => return None,
        })
    }
}

/// Whether rules of this hook let established connections through by their state.
pub fn asks_for_state(firewall: &Firewall, hook: Hook) -> bool {
    let Firewall::Rules(chains) = firewall else { return false };
    let asks = |r: &Rule| r.tests.iter().any(|t| matches!(t.what, What::State(_)));
    chains.iter().any(|c| c.hook == Some(hook) && c.rules.iter().any(asks))
}
