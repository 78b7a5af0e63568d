//! Commands that the configuration asks for: `fallbackcommand` on its edges, `callback` after a change of the file.
//!
//! They run one after the other on a task of their own, each under a deadline, so that an operator's script delays no check. What is
//! not done by then, or when the director ends, is ended with all that it has started.

use super::log::Logger;
use crate::group::Group;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc;

const DEADLINE: Duration = Duration::from_secs(60);
/// Commands that wait; more are dropped with a log line.
const MAX_QUEUE: usize = 1_000;

pub struct Hooks {
    queue: mpsc::Sender<String>,
    logger: Logger,
}

impl Hooks {
    pub fn start(logger: Logger) -> Hooks {
        let (queue, mut lines) = mpsc::channel::<String>(MAX_QUEUE);
        let log = logger.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                if let Err(why) = run(&line).await {
                    log.log(&format!("system({line}) failed: {why}"));
                }
            }
        });
        Hooks { queue, logger }
    }

    /// Queues a shell command.
    pub fn shell(&self, line: String) {
        if let Err(e) = self.queue.try_send(line) {
            self.logger.log(&format!("system({}) failed: too many commands wait", e.into_inner()));
        }
    }
}

async fn run(line: &str) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]);
    let mut group = Group::spawn(command).map_err(|e| e.to_string())?;
    match tokio::time::timeout(DEADLINE, group.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("not done within {} s", DEADLINE.as_secs())),
    }
}

/// A word for the shell.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A callback that hangs in a program of its own.
    #[tokio::test]
    async fn who_gives_up_on_a_command_ends_what_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let line = format!("sleep 1000 & echo $! >{}.new; mv {0}.new {0}; wait", pid.display());
        let hung = tokio::spawn(async move { run(&line).await });
        let started = loop {
            match std::fs::read_to_string(&pid) {
                Ok(text) => break text.trim().to_owned(),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        hung.abort();
        // A process that has ended and waits for its parent to hear of it counts as gone.
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        for _ in 0..1000 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {started} lives on");
    }
}
