//! This host's node daemon, as it is asked for from elsewhere: what it is, started, stopped, taken away.

use super::stage;
use crate::asking::Api;
use kernel::service::{Service, foreign, systemctl, systemd_runs};
use std::path::Path;
use std::time::{Duration, Instant};
use wire::api::{Done, NodeStatus, QuorumStatus, ReloadCall, ShutdownCall};
use wire::pcsd::{Action, Host, NodeView, Places, file, sha256};

/// As long as Pacemaker's shutdown-escalation: what runs moves away first.
const STOP_WITHIN: Duration = Duration::from_secs(1200);
/// Before a node that is to be destroyed is killed.
const DESTROY_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// A status that takes longer is told without the node's part.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EACH: Duration = Duration::from_millis(50);

pub fn service(places: &Places) -> Service {
    Service {
        systemd: systemd_runs(),
        program: std::env::current_exe().unwrap_or_else(|_| "/usr/sbin/bascule".into()),
        words: kernel::service::node_words(),
        socket: places.socket.clone(),
        log: places.state_dir.join("node.log"),
        mark: places.pcsd.join(file::ENABLED),
    }
}

pub async fn host(places: &Places, service: &Service, name: &str) -> Host {
    let (running, enabled) = {
        let service = service.clone();
        let asked = tokio::task::spawn_blocking(move || (service.is_running(), service.is_enabled())).await;
        asked.unwrap_or_default()
    };
    let read = |path: &Path| kernel::files::read_regular(path, crate::config::MAX_FILE_BYTES).ok();
    let conf = read(&places.conf);
    let config = conf.as_ref().and_then(|bytes| {
        crate::config::read("corosync.conf", bytes, crate::config::Allow { unauthenticated: true }).config
    });
    Host {
        host: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        configured: stage::configured(places),
        cluster_name: config.map(|c| c.totem.cluster_name),
        conf: conf.map(|bytes| sha256(&bytes)),
        authkey: read(&places.authkey).map(|bytes| sha256(&bytes)),
        director: read(&places.director()).map(|bytes| sha256(&bytes)),
        running,
        enabled,
        systemd: service.systemd,
        node: if running { view(&places.socket).await } else { None },
        foreign: foreign(),
    }
}

async fn view(socket: &Path) -> Option<NodeView> {
    let api = api(socket, LOOK_WITHIN);
    let status: NodeStatus = api.get("/v1/status").await.ok()?;
    let quorum: QuorumStatus = api.get("/v1/quorum").await.ok()?;
    let members = status.nodes.iter().filter(|n| n.member).map(|n| n.name.clone()).collect();
    Some(NodeView {
        name: status.name,
        quorate: status.quorate,
        members,
        votes: quorum.total_votes,
        quorum: quorum.quorum,
    })
}

pub async fn act(places: &Places, service: &Service, action: Action) -> Result<String, String> {
    match action {
        Action::Start => start(service).await,
        Action::Stop => stop(service, STOP_WITHIN).await,
        Action::Enable => blocking(service, |s| s.enable(true).map(|()| "enabled".to_owned())).await,
        Action::Disable => blocking(service, |s| s.enable(false).map(|()| "disabled".to_owned())).await,
        Action::Kill => blocking(service, |s| s.kill().map(|_| "killed".to_owned())).await,
        Action::Destroy => destroy(places, service).await,
        Action::Reload => {
            let done: Done = api(&places.socket, ANSWER_WITHIN).post("/v1/reload", &ReloadCall::default()).await?;
            told(done)
        }
    }
}

fn told(done: Done) -> Result<String, String> {
    let text = done.message.unwrap_or_default();
    match done.code {
        0 => Ok(text),
        code if text.is_empty() => Err(format!("the node answers with code {code}")),
        _ => Err(text),
    }
}

async fn blocking(
    service: &Service,
    work: impl FnOnce(&Service) -> Result<String, String> + Send + 'static,
) -> Result<String, String> {
    let service = service.clone();
    tokio::task::spawn_blocking(move || work(&service)).await.unwrap_or_else(|e| Err(e.to_string()))
}

pub async fn start(service: &Service) -> Result<String, String> {
    blocking(service, |service| {
        if let Some(mut child) = service.start()? {
            // Whoever has a child waits for it.
            std::thread::spawn(move || match child.wait() {
                Ok(status) => tracing::info!("the node daemon has ended: {status}"),
                Err(error) => tracing::warn!("the node daemon: {error}"),
            });
        }
        Ok("started".to_owned())
    })
    .await
}

/// Until nobody answers any more.
async fn stop(service: &Service, within: Duration) -> Result<String, String> {
    if !service.is_running() {
        return Ok("not running".to_owned());
    }
    // One that is about to end may not answer; what counts is that it goes.
    let asked: Result<Done, String> =
        api(&service.socket, ANSWER_WITHIN).post("/v1/shutdown", &ShutdownCall::default()).await;
    if let Ok(Done { code, message: Some(why), .. }) = asked
        && code != 0
        && code != base::exit::crm::DISCONNECT
    {
        return Err(why);
    }
    let began = Instant::now();
    while service.is_running() {
        if began.elapsed() > within {
            return Err(format!(
                "the node has not stopped within {} s: 'pcs status' says what holds it",
                within.as_secs()
            ));
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
    if service.systemd {
        // Its unit as well, or a restart would bring it back.
        blocking(service, |_| systemctl(&["stop", kernel::service::UNIT]).map(|()| String::new())).await?;
    }
    Ok("stopped".to_owned())
}

async fn destroy(places: &Places, service: &Service) -> Result<String, String> {
    if let Err(why) = stop(service, DESTROY_WITHIN).await {
        tracing::warn!("to be destroyed: {why}; it is killed");
        blocking(service, |s| s.kill().map(|_| String::new())).await?;
    }
    // A host that never had the unit has nothing to disable.
    let _ = blocking(service, |s| s.enable(false).map(|()| String::new())).await;
    let places = places.clone();
    let removed = tokio::task::spawn_blocking(move || remove_files(&places)).await;
    removed.unwrap_or_else(|e| Err(e.to_string())).map(|()| "destroyed".to_owned())
}

/// All but what this host knows of others, the log, and what is staged.
fn remove_files(places: &Places) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut gone = |path: &Path| {
        let removed = match path.is_dir() && !path.is_symlink() {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        };
        if let Err(e) = removed.or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
            wrong.push(format!("{}: {e}", path.display()));
        }
    };
    gone(&places.conf);
    gone(&places.authkey);
    for entry in std::fs::read_dir(&places.state_dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let kept = path == places.pcsd || path.file_name().is_some_and(|n| n == "node.log");
        let staged = path.extension().is_some_and(|e| e == "staged");
        if !kept && !staged && !places.pcsd.starts_with(&path) {
            gone(&path);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// The node of this host.
fn api(socket: &Path, within: Duration) -> Api {
    Api { socket: socket.to_owned(), user: None, within }
}
