//! Requests of this node's clients: reads are answered, changes become operations.

use super::Controller;
use crate::api::{Output, Request, Response, Safety};
use crate::fencing::FenceOp;
use crate::fencing::query::FencingQuery;
use crate::message::Op;
use base::NodeId;
use base::exit::crm;
use cib::acl::{self, Subject};
use std::collections::BTreeMap;

impl Controller {
    pub(super) fn on_client(&mut self, id: u64, request: Request) {
        let (subject, request) = match request {
            Request::As { subject, request } => (Some(subject), *request),
            request => (None, request),
        };
        let op = match request {
            Request::Cib(request) if !request.op.writes() => {
                let response = self.answer(&request, subject.as_ref());
                return self.outputs.push_back(Output::Reply { id, response });
            }
            Request::As { .. } => Err("a request on behalf of two users".to_owned()),
            Request::Cib(mut request) => {
                request.at = self.wall;
                if request.origin.is_empty() {
                    request.origin = self.config.my_name();
                }
                Ok(Op::Cib(String::from_utf8_lossy(&request.encode()).into_owned()))
            }
            Request::Attribute { node, name, value } => {
                self.node_number(node.as_deref()).map(|node| Op::Attribute { node: node.0, name, value })
            }
            Request::Cleanup { resource, node, operation, refresh } => match node {
                None => Ok(Op::Cleanup { resource, node: None, operation, refresh }),
                Some(name) => {
                    self.node_number(Some(&name)).map(|n| Op::Cleanup { resource, node: Some(n.0), operation, refresh })
                }
            },
            Request::Shutdown { cancel } => Ok(Op::Shutdown { node: self.config.me.0, cancel }),
            request if self.is_beyond(&request, subject.as_ref()) => {
                let message = "with enable-acl only root and hacluster may fence, and look at fence devices".to_owned();
                let response = Response::Failed { code: crm::INSUFFICIENT_PRIV, message };
                return self.outputs.push_back(Output::Reply { id, response });
            }
            Request::FencingQuery { query, timeout_ms } => return self.on_fencing_query(id, query, timeout_ms),
            Request::Fence(request) => return self.on_fence_request(id, request),
            Request::ConfirmDown { target, client } => return self.on_confirm(id, &target, client),
            Request::ForgetFencing { target } => match target.map(|t| self.node_number(Some(&t))).transpose() {
                Ok(target) => Ok(Op::Fence(Box::new(FenceOp::Forget { target: target.map(|t| t.0) }))),
                Err(message) => Err(message),
            },
        };
        let op = op.and_then(|op| self.on_behalf(subject, op));
        let refuse = |code, message| Output::Reply { id, response: Response::Failed { code, message } };
        match op {
            Err(message) => self.outputs.push_back(refuse(crm::NOSUCH, message)),
            Ok(op) if self.synced && op.level() > self.replica.level() => {
                let message = format!(
                    "not all nodes know this operation yet: it needs feature level {}, the cluster is at {}",
                    op.level(),
                    self.replica.level()
                );
                self.outputs.push_back(refuse(crm::UNAVAILABLE, message));
            }
            Ok(_) if self.clients.is_full() => {
                self.outputs
                    .push_back(refuse(crm::UNAVAILABLE, "too many changes are under way on this node".to_owned()));
            }
            Ok(op) => self.submit(Some(id), op),
        }
    }

    fn answer(&self, request: &cib::Request, subject: Option<&Subject>) -> Response {
        let seen = subject.map_or_else(|| Ok(self.replica.cib.clone()), |s| self.replica.cib.seen_by(s));
        match seen.and_then(|cib| cib.query(request)) {
            Ok(e) => Response::Done { safety: Safety::Unchanged, answer: Some(e), version: self.replica.version() },
            Err(e) => Response::Failed { code: e.exit_code(), message: e.to_string() },
        }
    }

    /// Members that know no [`Op::As`] would make the change unchecked: where ACLs are enabled, it waits for their upgrade.
    fn on_behalf(&self, subject: Option<Subject>, op: Op) -> Result<Op, String> {
        let Some(subject) = subject else { return Ok(op) };
        let wrapped = Op::As { subject, op: Box::new(op) };
        let known = !self.synced || wrapped.level() <= self.replica.level();
        match wrapped {
            Op::As { op, .. } if !known && !acl::enabled(self.replica.cib.root()) => Ok(*op),
            wrapped => Ok(wrapped),
        }
    }

    /// Fencing is no change of the document, so that no ACL can allow it; its history is for everybody.
    fn is_beyond(&self, request: &Request, subject: Option<&Subject>) -> bool {
        let guarded = match request {
            Request::FencingQuery { query, .. } => !matches!(query, FencingQuery::History { .. }),
            Request::Fence(_) | Request::ConfirmDown { .. } | Request::ForgetFencing { .. } => true,
            _ => false,
        };
        guarded && subject.is_some() && acl::enabled(self.replica.cib.root())
    }

    /// The nodelist was reloaded, on all members at the same place of the order. Who is new comes in with a view.
    pub fn set_nodes(
        &mut self,
        nodes: BTreeMap<NodeId, String>,
        votes: BTreeMap<NodeId, u32>,
        expected: u32,
        two_node: bool,
    ) {
        self.config.nodes = nodes;
        self.config.votes = votes;
        self.config.expected_votes = expected;
        self.config.two_node = two_node;
        if self.synced {
            let votes = self.replica.members.iter().map(|n| (*n, self.config.votes_of(*n))).collect();
            self.clients.count_votes(votes, expected);
        }
    }

    pub(super) fn node_number(&self, name: Option<&str>) -> Result<NodeId, String> {
        let Some(name) = name else { return Ok(self.config.me) };
        // One that was taken out of the nodelist may have to be fenced, or vouched for, as long as the configuration has it.
        let configured = || {
            let named = |e: &&xml::Element| e.attr("uname").is_some_and(|n| base::ids::same_node(n, name));
            let nodes = self.replica.cib.section("nodes")?;
            nodes.elements().find(named)?.id()?.parse().ok().map(NodeId)
        };
        let remote = || {
            let mut names = cib::config::remote_nodes(self.replica.cib.root()).into_iter();
            names.find(|n| base::ids::same_node(n, name)).map(NodeId::of_remote)
        };
        let found = crate::fencing::node_number(&self.config, name).or_else(configured).or_else(remote);
        found.ok_or_else(|| format!("Node not found: {name}"))
    }

    /// Answers clients whose changes all members hold. While an exchange is under way nobody can say that.
    pub(super) fn answer_safe(&mut self) {
        if self.synced {
            let (view, seq) = self.safe;
            let answers = self.clients.safe(self.now, view, seq, self.replica.is_firm());
            self.reply(answers);
        }
    }
}
