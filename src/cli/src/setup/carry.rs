//! What was answered is done: hosts made known, files on all of them or on none, nodes started, resources loaded, and looked after
//! until they run.

use super::answers::Answers;
use super::files::Files;
use crate::edit::{edit, error, set_pairs};
use crate::hosts::{self, Answers as Told, Book, Secret, Talker, log_in};
use crate::pcs;
use crate::source::{Failure, Source};
use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};
use wire::pcsd::{DIRECTOR_FILE, Destination, FileBody, Host, Kind, PORT, Token, USER, path, sha256};

const LOOK_WITHIN: Duration = Duration::from_secs(15);
const ARBITRATOR_WITHIN: Duration = Duration::from_secs(3);
/// Until the group runs.
const RUNS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EACH: Duration = Duration::from_millis(200);

/// How to log in at hosts that are not known yet.
#[derive(Clone, Debug, Default)]
pub struct LogIn {
    pub password_file: Option<String>,
    /// Of other hosts, by name.
    pub tokens: BTreeMap<String, String>,
}

/// Whatever can be found out without changing anything.
pub fn look(answers: &Answers) -> Result<(), Failure> {
    let Some((host, port)) = &answers.arbitrator else { return Ok(()) };
    let at = (host.as_str(), *port).to_socket_addrs();
    let at: Vec<_> = at.map_err(|e| error(format!("arbitrator {host}: {e}")))?.collect();
    let answers = at.iter().any(|a| TcpStream::connect_timeout(a, ARBITRATOR_WITHIN).is_ok());
    match answers {
        true => Ok(()),
        false => Err(error(format!(
            "the arbitrator does not answer at {host} port {port}: start it there ('bascule qnetd -s off', or corosync-qnetd), or \
             leave it out and add it later with 'pcs quorum device add'"
        ))),
    }
}

/// Every director is known, and this host is one of them.
pub fn meet(answers: &Answers, login: &LogIn) -> Result<(), Failure> {
    let talker = Talker::of_this_host(&hosts::places())?;
    let book = Book::read()?;
    let unknown = answers.nodes.iter().filter(|n| book.target(&n.name).is_none());
    let mut open: BTreeMap<String, Destination> = BTreeMap::new();
    for node in unknown {
        let addr = node.addresses.first().map(ToString::to_string).unwrap_or_default();
        open.insert(node.name.clone(), Destination { addr, port: PORT });
    }
    // This host needs no leave of itself.
    let nobody = Secret::Password { user: USER.to_owned(), password: String::new() };
    for (name, to) in &open {
        let one = BTreeMap::from([(name.clone(), to.clone())]);
        let own = kernel_has(&to.addr);
        let secret = if own { nobody.clone() } else { secret(name, login)? };
        let (_, wrong) = log_in(&talker, &one, &secret)?;
        match wrong.first() {
            Some(why) => return Err(error(why.clone())),
            None => kernel::errln!("{name}: Authorized"),
        }
    }
    let book = Book::read()?;
    let here = answers.nodes.iter().any(|n| book.target(&n.name).is_some_and(|t| t.pin == talker.pin));
    match here {
        true => Ok(()),
        false => Err(error("this host is none of the directors: run 'bascule setup' on one of them")),
    }
}

/// Whether an address is of this host: a socket can be bound to it.
fn kernel_has(addr: &str) -> bool {
    std::net::UdpSocket::bind((addr, 0)).is_ok()
}

fn secret(host: &str, login: &LogIn) -> Result<Secret, Failure> {
    let first_line = |file: &str| -> Result<String, Failure> {
        let bytes = kernel::files::read_regular(Path::new(file), 4096);
        let bytes = bytes.map_err(|e| error(format!("Unable to read file '{file}': {e}")))?;
        Ok(String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned())
    };
    let text = match (login.tokens.get(host), &login.password_file) {
        (Some(file), _) => first_line(file)?,
        (None, Some(file)) => first_line(file)?,
        (None, None) => {
            hosts::ask(&format!("Password of {USER} on {host}, or what 'bascule pcsd token' prints there: "), false)?
        }
    };
    Ok(match Token::parse(&text) {
        Some(token) => Secret::Token(token),
        None => Secret::Password { user: USER.to_owned(), password: text },
    })
}

/// A director's file that is there already is somebody's.
pub fn director_files_are_free(files: &Files, force: bool) -> Result<(), Failure> {
    let targets = Book::read()?.targets(&files.cluster.names)?;
    let talker = Talker::of_this_host(&hosts::places())?;
    let told: Told<Host> = hosts::ask_all(&talker, &targets, path::HOST, &(), LOOK_WITHIN)?;
    let told = hosts::all_good(told).map_err(|wrong| error(wrong.join("; ")))?;
    let ours = sha256(files.director.text().as_bytes());
    let others: Vec<String> = told
        .into_iter()
        .filter(|(_, h)| h.director.as_ref().is_some_and(|d| *d != ours))
        .map(|(name, _)| name)
        .collect();
    match others.is_empty() || force {
        true => Ok(()),
        false => Err(error(format!(
            "there is another ldirectord.cf on {} already: move it away, or use --force to replace it",
            hosts::quoted(&others)
        ))),
    }
}

/// Files, nodes, resources; what runs where at the end.
pub fn build(files: &Files) -> Result<String, Failure> {
    let content = files.director.text();
    let director = FileBody { name: DIRECTOR_FILE.to_owned(), ..FileBody::of(Kind::Director, content.as_bytes()) };
    pcs::setup::carry_out(&files.line, &files.cluster, vec![director])?;
    let source = Source::open();
    load(&source, files).map_err(|why| Failure {
        message: format!("the cluster runs, but without resources: {}", why.message),
        ..why
    })?;
    wait(&source)
}

fn load(source: &Source, files: &Files) -> Result<(), Failure> {
    let wanted = files.cib.element();
    edit(source, |configuration| {
        // What the cluster has written of itself stays.
        let properties = configuration.child_or_insert("crm_config");
        set_pairs(properties, "cluster_property_set", "cib-bootstrap-options", &files.cib.properties);
        for part in ["resources", "constraints", "rsc_defaults"] {
            let Some(new) = wanted.child(part) else { continue };
            configuration.retain_elements(|e| e.name() != part);
            configuration.push(new.clone());
        }
        Ok(())
    })
}

/// Until every member of the group runs; or what hinders it.
fn wait(source: &Source) -> Result<String, Failure> {
    let began = Instant::now();
    loop {
        let cluster = crate::cluster::read(&source.cib()?, crate::source::now())?;
        let group = crate::cluster::find(&cluster.resources, "director");
        let members = group.map(|g| g.children.as_slice()).unwrap_or_default();
        if !members.is_empty() && members.iter().all(|m| !m.active_on.is_empty()) {
            let on: Vec<String> = members.iter().flat_map(|m| m.active_on.clone()).collect();
            return Ok(on.first().cloned().unwrap_or_default());
        }
        if began.elapsed() > RUNS_WITHIN {
            let still = members.iter().filter(|m| m.active_on.is_empty()).map(|m| format!("{} does not run", m.id));
            let failed = cluster.failures.iter().map(|f| {
                let why = f.exit_reason.as_deref().unwrap_or("no reason was given");
                format!("{} {} on {}: {why}", f.resource, f.operation, f.node)
            });
            let details =
                still.chain(failed).chain(["bascule doctor and bascule explain director tell more".to_owned()]);
            return Err(Failure {
                details: details.collect(),
                ..error("the cluster is set up, but the group 'director' does not run yet")
            });
        }
        std::thread::sleep(LOOK_EACH);
    }
}
