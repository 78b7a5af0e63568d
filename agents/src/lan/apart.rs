//! Packet sockets are closed on a thread of their own: the kernel waits for all its processors before it lets one go (some tens
//! of milliseconds), and whatever else the closing thread had to do would wait as well.

use std::sync::Arc;
use tokio::runtime::Handle;

/// Sees to it that what belongs to it is dropped elsewhere: it has to go last.
pub(super) struct Apart<T: Send + Sync + 'static>(Option<Arc<T>>);

impl<T: Send + Sync + 'static> Apart<T> {
    pub fn of(value: &Arc<T>) -> Apart<T> {
        Apart(Some(value.clone()))
    }
}

impl<T: Send + Sync + 'static> Drop for Apart<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(value)));
        }
    }
}
