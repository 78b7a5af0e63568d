//! The programs of `quorum.device.heuristics{}`: all at once, and all have to end well in time.

use quorum::qnet::Heuristics;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(super) fn start(
    programs: Vec<(String, Vec<String>)>,
    within: Duration,
    (run, to): (u64, mpsc::Sender<(u64, Heuristics)>),
) {
    tokio::spawn(async move {
        let result = check(programs, within).await;
        let _ = to.send((run, result)).await;
    });
}

async fn check(programs: Vec<(String, Vec<String>)>, within: Duration) -> Heuristics {
    let mut all = JoinSet::new();
    for (name, words) in programs {
        all.spawn(async move { (name, one(&words, within).await) });
    }
    let mut result = Heuristics::Pass;
    while let Some(ended) = all.join_next().await {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((name, Err(why))) => {
                tracing::warn!("heuristics: {name}: {why}");
                result = Heuristics::Fail;
            }
            Err(_) => result = Heuristics::Fail,
        }
    }
    result
}

/// The whole group is ended with the program that does not end by itself.
async fn one(words: &[String], within: Duration) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(|e| format!("{program}: {e}"))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    match tokio::time::timeout(within, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            if let Some(group) = group {
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
            }
            let _ = child.wait().await;
            Err(format!("not done within {} ms", within.as_millis()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(name: &str, script: &str) -> (String, Vec<String>) {
        (name.to_owned(), ["/bin/sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[tokio::test]
    async fn all_have_to_end_well_and_in_time() {
        let long = Duration::from_secs(30);
        assert_eq!(check(vec![sh("a", "exit 0"), sh("b", "true")], long).await, Heuristics::Pass);
        assert_eq!(check(vec![sh("a", "exit 0"), sh("b", "exit 3")], long).await, Heuristics::Fail);
        assert_eq!(check(vec![sh("a", "sleep 60 & sleep 60")], Duration::from_millis(100)).await, Heuristics::Fail);
        let absent = ("x".to_owned(), vec!["/absent".to_owned()]);
        assert_eq!(check(vec![absent], long).await, Heuristics::Fail);
    }
}
