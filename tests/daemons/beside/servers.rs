//! The servers that a test plays: what each says, and when.

use crate::fixture::V4;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection that is left open ends with the client, or after this.
const HELD: Duration = Duration::from_secs(20);

/// One step of a server, once a client has connected.
#[derive(Clone)]
pub enum Step {
    Say(Vec<u8>),
    /// Until the client has sent a line end more.
    Hear,
    /// Until a request with its headers is there.
    HearRequest,
    /// Until the client has sent everything that it will.
    HearAll,
    Wait(Duration),
    /// Nothing more is said, and the connection stays open.
    Hold,
    /// The connection breaks.
    Reset,
}

pub fn say(text: impl AsRef<[u8]>) -> Step {
    Step::Say(text.as_ref().to_vec())
}

/// Byte by byte, as over a slow line.
pub fn drip(text: &str, every: Duration) -> Vec<Step> {
    text.bytes().flat_map(|b| [Step::Say(vec![b]), Step::Wait(every)]).collect()
}

/// In two packets, split at the mark.
pub fn pieces(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for piece in text.split('|') {
        steps.extend([say(piece), Step::Wait(Duration::from_millis(150))]);
    }
    steps
}

pub fn tcp(steps: Vec<Step>) -> u16 {
    let listener = TcpListener::bind((V4, 0)).expect("a socket");
    accept(listener, steps)
}

fn accept(listener: TcpListener, steps: Vec<Step>) -> u16 {
    let port = listener.local_addr().expect("an address").port();
    let steps = Arc::new(steps);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let steps = steps.clone();
            std::thread::spawn(move || play(stream, &steps));
        }
    });
    port
}

/// A server that answers only what it likes: `answer` is given the request with its headers.
pub fn asked(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((V4, 0)).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut heard = Vec::new();
            listen(&mut stream, &mut heard, |h| h.windows(4).any(|w| w == b"\r\n\r\n"));
            let _ = stream.write_all(answer(&String::from_utf8_lossy(&heard)).as_bytes());
            end(&mut stream);
        }
    });
    port
}

fn play(mut stream: TcpStream, steps: &[Step]) {
    let _ = stream.set_nodelay(true);
    let mut heard = Vec::new();
    for step in steps {
        match step {
            Step::Say(bytes) => {
                if stream.write_all(bytes).is_err() {
                    return;
                }
            }
            Step::Hear => {
                listen(&mut stream, &mut heard, |h| h.contains(&b'\n'));
                heard.clear();
            }
            Step::HearRequest => listen(&mut stream, &mut heard, |h| h.windows(4).any(|w| w == b"\r\n\r\n")),
            Step::HearAll => listen(&mut stream, &mut heard, |_| false),
            Step::Wait(time) => std::thread::sleep(*time),
            Step::Hold => return listen(&mut stream, &mut heard, |_| false),
            Step::Reset => {
                let _ = nix::sys::socket::setsockopt(
                    &stream,
                    nix::sys::socket::sockopt::Linger,
                    &nix::libc::linger { l_onoff: 1, l_linger: 0 },
                );
                return;
            }
        }
    }
    end(&mut stream);
}

/// Until the client has sent enough, has ended, or too much time is over.
fn listen(stream: &mut TcpStream, heard: &mut Vec<u8>, enough: impl Fn(&[u8]) -> bool) {
    let deadline = Instant::now() + HELD;
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let mut chunk = [0; 4096];
    while !enough(heard) && Instant::now() < deadline {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(n) => heard.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

fn end(stream: &mut TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut chunk = [0; 4096];
    while matches!(stream.read(&mut chunk), Ok(n) if n > 0) {}
}

/// Answers each datagram by some, of the same socket.
pub fn udp(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind((V4, 0)).expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    serve_udp(socket, answers);
    port
}

fn serve_udp(socket: UdpSocket, answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) {
    std::thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok((n, from)) = socket.recv_from(&mut packet) {
            for answer in answers(&packet[..n]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

/// A DNS server over UDP and TCP on one port; the truth is told over TCP.
pub fn dns_cut_off_over_udp() -> u16 {
    loop {
        let socket = UdpSocket::bind((V4, 0)).expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        let Ok(listener) = TcpListener::bind(SocketAddr::new(V4, port)) else { continue };
        serve_udp(socket, |query| vec![dns(query, 0x8380, &[])]);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut length = [0; 2];
                let mut query = vec![0; 0];
                if stream.read_exact(&mut length).is_ok() {
                    query.resize(u16::from_be_bytes(length).into(), 0);
                }
                if query.is_empty() || stream.read_exact(&mut query).is_err() {
                    continue;
                }
                let answer = dns(&query, 0x8180, &[a_record([192, 0, 2, 7])]);
                let _ = stream.write_all(&(answer.len() as u16).to_be_bytes());
                let _ = stream.write_all(&answer);
                end(&mut stream);
            }
        });
        return port;
    }
}

/// The answer to a query: its question, these flags, and records.
pub fn dns(query: &[u8], flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|b| *b == 0).unwrap_or(0) + 5;
    let mut out = query[..2].to_vec();
    out.extend(flags.to_be_bytes());
    for count in [1, records.len() as u16, 0, 0] {
        out.extend(count.to_be_bytes());
    }
    out.extend(&query[12..question_end.min(query.len())]);
    records.iter().for_each(|r| out.extend(r));
    out
}

pub fn a_record(addr: [u8; 4]) -> Vec<u8> {
    record(1, &addr)
}

/// Of the question's name.
pub fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0xc0, 12];
    out.extend(kind.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 60]);
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}
