//! Asking the LAN whether somebody holds an address: ARP probes (RFC 5227) and solicitations of duplicate address detection
//! (RFC 4862).
//!
//! [`Inquiry`] sends and listens for one address on one link; when to ask, and what an answer means, is the caller's to say.
//! [`Ear`] listens only, for all addresses that are held there. An inquiry lives in the network namespace of the thread that opens it.

#![allow(unsafe_code)]

mod ear;
pub mod packets;
#[cfg(test)]
mod tests;

pub use ear::{Ear, EarError};
pub use packets::{Heard, Mac, Use};

use crate::addr::Link;
use crate::announce::{ETH_P_ARP, ETHERNET_BROADCAST, hardware};
use packets::{ADVERTISEMENT, HOP_LIMIT, ICMPV6, SOLICITATION};
use socket2::{Domain, SockAddr, SockFilter, Socket, Type};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr};
use tokio::io::unix::AsyncFd;

const ETH_P_IPV6: u16 = 0x86dd;
/// No packet that counts is longer.
const MAX_PACKET: usize = 512;
/// Read at one time, so that a flood of answers cannot keep anybody from asking.
const MAX_READ: usize = 64;

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
#[error("asking for {addr} on {link}: {what}: {source}")]
pub struct InquiryError {
    addr: IpAddr,
    link: String,
    what: &'static str,
    source: std::io::Error,
}

/// Sends questions about one address, and hears what is said about it.
pub struct Inquiry {
    addr: IpAddr,
    link: String,
    mac: Mac,
    to: SockAddr,
    socket: AsyncFd<Socket>,
    /// Keeps this host in the group in which others ask (IPv6).
    _group: Option<Socket>,
}

impl Inquiry {
    /// `None` for a link without neighbours (loopback, no Ethernet address). Within a tokio runtime.
    pub fn open(link: &Link, addr: IpAddr) -> Result<Option<Inquiry>, InquiryError> {
        let Some(mac) = link.mac.filter(|_| !link.loopback) else { return Ok(None) };
        let failed = |(what, source)| InquiryError { addr, link: link.name.clone(), what, source };
        let (protocol, to) = match addr {
            IpAddr::V4(_) => (ETH_P_ARP, ETHERNET_BROADCAST),
            IpAddr::V6(v6) => (ETH_P_IPV6, packets::group_mac(packets::solicited_node(v6))),
        };
        let group = match addr {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(join(link.index, v6).map_err(failed)?),
        };
        let socket = listen(link.index, protocol, &filter(addr)).map_err(failed)?;
        // SAFETY: the socket owns its descriptor and keeps it open for as long as it lives.
        let socket = unsafe { AsyncFd::register(socket) }.map_err(|e| failed(("register", e.into_parts().1)))?;
        let to = hardware(link.index, protocol, to);
        Ok(Some(Inquiry { addr, link: link.name.clone(), mac, to, socket, _group: group }))
    }

    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// One question.
    pub fn ask(&self) -> Result<(), InquiryError> {
        let sent = match self.addr {
            IpAddr::V4(v4) => self.socket.get_ref().send_to(&packets::arp_probe(self.mac, v4), &self.to),
            IpAddr::V6(v6) => self.socket.get_ref().send_to(&packets::solicitation(v6), &self.to),
        };
        sent.map(drop).map_err(|e| self.failed("send", e))
    }

    /// What others have said since the last call, at least one thing. May be dropped at any time.
    pub async fn heard(&self) -> Result<Vec<Heard>, InquiryError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(|e| self.failed("wait", e))?;
            let (all, more) = self.read()?;
            if !more {
                ready.clear_ready();
            }
            if !all.is_empty() {
                return Ok(all);
            }
        }
    }

    /// The same without waiting: for the last look before silence is believed.
    pub fn heard_now(&self) -> Result<Vec<Heard>, InquiryError> {
        Ok(self.read()?.0)
    }

    /// What is there, and whether there may be more.
    fn read(&self) -> Result<(Vec<Heard>, bool), InquiryError> {
        let mut all = Vec::new();
        for _ in 0..MAX_READ {
            match receive(self.socket.get_ref()) {
                // Whatever this host sends is heard here, too.
                Ok((packet, source)) => {
                    all.extend(packets::read(&packet, source, self.addr).filter(|h| h.mac != self.mac));
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok((all, false)),
                Err(e) => return Err(self.failed("receive", e)),
            }
        }
        Ok((all, true))
    }

    fn failed(&self, what: &'static str, source: std::io::Error) -> InquiryError {
        InquiryError { addr: self.addr, link: self.link.clone(), what, source }
    }
}

type Failure = (&'static str, std::io::Error);

/// Filtered before it is bound: nothing else ever waits in it.
fn listen(index: u32, protocol: u16, filter: &[SockFilter]) -> Result<Socket, Failure> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).map_err(|e| ("packet socket", e))?;
    socket.set_nonblocking(true).map_err(|e| ("non-blocking", e))?;
    socket.attach_filter(filter).map_err(|e| ("filter", e))?;
    socket.bind(&hardware(index, protocol, [0; 6])).map_err(|e| ("bind", e))?;
    Ok(socket)
}

fn join(index: u32, addr: Ipv6Addr) -> Result<Socket, Failure> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).map_err(|e| ("IPv6 socket", e))?;
    socket.join_multicast_v6(&packets::solicited_node(addr), index).map_err(|e| ("join the group", e))?;
    Ok(socket)
}

fn receive(socket: &Socket) -> std::io::Result<(Vec<u8>, Mac)> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); MAX_PACKET];
    let (length, from) = socket.recv_from(&mut buffer)?;
    // SAFETY: the kernel has written the first `length` bytes, which is at most the buffer's length.
    let packet = buffer[..length.min(MAX_PACKET)].iter().map(|b| unsafe { b.assume_init() }).collect();
    // SAFETY: a packet socket gives addresses of family AF_PACKET, and the storage is large enough for any of them.
    let ll = unsafe { &*from.as_ptr().cast::<libc::sockaddr_ll>() };
    let mut mac = Mac::default();
    mac.copy_from_slice(&ll.sll_addr[..6]);
    Ok((packet, mac))
}

/// Classic BPF that lets through what [`packets::read`] may have something to say of. Offsets count from the network header.
fn filter(addr: IpAddr) -> Vec<SockFilter> {
    const WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let load = |how: u16, at: u32| SockFilter::new(how, 0, 0, at);
    match addr {
        IpAddr::V4(v4) => vec![
            // Sender or target is the address.
            load(WORD, 14),
            SockFilter::new(EQUAL, 2, 0, v4.to_bits()),
            load(WORD, 24),
            SockFilter::new(EQUAL, 0, 1, v4.to_bits()),
            SockFilter::new(RETURN, 0, 0, MAX_PACKET as u32),
            SockFilter::new(RETURN, 0, 0, 0),
        ],
        IpAddr::V6(v6) => {
            let mut tests = vec![(BYTE, 6, u32::from(ICMPV6)), (BYTE, 7, u32::from(HOP_LIMIT))];
            let words = v6.octets().chunks(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect::<Vec<_>>();
            tests.extend((48..).step_by(4).zip(words).map(|(at, word)| (WORD, at, word)));
            // Two for the kind, two to return.
            let after = |n: usize| (tests.len() - 1 - n) as u8 * 2 + 4;
            let mut all = Vec::new();
            for (n, (how, at, value)) in tests.iter().enumerate() {
                all.extend([load(*how, *at), SockFilter::new(EQUAL, 0, after(n), *value)]);
            }
            all.extend([
                load(BYTE, 40),
                SockFilter::new(EQUAL, 1, 0, u32::from(ADVERTISEMENT)),
                SockFilter::new(EQUAL, 0, 1, u32::from(SOLICITATION)),
                SockFilter::new(RETURN, 0, 0, MAX_PACKET as u32),
                SockFilter::new(RETURN, 0, 0, 0),
            ]);
            all
        }
    }
}
