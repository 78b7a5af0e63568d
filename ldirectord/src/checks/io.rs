//! How checks reach servers: TCP, TLS and UDP from a source address, and errors in plain words.
//!
//! [`Net`] is the only way out: sockets in earnest, one fixed answer to everything when parsers are fuzzed.

use super::script::{Script, Scripted};
use super::{Failure, failure, tls};
use crate::config::{ServiceProtocol, Virtual};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// The check's deadline ends it.
const RESEND_AFTER: Duration = Duration::from_secs(1);
const MAX_DATAGRAM_BYTES: usize = 65_536;

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl From<&Virtual> for Tls {
    fn from(v: &Virtual) -> Tls {
        Tls {
            name: v.virtual_host.clone(),
            verify: v.tls_verify,
            ca_file: v.tls_ca_file.clone(),
            http2: matches!(v.service, ServiceProtocol::Http2 | ServiceProtocol::Grpc),
        }
    }
}

/// How a TLS stream is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Name for SNI and verification; the address if absent.
    pub name: Option<String>,
    pub verify: bool,
    /// Certificates that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// HTTP/2 is asked for (ALPN, RFC 7301).
    pub http2: bool,
}

#[derive(Clone, Default)]
pub struct Net {
    /// Local address of every socket; the kernel chooses if absent.
    pub source: Option<IpAddr>,
    /// Answers instead of a server.
    pub script: Option<Arc<Script>>,
}

impl Net {
    pub fn from(source: Option<IpAddr>) -> Net {
        Net { source, script: None }
    }

    /// A plain stream and its local address.
    pub async fn tcp(&self, addr: SocketAddr) -> Result<(Box<dyn Stream>, SocketAddr), Failure> {
        if let Some(script) = &self.script {
            return Ok((Box::new(Scripted::new(script.clone())), any(addr)));
        }
        let stream = self.socket(addr).await?;
        let local = stream.local_addr()?;
        Ok((Box::new(stream), local))
    }

    pub async fn open(&self, addr: SocketAddr, tls: Option<&Tls>) -> Result<Box<dyn Stream>, Failure> {
        match tls {
            Some(tls) if self.script.is_none() => {
                Ok(Box::new(tls::wrap(self.socket(addr).await?, addr.ip(), tls).await?))
            }
            _ => Ok(self.tcp(addr).await?.0),
        }
    }

    /// TLS on a stream on which both sides have agreed to it.
    pub async fn secure(&self, stream: Box<dyn Stream>, addr: IpAddr, tls: &Tls) -> Result<Box<dyn Stream>, Failure> {
        if self.script.is_some() {
            return Ok(stream);
        }
        Ok(Box::new(tls::wrap(stream, addr, tls).await?))
    }

    /// Datagrams to and from `addr` alone.
    pub async fn udp(&self, addr: SocketAddr) -> Result<Datagrams, Failure> {
        if let Some(script) = &self.script {
            return Ok(Datagrams::Script { script: script.clone(), sent: Vec::new(), left: 1 });
        }
        let from = self.local(addr)?.map_or(any(addr), |source| SocketAddr::new(source, 0));
        let socket = UdpSocket::bind(from).await?;
        socket.connect(addr).await?;
        Ok(Datagrams::Socket(socket))
    }

    /// The first address of a host that a redirect names.
    pub async fn lookup(&self, host: &str, port: u16) -> Result<SocketAddr, Failure> {
        if self.script.is_some() {
            return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
        let found = tokio::net::lookup_host((host, port)).await?.next();
        found.ok_or_else(|| failure(format!("`{host}` has no address")))
    }

    async fn socket(&self, addr: SocketAddr) -> Result<TcpStream, Failure> {
        let stream = match self.local(addr)? {
            None => TcpStream::connect(addr).await?,
            Some(source) => {
                let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                // The port is chosen at connect: one source address serves more servers than there are ports.
                let _ = setsockopt(&socket, IpBindAddressNoPort, &true);
                socket.bind(SocketAddr::new(source, 0))?;
                socket.connect(addr).await?
            }
        };
        // Requests are small and answers awaited.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// The source address, which must be of the family of `addr`.
    pub fn local(&self, addr: SocketAddr) -> Result<Option<IpAddr>, Failure> {
        match self.source {
            Some(source) if source.is_ipv4() != addr.is_ipv4() => {
                Err(failure(format!("sourceaddress {source} is of another family than {}", addr.ip())))
            }
            source => Ok(source),
        }
    }
}

fn any(like: SocketAddr) -> SocketAddr {
    if like.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() }
}

/// Datagrams of one server.
pub enum Datagrams {
    Socket(UdpSocket),
    Script { script: Arc<Script>, sent: Vec<u8>, left: u32 },
}

impl Datagrams {
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Datagrams::Socket(socket) => socket.local_addr(),
            Datagrams::Script { .. } => Ok((Ipv4Addr::LOCALHOST, 9).into()),
        }
    }

    pub async fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        match self {
            Datagrams::Socket(socket) => socket.send(packet).await.map(drop),
            Datagrams::Script { sent, .. } => {
                packet.clone_into(sent);
                Ok(())
            }
        }
    }

    /// Sends a packet, again every second since datagrams get lost, until an answer is the one that is awaited.
    pub async fn ask(&mut self, packet: &[u8], mut awaited: impl FnMut(&[u8]) -> bool) -> Result<Vec<u8>, Failure> {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            self.send(packet).await?;
            let again = tokio::time::sleep(RESEND_AFTER);
            tokio::pin!(again);
            loop {
                let n = tokio::select! {
                    n = self.recv(&mut buffer) => n?,
                    () = &mut again => break,
                };
                if awaited(&buffer[..n]) {
                    buffer.truncate(n);
                    return Ok(buffer);
                }
            }
        }
    }

    /// A script answers once; whoever waits for another answer has failed.
    pub async fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Datagrams::Socket(socket) => socket.recv(buffer).await,
            Datagrams::Script { left: 0, .. } => Err(io::ErrorKind::UnexpectedEof.into()),
            Datagrams::Script { script, sent, left } => {
                *left -= 1;
                Ok(script.datagram(sent, buffer))
            }
        }
    }
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
