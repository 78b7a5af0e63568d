//! What the core makes of the ping targets of `quorum{}`.

use super::core::Core;
use controller::Input;

impl Core {
    /// Whether any of them answers has changed.
    pub(super) async fn reached(&mut self, any: bool) {
        let text = if any { "a ping target of quorum{} answers" } else { "no ping target of quorum{} answers" };
        tracing::info!("{text}");
        let changed = self.quorum.reach(any);
        let quorate = self.quorum.is_quorate();
        let verdict = if quorate { "quorate" } else { "not quorate" };
        self.timeline.add("reach", "", &format!("{text}: {verdict}"));
        if changed {
            self.quorum_changed();
            self.step(Input::Quorum { quorate }).await;
        }
    }
}
