//! Ports for tests at which nobody answers. They stay taken as long as the process runs: one that was merely free a moment ago can be
//! given to another test.

use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, UdpSocket};

/// A port of 127.0.0.1 that refuses connections: bound, and not listening.
pub fn refusing_port() -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    std::mem::forget(socket);
    port
}

/// A port of 127.0.0.1 that refuses datagrams: its socket is there for one peer only.
pub fn refusing_datagram_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    socket.connect("127.0.0.1:9").unwrap();
    std::mem::forget(socket);
    port
}
