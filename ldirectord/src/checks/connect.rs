//! `checktype = connect`: a TCP connection can be opened.

use super::{Outcome, io};
use std::net::SocketAddr;

pub async fn run(addr: SocketAddr) -> Outcome {
    io::tcp(addr).await?;
    Ok("connected".to_owned())
}
