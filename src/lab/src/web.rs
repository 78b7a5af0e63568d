//! `lab-web`: a real HTTP server for test hosts, which answers with its name and can be told to misbehave.
//!
//! It obeys lines on standard input: `ok`, `fail` (503 to everything), `hang` (accepts, never answers), `stop` (closes
//! its sockets: connections are refused). At end of input it exits, so it cannot outlive whoever started it.

use bytes::Bytes;
use clap::Parser;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections served at once; more wait in the accept queue.
const MAX_CONNECTIONS: usize = 4096;
/// Longest delay that `/work?ms=N` may ask for.
const MAX_WORK_MS: u64 = 10_000;

#[derive(Parser)]
#[command(name = "lab-web", about = "HTTP server for test hosts (told by lines on stdin: ok, fail, hang, stop)")]
struct Args {
    /// The name it answers with
    #[arg(long)]
    name: String,
    /// Address and port to serve (repeatable)
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Ok,
    Fail,
    Hang,
    Stop,
}

/// Entry point of the applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let args = match Args::try_parse_from(std::iter::once("lab-web".into()).chain(args)) {
        Ok(args) => args,
        Err(e) => {
            kernel::output::say(e.render().ansi(), e.render(), e.use_stderr());
            return e.exit_code();
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return 1 };
    runtime.block_on(async {
        let (mode, watcher) = watch::channel(Mode::Ok);
        let name: Arc<str> = args.name.into();
        let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        for addr in args.listen {
            tokio::spawn(serve(addr, name.clone(), watcher.clone(), limit.clone()));
        }
        kernel::outln!("ready");
        obey(mode).await;
        0
    })
}

/// Reads orders until end of input.
async fn obey(mode: watch::Sender<Mode>) {
    let mut lines = crate::hosts::stdin_lines();
    while let Some(line) = lines.recv().await {
        let order = match line.trim() {
            "ok" => Mode::Ok,
            "fail" => Mode::Fail,
            "hang" => Mode::Hang,
            "stop" => Mode::Stop,
            other => {
                kernel::errln!("lab-web: unknown order '{other}': expected ok, fail, hang or stop");
                continue;
            }
        };
        mode.send_replace(order);
    }
}

async fn serve(addr: SocketAddr, name: Arc<str>, mut mode: watch::Receiver<Mode>, limit: Arc<Semaphore>) {
    loop {
        if mode.wait_for(|m| *m != Mode::Stop).await.is_err() {
            return;
        }
        let listener = match listen(addr) {
            Ok(listener) => listener,
            Err(e) => {
                kernel::errln!("lab-web: listen on {addr}: {e}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let Ok(permit) = limit.clone().acquire_owned().await else { return };
                    let (name, mode) = (name.clone(), mode.clone());
                    tokio::spawn(async move {
                        connection(stream, name, mode).await;
                        drop(permit);
                    });
                }
                stopped = async { mode.wait_for(|m| *m == Mode::Stop).await.is_ok() } => {
                    if !stopped {
                        return;
                    }
                    break;
                }
            }
        }
    }
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

async fn connection(stream: TcpStream, name: Arc<str>, mode: watch::Receiver<Mode>) {
    let mut stopped = mode.clone();
    let service = service_fn(move |request| answer(request, name.clone(), mode.clone()));
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serving => {}
        _ = stopped.wait_for(|m| *m == Mode::Stop) => {}
    }
}

async fn answer(
    request: Request<Incoming>,
    name: Arc<str>,
    mut mode: watch::Receiver<Mode>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = mode.wait_for(|m| *m != Mode::Hang).await;
    if request.uri().path() == "/work" {
        let asked = request.uri().query().and_then(|q| q.strip_prefix("ms=")).and_then(|n| n.parse().ok()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(u64::min(asked, MAX_WORK_MS))).await;
    }
    let failing = *mode.borrow() == Mode::Fail;
    let text = if failing { format!("{name} is out of order\n") } else { format!("{name}\n") };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    if failing {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}
