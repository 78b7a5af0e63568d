//! Sockets of checks: plain or TLS streams, and errors in plain words.

use super::{Failure, tls};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket};

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How a TLS stream is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Name for SNI and verification; the address if absent.
    pub name: Option<String>,
    pub verify: bool,
}

pub async fn tcp(addr: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(addr).await?;
    // Requests are small and answers awaited.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

pub async fn open(addr: SocketAddr, tls: Option<&Tls>) -> Result<Box<dyn Stream>, Failure> {
    let stream = tcp(addr).await?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(tls) => Ok(Box::new(tls::wrap(stream, addr.ip(), tls).await?)),
    }
}

/// A UDP socket that hears only `addr`.
pub async fn udp(addr: SocketAddr) -> Result<UdpSocket, Failure> {
    let any: SocketAddr =
        if addr.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(addr).await?;
    Ok(socket)
}

/// Reads until the end, `enough` says so, or `limit` bytes are there.
pub async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
    mut enough: impl FnMut(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut chunk = [0; 4096];
    while out.len() < limit && !enough(&out) {
        let room = chunk.len().min(limit - out.len());
        match stream.read(&mut chunk[..room]).await? {
            0 => break,
            n => out.extend_from_slice(&chunk[..n]),
        }
    }
    Ok(out)
}

/// An error without its number.
pub fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_ascii_lowercase()
}

/// Whether an error comes of this machine's own shortage.
pub fn is_local(e: &io::Error) -> bool {
    let shortage = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL, libc::EAGAIN];
    e.raw_os_error().is_some_and(|errno| shortage.contains(&errno))
}
