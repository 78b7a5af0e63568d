//! `pcs quorum device`: the arbitrator's section of a `corosync.conf`.

use super::file::Section;
use super::{Pairs, apply, pair_of_nodes};
use crate::edit::{error, pair};
use crate::pcs::report::{Report, quoted};
use crate::source::Failure;

const GENERIC: [&str; 2] = ["sync_timeout", "timeout"];
/// `tls` and `keep_active_partition_tie_breaker` are the file's own words; the original takes the others.
const NET: [&str; 8] = [
    "algorithm",
    "connect_timeout",
    "force_ip_version",
    "host",
    "keep_active_partition_tie_breaker",
    "port",
    "tie_breaker",
    "tls",
];
const HEURISTICS: [&str; 4] = ["interval", "mode", "sync_timeout", "timeout"];
const ALGORITHMS: [&str; 2] = ["ffsplit", "lms"];
/// What excludes a device, and so goes when one comes.
const BESIDE: [&str; 4] = ["two_node", "auto_tie_breaker", "auto_tie_breaker_node", "last_man_standing"];
const ABSENT: &str = "no quorum device is defined in this cluster";

/// The words of `add` and `update`: `[GENERIC...] [model [net] OPTION...] [heuristics OPTION...]`.
struct Options {
    generic: Pairs,
    model: Option<String>,
    net: Pairs,
    heuristics: Pairs,
}

impl Options {
    fn of(words: &[&str], with_model: bool) -> Result<Options, Failure> {
        let mut all = Options { generic: Vec::new(), model: None, net: Vec::new(), heuristics: Vec::new() };
        let mut part = "";
        for word in words {
            match (*word, part) {
                ("model" | "heuristics", _) => part = word,
                (name, "model") if with_model && all.model.is_none() => all.model = Some(name.to_owned()),
                (word, "model") => all.net.push(pair(word)?),
                (word, "heuristics") => all.heuristics.push(pair(word)?),
                (word, _) => all.generic.push(pair(word)?),
            }
        }
        [&mut all.generic, &mut all.net, &mut all.heuristics].into_iter().for_each(|pairs| pairs.sort());
        Ok(all)
    }

    fn check(&self, report: &mut Report) {
        known(report, "quorum device", &self.generic, &GENERIC);
        known(report, "quorum device model", &self.net, &NET);
        let (programs, plain): (Pairs, Pairs) =
            self.heuristics.iter().cloned().partition(|(name, _)| name.starts_with("exec_"));
        known(report, "heuristics", &plain, &HEURISTICS);
        for (name, value) in programs.iter().chain(self.generic.iter()).chain(&self.net).chain(&plain) {
            check_value(report, name, value);
        }
        if self.model.as_deref().is_some_and(|m| m != "net") {
            report.error(format!("'{}' is not a valid model value, use 'net'", self.model.as_deref().unwrap_or("")));
        }
    }
}

fn known(report: &mut Report, what: &str, pairs: &Pairs, allowed: &[&str]) {
    let odd: Vec<&str> = pairs.iter().map(|(n, _)| n.as_str()).filter(|n| !allowed.contains(n)).collect();
    if !odd.is_empty() {
        let word = if odd.len() == 1 { "option" } else { "options:" };
        let allowed = quoted(allowed.iter().copied());
        report.forceable(&format!("invalid {what} {word} {}, allowed options are: {allowed}", quoted(odd)));
    }
}

fn check_value(report: &mut Report, name: &str, value: &str) {
    if value.chars().any(char::is_control) || value.contains(['{', '}']) {
        report.error(format!("'{value}' is not a valid {name} value"));
        return;
    }
    let choice: &[&str] = match name {
        "algorithm" => &ALGORITHMS,
        "mode" => &["off", "on", "sync"],
        "force_ip_version" => &["0", "4", "6"],
        _ => &[],
    };
    if !choice.is_empty() && !value.is_empty() && !choice.contains(&value) {
        report.forceable(&format!("'{value}' is not a valid {name} value, use {}", quoted(choice.iter().copied())));
    }
    let number = ["timeout", "sync_timeout", "interval", "connect_timeout", "port"].contains(&name);
    if number && !value.is_empty() && value.parse::<u32>().is_err() {
        report.forceable(&format!("'{value}' is not a valid {name} value, use a non-negative integer"));
    }
}

pub fn add(conf: &mut Section, words: &[&str], mut report: Report) -> Result<(), Failure> {
    if conf.section("quorum").is_some_and(|q| q.section("device").is_some()) {
        return Err(error("quorum device is already defined"));
    }
    let options = Options::of(words, true)?;
    if options.model.is_none() {
        return Err(error("name the quorum device's model: model net host=HOST algorithm=ffsplit|lms"));
    }
    let given = |name: &str| options.net.iter().any(|(n, v)| n == name && !v.is_empty());
    let missing: Vec<&str> = ["algorithm", "host"].into_iter().filter(|n| !given(n)).collect();
    match missing.as_slice() {
        [] => {}
        [one] => report.error(format!("required quorum device model option '{one}' is missing")),
        all => {
            report.error(format!("required quorum device model options {} are missing", quoted(all.iter().copied())))
        }
    }
    options.check(&mut report);
    report.done()?;
    let quorum = conf.section_mut("quorum");
    BESIDE.iter().for_each(|name| quorum.remove(name));
    let mut device = Section::new("device");
    device.set("model", "net");
    quorum.sections.push(device);
    put(conf.section_mut("quorum").section_mut("device"), &options);
    Ok(())
}

pub fn update(conf: &mut Section, words: &[&str], mut report: Report) -> Result<(), Failure> {
    let there = conf.section("quorum").and_then(|q| q.section("device"));
    if there.is_none() {
        return Err(error(ABSENT));
    }
    let options = Options::of(words, false)?;
    for (name, _) in options.net.iter().filter(|(n, v)| ["algorithm", "host"].contains(&n.as_str()) && v.is_empty()) {
        report.error(format!("required quorum device model option '{name}' cannot be removed"));
    }
    options.check(&mut report);
    report.done()?;
    put(conf.section_mut("quorum").section_mut("device"), &options);
    Ok(())
}

/// Half of the votes decide only where the device has one.
fn put(device: &mut Section, options: &Options) {
    if let Some((_, algorithm)) = options.net.iter().find(|(n, _)| n == "algorithm") {
        match algorithm.as_str() {
            "ffsplit" => device.set("votes", "1"),
            _ => device.remove("votes"),
        }
    }
    apply(device, &options.generic);
    for (name, pairs) in [("net", &options.net), ("heuristics", &options.heuristics)] {
        if !pairs.is_empty() {
            let section = device.section_mut(name);
            apply(section, pairs);
            section.sort();
        }
    }
    if device.section("heuristics").is_some_and(|h| h.items().next().is_none()) {
        device.remove_section("heuristics");
    }
}

pub fn remove(conf: &mut Section) -> Result<(), Failure> {
    if !conf.section_mut("quorum").remove_section("device") {
        return Err(error(ABSENT));
    }
    pair_of_nodes(conf, &Vec::new());
    Ok(())
}

pub fn remove_heuristics(conf: &mut Section) -> Result<(), Failure> {
    let quorum = conf.section_mut("quorum");
    if quorum.section("device").is_none() {
        return Err(error(ABSENT));
    }
    match quorum.section_mut("device").remove_section("heuristics") {
        true => Ok(()),
        false => Err(error("no heuristics are defined")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;
    use crate::grammar::Line;

    const FILE: &str = "totem {\n    version: 2\n}\n\nnodelist {\n    node {\n        name: a\n    }\n\n    node {\n        name: b\n    }\n}\n\nquorum {\n    provider: corosync_votequorum\n    # no third node\n    two_node: 1\n}\n";

    fn report() -> Report {
        Report::of(&Line::default())
    }

    fn words(text: &str) -> Vec<&str> {
        text.split(' ').collect()
    }

    #[test]
    fn a_device_goes_in_and_comes_out_and_what_excludes_it_goes() {
        let mut conf = parse(FILE).expect("good");
        let given = "model net host=arb algorithm=ffsplit heuristics mode=on exec_ping=/bin/true";
        add(&mut conf, &words(given), report()).expect("sound");
        let wanted = "    device {\n        model: net\n        votes: 1\n\n        net {\n            algorithm: ffsplit\n            host: arb\n        }\n\n        heuristics {\n            exec_ping: /bin/true\n            mode: on\n        }\n    }\n}\n";
        assert!(conf.text().ends_with(wanted) && !conf.text().contains("two_node"), "{}", conf.text());
        assert!(add(&mut conf, &words(given), report()).is_err(), "there is one");
        update(&mut conf, &words("timeout=9 model algorithm=lms"), report()).expect("sound");
        assert!(!conf.text().contains("votes") && conf.text().contains("timeout: 9\n"), "{}", conf.text());
        remove_heuristics(&mut conf).expect("there");
        remove(&mut conf).expect("there");
        assert!(conf.text().contains("two_node: 1") && !conf.text().contains("device"), "{}", conf.text());
        assert!(remove(&mut conf).is_err() && update(&mut conf, &words("timeout=9"), report()).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (given, said) in [
            ("host=a", "model net"),
            ("model disk host=a algorithm=lms", "'disk' is not a valid model"),
            ("model net algorithm=lms", "option 'host' is missing"),
            ("model net", "options 'algorithm', 'host' are missing"),
            ("model net host=a algorithm=lms colour=red", "model option 'colour'"),
            ("model net host=a{ algorithm=lms", "not a valid host value"),
            ("votes=3 model net host=a algorithm=lms", "option 'votes'"),
            ("model net host=a algorithm=best", "use 'ffsplit', 'lms'"),
        ] {
            let failure = add(&mut parse(FILE).expect("good"), &words(given), report()).expect_err(given);
            assert!(failure.message.contains(said), "{given}: {}", failure.message);
        }
    }
}
