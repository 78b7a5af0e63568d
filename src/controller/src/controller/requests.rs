//! Requests of this node's clients: reads are answered, changes become operations.

use super::Controller;
use crate::api::{Output, Request, Response, Safety};
use crate::message::Op;
use base::NodeId;
use base::exit::crm;

impl Controller {
    pub(super) fn on_client(&mut self, id: u64, request: Request) {
        let op = match request {
            Request::Cib(request) if !request.op.writes() => {
                let response = match self.replica.cib.query(&request) {
                    Ok(e) => {
                        Response::Done { safety: Safety::Unchanged, answer: Some(e), version: self.replica.version() }
                    }
                    Err(e) => Response::Failed { code: e.exit_code(), message: e.to_string() },
                };
                return self.outputs.push_back(Output::Reply { id, response });
            }
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
        };
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

    fn node_number(&self, name: Option<&str>) -> Result<NodeId, String> {
        let Some(name) = name else { return Ok(self.config.me) };
        let configured =
            self.config.nodes.iter().find(|(n, called)| base::ids::same_node(called, name) || n.to_string() == name);
        configured.map(|(n, _)| *n).ok_or_else(|| format!("Node not found: {name}"))
    }
}
