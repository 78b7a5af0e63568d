//! What is asked of a UDP socket for datagrams of many sizes: none in fragments, large buffers, several in one call.

#![allow(unsafe_code)]

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;
use std::io;
use std::os::fd::AsRawFd;

/// Datagrams leave whole or not at all, whatever the network has reported: who sends them finds the size that passes.
pub fn never_in_fragments(socket: &Socket, v6: bool) -> io::Result<()> {
    match v6 {
        false => set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        true => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    }
}

/// Beyond the limit of the system where this process may; as much as it may otherwise.
pub fn large_buffers(socket: &Socket, bytes: usize) {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    if set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        let _ = socket.set_recv_buffer_size(bytes);
    }
    if set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted).is_err() {
        let _ = socket.set_send_buffer_size(bytes);
    }
}

/// Datagrams of equal length that come one after the other are received in one call. False where the kernel does not.
pub fn receive_together(socket: &Socket) -> bool {
    setsockopt(socket, sockopt::UdpGroSegment, &true).is_ok()
}

fn set(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a live int of the length that is given, and the kernel only reads it.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
