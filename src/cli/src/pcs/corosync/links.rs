//! `pcs cluster link`: addresses of the nodes on a link, and the link's options.

use super::file::Section;
use super::{LINK_LONG, Pairs, apply};
use crate::edit::{error, pair};
use crate::pcs::report::{Report, quoted};
use crate::source::Failure;

const OPTIONS: [&str; 8] = [
    "link_priority",
    "linknumber",
    "mcastport",
    "ping_interval",
    "ping_precision",
    "ping_timeout",
    "pong_count",
    "transport",
];
/// Links of knet.
const MAX_LINKS: u32 = 8;

/// `NODE=ADDRESS... [options OPTION=VALUE...]`.
fn split(words: &[&str]) -> Result<(Pairs, Pairs), Failure> {
    let at = words.iter().position(|w| *w == "options").unwrap_or(words.len());
    let pairs = |words: &[&str]| words.iter().map(|w| pair(w)).collect::<Result<Pairs, _>>();
    Ok((pairs(&words[..at])?, pairs(words.get(at + 1..).unwrap_or_default())?))
}

fn key(link: u32) -> String {
    format!("ring{link}_addr")
}

/// Links that a node has an address on.
fn used(conf: &Section) -> Vec<u32> {
    (0..MAX_LINKS).filter(|link| conf.nodes().any(|n| n.value(&key(*link)).is_some())).collect()
}

fn check(conf: &Section, addresses: &Pairs, options: &Pairs, report: &mut Report) {
    if conf.section("totem").and_then(|t| t.value("transport")).is_some_and(|t| t != "knet") {
        report.error("Cluster is using udp or udpu transport which does not support several links");
    }
    for (name, address) in addresses {
        if !conf.nodes().any(|n| n.value("name") == Some(name)) {
            report.error(format!("Node '{name}' does not exist in the cluster"));
        }
        let odd = |c: char| c.is_whitespace() || c.is_control() || ['{', '}', '#'].contains(&c);
        if address.is_empty() || address.contains(odd) {
            report.error(format!("'{address}' is not a valid address"));
        }
    }
    for (name, _) in options.iter().filter(|(n, _)| !OPTIONS.contains(&n.as_str())) {
        report.error(format!("invalid link option '{name}', allowed options are: {}", quoted(OPTIONS.iter().copied())));
    }
    let number = |name: &str| !["linknumber", "transport"].contains(&name);
    for (name, value) in options.iter().filter(|(n, v)| number(n) && !v.is_empty() && v.parse::<u32>().is_err()) {
        report.error(format!("'{value}' is not a valid {name} value, use a non-negative integer"));
    }
}

fn put_addresses(conf: &mut Section, link: u32, addresses: &Pairs) {
    for node in conf.section_mut("nodelist").sections.iter_mut().filter(|s| s.name == "node") {
        let of = addresses.iter().find(|(n, _)| node.value("name") == Some(n)).map(|(_, a)| a.clone());
        if let Some(address) = of {
            node.set(&key(link), &address);
        }
    }
}

fn put_options(conf: &mut Section, link: u32, options: &Pairs) {
    let long = |n: &str| if LINK_LONG.contains(&n) { format!("knet_{n}") } else { n.to_owned() };
    let pairs: Pairs = options.iter().filter(|(n, _)| n != "linknumber").map(|(n, v)| (long(n), v.clone())).collect();
    if pairs.is_empty() {
        return;
    }
    let number = link.to_string();
    let totem = conf.section_mut("totem");
    let is = |s: &Section| s.name == "interface" && s.value("linknumber").unwrap_or("0") == number;
    if !totem.sections.iter().any(is) {
        let mut interface = Section::new("interface");
        interface.set("linknumber", &number);
        totem.sections.push(interface);
    }
    totem.sections.iter_mut().filter(|s| is(s)).for_each(|s| apply(s, &pairs));
}

/// The number that is asked for, or the first free one; each node needs its address.
pub fn add(conf: &mut Section, words: &[&str], mut report: Report) -> Result<(), Failure> {
    let (addresses, options) = split(words)?;
    check(conf, &addresses, &options, &mut report);
    let used = used(conf);
    let asked = options.iter().find(|(n, _)| n == "linknumber").map(|(_, v)| v.as_str());
    let link = match asked.map(|n| (n, n.parse::<u32>().ok().filter(|n| *n < MAX_LINKS))) {
        None => (0..MAX_LINKS).find(|l| !used.contains(l)),
        Some((_, Some(link))) => Some(link),
        Some((text, None)) => {
            report.error(format!("'{text}' is not a valid linknumber value, use 0..{}", MAX_LINKS - 1));
            None
        }
    };
    if link.is_some_and(|l| used.contains(&l)) {
        report.error(format!("Link {} already exists", link.unwrap_or(0)));
    }
    let lacking: Vec<&str> = conf
        .nodes()
        .filter_map(|n| n.value("name"))
        .filter(|n| !addresses.iter().any(|(named, _)| named == n))
        .collect();
    if !lacking.is_empty() {
        report.error(format!("Addresses of these nodes are missing: {}", quoted(lacking)));
    }
    report.done()?;
    let link = link.ok_or_else(|| error(format!("there are {MAX_LINKS} links already")))?;
    put_addresses(conf, link, &addresses);
    put_options(conf, link, &options);
    Ok(())
}

fn number(conf: &Section, word: &str) -> Result<u32, Failure> {
    let there = word.parse::<u32>().ok().filter(|l| used(conf).contains(l));
    there.ok_or_else(|| error(format!("Link '{word}' does not exist in the cluster")))
}

pub fn update(conf: &mut Section, word: &str, words: &[&str], mut report: Report) -> Result<(), Failure> {
    let link = number(conf, word)?;
    let (addresses, options) = split(words)?;
    check(conf, &addresses, &options, &mut report);
    if options.iter().any(|(n, _)| n == "linknumber") {
        report.error("the number of a link cannot be changed");
    }
    report.done()?;
    put_addresses(conf, link, &addresses);
    put_options(conf, link, &options);
    Ok(())
}

/// At least one link stays.
pub fn remove(conf: &mut Section, words: &[&str]) -> Result<(), Failure> {
    let gone = words.iter().map(|w| number(conf, w)).collect::<Result<Vec<u32>, _>>()?;
    if used(conf).iter().all(|l| gone.contains(l)) {
        return Err(error("Cannot remove all links from the cluster"));
    }
    for node in conf.section_mut("nodelist").sections.iter_mut().filter(|s| s.name == "node") {
        gone.iter().for_each(|link| node.remove(&key(*link)));
    }
    let number = |s: &Section| s.value("linknumber").and_then(|n| n.parse().ok()).unwrap_or(0);
    conf.section_mut("totem").sections.retain(|s| s.name != "interface" || !gone.contains(&number(s)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;
    use crate::grammar::Line;

    const FILE: &str = "totem {\n    transport: knet\n}\n\nnodelist {\n    node {\n        ring0_addr: 10.0.0.1\n        name: a\n    }\n\n    node {\n        ring0_addr: 10.0.0.2\n        name: b\n    }\n}\n";

    #[test]
    fn a_link_comes_changes_and_goes() {
        let report = || Report::of(&Line::default());
        let mut conf = parse(FILE).expect("good");
        add(&mut conf, &["a=10.1.0.1", "b=10.1.0.2", "options", "link_priority=5"], report()).expect("sound");
        let text = conf.text();
        assert!(text.contains("ring1_addr: 10.1.0.2\n") && text.contains("knet_link_priority: 5\n"), "{text}");
        update(&mut conf, "1", &["b=10.1.0.9", "options", "link_priority="], report()).expect("sound");
        assert!(conf.text().contains("ring1_addr: 10.1.0.9\n") && !conf.text().contains("priority"), "{}", conf.text());
        for (words, why) in [
            (&["a=10.2.0.1"][..], "missing: 'b'"),
            (&["a=10.2.0.1", "b=10.2.0.2", "c=10.2.0.3"], "Node 'c'"),
            (&["a=10.2.0.1", "b=10.2.0.2", "options", "linknumber=1"], "already exists"),
            (&["a=10.2.0.1", "b={"], "not a valid address"),
            (&["a=10.2.0.1", "b=10.2.0.2", "options", "colour=red"], "invalid link option"),
        ] {
            let failure = add(&mut conf, words, report()).expect_err(why);
            assert!(failure.message.contains(why), "{}", failure.message);
        }
        assert!(remove(&mut conf, &["7"]).is_err() && remove(&mut conf, &["0", "1"]).is_err());
        remove(&mut conf, &["1"]).expect("there");
        assert!(!conf.text().contains("ring1_addr") && !conf.text().contains("interface"), "{}", conf.text());
    }
}
