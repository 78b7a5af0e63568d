//! The way to the arbitrator: its name is looked up with every attempt, its addresses are tried in turn.

use crate::config;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

pub(in crate::node) enum Connected {
    Yes(TcpStream),
    No(String),
}

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

pub(super) fn start(device: &config::Device, (number, to): (u64, mpsc::Sender<(u64, Connected)>)) {
    let (host, port, version) = (device.host.clone(), device.port, device.ip_version);
    let within = Duration::from_millis(device.connect_timeout_ms.into());
    tokio::spawn(async move {
        let outcome = match tokio::time::timeout(within, connect(&host, port, version)).await {
            Ok(Ok(stream)) => Connected::Yes(stream),
            Ok(Err(why)) => Connected::No(why),
            Err(_) => Connected::No(format!("{host} port {port}: no answer in time")),
        };
        let _ = to.send((number, outcome)).await;
    });
}

async fn connect(host: &str, port: u16, version: u8) -> Result<TcpStream, String> {
    let failed = |error: std::io::Error| format!("{host} port {port}: {error}");
    let all = tokio::net::lookup_host((host, port)).await.map_err(failed)?;
    let wanted = |a: &std::net::SocketAddr| version == 0 || (version == 4) == a.is_ipv4();
    let mut why = format!("{host}: no address of IP version {version}");
    for address in all.filter(wanted).take(MAX_ADDRESSES) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(why)
}
