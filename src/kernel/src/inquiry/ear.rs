//! Hearing who else uses addresses that are held here: any ARP packet whose sender has the address (RFC 5227 §2.4), any
//! neighbour advertisement for it (RFC 4862 §5.4.4).

use super::packets::{self, ADVERTISEMENT, HOP_LIMIT, ICMPV6, Mac};
use super::{ETH_P_IPV6, Failure, MAX_PACKET, MAX_READ, listen, receive};
use crate::addr::Link;
use crate::announce::ETH_P_ARP;
use socket2::{SockFilter, Socket};
use std::collections::BTreeSet;
use std::net::IpAddr;
use tokio::io::unix::AsyncFd;

/// Addresses of one family that the kernel sorts out by itself; with more, all packets of the kind are looked at here.
const MAX_FILTERED: usize = 200;

/// Why nobody can be heard.
#[derive(Debug, thiserror::Error)]
#[error("listening on {link}: {what}: {source}")]
pub struct EarError {
    link: String,
    what: &'static str,
    source: std::io::Error,
}

/// Hears what others on one link say of these addresses. It lives in the network namespace of the thread that opens it.
pub struct Ear {
    link: String,
    mac: Mac,
    addrs: BTreeSet<IpAddr>,
    arp: AsyncFd<Socket>,
    ndp: AsyncFd<Socket>,
}

impl Ear {
    /// `None` for a link without neighbours. Within a tokio runtime.
    pub fn open(link: &Link, addrs: BTreeSet<IpAddr>) -> Result<Option<Ear>, EarError> {
        let Some(mac) = link.mac.filter(|_| !link.loopback) else { return Ok(None) };
        let failed = |(what, source): Failure| EarError { link: link.name.clone(), what, source };
        let socket = |protocol, filter: Vec<SockFilter>| {
            let socket = listen(link.index, protocol, &filter).map_err(failed)?;
            // SAFETY: the socket owns its descriptor and keeps it open for as long as it lives.
            unsafe { AsyncFd::register(socket) }.map_err(|e| failed(("register", e.into_parts().1)))
        };
        let arp = socket(ETH_P_ARP, arp_filter(&addrs))?;
        let ndp = socket(ETH_P_IPV6, ndp_filter(&addrs))?;
        Ok(Some(Ear { link: link.name.clone(), mac, addrs, arp, ndp }))
    }

    /// Addresses and the hardware that uses them, at least one of other hardware than this link's. May be dropped at any time.
    pub async fn heard(&self) -> Result<Vec<(IpAddr, Mac)>, EarError> {
        loop {
            let (socket, ready) = tokio::select! {
                ready = self.arp.readable() => (&self.arp, ready),
                ready = self.ndp.readable() => (&self.ndp, ready),
            };
            let mut ready = ready.map_err(|e| self.failed("wait", e))?;
            let (all, more) = self.read(socket.get_ref())?;
            if !more {
                ready.clear_ready();
            }
            if !all.is_empty() {
                return Ok(all);
            }
        }
    }

    /// What is there, and whether there may be more.
    fn read(&self, socket: &Socket) -> Result<(Vec<(IpAddr, Mac)>, bool), EarError> {
        let mut all = Vec::new();
        for _ in 0..MAX_READ {
            match receive(socket) {
                Ok((packet, source)) => {
                    let held = packets::holder(&packet, source);
                    all.extend(held.filter(|(addr, mac)| *mac != self.mac && self.addrs.contains(addr)));
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok((all, false)),
                Err(e) => return Err(self.failed("receive", e)),
            }
        }
        Ok((all, true))
    }

    fn failed(&self, what: &'static str, source: std::io::Error) -> EarError {
        EarError { link: self.link.clone(), what, source }
    }
}

const WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// ARP packets whose sender has one of the addresses. Offsets count from the network header.
fn arp_filter(addrs: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let words = addrs.iter().filter_map(|a| match a {
        IpAddr::V4(v4) => Some(v4.to_bits()),
        IpAddr::V6(_) => None,
    });
    one_of(14, words.collect())
}

/// Advertisements that end in the same word as one of the addresses; the rest is compared by [`Ear::read`].
fn ndp_filter(addrs: &BTreeSet<IpAddr>) -> Vec<SockFilter> {
    let words = addrs.iter().filter_map(|a| match a {
        IpAddr::V6(v6) => Some(v6.to_bits() as u32),
        IpAddr::V4(_) => None,
    });
    let tests = [(6, ICMPV6), (7, HOP_LIMIT), (40, ADVERTISEMENT)];
    let mut all = Vec::new();
    for (at, value) in tests {
        all.extend([
            SockFilter::new(BYTE, 0, 0, at),
            SockFilter::new(EQUAL, 1, 0, u32::from(value)),
            SockFilter::new(RETURN, 0, 0, 0),
        ]);
    }
    all.extend(one_of(60, words.collect()));
    all
}

/// Whether the word there is one of these; nothing passes where there are none.
fn one_of(at: u32, words: BTreeSet<u32>) -> Vec<SockFilter> {
    let (pass, refuse) = (SockFilter::new(RETURN, 0, 0, MAX_PACKET as u32), SockFilter::new(RETURN, 0, 0, 0));
    if words.len() > MAX_FILTERED {
        return vec![pass];
    }
    let mut all = vec![SockFilter::new(WORD, 0, 0, at)];
    let count = words.len();
    // Over the comparisons that are left, and the refusal behind them.
    all.extend(words.into_iter().enumerate().map(|(n, word)| SockFilter::new(EQUAL, (count - n) as u8, 0, word)));
    all.extend([refuse, pass]);
    all
}
