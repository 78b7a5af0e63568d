//! A connection as a task: messages out of what comes, in order what is to be sent, and the change to TLS.
//!
//! Nothing is read beyond the message that is due, since what follows a STARTTLS is the handshake's.

use quorum::qnet::{Frame, FrameError, Frames, Kind};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_openssl::SslStream;

/// A peer that takes nothing for so long is given up.
const SENT_WITHIN: Duration = Duration::from_secs(10);
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl Stream {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(s) => s.read(buffer).await,
            Stream::Tls(s) => s.read(buffer).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(s) => s.write_all(bytes).await,
            Stream::Tls(s) => {
                s.write_all(bytes).await?;
                s.flush().await
            }
        }
    }
}

/// What the connection is told to do.
pub enum Doing {
    Send(Vec<u8>),
    /// The handshake, as this side of it.
    StartTls(Box<openssl::ssl::Ssl>, Side),
    /// After all that was to be sent before.
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Server,
    Client,
}

/// What comes of it.
pub enum Heard {
    Frame(Frame),
    Unreadable(FrameError),
    /// The handshake is over; the peer's certificate, if it showed one.
    Secured(Option<Box<openssl::x509::X509>>),
    Over(String),
}

/// Where what is heard goes, under the connection's number. Whoever listens may be slow: nothing more is read meanwhile.
pub type Ear = mpsc::Sender<(u64, Heard)>;

/// Runs until either side ends it. The last that is heard is always `Over`.
pub async fn drive(number: u64, stream: TcpStream, limit: usize, doings: mpsc::Receiver<Doing>, ear: Ear) {
    let _ = stream.set_nodelay(true);
    let why = run(number, stream, limit, doings, &ear).await;
    let _ = ear.send((number, Heard::Over(why))).await;
}

async fn run(number: u64, tcp: TcpStream, limit: usize, mut doings: mpsc::Receiver<Doing>, ear: &Ear) -> String {
    // An ear that is gone is noticed by its doings.
    let heard = async |what| drop(ear.send((number, what)).await);
    let mut stream = Stream::Plain(tcp);
    let mut frames = Frames::new(limit);
    let mut buffer = vec![0; 4096];
    // After a STARTTLS nothing is read until it is granted, or something else is said.
    let mut waits = false;
    loop {
        let want = frames.missing().min(buffer.len());
        tokio::select! {
            got = stream.read(&mut buffer[..want]), if !waits => match got {
                Ok(0) => return "the peer closed the connection".to_owned(),
                Ok(n) => {
                    frames.push(&buffer[..n]);
                    match frames.cut() {
                        Ok(None) => {}
                        Ok(Some(frame)) => {
                            waits = frame.kind == Kind::StartTls.code();
                            heard(Heard::Frame(frame)).await;
                        }
                        Err(error) => {
                            // Its bounds are lost: it is told, and ends.
                            waits = true;
                            heard(Heard::Unreadable(error)).await;
                        }
                    }
                }
                Err(error) => return error.to_string(),
            },
            doing = doings.recv() => match doing {
                None | Some(Doing::Close) => return "closed here".to_owned(),
                Some(Doing::Send(bytes)) => {
                    match tokio::time::timeout(SENT_WITHIN, stream.write(&bytes)).await {
                        Ok(Ok(())) => waits = false,
                        Ok(Err(error)) => return error.to_string(),
                        Err(_) => return "the peer takes nothing".to_owned(),
                    }
                }
                Some(Doing::StartTls(ssl, side)) => match secure(stream, *ssl, side).await {
                    Ok((secured, certificate)) => {
                        stream = secured;
                        waits = false;
                        heard(Heard::Secured(certificate)).await;
                    }
                    Err(why) => return format!("TLS: {why}"),
                },
            },
        }
    }
}

type Secured = (Stream, Option<Box<openssl::x509::X509>>);

async fn secure(stream: Stream, ssl: openssl::ssl::Ssl, side: Side) -> Result<Secured, String> {
    let Stream::Plain(tcp) = stream else { return Err("twice".to_owned()) };
    let mut tls = SslStream::new(ssl, tcp).map_err(|e| e.to_string())?;
    let handshake = async {
        match side {
            Side::Server => Pin::new(&mut tls).accept().await,
            Side::Client => Pin::new(&mut tls).connect().await,
        }
    };
    match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the handshake took too long".to_owned()),
    }
    let certificate = tls.ssl().peer_certificate().map(Box::new);
    Ok((Stream::Tls(Box::new(tls)), certificate))
}
