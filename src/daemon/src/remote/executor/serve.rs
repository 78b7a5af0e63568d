//! The task that owns the executor's core, and what it listens on.

use super::{Args, client, programs};
use crate::exec::{Places, Runner};
use crate::remote::{API, bytes, tls};
use crate::{api, clock, listen, service};
use base::exit::OcfCode;
use controller::ExecResult;
use controller::remote::service::{Output, Service};
use controller::remote::{Proxied, ProxyOp};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use xml::Element;

/// Connections at a time, those included that have not shown the key yet.
const MAX_CONNECTIONS: usize = 64;
/// Of one host, that have not shown the key yet: whoever has none cannot keep the others out.
const MAX_UNPROVED: usize = 8;
/// Programs that ask the cluster at a time.
const MAX_PROGRAMS: usize = 256;
const EVENTS: usize = 1024;

/// What happens to the executor.
pub enum Event {
    Connected {
        client: u64,
        to: mpsc::Sender<Element>,
    },
    Message {
        client: u64,
        message: Element,
    },
    Disconnected {
        client: u64,
    },
    /// A program of this host wants to ask the cluster.
    Program {
        session: String,
        to: mpsc::Sender<Vec<u8>>,
    },
    Asked {
        session: String,
        op: ProxyOp,
    },
}

pub async fn serve(args: Args) -> Result<(), String> {
    let mut stop = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    kernel::files::private_dir(&args.run_dir).map_err(|e| format!("{}: {e}", args.run_dir.display()))?;
    let context = tls::server().map_err(|e| e.to_string())?;
    let commands = api::bind(&args.run_dir).map_err(|e| e.to_string())?;
    let (addresses, port) = args.listen()?;
    let (events_to, mut events) = mpsc::channel(EVENTS);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for (n, address) in (1u64..).zip(addresses) {
        let socket = SocketAddr::new(address, port);
        let listener = listen::tcp(socket).map_err(|e| format!("{socket}: {e}"))?;
        tokio::spawn(accept(n << 48, listener, context.clone(), events_to.clone(), places.clone()));
    }
    tokio::spawn(programs::listen(commands, events_to));
    let mut place = Places::standard(args.run_dir.clone());
    place.helpers = crate::node::helper_links(&args.run_dir).await;
    let (executed_to, mut executed) = mpsc::unbounded_channel();
    let mut executor = Executor {
        core: Service::default(),
        runner: Runner::new(None, place),
        clients: BTreeMap::new(),
        programs: BTreeMap::new(),
        executed: executed_to,
        ending: false,
    };
    service::notify("READY=1");
    tracing::info!("remote node: waits for a cluster on port {port}");
    while !(executor.ending && executor.clients.is_empty()) {
        let due = executor.core.deadline().map(clock::instant);
        tokio::select! {
            Some(event) = events.recv() => executor.event(event),
            Some((call, result)) = executed.recv() => executor.core.finished(clock::now(), call, &result),
            () = sleep_until(due) => executor.core.tick(clock::now()),
            _ = stop.recv() => if executor.stop() { break },
            _ = interrupt.recv() => if executor.stop() { break },
        }
        executor.perform();
    }
    service::notify("STOPPING=1");
    api::remove(&args.run_dir);
    Ok(())
}

async fn sleep_until(due: Option<std::time::Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn accept(
    first: u64,
    listener: TcpListener,
    context: openssl::ssl::SslContext,
    events: mpsc::Sender<Event>,
    places: Arc<Semaphore>,
) {
    let unproved = Arc::new(Mutex::new(BTreeMap::new()));
    for id in first.. {
        let admitted = |(tcp, peer): (tokio::net::TcpStream, SocketAddr)| {
            let proving = Unproved::of(peer.ip(), &unproved);
            (tcp, peer, proving.zip(places.clone().try_acquire_owned().ok()))
        };
        // One that has no place is closed at once.
        match listener.accept().await.map(admitted) {
            Ok((tcp, peer, Some((proving, place)))) => {
                let (context, events) = (context.clone(), events.clone());
                tokio::spawn(async move {
                    match client::serve(id, tcp, (context, proving), events).await {
                        Ok(()) => tracing::info!("{peer}: the connection was ended"),
                        Err(why) => tracing::warn!("{peer}: {why}"),
                    }
                    drop(place);
                });
            }
            Ok((_, peer, None)) => tracing::debug!("{peer}: too many connections"),
            Err(error) => {
                tracing::warn!("a connection could not be taken: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

type Hosts = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// A connection that has not shown the key yet.
pub struct Unproved {
    host: IpAddr,
    all: Hosts,
}

impl Unproved {
    fn of(host: IpAddr, all: &Hosts) -> Option<Unproved> {
        let mut counts = all.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(host).or_default();
        if *count >= MAX_UNPROVED {
            return None;
        }
        *count += 1;
        Some(Unproved { host, all: all.clone() })
    }
}

impl Drop for Unproved {
    fn drop(&mut self) {
        let mut counts = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.host);
            }
        }
    }
}

struct Executor {
    core: Service,
    runner: Runner,
    clients: BTreeMap<u64, mpsc::Sender<Element>>,
    /// With the cluster node that each speaks to.
    programs: BTreeMap<String, (u64, mpsc::Sender<Vec<u8>>)>,
    executed: mpsc::UnboundedSender<(u64, ExecResult)>,
    ending: bool,
}

impl Executor {
    fn event(&mut self, event: Event) {
        match event {
            Event::Connected { client, to } => {
                self.clients.insert(client, to);
                self.core.connected(client);
            }
            Event::Message { client, message } => self.core.receive(clock::now(), client, &message),
            Event::Disconnected { client } => {
                self.clients.remove(&client);
                self.programs.retain(|_, (through, _)| *through != client);
                self.core.disconnected(client);
            }
            Event::Program { session, to } => {
                // Without a cluster there is nobody to ask: the connection just ends.
                if let Some(client) = self.core.provider().filter(|_| self.programs.len() < MAX_PROGRAMS) {
                    let op = ProxyOp::New { server: API.to_owned() };
                    self.core.forward(client, &Proxied { session: session.clone(), op });
                    self.programs.insert(session, (client, to));
                }
            }
            Event::Asked { session, op } => {
                let Some((client, _)) = self.programs.get(&session) else { return };
                let client = *client;
                if op == ProxyOp::Destroy {
                    self.programs.remove(&session);
                }
                self.core.forward(client, &Proxied { session, op });
            }
        }
    }

    /// True if there is nothing to wait for.
    fn stop(&mut self) -> bool {
        if std::mem::replace(&mut self.ending, true) || !self.core.ask_to_end() {
            return true;
        }
        tracing::info!("the cluster is asked to move everything away from here");
        false
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { client, message } => {
                    let told = self.clients.get(&client).is_none_or(|to| to.try_send(message).is_ok());
                    if !told {
                        // Its task sees that nobody speaks to it any more, and ends.
                        self.clients.remove(&client);
                    }
                }
                Output::Execute { call, operation } => {
                    let (runner, executed) = (self.runner.clone(), self.executed.clone());
                    tokio::spawn(async move {
                        let result = runner.run(&operation).await;
                        if operation.action != "monitor" || !matches!(result.code, OcfCode::OK | OcfCode::NOT_RUNNING) {
                            let (key, code) = (operation.key(), result.code);
                            tracing::info!(
                                "{key}: rc {} ({code}) after {} ms {}",
                                code.0,
                                result.exec_ms,
                                result.reason
                            );
                        }
                        let _ = executed.send((call, result));
                    });
                }
                Output::Proxied { message, .. } => self.answered(message),
            }
        }
    }

    fn answered(&mut self, message: Proxied) {
        let Proxied { session, op } = message;
        match op {
            ProxyOp::Event { body } | ProxyOp::Response { body, .. } => {
                let Some((_, to)) = self.programs.get(&session) else { return };
                let taken = bytes::unpack(&body).is_some_and(|bytes| to.try_send(bytes).is_ok());
                if !taken {
                    self.programs.remove(&session);
                }
            }
            ProxyOp::Destroy => drop(self.programs.remove(&session)),
            ProxyOp::ShutdownAnswer { granted: false } => {
                tracing::warn!("the cluster does not let this node go: it ends at once");
                self.clients.clear();
            }
            _ => {}
        }
    }
}
