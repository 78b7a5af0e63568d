//! ICMP echo requests from one local address: does the kernel of another host answer?
//!
//! The socket is raw, since those for datagrams take a sysctl (`net.ipv4.ping_group_range`); it takes `CAP_NET_RAW`. It hears all
//! ICMP that is sent to its address; what does not answer one of its own questions is passed over.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
/// Packets read at once.
const MAX_READ: usize = 64;

pub struct Echo {
    /// std has no type for ICMP sockets; this one sends and receives on them as well.
    socket: UdpSocket,
    v6: bool,
    /// Tells the answers to this socket's questions from those to others'.
    id: u16,
    sequence: u16,
}

impl Echo {
    /// `id` should differ between the sockets of a host. The address need not be there yet.
    pub fn open(local: IpAddr, id: u16) -> io::Result<Echo> {
        let v6 = local.is_ipv6();
        let (domain, protocol) = if v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        if v6 {
            socket.set_freebind_v6(true)?;
        } else {
            socket.set_freebind_v4(true)?;
        }
        socket.bind(&SockAddr::from(SocketAddr::new(local, 0)))?;
        Ok(Echo { socket: OwnedFd::from(socket).into(), v6, id, sequence: 0 })
    }

    pub fn ask(&mut self, mut host: SocketAddr) -> io::Result<()> {
        host.set_port(0);
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send_to(&request(self.v6, self.id, self.sequence), host).map(drop)
    }

    /// Hosts that have answered since the last call.
    pub fn answers(&self) -> Vec<IpAddr> {
        let mut buffer = [0; 256];
        let mut hosts = Vec::new();
        for _ in 0..MAX_READ {
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) if is_reply(self.v6, self.id, &buffer[..length]) => hosts.push(from.ip()),
                Ok(_) => {}
                // An error about an earlier question says nothing that silence would not.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        hosts
    }
}

impl AsFd for Echo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn request(v6: bool, id: u16, sequence: u16) -> [u8; 8] {
    let mut packet = [if v6 { REQUEST_V6 } else { REQUEST_V4 }, 0, 0, 0, 0, 0, 0, 0];
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    if !v6 {
        // For IPv6 the kernel does it, over its pseudo header.
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// RFC 1071, for whole words.
fn checksum(packet: &[u8; 8]) -> u16 {
    let mut sum: u32 = packet.chunks_exact(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// For IPv4 the packet begins with the header of IP.
fn is_reply(v6: bool, id: u16, packet: &[u8]) -> bool {
    let header = if v6 { 0 } else { packet.first().map_or(0, |b| usize::from(b & 0xf) * 4) };
    let Some([kind, 0, _, _, high, low, ..]) = packet.get(header..) else { return false };
    *kind == if v6 { REPLY_V6 } else { REPLY_V4 } && id == u16::from_be_bytes([*high, *low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn replies_are_told_from_everything_else() {
        let mut reply = [0x45].into_iter().chain([0; 19]).collect::<Vec<u8>>();
        reply.extend(request(false, 0x1234, 7));
        assert_eq!(checksum(&request(false, 0x1234, 7)), 0);
        assert!(!is_reply(false, 0x1234, &reply), "a question");
        reply[20] = REPLY_V4;
        assert!(is_reply(false, 0x1234, &reply) && !is_reply(false, 0x1235, &reply));
        for length in 0..26 {
            assert!(!is_reply(false, 0x1234, &reply[..length]));
        }
        let mut reply = request(true, 9, 1);
        reply[0] = REPLY_V6;
        assert!(is_reply(true, 9, &reply) && !is_reply(true, 9, &[]));
        assert!(!is_reply(false, 0, &[0xff; 3]));
    }

    #[test]
    fn this_host_answers_both_families() {
        for local in ["127.0.0.1", "::1"].map(|a| a.parse::<IpAddr>().unwrap()) {
            let mut echo = match Echo::open(local, 0x4242) {
                Ok(echo) => echo,
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    eprintln!("SKIPPED: no raw sockets here: {e}");
                    return;
                }
                Err(e) => panic!("{local}: {e}"),
            };
            echo.ask(SocketAddr::new(local, 5405)).unwrap();
            let answered = (0..200).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                echo.answers() == [local]
            });
            assert!(answered, "{local}");
        }
    }
}
