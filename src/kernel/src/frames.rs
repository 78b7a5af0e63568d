//! Ethernet frames of a type of our own, for what holders of an address tell each other on its LAN.
//!
//! One socket hears of all links; frames go to everybody on one link. It lives in the network namespace of the thread that opens it.

#![allow(unsafe_code)]

use crate::announce::{ETHERNET_BROADCAST, hardware};
use socket2::{Domain, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use tokio::io::unix::AsyncFd;

/// Local experimental EtherType 1 (IEEE 802, clause 9.2.4).
const ETHER_TYPE: u16 = 0x88b5;
/// Longest payload: what any Ethernet passes.
pub const MAX_FRAME: usize = 1500;

pub struct Frames {
    socket: AsyncFd<Socket>,
}

impl Frames {
    /// Within a tokio runtime.
    pub fn open() -> io::Result<Frames> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // Link 0 is all of them.
        socket.bind(&hardware(0, ETHER_TYPE, [0; 6]))?;
        // SAFETY: the socket owns its descriptor and keeps it open for as long as it lives.
        let socket = unsafe { AsyncFd::register(socket) }.map_err(|e| e.into_parts().1)?;
        Ok(Frames { socket })
    }

    /// To everybody on this link.
    pub fn send(&self, link: u32, payload: &[u8]) -> io::Result<()> {
        let to = hardware(link, ETHER_TYPE, ETHERNET_BROADCAST);
        self.socket.get_ref().send_to(payload, &to).map(drop)
    }

    /// The next frame, and the link on which it came. May be dropped at any time.
    pub async fn receive(&self) -> io::Result<(u32, Vec<u8>)> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|fd| read(fd.get_ref())) {
                Ok(frame) => return frame,
                Err(_would_block) => {}
            }
        }
    }
}

fn read(socket: &Socket) -> io::Result<(u32, Vec<u8>)> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); MAX_FRAME];
    let (length, from) = socket.recv_from(&mut buffer)?;
    // SAFETY: the kernel has written the first `length` bytes, which is at most the buffer's length.
    let frame = buffer[..length.min(MAX_FRAME)].iter().map(|b| unsafe { b.assume_init() }).collect();
    // SAFETY: a packet socket gives addresses of family AF_PACKET, and the storage is large enough for any of them.
    let ll = unsafe { &*from.as_ptr().cast::<libc::sockaddr_ll>() };
    Ok((ll.sll_ifindex as u32, frame))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Addresses;
    use crate::addr::tests::{in_namespace, pair};
    use std::time::Duration;

    #[test]
    fn a_frame_reaches_the_other_end_of_its_link() {
        in_namespace(async || {
            let (here, there) = pair(&Addresses::connect().unwrap()).await;
            let frames = Frames::open().unwrap();
            frames.send(here.index, b"to everybody").unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(5), frames.receive()).await.unwrap().unwrap();
            assert_eq!(heard, (there.index, b"to everybody".to_vec()), "and not its sender");
        });
    }
}
