//! `pcs cluster start|stop|enable|disable|destroy|kill`: of this host alone, of some, or of all nodes.

use super::report::warn;
use super::{cluster, corosync};
use crate::edit::error;
use crate::grammar::Line;
use crate::hosts::{self, Answers, Book, STOPPED_WITHIN, Talker, Target};
use crate::source::{Failure, Source};
use std::time::{Duration, Instant};
use wire::pcsd::{Action, Done, Host, ServiceCall, path};

const LOOK_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EACH: Duration = Duration::from_millis(200);
/// As pcs: an hour, unless `--wait=SECONDS` says otherwise.
const WAIT: Duration = Duration::from_secs(3600);

/// What is done, and how it is told.
struct Words {
    action: Action,
    begin: &'static str,
    done: &'static str,
    failed: &'static str,
}

const START: Words =
    Words { action: Action::Start, begin: "Starting Cluster...", done: "", failed: "unable to start all nodes" };
const STOP: Words =
    Words { action: Action::Stop, begin: "Stopping Cluster...", done: "", failed: "unable to stop all nodes" };
const ENABLE: Words =
    Words { action: Action::Enable, begin: "", done: "Cluster Enabled", failed: "unable to enable all nodes" };
const DISABLE: Words =
    Words { action: Action::Disable, begin: "", done: "Cluster Disabled", failed: "unable to disable all nodes" };
const DESTROY: Words = Words {
    action: Action::Destroy,
    begin: "",
    done: "Successfully destroyed cluster",
    failed: "unable to destroy cluster",
};

pub fn is(words: &[&str]) -> bool {
    matches!(words, ["cluster", "start" | "stop" | "enable" | "disable" | "destroy" | "kill", ..])
}

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let ["cluster", verb, named @ ..] = words else { return Err(error("unknown command")) };
    let all = line.has("--all");
    if all && !named.is_empty() {
        return Err(error("Cannot specify both --all and a list of nodes."));
    }
    if !all && named.is_empty() {
        return here(source, line, verb);
    }
    let names: Vec<String> = match all {
        true => all_names(source)?,
        false => named.iter().map(|n| (*n).to_owned()).collect(),
    };
    let words = match *verb {
        "start" => START,
        "stop" => STOP,
        "enable" => ENABLE,
        "disable" => DISABLE,
        "destroy" if all => DESTROY,
        _ => return Err(error(format!("'pcs cluster {verb}' is about this host alone (or --all with destroy)"))),
    };
    if *verb == "stop" && only_here(source, &names) {
        return cluster::stop(source);
    }
    if *verb == "stop" {
        Book::read()?.targets(&names).map_err(|why| by_hand(why, &names))?;
        return on_all(line, &names, &words, !all).map(|_| String::new());
    }
    let targets = on_all(line, &names, &words, false)?;
    if *verb == "start" && line.has("--wait") {
        wait(line, &targets)?;
    }
    Ok(String::new())
}

/// Of a cluster that runs, else of its file.
fn all_names(source: &Source) -> Result<Vec<String>, Failure> {
    let running = source.status().ok().flatten();
    match running {
        Some(status) => Ok(status.nodes.into_iter().map(|n| n.name).collect()),
        None => corosync::own().map(|conf| corosync::names(&conf)),
    }
}

/// What can be done without pcsd.
fn by_hand(why: Failure, names: &[String]) -> Failure {
    let details = names.iter().map(|n| format!("on {n}: pcs cluster stop")).collect();
    Failure { message: format!("{}; or on each node itself:", why.message), details, ..why }
}

/// Whether no other host is meant: its own node needs none.
fn only_here(source: &Source, names: &[String]) -> bool {
    let [name] = names else { return false };
    source.local_node().is_ok_and(|own| base::ids::same_node(&own, name))
}

/// This host alone, without pcsd.
fn here(source: &Source, line: &Line, verb: &str) -> Result<String, Failure> {
    let service = hosts::own_service();
    let places = hosts::places();
    match verb {
        "start" => {
            kernel::errln!("Starting Cluster...");
            if !places.conf.exists() {
                return Err(error(format!(
                    "{} is not there: this host is in no cluster (pcs cluster setup …)",
                    places.conf.display()
                )));
            }
            let _ = kernel::files::private_dir(&places.state_dir);
            service.start().map_err(|why| error(format!("unable to start the cluster: {why}")))?;
            if line.has("--wait") {
                wait_here(line, source)?;
            }
        }
        "stop" => return cluster::stop(source),
        "enable" | "disable" => {
            service.enable(verb == "enable").map_err(error)?;
            if verb == "enable" && !service.systemd {
                kernel::errln!("There is no systemd here: the node starts together with 'bascule pcsd'");
            }
        }
        "kill" => drop(service.kill().map_err(error)?),
        _ => {
            kernel::errln!("Shutting down pacemaker/corosync services...");
            let target = own_target()?;
            let talker = Talker::of_this_host(&places)?;
            let call = ServiceCall { action: Action::Destroy };
            let done: Answers<Done> = hosts::ask_all(&talker, &[target], path::SERVICE, &call, STOPPED_WITHIN)?;
            hosts::all_good(done).map_err(|why| error(why.join("; ")))?;
            kernel::errln!("Removing all cluster configuration files...");
        }
    }
    Ok(String::new())
}

/// This host, by its key, among those that it knows.
pub fn own_target() -> Result<Target, Failure> {
    let (book, talker) = (Book::read()?, Talker::of_this_host(&hosts::places())?);
    let own = book.0.known_hosts.iter().find(|(_, h)| h.key == talker.pin).map(|(name, _)| name.clone());
    let name = own.ok_or_else(|| error("this host is not known to itself: run 'pcs host auth' with its own name"))?;
    book.target(&name).ok_or_else(|| error(format!("{name} is not known to pcs")))
}

/// Asks each; what went wrong on some is told, and the rest is done all the same.
fn on_all(line: &Line, names: &[String], words: &Words, guarded: bool) -> Result<Vec<Target>, Failure> {
    let (book, talker) = (Book::read()?, Talker::of_this_host(&hosts::places())?);
    let targets = book.targets(names)?;
    if guarded && !line.has("--force") {
        keeps_quorum(&talker, &targets)?;
    }
    if words.action == Action::Destroy {
        warn_of_remote();
    }
    if !words.begin.is_empty() {
        names.iter().for_each(|name| kernel::errln!("{name}: {}", words.begin));
    }
    act(line, &talker, &targets, words.action, words.done, words.failed)?;
    Ok(targets)
}

fn warn_of_remote() {
    let source = Source::open();
    if source.status().is_ok_and(|s| s.is_none()) || source.cib().is_err() {
        warn("Unable to load CIB to get guest and remote nodes from it, those nodes will not be deconfigured.");
    }
}

pub fn act(
    line: &Line,
    talker: &Talker,
    targets: &[Target],
    action: Action,
    done: &str,
    failed: &str,
) -> Result<(), Failure> {
    let within = request_timeout(line)?.unwrap_or(STOPPED_WITHIN);
    let answers: Answers<Done> = hosts::ask_all(talker, targets, path::SERVICE, &ServiceCall { action }, within)?;
    let mut wrong = Vec::new();
    for (name, answer) in answers {
        match answer {
            Ok(_) if done.is_empty() => {}
            Ok(_) => kernel::errln!("{name}: {done}"),
            Err(why) => wrong.push(why.of(&name)),
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(error(format!("{failed}\n{}", wrong.join("\n")))),
    }
}

/// `--request-timeout=SECONDS`.
fn request_timeout(line: &Line) -> Result<Option<Duration>, Failure> {
    let Some(text) = line.value("--request-timeout") else { return Ok(None) };
    let seconds = text.parse::<u64>().ok().filter(|s| (1..=86_400).contains(s));
    let seconds = seconds
        .ok_or_else(|| error(format!("'{text}' is not a valid --request-timeout value, use a positive integer")))?;
    Ok(Some(Duration::from_secs(seconds)))
}

/// Whether those that remain have quorum, if these stop.
pub fn keeps_quorum(talker: &Talker, stopping: &[Target]) -> Result<(), Failure> {
    let answers: Answers<Host> = hosts::ask_all(talker, stopping, path::HOST, &(), LOOK_WITHIN)?;
    let views: Vec<_> = answers.into_iter().filter_map(|(_, a)| a.ok().and_then(|h| h.node)).collect();
    let Some(view) = views.iter().find(|v| v.quorate) else { return Ok(()) };
    let going = view.members.iter().filter(|m| stopping.iter().any(|t| t.name == **m)).count();
    let left = view.votes.saturating_sub(u32::try_from(going).unwrap_or(u32::MAX));
    match going == view.members.len() || left >= view.quorum {
        true => Ok(()),
        false => Err(error("Stopping the node(s) will cause a loss of the quorum, use --force to override")),
    }
}

fn wait_limit(line: &Line) -> Result<Duration, Failure> {
    match line.value("--wait") {
        None => Ok(WAIT),
        Some(text) => cib::interval_ms(text)
            .map(Duration::from_millis)
            .ok_or_else(|| error(format!("{text} is not a valid number of seconds to wait"))),
    }
}

/// Until each of them is a member, as it sees it itself.
pub fn wait(line: &Line, targets: &[Target]) -> Result<(), Failure> {
    let limit = wait_limit(line)?;
    let talker = Talker::of_this_host(&hosts::places())?;
    let names: Vec<String> = targets.iter().map(|t| t.name.clone()).collect();
    kernel::errln!("Waiting for node(s) to start: {}...", hosts::quoted(&names));
    let (began, mut left) = (Instant::now(), targets.to_vec());
    while !left.is_empty() {
        let answers: Answers<Host> = hosts::ask_all(&talker, &left, path::HOST, &(), LOOK_WITHIN)?;
        for (name, answer) in answers {
            let view = answer.ok().and_then(|h| h.node);
            if view.is_some_and(|v| v.members.contains(&v.name)) {
                kernel::errln!("{name}: Started");
                left.retain(|t| t.name != name);
            }
        }
        if left.is_empty() {
            break;
        }
        if began.elapsed() > limit {
            return Err(error("Node(s) startup timed out"));
        }
        std::thread::sleep(LOOK_EACH);
    }
    Ok(())
}

fn wait_here(line: &Line, source: &Source) -> Result<(), Failure> {
    let (limit, began) = (wait_limit(line)?, Instant::now());
    kernel::errln!("Waiting for node to start...");
    while !source.status().ok().flatten().is_some_and(|s| s.members.contains(&s.me)) {
        if began.elapsed() > limit {
            return Err(error("Node(s) startup timed out"));
        }
        std::thread::sleep(LOOK_EACH);
    }
    kernel::errln!("Started");
    Ok(())
}
