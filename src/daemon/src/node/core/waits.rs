//! What the core task waits for beside its channels.

pub(super) async fn sleep_until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Nothing if there is none to wait for, or if it came to nothing; then the next one will do.
pub(super) async fn digested(slot: &mut Option<tokio::task::JoinHandle<(u64, String)>>) -> (u64, String) {
    if let Some(task) = slot {
        let done = task.await;
        *slot = None;
        if let Ok(digest) = done {
            return digest;
        }
    }
    std::future::pending().await
}
