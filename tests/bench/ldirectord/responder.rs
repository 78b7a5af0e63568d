//! The real servers: one listener for all of 127.0.0.0/8, which answers by the address that was asked.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub const PORT: u16 = 8080;
const MAX_SERVERS: usize = 10_000;
const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nalive\n";
const BAD: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Works = 0,
    Fails = 1,
    /// Accepts and never answers.
    Hangs = 2,
}

struct Shared {
    modes: Vec<AtomicU8>,
    accepted: AtomicU64,
    recording: AtomicBool,
    /// When each server was last asked, and the times between.
    last: Mutex<(Vec<Option<Instant>>, Vec<f64>)>,
}

#[derive(Clone)]
pub struct Servers(Arc<Shared>);

/// The address of the server with this number.
pub fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + n as u32)
}

pub fn number(addr: Ipv4Addr) -> Option<usize> {
    u32::from(addr).checked_sub(u32::from(address(0))).map(|n| n as usize).filter(|n| *n < MAX_SERVERS)
}

impl Servers {
    pub fn start() -> std::io::Result<Servers> {
        let shared = Arc::new(Shared {
            modes: (0..MAX_SERVERS).map(|_| AtomicU8::new(0)).collect(),
            accepted: AtomicU64::new(0),
            recording: AtomicBool::new(false),
            last: Mutex::new((vec![None; MAX_SERVERS], Vec::new())),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::UNSPECIFIED, PORT).into())?;
            socket.listen(65_535)
        })?;
        let state = shared.clone();
        std::thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, state.clone()));
                }
            });
        });
        Ok(Servers(shared))
    }

    pub fn set(&self, n: usize, mode: Mode) {
        self.0.modes[n].store(mode as u8, Ordering::Relaxed);
    }

    pub fn reset(&self) {
        (0..MAX_SERVERS).for_each(|n| self.set(n, Mode::Works));
        self.0.recording.store(false, Ordering::Relaxed);
    }

    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Begins to note when servers are asked.
    pub fn record(&self) {
        *lock(&self.0.last) = (vec![None; MAX_SERVERS], Vec::new());
        self.0.recording.store(true, Ordering::Relaxed);
    }

    /// Times between two checks of the same healthy server since then.
    pub fn gaps_ms(&self) -> Vec<f64> {
        self.0.recording.store(false, Ordering::Relaxed);
        std::mem::take(&mut lock(&self.0.last).1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|p| p.into_inner())
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    shared.accepted.fetch_add(1, Ordering::Relaxed);
    let Ok(local) = stream.local_addr() else { return };
    let IpAddr::V4(addr) = local.ip() else { return };
    let Some(n) = number(addr) else { return };
    let mode = shared.modes[n].load(Ordering::Relaxed);
    if mode == Mode::Works as u8 && shared.recording.load(Ordering::Relaxed) {
        let (now, mut last) = (Instant::now(), lock(&shared.last));
        if let Some(before) = last.0[n].replace(now) {
            last.1.push(now.duration_since(before).as_secs_f64() * 1000.0);
        }
    }
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await;
    if mode == Mode::Hangs as u8 {
        // Until the director has had enough.
        while matches!(stream.read(&mut request).await, Ok(1..)) {}
        return;
    }
    let _ = stream.write_all(if mode == Mode::Fails as u8 { BAD } else { GOOD }).await;
}
