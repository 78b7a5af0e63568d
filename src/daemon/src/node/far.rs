//! What comes from remote nodes without being asked for: lost connections, and what programs there want of the cluster.

use super::core::{Ask, Asker};
use super::hindrance::Happening;
use crate::clock;
use crate::remote::{News, Remotes};
use base::exit::OcfCode;
use base::outside::{Reason, Value, Word};
use controller::Request;
use controller::remote::{ProxyOp, Proxied};
use tokio::sync::mpsc;

pub(super) async fn follow(
    mut news: mpsc::UnboundedReceiver<News>,
    remotes: Remotes,
    asker: Asker,
    happenings: mpsc::UnboundedSender<Happening>,
) {
    while let Some(news) = news.recv().await {
        match news {
            News::Lost { node, reason } => {
                let reason = Reason::cleaned(&format!("the connection to the remote node was lost: {reason}"));
                let _ = happenings.send(Happening::Failed { resource: node, code: OcfCode::ERROR, reason });
            }
            News::Proxied { node, message } => {
                let (remotes, asker) = (remotes.clone(), asker.clone());
                tokio::spawn(async move {
                    let Proxied { session, op } = message;
                    if let Some(op) = answer(&node, op, &asker).await {
                        remotes.answer(&node, Proxied { session, op });
                    }
                });
            }
        }
    }
}

async fn answer(node: &str, op: ProxyOp, asker: &Asker) -> Option<ProxyOp> {
    match op {
        // Its resources are moved away, then its connection is stopped; then it ends.
        ProxyOp::ShutdownAsked => {
            let now = Value::cleaned(&clock::wall().secs().to_string());
            let request = attribute(node, "shutdown", Some(now));
            let answer = asker.ask(|to| Ask::Request(Box::new(request), to)).await;
            let granted = matches!(answer, Some(controller::Response::Done { .. }));
            Some(ProxyOp::ShutdownAnswer { granted })
        }
        ProxyOp::New { .. } => Some(ProxyOp::Destroy),
        _ => None,
    }
}

fn attribute(node: &str, name: &str, value: Option<Value>) -> Request {
    Request::Attribute { node: Some(Word::cleaned(node)), name: Word::cleaned(name), value }
}
