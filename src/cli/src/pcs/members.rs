//! `pcs cluster node add|remove|clear`, `sync`, `authkey`, `corosync NODE`, `reload`: a cluster that is there, changed on all its
//! nodes or on none.

use super::{corosync, hosts as known, power, setup};
use crate::edit::error;
use crate::grammar::Line;
use crate::hosts::{self, Answers, Book, Change, Talker, Target};
use crate::source::{Failure, Source};
use std::time::Duration;
use wire::pcsd::{Action, Done, Expect, Fetched, FileBody, Forget, Host, Kind, ServiceCall, path, sha256};

const LOOK_WITHIN: Duration = Duration::from_secs(15);
const MAX_KEY_BYTES: u64 = 4096;

pub fn is(words: &[&str]) -> bool {
    matches!(
        words,
        ["cluster", "sync" | "authkey" | "corosync" | "reload", ..]
            | ["cluster", "node", "add" | "remove" | "delete" | "clear", ..]
    )
}

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["cluster", "node", "add", name, rest @ ..] => add(line, name, rest),
        ["cluster", "node", "remove" | "delete", names @ ..] if !names.is_empty() => remove(source, line, names),
        ["cluster", "node", "clear", name] => clear(source, line, name),
        ["cluster", "sync"] | ["cluster", "sync", "corosync"] => sync(line),
        ["cluster", "authkey", "corosync"] => authkey(setup::new_key()?),
        ["cluster", "authkey", "corosync", file] => {
            let key = kernel::files::read_regular(file.as_ref(), MAX_KEY_BYTES);
            authkey(key.map_err(|e| error(format!("Unable to read file '{file}': {e}")))?)
        }
        ["cluster", "corosync"] => Ok(corosync::own()?.text()),
        ["cluster", "corosync", node] => file_of(node),
        ["cluster", "reload", "corosync"] => reload(&Cluster::here()?),
        _ => Err(error(format!("unknown command '{}' (see: pcs help)", words.join(" ")))),
    }
}

/// The cluster of this host: its file, and its nodes as this host knows them.
struct Cluster {
    conf: corosync::Section,
    /// Digest of the file as it is on disk.
    digest: String,
    names: Vec<String>,
    targets: Vec<Target>,
    book: Book,
    talker: Talker,
}

impl Cluster {
    fn here() -> Result<Cluster, Failure> {
        let path = hosts::places().conf;
        let conf = corosync::own()?;
        let bytes = kernel::files::read_regular(&path, wire::pcsd::MAX_FILE_BYTES as u64);
        let digest = sha256(&bytes.map_err(|e| error(format!("{}: {e}", path.display())))?);
        let (book, names) = (Book::read()?, corosync::names(&conf));
        let targets = book.targets(&names)?;
        Ok(Cluster { conf, digest, names, targets, book, talker: Talker::of_this_host(&hosts::places())? })
    }
}

fn add(line: &Line, name: &str, words: &[&str]) -> Result<String, Failure> {
    if line.has("--wait") && !line.has("--start") {
        return Err(error("Cannot specify '--wait' without specifying '--start'"));
    }
    let mut cluster = Cluster::here()?;
    let target = cluster.book.targets([&name.to_owned()])?.remove(0);
    let mut addresses = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some(("addr", address)) => addresses.push(address.to_owned()),
            Some(("watchdog" | "device", _)) => {
                return Err(error("sbd is set up on each node: 'pcs stonith sbd enable' there, once it is added"));
            }
            _ => return Err(error(format!("invalid node option '{word}', allowed option is: 'addr'"))),
        }
    }
    if addresses.is_empty() {
        let usual = target.destinations.first().map_or(name, |d| d.addr.as_str()).to_owned();
        kernel::errln!("No addresses specified for host '{name}', using '{usual}'");
        addresses.push(usual);
    }
    corosync::add_node(&mut cluster.conf, name, &addresses)?;
    let new = std::slice::from_ref(&target);
    setup::free(&cluster.talker, new, false)?;
    let key = hosts::places().authkey;
    let key = kernel::files::read_regular(&key, MAX_KEY_BYTES).map_err(|e| error(format!("{}: {e}", key.display())))?;
    let everyone: Vec<String> = cluster.names.iter().cloned().chain([name.to_owned()]).collect();
    let shared =
        vec![FileBody::of(Kind::CorosyncConf, cluster.conf.text().as_bytes()), known::known(&cluster.book, &everyone)?];
    let mut changes = expecting(&cluster, &cluster.targets, &shared);
    let whole = [vec![FileBody::of(Kind::Authkey, &key)], shared].concat();
    changes.push(Change { target: target.clone(), expect: Expect::NoCluster, files: whole.clone() });
    hosts::distribute(&cluster.talker, changes, || Ok(()))?;
    setup::tell_files(&[name.to_owned()], &whole);
    kernel::errln!("Sending updated corosync.conf to nodes...");
    cluster.names.iter().for_each(|n| kernel::errln!("{n}: Succeeded"));
    reload_running(&cluster)?;
    if line.has("--enable") {
        power::act(line, &cluster.talker, new, Action::Enable, "Cluster enabled", "unable to enable the node")?;
    }
    if line.has("--start") {
        kernel::errln!("Starting cluster on hosts: '{name}'...");
        power::act(line, &cluster.talker, new, Action::Start, "", "unable to start the node")?;
    }
    if line.has("--wait") {
        power::wait(line, new)?;
    }
    Ok(String::new())
}

/// Each of the nodes has to have the file that this one has.
fn expecting(cluster: &Cluster, targets: &[Target], files: &[FileBody]) -> Vec<Change> {
    let expect = Expect::Conf(cluster.digest.clone());
    targets.iter().map(|t| Change { target: t.clone(), expect: expect.clone(), files: files.to_vec() }).collect()
}

fn remove(source: &Source, line: &Line, names: &[&str]) -> Result<String, Failure> {
    let mut cluster = Cluster::here()?;
    let missing = names.iter().filter(|n| !cluster.names.iter().any(|c| c == *n));
    let missing: Vec<String> =
        missing.map(|n| format!("Node '{n}' does not appear to exist in configuration")).collect();
    if !missing.is_empty() {
        return Err(super::unable(&missing));
    }
    let (going, staying): (Vec<Target>, Vec<Target>) =
        cluster.targets.iter().cloned().partition(|t| names.contains(&t.name.as_str()));
    if staying.is_empty() {
        return Err(super::unable(&["No nodes would be left in the cluster".to_owned()]));
    }
    if !line.has("--force") {
        power::keeps_quorum(&cluster.talker, &going)?;
    }
    corosync::remove_nodes(&mut cluster.conf, names);
    let file = FileBody::of(Kind::CorosyncConf, cluster.conf.text().as_bytes());
    let changes = expecting(&cluster, &staying, std::slice::from_ref(&file));
    hosts::distribute(&cluster.talker, changes, || take_away(line, &cluster.talker, &going))?;
    kernel::errln!("Sending updated corosync.conf to nodes...");
    staying.iter().for_each(|t| kernel::errln!("{}: Succeeded", t.name));
    // Who has left the cluster gives it no orders any more.
    let pins = going.iter().map(|t| t.pin.clone()).collect();
    let forgotten: Answers<Done> =
        hosts::ask_all(&cluster.talker, &staying, path::FORGET, &Forget { pins }, LOOK_WITHIN)?;
    if let Err(why) = hosts::all_good(forgotten) {
        super::report::warn(&why.join("; "));
    }
    let cluster = Cluster { targets: staying, ..cluster };
    if reload_running(&cluster)? {
        names.iter().try_for_each(|name| forget(source, name))?;
    }
    Ok(String::new())
}

fn take_away(line: &Line, talker: &Talker, going: &[Target]) -> Result<(), Failure> {
    let names: Vec<String> = going.iter().map(|t| t.name.clone()).collect();
    kernel::errln!("Destroying cluster on hosts: {}...", hosts::quoted(&names));
    let done =
        power::act(line, talker, going, Action::Destroy, "Successfully destroyed cluster", "unable to destroy cluster");
    match done {
        Err(why) if line.has("--skip-offline") || line.has("--force") => {
            super::report::warn(&why.message);
            super::report::warn(&format!(
                "Removed nodes {} could not be reached and subsequently deconfigured: run 'pcs cluster destroy' there",
                hosts::quoted(&names)
            ));
            Ok(())
        }
        Err(mut why) => {
            why.message += "\n(a node that is gone for good: --skip-offline)";
            Err(why)
        }
        done => done,
    }
}

/// Out of the CIB.
fn forget(source: &Source, name: &str) -> Result<(), Failure> {
    let Ok(id) = crate::attributes::node_id(&source.cib()?, name) else { return Ok(()) };
    for expression in
        [format!("/cib/configuration/nodes/node[@id='{id}']"), format!("/cib/status/node_state[@id='{id}']")]
    {
        if !id.contains('\'') {
            source.call(crate::attributes::sign(cib::Request::delete_xpath(&expression, false)))?;
        }
    }
    Ok(())
}

fn clear(source: &Source, line: &Line, name: &str) -> Result<String, Failure> {
    let listed = corosync::own().is_ok_and(|conf| corosync::names(&conf).iter().any(|n| n == name));
    if listed && !line.has("--force") {
        return Err(error(format!(
            "node '{name}' seems to be still in the cluster; this command should be used only with nodes that have been removed from the cluster, use --force to override"
        )));
    }
    forget(source, name)?;
    Ok(String::new())
}

/// This host's files to all nodes.
fn sync(line: &Line) -> Result<String, Failure> {
    let cluster = Cluster::here()?;
    let places = hosts::places();
    let read = |kind, path: &std::path::Path| {
        let bytes = kernel::files::read_regular(path, wire::pcsd::MAX_FILE_BYTES as u64);
        bytes.map(|b| FileBody::of(kind, &b)).map_err(|e| error(format!("{}: {e}", path.display())))
    };
    let files = vec![
        read(Kind::CorosyncConf, &places.conf)?,
        read(Kind::Authkey, &places.authkey)?,
        known::known(&cluster.book, &cluster.names)?,
    ];
    let answers: Answers<Host> = hosts::ask_all(&cluster.talker, &cluster.targets, path::HOST, &(), LOOK_WITHIN)?;
    let away: Vec<String> = answers.iter().filter_map(|(n, a)| a.as_ref().err().map(|why| why.of(n))).collect();
    if !away.is_empty() && !line.has("--skip-offline") {
        let mut failure = error("nothing was changed on any host (those that answer alone: --skip-offline)");
        failure.details = away;
        return Err(failure);
    }
    away.iter().for_each(|why| super::report::warn(why));
    let there = cluster.targets.iter().filter(|t| answers.iter().any(|(n, a)| *n == t.name && a.is_ok()));
    let change = |target: &Target| Change { target: target.clone(), expect: Expect::Anything, files: files.clone() };
    let changes: Vec<Change> = there.map(change).collect();
    let names: Vec<String> = changes.iter().map(|c| c.target.name.clone()).collect();
    hosts::distribute(&cluster.talker, changes, || Ok(()))?;
    names.iter().for_each(|n| kernel::errln!("{n}: Succeeded"));
    super::report::warn(
        "Corosync configuration has been synchronized, please reload corosync daemon using 'pcs cluster reload corosync' command.",
    );
    Ok(String::new())
}

/// A changed corosync.conf to all nodes; nothing where this host does not know them all, as with clusters that were made by hand.
pub fn carry(conf: &corosync::Section) -> Option<Result<String, Failure>> {
    let cluster = Cluster::here().ok()?;
    Some((|| {
        let files = [FileBody::of(Kind::CorosyncConf, conf.text().as_bytes())];
        kernel::errln!("Sending updated corosync.conf to nodes...");
        hosts::distribute(&cluster.talker, expecting(&cluster, &cluster.targets, &files), || Ok(()))?;
        cluster.names.iter().for_each(|n| kernel::errln!("{n}: Succeeded"));
        reload_running(&cluster)?;
        Ok(String::new())
    })())
}

fn authkey(key: Vec<u8>) -> Result<String, Failure> {
    let cluster = Cluster::here()?;
    let files = [FileBody::of(Kind::Authkey, &key)];
    hosts::distribute(&cluster.talker, expecting(&cluster, &cluster.targets, &files), || Ok(()))?;
    setup::tell_files(&cluster.names, &files);
    reload_running(&cluster)?;
    Ok(String::new())
}

fn file_of(node: &str) -> Result<String, Failure> {
    let (book, talker) = (Book::read()?, Talker::of_this_host(&hosts::places())?);
    let targets = book.targets([&node.to_owned()])?;
    let fetched: Answers<Fetched> = hosts::ask_all(&talker, &targets, path::FETCH, &(), LOOK_WITHIN)?;
    let fetched = hosts::all_good(fetched).map_err(|why| error(why.join("; ")))?;
    let files = fetched.into_iter().flat_map(|(_, f)| f.files);
    let file =
        files.into_iter().find(|f| f.kind == Kind::CorosyncConf).map(|f| f.bytes().map_err(error)).transpose()?;
    Ok(String::from_utf8_lossy(&file.unwrap_or_default()).into_owned())
}

fn reload(cluster: &Cluster) -> Result<String, Failure> {
    match reload_running(cluster)? {
        true => Ok(String::new()),
        false => Err(error("the cluster runs on no node: it reads the file when it starts")),
    }
}

/// One node that runs is enough: it has all take over the file, or none.
fn reload_running(cluster: &Cluster) -> Result<bool, Failure> {
    let answers: Answers<Host> = hosts::ask_all(&cluster.talker, &cluster.targets, path::HOST, &(), LOOK_WITHIN)?;
    let runs = |t: &&Target| answers.iter().any(|(n, a)| *n == t.name && a.as_ref().is_ok_and(|h| h.node.is_some()));
    let Some(one) = cluster.targets.iter().find(runs) else { return Ok(false) };
    let call = ServiceCall { action: Action::Reload };
    let done: Answers<Done> =
        hosts::ask_all(&cluster.talker, std::slice::from_ref(one), path::SERVICE, &call, hosts::ANSWER_WITHIN)?;
    hosts::all_good(done).map_err(|why| {
        error(format!(
            "all nodes have the new files, and those that run have not taken them over: {}; try again with 'pcs cluster reload corosync'",
            why.join("; ")
        ))
    })?;
    kernel::errln!("{}: Corosync configuration reloaded", one.name);
    Ok(true)
}
