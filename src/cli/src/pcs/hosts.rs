//! `pcs host auth|deauth`, `pcs cluster auth`, `pcs pcsd …`, `pcs status pcsd`: whom this host knows, and who may give it orders.

use super::{corosync, report};
use crate::edit::error;
use crate::grammar::Line;
use crate::hosts::{self, Book, TalkError, Talker};
use crate::source::Failure;
use base::exit::crm;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use wire::pcsd::{Destination, Expect, FileBody, Host, Kind, KnownHost, path};

/// What `pcs pcsd status` ends with where a host does not answer.
const SOME_OFFLINE: i32 = 2;
const LOOK_WITHIN: Duration = Duration::from_secs(10);

pub fn is(words: &[&str]) -> bool {
    matches!(words, ["host" | "pcsd", ..] | ["cluster", "auth", ..] | ["status", "pcsd", ..])
}

pub fn run(line: &Line, words: &[&str]) -> Result<(String, i32), Failure> {
    match words {
        ["host", "auth", rest @ ..] => auth(line, &destinations(rest)?),
        ["cluster", "auth", rest @ ..] => {
            report::deprecated("'pcs cluster auth HOST...' is the older form of 'pcs host auth HOST...'");
            let named = destinations(rest)?;
            let own = || corosync::own().map(|conf| corosync::names(&conf).into_iter().map(usual).collect());
            auth(line, &if named.is_empty() { own()? } else { named })
        }
        ["host", "deauth", names @ ..] => deauth(names).map(|text| (text, crm::OK)),
        ["pcsd" | "status", "status" | "pcsd", names @ ..] => status(line, names),
        ["pcsd", "sync-certificates"] => sync().map(|text| (text, crm::OK)),
        ["pcsd", "deauth", whom @ ..] => close(whom).map(|text| (text, crm::OK)),
        ["pcsd", "certkey", ..] => Err(error(
            "pcsd makes its key and certificate itself, and others know it by the key; to have a new key: stop pcsd, remove key.pem \
             and cert.pem of its directory (pcsd in the state directory), start it, and run 'pcs host deauth' and 'pcs host auth' \
             on the other hosts",
        )),
        _ => Err(error(format!("unknown command '{}' (see: pcs help)", words.join(" ")))),
    }
}

fn usual(name: String) -> (String, Destination) {
    let to = Destination { addr: name.clone(), port: wire::pcsd::PORT };
    (name, to)
}

/// `NAME [addr=ADDRESS[:PORT]]`, any number of times.
fn destinations(words: &[&str]) -> Result<BTreeMap<String, Destination>, Failure> {
    let mut all: Vec<(String, Option<Destination>)> = Vec::new();
    for word in words {
        match (word.split_once('='), all.last_mut()) {
            (Some(("addr", address)), Some((_, there @ None))) => {
                *there = Some(Destination::parse(address).map_err(error)?)
            }
            (Some(("addr", _)), Some((name, _))) => {
                return Err(error(format!("'{name}' has two addresses, expected one")));
            }
            (Some((option, _)), _) => {
                return Err(error(format!("Unknown options {option} for a host, expected addr=ADDRESS")));
            }
            (None, _) => all.push(((*word).to_owned(), None)),
        }
    }
    let mut named = BTreeMap::new();
    for (name, to) in all {
        if !wire::pcsd::is_plain(&name) {
            return Err(error(format!("'{name}' is no name of a host")));
        }
        let to = match to {
            Some(to) => to,
            None => Destination::parse(&name).map_err(error)?,
        };
        if named.insert(name.clone(), to).is_some() {
            return Err(error(format!("host '{name}' is named more than once")));
        }
    }
    Ok(named)
}

fn auth(line: &Line, named: &BTreeMap<String, Destination>) -> Result<(String, i32), Failure> {
    if named.is_empty() {
        return Err(error("No host specified"));
    }
    let talker = Talker::of_this_host(&hosts::places())?;
    let secret = hosts::secret(line.value("-u"), line.value("-p"), line.value("--token"))?;
    let (good, wrong) = hosts::log_in(&talker, named, &secret)?;
    good.iter().for_each(|name| kernel::errln!("{name}: Authorized"));
    if !good.is_empty() {
        spread(&talker, &good);
    }
    match wrong.split_first() {
        None => Ok((String::new(), crm::OK)),
        Some((first, rest)) => {
            rest.iter().for_each(|w| kernel::errln!("Error: {w}"));
            Err(error(first.clone()))
        }
    }
}

/// The cluster that this host is in knows the new ones as well, so that its nodes can go on without this one.
fn spread(talker: &Talker, new: &[String]) {
    let Ok(conf) = corosync::own() else { return };
    let told = || -> Result<(), Failure> {
        let book = Book::read()?;
        let targets = corosync::names(&conf)
            .iter()
            .filter_map(|n| book.target(n))
            .filter(|t| t.pin != talker.pin)
            .collect::<Vec<_>>();
        if targets.is_empty() {
            return Ok(());
        }
        let new: Vec<String> = new.iter().chain(&corosync::names(&conf)).cloned().collect();
        let body = known(&book, &new)?;
        let change = |target| hosts::Change { target, expect: Expect::Anything, files: vec![body.clone()] };
        hosts::distribute(talker, targets.into_iter().map(change).collect(), || Ok(()))
    };
    if let Err(why) = told() {
        let details = why.details.join("; ");
        report::warn(&format!(
            "Unable to synchronize known-hosts with the nodes of the cluster: {} {details}",
            why.message
        ));
    }
}

/// These hosts, as this one knows them, for others to take over.
pub fn known(book: &Book, names: &[String]) -> Result<FileBody, Failure> {
    let of =
        |name: &String| book.0.known_hosts.get(name).filter(|h| !h.key.is_empty()).map(|h| (name.clone(), h.clone()));
    // Tokens of pcs are for this host alone.
    let bare = |(name, host)| (name, KnownHost { token: String::new(), ..host });
    let hosts: BTreeMap<String, KnownHost> = names.iter().filter_map(of).map(bare).collect();
    let text = serde_json::to_vec(&hosts).map_err(|e| error(e.to_string()))?;
    Ok(FileBody::of(Kind::Hosts, &text))
}

fn deauth(names: &[&str]) -> Result<String, Failure> {
    hosts::locked(|book| {
        let missing: Vec<String> =
            names.iter().filter(|n| !book.known_hosts.contains_key(**n)).map(|n| (*n).to_owned()).collect();
        if !missing.is_empty() {
            return Err(error(format!("Following hosts were not found: {}", hosts::quoted(&missing))));
        }
        book.known_hosts.retain(|name, _| !names.is_empty() && !names.contains(&name.as_str()));
        book.data_version += 1;
        Ok(String::new())
    })
}

/// Hosts, by name or key, that may no longer give orders here; all where none is named.
fn close(whom: &[&str]) -> Result<String, Failure> {
    let missing = hosts::authorised(|list| {
        let is = |w: &str, pin: &str, name: &str| w == name || (w.len() >= 8 && pin.starts_with(w));
        let missing: Vec<String> = whom
            .iter()
            .filter(|w| !list.hosts.iter().any(|(pin, h)| is(w, pin, &h.name)))
            .map(|w| (*w).to_owned())
            .collect();
        if missing.is_empty() {
            list.hosts.retain(|pin, h| !whom.is_empty() && !whom.iter().any(|w| is(w, pin, &h.name)));
        }
        missing
    })?;
    match missing.is_empty() {
        true => Ok(String::new()),
        false => Err(error(format!("Following hosts were not found: {}", hosts::quoted(&missing)))),
    }
}

fn status(line: &Line, names: &[&str]) -> Result<(String, i32), Failure> {
    let names: Vec<String> = match names.is_empty() {
        true => corosync::names(&corosync::own()?),
        false => names.iter().map(|n| (*n).to_owned()).collect(),
    };
    let states = states(&names)?;
    let code = if states.iter().all(|(_, s)| *s == "Online") { crm::OK } else { SOME_OFFLINE };
    if line.has("--json") {
        let json: serde_json::Map<String, serde_json::Value> =
            states.into_iter().map(|(name, state)| (name, state.into())).collect();
        return Ok((serde_json::Value::from(json).to_string() + "\n", code));
    }
    Ok((lines(&states), code))
}

fn states(names: &[String]) -> Result<Vec<(String, &'static str)>, Failure> {
    let (book, talker) = (Book::read()?, Talker::of_this_host(&hosts::places())?);
    let targets: Vec<_> = names.iter().filter_map(|n| book.target(n)).collect();
    let answers: BTreeMap<String, _> =
        hosts::ask_all::<Host>(&talker, &targets, path::HOST, &(), LOOK_WITHIN)?.into_iter().collect();
    let state = |name: &String| match answers.get(name) {
        Some(Ok(_)) => "Online",
        Some(Err(TalkError::Unreachable(_) | TalkError::Timeout(_))) => "Offline",
        Some(Err(TalkError::Stranger { .. })) => "Key has changed",
        _ => "Unable to authenticate",
    };
    Ok(names.iter().map(|name| (name.clone(), state(name))).collect())
}

fn lines(states: &[(String, &str)]) -> String {
    states.iter().fold(String::new(), |mut out, (name, state)| {
        let _ = writeln!(out, "  {name}: {state}");
        out
    })
}

/// For `pcs status --full`: nothing where this host knows nobody.
pub fn section() -> Option<String> {
    let names = corosync::names(&corosync::own().ok()?);
    Book::read().ok().filter(|book| names.iter().any(|n| book.target(n).is_some()))?;
    Some(format!("\nPCSD Status:\n{}", lines(&states(&names).ok()?)))
}

/// Whether pcsd listens on this host.
pub fn answers_here() -> bool {
    let port = std::env::var("PCSD_PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(wire::pcsd::PORT);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

/// Each host keeps its key; what is made the same is who knows whom.
fn sync() -> Result<String, Failure> {
    let names = corosync::names(&corosync::own()?);
    let (book, talker) = (Book::read()?, Talker::of_this_host(&hosts::places())?);
    let targets = book.targets(&names)?;
    let body = known(&book, &names)?;
    kernel::errln!("Synchronizing pcsd SSL certificates on node(s) {}...", hosts::quoted(&names));
    let change = |target| hosts::Change { target, expect: Expect::Anything, files: vec![body.clone()] };
    hosts::distribute(&talker, targets.into_iter().map(change).collect(), || Ok(()))?;
    names.iter().for_each(|name| kernel::errln!("{name}: Success"));
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_with_or_without_addresses() {
        let read = |words: &[&str]| {
            destinations(words).map(|all| all.into_iter().map(|(n, d)| format!("{n}={d}")).collect::<Vec<_>>())
        };
        assert_eq!(
            read(&["n1", "addr=192.0.2.1", "n2", "addr=n2.example:99", "n3"]).expect("good"),
            ["n1=192.0.2.1:2224", "n2=n2.example:99", "n3=n3:2224"]
        );
        for bad in [
            &["addr=x"][..],
            &["n1", "addr=a", "addr=b"],
            &["n1", "port=1"],
            &["n1", "n1"],
            &["../x"],
            &["n1", "addr=a:0"],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
