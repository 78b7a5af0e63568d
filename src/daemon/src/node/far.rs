//! What comes from remote nodes without being asked for: lost connections, and what programs there want of the cluster.

use super::core::{Ask, Asker};
use super::hindrance::Happening;
use crate::api;
use crate::clock;
use crate::remote::{API, News, Remotes, bytes};
use base::exit::{OcfCode, crm};
use base::outside::{Reason, Value, Word};
use cib::acl::Subject;
use controller::remote::originals::{self, Asked};
use controller::remote::{Proxied, ProxyOp};
use controller::{Request, Response};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Programs of all remote nodes that ask at a time.
const MAX_SESSIONS: usize = 512;
/// Pieces of a request that wait.
const WAITING: usize = 256;
const PIECE_BYTES: usize = 16 * 1024;

/// A program's connection.
enum Session {
    /// Of ours: who it is comes with its first piece.
    Ours(mpsc::Sender<(String, Vec<u8>)>),
    /// Of the original's, to this service.
    Original(String),
}

impl Session {
    fn is_over(&self) -> bool {
        matches!(self, Session::Ours(to) if to.is_closed())
    }
}

pub(super) async fn follow(
    mut news: mpsc::UnboundedReceiver<News>,
    (remotes, happenings): (Remotes, mpsc::UnboundedSender<Happening>),
    asker: Asker,
    state: api::State,
) {
    let mut sessions: BTreeMap<(String, String), Session> = BTreeMap::new();
    while let Some(news) = news.recv().await {
        sessions.retain(|_, session| !session.is_over());
        match news {
            News::Lost { node, reason } => {
                sessions.retain(|(at, _), _| *at != node);
                let reason = Reason::cleaned(&format!("the connection to the remote node was lost: {reason}"));
                let _ = happenings.send(Happening::Failed { resource: node, code: OcfCode::ERROR, reason });
            }
            News::Proxied { node, message: Proxied { session, op } } => match op {
                ProxyOp::ShutdownAsked => drop(tokio::spawn(let_go(node, session, remotes.clone(), asker.clone()))),
                ProxyOp::New { server } if server == API && sessions.len() < MAX_SESSIONS => {
                    let (to, inbox) = mpsc::channel(WAITING);
                    sessions.insert((node.clone(), session.clone()), Session::Ours(to));
                    tokio::spawn(program(node, session, inbox, remotes.clone(), state.clone()));
                }
                ProxyOp::New { server }
                    if originals::SERVERS.contains(&server.as_str()) && sessions.len() < MAX_SESSIONS =>
                {
                    sessions.insert((node, session), Session::Original(server));
                }
                ProxyOp::New { server } => {
                    tracing::debug!("remote node {node}: a program asks for {server}, which is not offered");
                    remotes.answer(&node, Proxied { session, op: ProxyOp::Destroy });
                }
                ProxyOp::Request { id, user, body } => {
                    let key = (node, session);
                    let taken = match sessions.get(&key) {
                        Some(Session::Ours(to)) => {
                            bytes::unpack(&body).is_some_and(|bytes| to.try_send((user, bytes)).is_ok())
                        }
                        Some(Session::Original(server)) => {
                            let (node, session) = key.clone();
                            let asked = originals::read(server, &body, &node, &session);
                            let (remotes, asker) = (remotes.clone(), asker.clone());
                            tokio::spawn(async move {
                                let body = original(asked, &user, &asker).await;
                                remotes.answer(&node, Proxied { session, op: ProxyOp::Response { id, body } });
                            });
                            true
                        }
                        None => false,
                    };
                    if !taken {
                        sessions.remove(&key);
                        remotes.answer(&key.0, Proxied { session: key.1, op: ProxyOp::Destroy });
                    }
                }
                ProxyOp::Destroy => drop(sessions.remove(&(node, session))),
                _ => {}
            },
        }
    }
}

/// Its resources are moved away, then its connection is stopped; then it ends.
async fn let_go(node: String, session: String, remotes: Remotes, asker: Asker) {
    let now = Value::cleaned(&clock::wall().secs().to_string());
    let request =
        Request::Attribute { node: Some(Word::cleaned(&node)), name: Word::cleaned("shutdown"), value: Some(now) };
    let answer = asker.ask(|to| Ask::Request(Box::new(request), to)).await;
    let granted = matches!(answer, Some(Response::Done { .. }));
    remotes.answer(&node, Proxied { session, op: ProxyOp::ShutdownAnswer { granted } });
}

/// What a program of the original's asks, answered in its words. ACLs count, as for any other user.
async fn original(asked: Asked, user: &str, asker: &Asker) -> xml::Element {
    let ask = async |request: Request| {
        let request = match Subject::new(user, Vec::new()) {
            Some(subject) => Request::As { subject, request: Box::new(request) },
            None => request,
        };
        let gone = Response::Failed { code: crm::DISCONNECT, message: String::new() };
        asker.ask(|to| Ask::Request(Box::new(request), to)).await.unwrap_or(gone)
    };
    match asked {
        Asked::Answer(answer) => answer,
        Asked::Cib(request, frame) => originals::answered(frame, &ask(Request::Cib(*request)).await),
        Asked::Attribute(request) => originals::changed(&ask(request).await),
        Asked::Values { name, node } => {
            let query = cib::Request::query(cib::Target::Section("status".to_owned()));
            let status = match ask(Request::Cib(query)).await {
                Response::Done { answer: Some(status), .. } => status,
                _ => xml::Element::new("status"),
            };
            originals::values(&status, &name, node.as_deref())
        }
    }
}

/// One program, from its first piece to the end of either side.
async fn program(
    node: String,
    session: String,
    mut inbox: mpsc::Receiver<(String, Vec<u8>)>,
    remotes: Remotes,
    state: api::State,
) {
    if let Some((user, first)) = inbox.recv().await {
        let (far, near) = tokio::io::duplex(4 * PIECE_BYTES);
        let asked = node.clone();
        let served = tokio::spawn(async move { api::serve_far(near, state, &asked, user).await });
        let (mut read, mut write) = tokio::io::split(far);
        let feed = async {
            let mut next = Some(first);
            while let Some(piece) = next {
                if write.write_all(&piece).await.is_err() {
                    return;
                }
                next = inbox.recv().await.map(|(_, piece)| piece);
            }
        };
        let tell = async {
            let mut piece = vec![0; PIECE_BYTES];
            while let Ok(n @ 1..) = read.read(&mut piece).await {
                let body = bytes::pack(&piece[..n]);
                remotes.answer(&node, Proxied { session: session.clone(), op: ProxyOp::Event { body } });
            }
        };
        tokio::select! {
            () = feed => {}
            () = tell => {}
        }
        served.abort();
    }
    remotes.answer(&node, Proxied { session, op: ProxyOp::Destroy });
}
