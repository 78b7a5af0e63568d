//! Runs agents: native ones in this process, all others as child processes.
//!
//! Each call has one deadline. A call that passes it is reported as `Timeout`: what it did is unknown, it has not
//! "failed". Dropping the future of a call ends it, and a child with everything that it started.

pub(crate) mod alert;
mod child;
mod env;
pub mod fence;
mod groups;
mod lsb;
mod ocf;
mod secrets;
mod systemd;

#[cfg(test)]
mod tests;

pub use child::{MAX_OUTPUT_BYTES, Output};
pub use groups::Groups;

use base::exit::OcfCode;
use base::{Instance, Operation, Reason};
use child::ChildError;
use controller::{ExecResult, OpStatus};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest reason that leaves this module; it travels to every node and stays in the history.
pub const MAX_REASON_BYTES: usize = 512;

/// Where agents are, and what they are told about this host.
#[derive(Clone, Debug)]
pub struct Places {
    /// `OCF_ROOT`; agents are in its `resource.d/PROVIDER/`.
    pub ocf_root: PathBuf,
    pub init_d: PathBuf,
    pub systemctl: PathBuf,
    /// There while systemd is this host's init (sd_booted(3)).
    pub systemd: PathBuf,
    /// Where fence agents are.
    pub fence_agents: PathBuf,
    /// Put before `PATH`, so that agents find the helper commands.
    pub helpers: Option<PathBuf>,
    /// Passed on, so that the helper commands find this node.
    pub run_dir: PathBuf,
    /// Where values are that are not in the CIB.
    pub secrets: PathBuf,
    pub groups: Groups,
}

impl Places {
    pub fn standard(run_dir: PathBuf) -> Places {
        Places {
            ocf_root: std::env::var_os("OCF_ROOT").map_or_else(|| "/usr/lib/ocf".into(), PathBuf::from),
            init_d: "/etc/init.d".into(),
            systemctl: "systemctl".into(),
            systemd: "/run/systemd/system".into(),
            fence_agents: std::env::var_os(base::agent::FENCE_AGENTS_VAR)
                .map_or_else(|| base::agent::FENCE_AGENTS_DIR.into(), PathBuf::from),
            helpers: None,
            run_dir,
            secrets: kernel::secrets::directory(),
            groups: Groups::here(),
        }
    }
}

/// Agents that live in this process.
pub trait Native: Send + Sync {
    fn knows(&self, provider: &str, agent: &str) -> bool;
    /// Result code and reason.
    fn run(&self, operation: Operation) -> Pin<Box<dyn Future<Output = (OcfCode, String)> + Send>>;
}

/// The runner. Cheap to clone; calls run side by side, their number is the controller's business.
#[derive(Clone)]
pub struct Runner {
    native: Option<Arc<dyn Native>>,
    places: Arc<Places>,
}

/// What a stock OCF agent says of itself (`meta-data`), within `limit`.
pub(crate) async fn ocf_document(places: &Places, instance: &Instance, limit: Duration) -> Option<String> {
    let action = "meta-data".to_owned();
    let operation = Operation { instance: instance.clone(), action, ..Operation::default() };
    ocf::document(places, &operation, Instant::now() + limit).await
}

/// How a call ended, before its time is added.
pub(crate) struct Ended {
    pub code: OcfCode,
    pub status: OpStatus,
    pub reason: String,
}

impl Ended {
    pub fn new(code: OcfCode, status: OpStatus, reason: impl Into<String>) -> Ended {
        Ended { code, status, reason: reason.into() }
    }

    pub fn done(code: OcfCode, reason: impl Into<String>) -> Ended {
        Ended::new(code, OpStatus::Done, reason)
    }

    pub fn not_installed(reason: impl Into<String>) -> Ended {
        Ended::new(OcfCode::NOT_INSTALLED, OpStatus::NotInstalled, reason)
    }

    fn timeout(operation: &Operation) -> Ended {
        let Operation { action, timeout_ms, .. } = operation;
        let reason = format!("{action} did not finish within {timeout_ms} ms; what it did is unknown");
        Ended::new(OcfCode::ERROR, OpStatus::Timeout, reason)
    }

    /// The program did not run, or not to its end.
    fn without_output(operation: &Operation, file: &Path, error: ChildError) -> Ended {
        match error {
            ChildError::Deadline => Ended::timeout(operation),
            ChildError::Script(reason) => Ended::not_installed(reason),
            ChildError::Spawn(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                Ended::new(OcfCode::INSUFFICIENT_PRIV, OpStatus::Error, format!("{}: {e}", file.display()))
            }
            error => Ended::new(OcfCode::ERROR, OpStatus::Error, format!("{}: {error}", file.display())),
        }
    }
}

impl Runner {
    pub fn new(native: Option<Arc<dyn Native>>, places: Places) -> Runner {
        Runner { native, places: Arc::new(places) }
    }

    pub fn places(&self) -> Arc<Places> {
        self.places.clone()
    }

    /// Whether this call runs inside this process.
    pub fn is_native(&self, operation: &Operation) -> bool {
        let instance = &operation.instance;
        instance.class == "ocf" && self.native.as_ref().is_some_and(|n| n.knows(instance.provider(), &instance.agent))
    }

    /// Runs one operation to its end or its deadline.
    pub async fn run(&self, operation: &Operation) -> ExecResult {
        let begun = Instant::now();
        let deadline = begun + operation.timeout().max(Duration::from_millis(1));
        let ended = match secrets::revealed(&self.places.secrets, operation) {
            Ok((revealed, secrets)) => {
                let ended = self.dispatch(&revealed, deadline).await;
                Ended { reason: secrets.hide(&ended.reason), ..ended }
            }
            // What runs has to be stopped, with or without them.
            Err(_) if operation.action == "stop" => self.dispatch(operation, deadline).await,
            Err(why) => Ended::new(OcfCode::ERROR, OpStatus::Error, why),
        };
        let exec_ms = begun.elapsed().as_millis() as u64;
        // Whoever said it, an agent, an interpreter or the kernel: here it enters the cluster's state.
        let reason = Reason::cleaned(&base::text::one_line(&ended.reason, MAX_REASON_BYTES));
        ExecResult { code: ended.code, status: ended.status, reason, exec_ms, queue_ms: 0 }
    }

    async fn dispatch(&self, operation: &Operation, deadline: Instant) -> Ended {
        if self.is_native(operation) {
            return self.native(operation, deadline).await;
        }
        match operation.instance.class.as_str() {
            "ocf" => ocf::run(&self.places, operation, deadline).await,
            "lsb" => lsb::run(&self.places, operation, deadline).await,
            "systemd" => systemd::run(&self.places, operation, deadline).await,
            "stonith" => fence::resource(&self.places, operation, deadline).await,
            "service" if lsb::exists(&self.places, &operation.instance.agent) => {
                lsb::run(&self.places, operation, deadline).await
            }
            "service" => systemd::run(&self.places, operation, deadline).await,
            class => Ended::not_installed(format!("resource class `{class}` cannot be run here")),
        }
    }

    /// A native agent in a task of its own, so that a panic in it is its own failure.
    async fn native(&self, operation: &Operation, deadline: Instant) -> Ended {
        let Some(native) = self.native.clone() else {
            return Ended::not_installed("no native agents");
        };
        let call = operation.clone();
        let mut task = AbortOnDrop(tokio::spawn(async move { native.run(call).await }));
        match tokio::time::timeout_at(deadline.into(), &mut task.0).await {
            Err(_) => Ended::timeout(operation),
            Ok(Ok((code, reason))) => Ended::done(code, reason),
            Ok(Err(error)) if error.is_panic() => {
                let text = panic_text(error.into_panic());
                let Operation { instance, .. } = operation;
                tracing::error!(agent = instance.agent, resource = instance.id, "native agent panicked: {text}");
                Ended::new(OcfCode::ERROR, OpStatus::Error, format!("the agent panicked: {text}"))
            }
            Ok(Err(_)) => Ended::new(OcfCode::ERROR, OpStatus::Cancelled, "cancelled"),
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
