//! What is done to a node that is fenced: one word for the graph, the controller, the API and the commands.

use serde::{Deserialize, Serialize};

/// What is done to a target. A later one is stronger: what asks for less can join it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceAction {
    On,
    Reboot,
    Off,
}

impl FenceAction {
    pub fn name(self) -> &'static str {
        match self {
            FenceAction::On => "on",
            FenceAction::Reboot => "reboot",
            FenceAction::Off => "off",
        }
    }

    /// As properties and the graph have it; `poweroff` is the old word for `off`.
    pub fn parse(text: &str) -> Option<FenceAction> {
        match text {
            "on" => Some(FenceAction::On),
            "reboot" => Some(FenceAction::Reboot),
            "off" | "poweroff" => Some(FenceAction::Off),
            _ => None,
        }
    }

    /// Whether the target is down at some time, if it succeeds.
    pub fn kills(self) -> bool {
        self != FenceAction::On
    }

    /// Whether what `self` does is enough for who asks for `other`.
    pub fn covers(self, other: FenceAction) -> bool {
        self.kills() == other.kills() && self >= other
    }
}
