//! `checktype = connect`: a TCP connection can be opened.

use super::Outcome;
use super::io::Net;
use std::net::SocketAddr;

pub async fn run(net: &Net, addr: SocketAddr) -> Outcome {
    net.tcp(addr).await?;
    Ok("connected".to_owned())
}
