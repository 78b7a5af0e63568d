//! The node's API as other processes of this crate ask it (pcsd, its web page): one request, one answer, within a time. Commands
//! have a client of their own, which blocks and tells exit codes.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use wire::api::{ApiError, CibCall, CibOp, CibOptions, CibReply, CibTarget, MAX_BODY_BYTES, USER_HEADER};

#[derive(Clone)]
pub struct Api {
    pub socket: PathBuf,
    /// In whose place it is asked; else as this process.
    pub user: Option<String>,
    /// For each request.
    pub within: Duration,
}

impl Api {
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.ask("GET", path, Bytes::new()).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, String> {
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        self.ask("POST", path, body.into()).await
    }

    /// The CIB's version, and with `whole` its text.
    pub async fn cib(&self, whole: bool) -> Result<CibReply, String> {
        let options = CibOptions { no_children: !whole, ..CibOptions::default() };
        let call = CibCall {
            op: CibOp::Query,
            target: CibTarget::Whole,
            xml: None,
            options,
            steps: Vec::new(),
            expected: None,
        };
        let reply: CibReply = self.post("/v1/cib", &call).await?;
        match reply.code {
            0 => Ok(reply),
            code => Err(reply.message.unwrap_or_else(|| format!("the CIB cannot be read: code {code}"))),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: Bytes) -> Result<T, String> {
        let exchange = async {
            let stream = tokio::net::UnixStream::connect(&self.socket).await;
            let stream = stream.map_err(|e| format!("the node does not run: {e}"))?;
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
            let driver = tokio::spawn(connection);
            let request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
            let request = match &self.user {
                Some(user) => request.header(USER_HEADER, user),
                None => request,
            };
            let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let good = response.status().is_success();
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
            driver.abort();
            let body = body.map_err(|e| e.to_string())?.to_bytes();
            if good {
                return serde_json::from_slice(&body).map_err(|e| e.to_string());
            }
            Err(serde_json::from_slice::<ApiError>(&body).map_or_else(|e| e.to_string(), |e| e.message))
        };
        tokio::time::timeout(self.within, exchange).await.unwrap_or_else(|_| Err("the node does not answer".to_owned()))
    }
}
