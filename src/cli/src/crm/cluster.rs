//! `crm cluster init|join|remove|start|stop|status|health`: what pcs does, in crmsh's words. No ssh: `bascule pcsd` runs on every host.

use crate::edit::error;
use crate::grammar::Line;
use crate::hosts::{self, Answers, Book, Change, Talker, Target};
use crate::pcs;
use crate::source::{Failure, host_name};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::pcsd::{Add, Destination, Done, Expect, KnownHost, path};

const ADDED_WITHIN: Duration = Duration::from_secs(180);

/// Where no name is given, as crmsh has it.
const NAME: &str = "hacluster";

pub fn run(line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["init", others @ ..] => init(line, others),
        ["join"] => join(line),
        ["remove", node] => with_options(line, &["--force"], &["cluster", "node", "remove", node]),
        ["start" | "stop" | "enable" | "disable" | "restart", nodes @ ..] => power(line, words[0], nodes),
        ["status"] => Ok(status()),
        ["health"] => health(),
        _ => Err(error(format!("cluster.{}: No such command", words.first().unwrap_or(&"")))),
    }
}

/// What is typed as `pcs …`.
fn typed(words: &[&str]) -> Result<String, Failure> {
    pcs::typed(words).map(|(text, _)| text)
}

fn with_options(line: &Line, options: &[&'static str], words: &[&str]) -> Result<String, Failure> {
    let given = options.iter().copied().filter(|o| line.has(o));
    typed(&words.iter().copied().chain(given).collect::<Vec<_>>())
}

fn power(line: &Line, verb: &str, nodes: &[&str]) -> Result<String, Failure> {
    let verbs: &[&str] = if verb == "restart" { &["stop", "start"] } else { &[verb] };
    verbs.iter().try_fold(String::new(), |out, verb| {
        Ok(out + &with_options(line, &["--all"], &[&["cluster", verb], nodes].concat())?)
    })
}

fn init(line: &Line, others: &[&str]) -> Result<String, Failure> {
    let name = line.value("-n").or(line.value("--name")).unwrap_or(NAME);
    let own = host_name();
    let address = line.value("-i").or(line.value("--interface")).unwrap_or(&own);
    let talker = Talker::of_this_host(&hosts::places())?;
    know_oneself(&talker, &own, address)?;
    let mut nodes = vec![own.clone()];
    if !others.is_empty() {
        let mut named = BTreeMap::new();
        for other in others {
            let (name, address) = other.split_once('=').unwrap_or((other, other));
            named.insert(name.to_owned(), Destination::parse(address).map_err(error)?);
        }
        log_in(line, &talker, &named)?;
        nodes.extend(named.into_keys());
    }
    let words = ["cluster", "setup", name].into_iter().chain(nodes.iter().map(String::as_str));
    let words: Vec<&str> = words.chain(["--start", "--enable", "--wait=120"]).collect();
    let out = typed(&words)?;
    kernel::errln!("INFO: Done (log in as root on another host and run: crm cluster join -c {own})");
    Ok(out)
}

/// By its own key: root needs no leave on this host.
fn know_oneself(talker: &Talker, own: &str, address: &str) -> Result<(), Failure> {
    if !wire::pcsd::is_plain(own) {
        return Err(error(format!("'{own}' is no name for a node: give this host a name first (hostnamectl)")));
    }
    let to = Destination::parse(address).map_err(error)?;
    let host = KnownHost { dest_list: vec![to], token: String::new(), key: talker.pin.clone() };
    hosts::locked(|book| {
        book.take(&BTreeMap::from([(own.to_owned(), host)]));
        Ok(())
    })?;
    hosts::authorise(own, &talker.pin, "root of this host")
}

fn log_in(line: &Line, talker: &Talker, named: &BTreeMap<String, Destination>) -> Result<(), Failure> {
    let user = line.value("-u").unwrap_or(wire::pcsd::USER);
    let secret = hosts::secret(Some(user), line.value("-p"), line.value("--token"))?;
    let (_, wrong) = hosts::log_in(talker, named, &secret)?;
    if wrong.is_empty() { Ok(()) } else { Err(error(wrong.join("\n"))) }
}

/// The other host does it: it is told who this one is, and adds it.
fn join(line: &Line) -> Result<String, Failure> {
    let there = line.value("-c").or(line.value("--cluster-node"));
    let there =
        there.ok_or_else(|| error("usage: crm cluster join -c HOST [-i ADDRESS] [-p PASSWORD | --token FILE]"))?;
    let destination = Destination::parse(there.rsplit('@').next().unwrap_or(there)).map_err(error)?;
    let talker = Talker::of_this_host(&hosts::places())?;
    let own = host_name();
    let address = line.value("-i").or(line.value("--interface")).unwrap_or(&own).to_owned();
    know_oneself(&talker, &own, &address)?;
    log_in(line, &talker, &BTreeMap::from([(destination.addr.clone(), destination.clone())]))?;
    let book = Book::read()?;
    let target: Target = book.targets([&destination.addr])?.remove(0);
    // It will come with orders, as each node of a cluster does.
    hosts::authorise(&target.name, &target.pin, "crm cluster join")?;
    let me = pcs::known_hosts(&book, std::slice::from_ref(&own))?;
    let change = Change { target: target.clone(), expect: Expect::Anything, files: vec![me] };
    hosts::distribute(&talker, vec![change], || Ok(()))?;
    let call = Add { name: own.clone(), address };
    let answers: Answers<Done> =
        hosts::ask_all(&talker, std::slice::from_ref(&target), path::ADD, &call, ADDED_WITHIN)?;
    hosts::all_good(answers).map_err(|why| error(why.join("\n")))?;
    kernel::errln!("INFO: Done: {own} is a node of the cluster");
    Ok(String::new())
}

fn status() -> String {
    let service = hosts::own_service();
    let state = if service.is_running() { "active" } else { "inactive" };
    let enabled = if service.is_enabled() { "enabled" } else { "disabled" };
    format!("corosync: {state}/{enabled} (bascule node)\npacemaker: {state}/{enabled} (bascule node)\n")
}

/// The configuration, and whether every host answers.
fn health() -> Result<String, Failure> {
    let verified = pcs::typed(&["cluster", "verify"]).map(|_| ());
    let (text, code) = pcs::typed(&["pcsd", "status"])?;
    let mut out = format!("Hosts:\n{text}");
    match verified {
        Ok(()) => out += "Configuration: no faults\n",
        Err(why) => return Err(error(format!("{}\n{out}", why.message))),
    }
    if code == 0 { Ok(out) } else { Err(error(out)) }
}
