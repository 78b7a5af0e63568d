//! Programs on a remote node, whose connections come through that of the node. Who has the key is believed who its users are; what is
//! about this node itself is not for them.

use super::authority::{State, Who};
use super::{HEAD_WITHIN, failure, peer, respond};
use base::exit::crm;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use tokio::io::DuplexStream;

/// What may be asked from there.
const OPEN: [&str; 8] =
    ["/v1/status", "/v1/quorum", "/v1/health", "/v1/changes", "/v1/cib", "/v1/attribute", "/v1/cleanup", "/v1/fencing"];
/// Whom no ACL concerns.
const EXEMPT: [&str; 2] = ["root", "hacluster"];

/// Serves one connection of `user` on the remote node `node`.
pub async fn serve_far(stream: DuplexStream, state: State, node: &str, user: String) {
    let state = state.at(node);
    let who = match EXEMPT.contains(&user.as_str()) {
        true => Who::Exempt(user),
        false => peer::named(user).await,
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, who) = (state.clone(), who.clone());
        async move {
            let open = OPEN.contains(&request.uri().path());
            Ok::<_, std::convert::Infallible>(match open {
                true => respond(request, &state.caller(who)).await,
                false => {
                    let message = "this is about a cluster node, and a remote node is none: ask there".to_owned();
                    failure(StatusCode::FORBIDDEN, crm::UNIMPLEMENT_FEATURE, message)
                }
            })
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    // One that goes away in the middle is its own affair.
    let _ = http.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
}
