//! Remote and guest nodes as a cluster node reaches them.
//!
//! `ocf:pacemaker:remote` is no program: its start makes a connection ([`link`]) to the executor of the node that has the resource's
//! name, its monitor asks whether that still answers, its stop ends it. What is to run on the node goes over the connection. One that
//! breaks is told at once as a failure of its resource; what the cluster does of it is the scheduler's business.

pub mod bytes;
pub mod executor;
mod link;
mod tls;

use base::exit::OcfCode;
use base::{Operation, Reason};
use controller::remote::Proxied;
use controller::{ExecResult, OpStatus};
use link::{Link, Target};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Between two attempts to connect while the start has time left.
const AGAIN: Duration = Duration::from_millis(500);
/// Nodes to which this one has a connection at a time.
const MAX_LINKS: usize = 512;

/// The service through which commands on a remote node of ours ask the cluster.
pub const API: &str = "bascule-api";

/// What comes over connections without being asked for.
#[derive(Debug)]
pub enum News {
    /// The connection has broken.
    Lost { node: String, reason: String },
    /// A program on the node wants something of the cluster; what is to be answered goes back through the connection.
    Proxied { node: String, message: Proxied },
}

/// All connections of this node. Cheap to clone.
#[derive(Clone)]
pub struct Remotes {
    /// What this node calls itself.
    me: String,
    links: Arc<Mutex<BTreeMap<String, Link>>>,
    news: mpsc::UnboundedSender<News>,
}

impl Remotes {
    pub fn new(me: &str, news: mpsc::UnboundedSender<News>) -> Remotes {
        Remotes { me: me.to_owned(), links: Arc::default(), news }
    }

    /// Whether an operation is about another node than this one, or about the way there.
    pub fn takes(&self, operation: &Operation) -> bool {
        operation.instance.is_connection() || !base::ids::same_node(&operation.node, &self.me)
    }

    /// Runs an operation of which [`Remotes::takes`] holds.
    pub async fn run(&self, operation: &Operation) -> ExecResult {
        let begun = Instant::now();
        let result = match operation.instance.is_connection() && base::ids::same_node(&operation.node, &self.me) {
            true => self.connection(operation, begun).await,
            false => self.over_there(operation).await,
        };
        let exec_ms = if result.exec_ms > 0 { result.exec_ms } else { begun.elapsed().as_millis() as u64 };
        ExecResult { exec_ms, ..result }
    }

    /// Answers a program on a remote node.
    pub fn answer(&self, node: &str, message: Proxied) {
        if let Some(link) = self.link(node) {
            link.forward(message);
        }
    }

    fn link(&self, node: &str) -> Option<Link> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }

    async fn over_there(&self, operation: &Operation) -> ExecResult {
        match self.link(&operation.node) {
            Some(link) => link.exec(operation.clone()).await,
            None => link::not_connected(),
        }
    }

    async fn connection(&self, operation: &Operation, begun: Instant) -> ExecResult {
        let name = &operation.instance.id;
        let deadline = begun + operation.timeout().max(Duration::from_millis(1));
        match operation.action.as_str() {
            "start" | "migrate_from" => self.connect(operation, deadline).await,
            "monitor" => self.look(name, deadline).await,
            "stop" => {
                self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
                ExecResult::done(OcfCode::OK)
            }
            "migrate_to" => match self.link(name) {
                Some(link) => {
                    // Another cluster node comes next, and that is no rival.
                    link.expect_rival();
                    ExecResult::done(OcfCode::OK)
                }
                None => failed("there is no connection that could move"),
            },
            // Where it goes is read at the next start.
            "reload" | "reload-agent" | "validate-all" => ExecResult::done(OcfCode::OK),
            _ => ExecResult { status: OpStatus::NotSupported, ..ExecResult::done(OcfCode::UNIMPLEMENTED) },
        }
    }

    /// Tries as long as there is time: a node that boots takes a while.
    async fn connect(&self, operation: &Operation, deadline: Instant) -> ExecResult {
        let target = match Target::of(operation) {
            Ok(target) => target,
            Err(why) => {
                return ExecResult { reason: Reason::cleaned(&why), ..ExecResult::done(OcfCode::NOT_CONFIGURED) };
            }
        };
        let name = operation.instance.id.clone();
        let mut why = String::from("no time to connect");
        while Instant::now() < deadline {
            let attempt = Link::open(&name, &target, &self.me, self.news.clone());
            match tokio::time::timeout_at(deadline.into(), attempt).await {
                Err(_) => break,
                Ok(Ok(link)) => return self.keep(name, link),
                Ok(Err(error)) => why = error,
            }
            tokio::time::sleep(AGAIN.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
        let reason = format!("{target}: {why}");
        ExecResult { reason: Reason::cleaned(&reason), ..ExecResult::timeout("") }
    }

    fn keep(&self, name: String, link: Link) -> ExecResult {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= MAX_LINKS && !links.contains_key(&name) {
            return failed(&format!("more than {MAX_LINKS} connections to remote nodes"));
        }
        links.insert(name, link);
        ExecResult::done(OcfCode::OK)
    }

    async fn look(&self, name: &str, deadline: Instant) -> ExecResult {
        let Some(link) = self.link(name) else { return ExecResult::done(OcfCode::NOT_RUNNING) };
        if link.is_lost() {
            return failed("the connection to the remote node was lost");
        }
        match tokio::time::timeout_at(deadline.into(), link.poke()).await {
            Ok(true) => ExecResult::done(OcfCode::OK),
            Ok(false) => failed("the connection to the remote node was lost"),
            Err(_) => ExecResult::timeout("the remote node does not answer"),
        }
    }
}

fn failed(reason: &str) -> ExecResult {
    ExecResult { reason: Reason::cleaned(reason), ..ExecResult::done(OcfCode::ERROR) }
}
