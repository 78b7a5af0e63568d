//! `corosync-qnetd-tool`: asks an arbitrator of this host, ours or the original's; both speak the same.

use crate::args::{self, Command};
use crate::report::Common;
use crate::source::Failure;
use clap::Parser;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Exit codes of the original.
const USAGE: i32 = 1;
const NO_ANSWER: i32 = 2;
const CONNECT: i32 = 3;
const REFUSED: i32 = 4;
const WITHIN: Duration = Duration::from_secs(10);
/// Of either maker's arbitrator.
const SOCKET: &str = "/var/run/corosync-qnetd/corosync-qnetd.sock";
/// As much as the original sends at most.
const MAX_ANSWER: u64 = 10 * 1024 * 1024;

/// Show what an arbitrator of this host knows
#[derive(Parser, Debug)]
#[command(
    name = "corosync-qnetd-tool",
    disable_version_flag = true,
    mut_arg("verbose", |arg| arg.short('v')),
    after_help = "Examples:\n  corosync-qnetd-tool -s          how it is set up, and how many are connected\n  corosync-qnetd-tool -l -v       clusters, their nodes, and who has the vote\n  corosync-qnetd-tool -l -c web   one cluster\n\nExit codes: 1 usage, 2 internal error, 3 no arbitrator answers, 4 it refused"
)]
pub struct Qnetdtool {
    /// How the arbitrator is set up
    #[arg(short = 's')]
    status: bool,
    /// Clients by cluster
    #[arg(short = 'l')]
    list: bool,
    /// Only this cluster
    #[arg(short = 'c', value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Stop the arbitrator in good order
    #[arg(short = 'H')]
    shutdown: bool,
    /// Its socket
    #[arg(short = 'p', value_name = "SOCKET", default_value = SOCKET)]
    socket: PathBuf,
    /// As JSON; -l only of our own arbitrator
    #[arg(short = 'j', long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn qnetdtool(args: Vec<OsString>) -> i32 {
    args::run::<Qnetdtool>(args)
}

impl Command for Qnetdtool {
    const NAME: &'static str = "corosync-qnetd-tool";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let mut line = match (self.shutdown, self.list, self.status) {
            (true, ..) => "shutdown ".to_owned(),
            (_, true, _) => "list ".to_owned(),
            (_, _, true) => "status ".to_owned(),
            _ => {
                let usage = "usage: corosync-qnetd-tool [-Hhlsv] [-c cluster_name] [-p qnetd_ipc_socket_path]";
                return Err(Failure::new(USAGE, usage));
            }
        };
        if self.common.verbose > 0 {
            line += "verbose ";
        }
        if self.json && self.list {
            line += "json ";
        }
        if let Some(cluster) = &self.cluster {
            line += &format!("cluster {} ", quoted_word(cluster));
        }
        let text = ask(&self.socket, &line)?;
        let text = if self.json && line.starts_with("status ") { status_json(&text)? } else { text };
        self.common.write(&text)?;
        Ok(0)
    }
}

/// Of either maker's lines `Connected clients:  2`: `{"connected_clients": 2}`.
fn status_json(text: &str) -> Result<String, Failure> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.trim().to_lowercase().replace([' ', '/'], "_"), value.trim());
        Some((name, value.parse::<u64>().map_or_else(|_| value.into(), serde_json::Value::from)))
    };
    let all: serde_json::Map<String, serde_json::Value> = text.lines().filter_map(pair).collect();
    Ok(serde_json::to_string_pretty(&all).map_err(|e| Failure::new(2, e.to_string()))? + "\n")
}

/// The answer of this host's arbitrator at its usual place.
pub fn ask_qnetd(line: &str) -> Result<String, Failure> {
    ask(Path::new(SOCKET), line)
}

/// The process that listens there.
pub fn qnetd_pid() -> Option<i32> {
    let stream = UnixStream::connect(SOCKET).ok()?;
    let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).ok()?;
    Some(peer.pid()).filter(|pid| *pid > 1)
}

/// A word as its line has it.
pub fn quoted_word(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The answer's text.
fn ask(socket: &Path, line: &str) -> Result<String, Failure> {
    let connect =
        |e: std::io::Error| Failure::new(CONNECT, format!("Can't connect to QNetd socket (is QNetd running?): {e}"));
    let mut stream = UnixStream::connect(socket).map_err(connect)?;
    let talk = |e: std::io::Error| Failure::new(NO_ANSWER, format!("Can't read QNetd reply: {e}"));
    stream.set_read_timeout(Some(WITHIN)).map_err(talk)?;
    stream.write_all(line.as_bytes()).and_then(|()| stream.write_all(b"\n\0")).map_err(talk)?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).map_err(talk)?;
    let (word, text) = answer.split_once('\n').unwrap_or((&answer, ""));
    match word.trim_end_matches('\r').to_ascii_lowercase().as_str() {
        "ok" => Ok(text.to_owned()),
        "error" => Err(Failure::new(REFUSED, format!("Error: {}", text.trim_end()))),
        _ => Err(Failure::new(NO_ANSWER, "Can't read QNetd reply")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_for_programs_as_well() {
        let text = "QNetd address:\t\t\t*:5403\nTLS:\t\t\t\tUnsupported\nConnected clients:\t\t2\n                    Maximum send/receive size:\t32768/32768 bytes\n";
        let json: serde_json::Value = serde_json::from_str(&status_json(text).expect("JSON")).expect("JSON");
        let expected = serde_json::json!({
            "qnetd_address": "*:5403", "tls": "Unsupported", "connected_clients": 2,
            "maximum_send_receive_size": "32768/32768 bytes",
        });
        assert_eq!(json, expected);
    }
}
