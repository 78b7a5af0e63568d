//! A responder on every node, and a client that asks whoever has the address every 5 ms.

use kernel::netns::Namespace;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(5);
const PORT: u16 = 7007;

/// Ends with its threads.
pub struct Probe {
    answered: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Probe {
    pub fn start<'a>(client: &Namespace, nodes: impl Iterator<Item = &'a Namespace>, addr: IpAddr) -> Probe {
        let probe = Probe { answered: Arc::default(), stop: Arc::default() };
        for node in nodes {
            let socket = open(node, PORT);
            let stop = probe.stop.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 16];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                        // A cable that is not there is the client's loss.
                        let _ = socket.send_to(&buffer[..length], from);
                    }
                }
            });
        }
        let socket = open(client, 0);
        let (stop, answered) = (probe.stop.clone(), probe.answered.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let _ = socket.send_to(b"who", (addr, PORT));
                while let Some(left) = EVERY.checked_sub(asked.elapsed()).filter(|l| !l.is_zero()) {
                    socket.set_read_timeout(Some(left)).expect("set");
                    if socket.recv_from(&mut buffer).is_ok() {
                        answered.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                    }
                }
            }
        });
        probe
    }

    /// Longest time without an answer between two moments.
    pub fn outage(&self, from: Instant, to: Instant) -> Duration {
        let all = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let within = all.iter().copied().filter(|at| *at >= from && *at <= to).chain([to]);
        within.fold((Duration::ZERO, from), |(longest, last), at| (longest.max(at - last), at)).0
    }
}

fn open(inside: &Namespace, port: u16) -> UdpSocket {
    let socket = inside.run_net(|| UdpSocket::bind(("0.0.0.0", port))).expect("inside").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
    socket
}
