//! The applet `bascule pcsd`: what hosts ask of each other to build a cluster, in the place of pcsd. See [`wire::pcsd`].
//!
//! [`serve`] takes connections, [`gate`] says who may ask, [`login`] how one becomes known; [`stage`] changes files on all hosts or
//! on none, [`node`] starts and stops. It needs no cluster, and the cluster does not need it: it may be stopped at any time.

mod args;
mod gate;
mod identity;
mod lists;
mod login;
mod node;
mod serve;
mod stage;

use args::{Args, Doing};
use clap::{CommandFactory, FromArgMatches};
use identity::Identity;
use serve::Server;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wire::pcsd::Places;

const FAILED: i32 = 1;

/// Entry point of the applet.
pub fn run(words: Vec<OsString>) -> i32 {
    let line = std::iter::once(OsString::from("pcsd")).chain(words);
    let matches = Args::command().args_override_self(true).try_get_matches_from(line);
    let args = match matches.and_then(|m| Args::from_arg_matches(&m)) {
        Ok(args) => args,
        Err(error) => {
            kernel::output::say(error.render().ansi(), error.render(), error.use_stderr());
            return i32::from(error.use_stderr());
        }
    };
    let places = Places::of(|name| std::env::var_os(name));
    let host = nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default();
    let outcome = Identity::keep(&places.pcsd, &host).and_then(|(identity, new)| match &args.doing {
        Some(Doing::Token { minutes, json }) => token(&places, &identity, *minutes, *json),
        None => daemon(args, places, host, identity, new),
    });
    match outcome {
        Ok(()) => 0,
        Err(why) => {
            kernel::errln!("bascule pcsd: {why}");
            FAILED
        }
    }
}

fn token(places: &Places, identity: &Identity, minutes: u16, json: bool) -> Result<(), String> {
    let token = login::new_token(&places.pcsd, &identity.pin, Duration::from_secs(u64::from(minutes) * 60))?.text();
    match json {
        true => kernel::outln!("{}", serde_json::json!({"token": token, "minutes": minutes, "key": identity.pin})),
        false => {
            kernel::outln!("{token}");
            kernel::errln!(
                "It counts once, within {minutes} min. On the other host: pcs host auth THIS_HOST --token -"
            );
        }
    }
    Ok(())
}

fn daemon(args: Args, places: Places, host: String, identity: Identity, new: bool) -> Result<(), String> {
    crate::logging::start_service("pcsd", args.debug);
    if new {
        tracing::info!("made a certificate; this host's key is {}", identity.pin);
    }
    let pam = args.pam_service.clone().or_else(login::pam_service);
    if pam.is_none() {
        tracing::warn!("no PAM service for passwords (/etc/pam.d/bascule): log-ins by token only");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.and_then(|runtime| {
        let ended = runtime.block_on(serve_all(&args, Server::new(places, host, identity, pam)));
        // A node that is being waited for does not hold up the end.
        runtime.shutdown_timeout(Duration::from_millis(500));
        ended
    });
    crate::logging::finish();
    ended.map_err(|e| e.to_string())
}

async fn serve_all(args: &Args, server: Server) -> io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hup = signal(SignalKind::hangup())?;
    let listeners = listen(&args.listen, args.port)?;
    let server = Arc::new(server);
    for listener in listeners {
        tracing::info!("listening on {}", listener.local_addr()?);
        tokio::spawn(server.clone().serve(listener));
    }
    let page = server.clone();
    tokio::spawn(async move { page.web.follow_servers().await });
    if !server.service.systemd && server.service.is_enabled() {
        let service = server.service.clone();
        tokio::spawn(async move {
            match node::start(&service).await {
                Ok(_) => tracing::info!("the node daemon is enabled, and runs"),
                Err(why) => tracing::error!("the node daemon is enabled: {why}"),
            }
        });
    }
    crate::service::notify("READY=1");
    let mut renew = tokio::time::interval(serve::RENEW_EACH);
    loop {
        tokio::select! {
            _ = renew.tick() => {}
            _ = hup.recv() => {}
            _ = term.recv() => break,
            _ = int.recv() => break,
        }
        match server.renew() {
            Ok(true) => tracing::info!("the certificate has been renewed; the key is the same"),
            Ok(false) => {}
            Err(why) => tracing::error!("{why}"),
        }
    }
    crate::service::notify("STOPPING=1");
    tracing::info!("stopped");
    Ok(())
}

/// On both families where none is asked for; a host without IPv6 has one of them alone.
fn listen(asked: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let any = [IpAddr::from([0; 16]), IpAddr::from([0; 4])];
    let addresses = if asked.is_empty() { &any[..] } else { asked };
    let mut open = Vec::new();
    let mut failed = io::Error::other("no address to listen on");
    for address in addresses {
        match crate::listen::tcp(SocketAddr::new(*address, port)) {
            Ok(listener) => open.push(listener),
            Err(error) => failed = io::Error::new(error.kind(), format!("{address} port {port}: {error}")),
        }
    }
    let enough = if asked.is_empty() { !open.is_empty() } else { open.len() == asked.len() };
    if enough { Ok(open) } else { Err(failed) }
}
