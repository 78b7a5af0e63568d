//! `ocf:heartbeat:Dummy` and `ocf:pacemaker:Dummy`: a state file that exists while the resource runs.

use crate::agent::Agent;
use crate::meta::{Meta, param};
use crate::outcome::AgentOutcome;
use base::Instance;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const META: Meta = Meta {
    name: "Dummy",
    providers: &["heartbeat", "pacemaker", "bascule"],
    about: "A resource that does nothing but remember that it runs",
    params: &[
        param("state", "string", None, "File that exists while the resource runs").unique(),
        param("fake", "string", Some("dummy"), "Can be changed to make the cluster reload the resource").reloadable(),
        param("op_sleep", "string", Some("0"), "Seconds that every action takes").reloadable(),
        param("fail_start_on", "string", None, "Host name on which start fails"),
    ],
    actions: &[
        ("start", 20, None),
        ("stop", 20, None),
        ("monitor", 20, Some(10)),
        ("reload", 20, None),
        ("reload-agent", 20, None),
        ("migrate_to", 20, None),
        ("migrate_from", 20, None),
        ("validate-all", 20, None),
        ("meta-data", 5, None),
    ],
};

pub(crate) struct Dummy {
    dir: PathBuf,
}

#[derive(Clone)]
pub(crate) struct Settings {
    state: Option<PathBuf>,
    sleep: Duration,
    fail_start_on: Option<String>,
}

impl Dummy {
    pub fn new(run_dir: &Path) -> Dummy {
        Dummy { dir: run_dir.join("agents") }
    }

    fn state(&self, id: &str, settings: Option<&Settings>) -> PathBuf {
        let named = settings.and_then(|s| s.state.clone());
        named.unwrap_or_else(|| self.dir.join(format!("Dummy-{}.state", kernel::files::name_of_id(id))))
    }
}

impl Agent for Dummy {
    type Settings = Settings;

    fn meta(&self) -> &'static Meta {
        &META
    }

    fn settings(&self, instance: &Instance) -> Result<Settings, AgentOutcome> {
        // The stock agent gives it to sleep(1).
        let sleep = instance.param("op_sleep").and_then(|s| s.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
        Ok(Settings {
            state: instance.param("state").map(PathBuf::from),
            sleep,
            fail_start_on: instance.param("fail_start_on").map(str::to_owned),
        })
    }

    async fn start(&self, id: &str, settings: &Settings) -> AgentOutcome {
        tokio::time::sleep(settings.sleep).await;
        if let Some(bad) = &settings.fail_start_on
            && nix::unistd::gethostname().is_ok_and(|h| h.to_string_lossy() == *bad)
        {
            return AgentOutcome::error("asked to fail here by fail_start_on");
        }
        let state = self.state(id, Some(settings));
        let written = state.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&state, ""));
        match written {
            Ok(()) => AgentOutcome::ok(),
            Err(e) => AgentOutcome::error(format!("{}: {e}", state.display())),
        }
    }

    async fn stop(&self, id: &str, placed: Option<&Settings>) -> AgentOutcome {
        tokio::time::sleep(placed.map_or(Duration::ZERO, |s| s.sleep)).await;
        let state = self.state(id, placed);
        match std::fs::remove_file(&state) {
            // Where no file can be, none was made.
            Err(e) if is_absent(e.kind()) => AgentOutcome::ok(),
            Err(e) if !state.is_file() => {
                tracing::warn!(resource = id, "{}: {e}: not this agent's file", state.display());
                AgentOutcome::ok()
            }
            Err(e) => AgentOutcome::error(format!("{}: {e}", state.display())),
            Ok(()) => AgentOutcome::ok(),
        }
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> AgentOutcome {
        tokio::time::sleep(settings.sleep).await;
        if self.state(id, Some(settings)).is_file() { AgentOutcome::ok() } else { AgentOutcome::not_running() }
    }

    async fn act(&self, _id: &str, _action: &str, settings: &Settings) -> AgentOutcome {
        tokio::time::sleep(settings.sleep).await;
        AgentOutcome::ok()
    }
}

/// The ways in which a path cannot lead to a file.
fn is_absent(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput | ErrorKind::InvalidFilename
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Hosted, Native};
    use base::Operation;

    #[tokio::test(flavor = "current_thread")]
    async fn runs_between_start_and_stop() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let agent = Hosted::new(Dummy::new(dir.path()));
        let instance = Instance { id: "d".into(), ..Instance::default() };
        let mut codes = Vec::new();
        for action in ["monitor", "start", "monitor", "reload-agent", "stop", "stop", "monitor", "promote"] {
            let operation = Operation { instance: instance.clone(), action: action.into(), ..Operation::default() };
            codes.push(agent.run(&operation).await.code.0);
        }
        assert_eq!(codes, [7, 0, 0, 0, 0, 0, 7, 3]);
    }

    /// What was started with another file is stopped where it is.
    #[tokio::test(flavor = "current_thread")]
    async fn stop_takes_the_file_of_the_start() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let agent = Hosted::new(Dummy::new(dir.path()));
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let call = async |action: &str, state: &Path| {
            let params = [("state".to_owned(), state.display().to_string())].into();
            let instance = Instance { id: "d".into(), params, ..Instance::default() };
            agent.run(&Operation { instance, action: action.into(), ..Operation::default() }).await.code.0
        };
        assert_eq!((call("start", &old).await, old.exists()), (0, true));
        assert_eq!((call("stop", &new).await, old.exists()), (0, false));
        assert_eq!(call("stop", dir.path()).await, 0);
        assert_eq!(call("stop", Path::new("/dev/null/x")).await, 0);
    }
}
