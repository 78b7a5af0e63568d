//! What is said beside a result.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// Something that the operator should know about the configuration or the result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    pub severity: Severity,
    pub text: String,
}
