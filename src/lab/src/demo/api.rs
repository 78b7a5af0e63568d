//! Asks a node's local API (HTTP over its unix socket) and runs our own commands against it.

use crate::hosts::LabError;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::Command;

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// `GET path` on the node whose run directory this is.
pub async fn get(run_dir: &Path, path: &str) -> Result<Value, LabError> {
    let socket = run_dir.join("api.sock");
    let failed = |text: String| LabError::Expectation(format!("GET {path} on {}: {text}", socket.display()));
    let exchange = async {
        let stream = UnixStream::connect(&socket).await.map_err(|e| failed(e.to_string()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(e.to_string()))?;
        let driver = tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header(hyper::header::HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|e| failed(e.to_string()))?;
        let response = sender.send_request(request).await.map_err(|e| failed(e.to_string()))?;
        let status = response.status();
        let body =
            Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await.map_err(|e| failed(e.to_string()))?;
        driver.abort();
        let body = body.to_bytes();
        if !status.is_success() {
            return Err(failed(format!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|e| failed(e.to_string()))
    };
    tokio::time::timeout(REQUEST_WITHIN, exchange).await.map_err(|_| failed("no answer in time".to_owned()))?
}

/// One of our commands, against one node.
pub struct Commands {
    pub program: PathBuf,
    pub run_dir: PathBuf,
}

impl Commands {
    /// Standard output of a command that succeeded.
    pub async fn run(&self, args: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new(&self.program);
        command.args(args).env("BASCULE_RUN_DIR", &self.run_dir).stdin(std::process::Stdio::null()).kill_on_drop(true);
        let words = args.join(" ");
        let output = tokio::time::timeout(COMMAND_WITHIN, command.output())
            .await
            .map_err(|_| LabError::Expectation(format!("bascule {words}: no end within {COMMAND_WITHIN:?}")))?
            .map_err(LabError::io(format!("run bascule {words}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(LabError::Expectation(format!("bascule {words}: {}: {}", output.status, said.trim())))
    }
}
