//! Signals: two that end the node in good order, one that reads its configuration anew, one that ends it at once but leaves the
//! blackbox, and those that must not end it.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// Would end or stop a process that does not expect them, and mean nothing here. Handlers, since what is ignored would be
/// ignored by the agents as well.
const HARMLESS: [i32; 8] = {
    use nix::libc::*;
    [SIGPIPE, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU, SIGALRM, SIGVTALRM]
};

/// SIGABRT is what a service manager sends to a node that gives no sign of life (`WatchdogSec=`): what it did before must not be lost
/// with it. On a thread and a runtime of its own, since the node's may be what hangs. A library's `abort()` ends the process as ever:
/// it waits for no handler.
fn abort_with_blackbox() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let wait = move || {
        let aborted = async { Ok::<_, std::io::Error>(signal(SignalKind::from_raw(nix::libc::SIGABRT))?.recv().await) };
        match runtime.block_on(aborted) {
            Ok(Some(())) => {
                crate::blackbox::aborted();
                std::process::abort();
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("a node that is aborted leaves no blackbox: {error}"),
        }
    };
    std::thread::Builder::new().name("abort".into()).spawn(wait).map(drop)
}

/// Starts to listen; more than four wishes at a time are one too many.
pub(super) fn listen() -> std::io::Result<mpsc::Receiver<Wish>> {
    abort_with_blackbox()?;
    let (to, received) = mpsc::channel(4);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        pass_on(signal(kind)?, to.clone(), Wish::Stop);
    }
    pass_on(signal(SignalKind::hangup())?, to, Wish::Reload);
    for number in HARMLESS {
        let mut harmless = signal(SignalKind::from_raw(number))?;
        tokio::spawn(async move {
            while harmless.recv().await.is_some() {
                tracing::debug!("signal {number}: nothing is done");
            }
        });
    }
    Ok(received)
}

fn pass_on(mut signal: Signal, to: mpsc::Sender<Wish>, wish: Wish) {
    tokio::spawn(async move {
        while signal.recv().await.is_some() {
            if to.send(wish).await.is_err() {
                return;
            }
        }
    });
}
