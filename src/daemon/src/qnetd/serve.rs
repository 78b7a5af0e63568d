//! Sockets around the core: what comes goes in, what it says goes out, the one next timer is armed.

use super::args::Settings;
use super::{local, text};
use crate::clock;
use crate::qnet::certs::Store;
use crate::qnet::{Doing, Ear, Heard, Side, drive};
use quorum::qnet::{MAX_BODY_BYTES, Message, Tls};
use quorum::qnetd::{MAX_WAITING, Output, Server};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What connections have to tell, before they wait.
const HEARD: usize = 1024;

struct Arbitrator {
    settings: Settings,
    core: Server,
    connections: BTreeMap<u64, mpsc::Sender<Doing>>,
    ear: Ear,
    next: u64,
}

pub(super) async fn serve(settings: Settings) -> io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let _lock = settings.lock.as_deref().map(local::lock).transpose()?;
    let (first, second) = listen(&settings)?;
    let (asks_to, mut asks) = mpsc::channel(local::WAITING);
    let tools = local::Places::default();
    let tool = tokio::spawn(local::serve(local::bind(&settings.socket)?, asks_to, tools.clone()));
    let (ear, mut heard) = mpsc::channel(HEARD);
    let core = Server::new(settings.core.clone());
    let mut arbitrator = Arbitrator { settings, core, connections: BTreeMap::new(), ear, next: 0 };
    crate::service::notify("READY=1");
    tracing::info!("arbitrator on {}:{}", arbitrator.settings.shown_address, arbitrator.settings.port);
    loop {
        let due = arbitrator.core.poll_timeout().map(clock::instant);
        tokio::select! {
            Ok((stream, from)) = first.accept() => arbitrator.accepted(stream, from),
            Ok((stream, from)) = accept(second.as_ref()) => arbitrator.accepted(stream, from),
            Some((conn, what)) = heard.recv() => arbitrator.heard(conn, what),
            Some(ask) = asks.recv() => if arbitrator.asked(ask) { break },
            () = sleep_until(due) => arbitrator.core.handle_timeout(clock::now()),
            _ = term.recv() => break,
            _ = int.recv() => break,
        }
        arbitrator.perform();
    }
    crate::service::notify("STOPPING=1");
    tool.abort();
    drop(asks);
    tools.answered().await;
    let _ = std::fs::remove_file(&arbitrator.settings.socket);
    tracing::info!("stopped");
    Ok(())
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<std::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// On both families where none is asked for; a host without IPv6 has one of them alone.
fn listen(settings: &Settings) -> io::Result<(TcpListener, Option<TcpListener>)> {
    let mut open = Vec::new();
    let mut failed = None;
    for address in &settings.listen {
        match crate::listen::tcp(SocketAddr::new(*address, settings.port)) {
            Ok(listener) => open.push(listener),
            Err(error) => {
                let text = format!("{address} port {}: {error}", settings.port);
                failed = Some(io::Error::new(error.kind(), text));
            }
        }
    }
    let mut open = open.into_iter();
    match (open.next(), open.next()) {
        (Some(first), second) => Ok((first, second)),
        (None, _) => Err(failed.unwrap_or_else(|| io::Error::other("no address to listen on"))),
    }
}

impl Arbitrator {
    fn accepted(&mut self, stream: TcpStream, from: SocketAddr) {
        self.next += 1;
        if !self.core.connected(self.next, text::address(from), clock::now()) {
            tracing::warn!("{from}: refused, {} clients are connected", self.core.clients());
            return;
        }
        let (to, doings) = mpsc::channel(MAX_WAITING);
        self.connections.insert(self.next, to);
        tokio::spawn(drive(self.next, stream, MAX_BODY_BYTES, doings, self.ear.clone()));
    }

    fn heard(&mut self, conn: u64, what: Heard) {
        let now = clock::now();
        match what {
            Heard::Frame(frame) => match Message::decode(&frame) {
                Ok(message) => self.core.received(conn, &message, now),
                Err(error) => self.core.undecodable(conn, error, now),
            },
            Heard::Unreadable(error) => self.core.unreadable(conn, error),
            Heard::Secured(certificate) => {
                let store = Store::read(&self.settings.tls_dir);
                let vouched = store.ok().zip(certificate).and_then(|(store, c)| store.vouched(&c));
                self.core.tls_started(conn, vouched);
            }
            Heard::Over(why) => {
                tracing::debug!("connection {conn}: {why}");
                self.connections.remove(&conn);
                self.core.gone(conn, now);
            }
        }
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, message } => self.tell(to, Doing::Send(message.encode())),
                Output::StartTls { with } => self.secure(with),
                Output::Close { conn, why } => {
                    tracing::info!("connection {conn} is closed: {why}");
                    self.tell(conn, Doing::Close);
                }
                Output::Told { text } => tracing::info!("{text}"),
            }
        }
    }

    /// One that takes nothing for so long loses its connection, and so its place in the decision.
    fn tell(&mut self, conn: u64, doing: Doing) {
        let full = self.connections.get(&conn).is_some_and(|to| to.try_send(doing).is_err());
        if full && self.connections.remove(&conn).is_some() {
            tracing::warn!("connection {conn}: it does not take what it is sent");
        }
    }

    fn secure(&mut self, conn: u64) {
        let ssl = Store::read(&self.settings.tls_dir).and_then(|s| s.server(self.settings.core.client_cert_required));
        match ssl {
            Ok(ssl) => self.tell(conn, Doing::StartTls(Box::new(ssl), Side::Server)),
            Err(error) => {
                tracing::error!("TLS: {error}");
                self.tell(conn, Doing::Close);
            }
        }
    }

    /// Whether that was the wish to stop.
    fn asked(&mut self, local::Ask { command, to }: local::Ask) -> bool {
        let (answer, stop) = match command {
            local::Command::Shutdown => (Ok(String::new()), true),
            local::Command::Status { verbose } => (Ok(text::status(&self.settings, &self.core, verbose)), false),
            local::Command::List { verbose, cluster } => {
                (Ok(text::list(&self.core.clusters(), verbose, cluster.as_deref())), false)
            }
            local::Command::Json => (serde_json::to_string(&self.core.clusters()).map_err(|e| e.to_string()), false),
            local::Command::Unknown(word) => (Err(format!("Unknown command '{word}'")), false),
        };
        // A tool that has gone needs no answer.
        let _ = to.send(answer);
        stop
    }
}

/// What the status says of TLS.
pub(super) fn tls_words(settings: &Settings) -> String {
    let core = &settings.core;
    let required = core.tls != Tls::Unsupported && core.client_cert_required;
    format!("{}{}", core.tls.words(), if required { " (client certificate required)" } else { "" })
}
