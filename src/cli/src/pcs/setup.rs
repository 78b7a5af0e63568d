//! `pcs cluster setup`: a cluster from hosts that are in none, or nothing anywhere.

use super::{corosync, hosts as known, power, report};
use crate::edit::error;
use crate::grammar::Line;
use crate::hosts::{self, Answers, Book, Change, Talker, Target};
use crate::source::Failure;
use std::time::Duration;
use wire::pcsd::{Action, Expect, FileBody, Host, Kind, path};

const LOOK_WITHIN: Duration = Duration::from_secs(15);
/// As corosync-keygen makes them.
const KEY_BYTES: usize = 256;

/// Name and nodes, in the older form as well (`--name NAME NODE...`).
pub fn named<'l>(line: &'l Line, words: &'l [&'l str]) -> Result<(&'l str, &'l [&'l str]), Failure> {
    if let Some(name) = line.value("--name") {
        report::deprecated("'--name NAME' is the older form of 'pcs cluster setup NAME NODE...'");
        return Ok((name, words));
    }
    words
        .split_first()
        .map(|(name, rest)| (*name, rest))
        .ok_or_else(|| error("expected a name for the cluster, and its nodes"))
}

pub fn run(line: &Line, words: &[&str]) -> Result<String, Failure> {
    let (name, words) = named(line, words)?;
    if !wire::pcsd::is_plain(name) {
        return Err(error(format!("'{name}' is no name for a cluster: expected letters, digits, '-', '_' and '.'")));
    }
    if line.has("--wait") && !line.has("--start") {
        return Err(error("Cannot specify '--wait' without specifying '--start'"));
    }
    carry_out(line, &plan(line, name, words, &[])?, Vec::new())
}

/// A `corosync.conf`; an error says what is wrong.
pub fn section(text: &str) -> Result<corosync::Section, String> {
    corosync::parse(text)
}

/// A cluster as it is going to be.
pub struct Plan {
    pub conf: corosync::Section,
    pub names: Vec<String>,
}

/// `words` are nodes and options; `device` is what `pcs quorum device add` takes, or nothing.
pub fn plan(line: &Line, name: &str, words: &[&str], device: &[&str]) -> Result<Plan, Failure> {
    let book = Book::read()?;
    let address = |node: &str| book.target(node).and_then(|t| t.destinations.first().map(|d| d.addr.clone()));
    let address = |node: &str| address(node).unwrap_or_else(|| node.to_owned());
    let (mut conf, names) = corosync::new_file(line, name, words, &address)?;
    if !device.is_empty() {
        corosync::add_device(line, &mut conf, device)?;
    }
    Ok(Plan { conf, names })
}

/// On all hosts or on none, `more` files with it; then whatever the line says of starting.
pub fn carry_out(line: &Line, plan: &Plan, more: Vec<FileBody>) -> Result<String, Failure> {
    let book = Book::read()?;
    let names = &plan.names;
    // Whoever is not known is told first: without it nothing can be done.
    let targets = book.targets(names)?;
    let talker = Talker::of_this_host(&hosts::places())?;
    let force = line.has("--force");
    free(&talker, &targets, force)?;

    let mut files = vec![FileBody::of(Kind::CorosyncConf, plan.conf.text().as_bytes()), known::known(&book, names)?];
    if !line.has("--no-keys-sync") {
        files.insert(0, FileBody::of(Kind::Authkey, &new_key()?));
    }
    files.extend(more);
    let expect = if force { Expect::Anything } else { Expect::NoCluster };
    let change = |target: &Target| Change { target: target.clone(), expect: expect.clone(), files: files.clone() };
    hosts::distribute(&talker, targets.iter().map(change).collect(), || {
        kernel::errln!("Destroying cluster on hosts: {}...", hosts::quoted(names));
        let (done, failed) = ("Successfully destroyed cluster", "unable to destroy cluster");
        power::act(line, &talker, &targets, Action::Destroy, done, failed)
    })?;
    tell_files(names, &files);
    if line.has("--enable") {
        kernel::errln!("Enabling cluster on hosts: {}...", hosts::quoted(names));
        power::act(line, &talker, &targets, Action::Enable, "Cluster enabled", "unable to enable all nodes")?;
    }
    kernel::errln!("Cluster has been successfully set up.");
    if line.has("--start") {
        kernel::errln!("Starting cluster on hosts: {}...", hosts::quoted(names));
        power::act(line, &talker, &targets, Action::Start, "", "unable to start all nodes")?;
    }
    if line.has("--wait") {
        power::wait(line, &targets)?;
    }
    Ok(String::new())
}

/// Whether each host answers and is in no cluster; with `force` the latter is a warning.
pub fn free(talker: &Talker, targets: &[Target], force: bool) -> Result<(), Failure> {
    let answers: Answers<Host> = hosts::ask_all(talker, targets, path::HOST, &(), LOOK_WITHIN)?;
    let (mut wrong, mut taken) = (Vec::new(), false);
    for (name, answer) in answers {
        let host = match answer {
            Ok(host) => host,
            Err(why) => {
                wrong.push(why.of(&name));
                continue;
            }
        };
        let mut running = host.foreign.clone();
        running.extend(host.running.then(|| "bascule".to_owned()));
        let services = (!running.is_empty()).then(|| {
            let (these, are) = if running.len() == 1 { ("service", "is") } else { ("services", "are") };
            format!(
                "{name}: The host seems to be in a cluster already as the following {these} {are} found to be running: {}. If the host is \
                 not part of a cluster, stop the {these} and retry",
                hosts::quoted(&running)
            )
        });
        let files = (!host.configured.is_empty()).then(|| {
            format!(
                "{name}: The host seems to be in a cluster already as cluster configuration files have been found on the host ({})",
                host.configured.join(", ")
            )
        });
        for found in services.into_iter().chain(files) {
            // What we do not run we do not stop either.
            match force && host.foreign.is_empty() {
                true => report::warn(&found),
                false => wrong.push(found),
            }
            taken = true;
        }
    }
    if taken && !wrong.is_empty() {
        wrong.push(
            "Some nodes are already in a cluster. Enforcing this will destroy existing cluster on those nodes. You should remove the \
             nodes from their clusters instead to keep the clusters working properly, use --force to override"
                .to_owned(),
        );
    }
    if wrong.is_empty() { Ok(()) } else { Err(super::unable(&wrong)) }
}

pub fn tell_files(names: &[String], files: &[FileBody]) {
    let kinds: Vec<&str> = files.iter().map(|f| f.kind.words()).collect();
    let list: Vec<String> = kinds.iter().map(|k| (*k).to_owned()).collect();
    kernel::errln!("Sending {} to {}", hosts::quoted(&list), hosts::quoted(names));
    for name in names {
        kinds.iter().for_each(|kind| kernel::errln!("{name}: successful distribution of the file '{kind}'"));
    }
}

pub fn new_key() -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let mut key = vec![0; KEY_BYTES];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut key));
    read.map_err(|e| error(format!("no random numbers: {e}")))?;
    Ok(key)
}
