//! Why a request was refused, in the words and exit codes of the original's tools.

use crate::{Expected, Problem, Version};
use base::exit::crm;
use xml::{ParseError, PathError};

/// Why a request or document was refused; nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CibError {
    #[error("No such device or address")]
    NotFound,
    #[error("File exists")]
    Exists { name: String, id: String },
    #[error("Invalid argument: no such section '{name}'")]
    UnknownSection { name: String },
    #[error("Invalid argument: {op} needs XML to work with")]
    NoPayload { op: &'static str },
    #[error("Invalid argument: {0}")]
    BadPath(#[from] PathError),
    #[error("Not XML: {0}")]
    NotXml(#[from] ParseError),
    #[error("Not a CIB: the outermost element is '{found}'")]
    NotACib { found: String },
    #[error("Bad version: {name}=\"{value}\" is not a number")]
    BadVersion { name: &'static str, value: String },
    #[error("Update was older than existing configuration (have {have}, got {got})")]
    Old { have: Version, got: Version },
    #[error("Application of an update diff failed: it starts from {expected}, the CIB is at {have}")]
    PatchVersion { expected: Version, have: Version },
    #[error("Application of an update diff failed: {0}")]
    Patch(String),
    #[error("Update does not conform to the configured schema")]
    Invalid { problems: Vec<Problem> },
    #[error("Invalid argument: the XPath names a '{expected}', the replacement is a '{got}'")]
    OtherElement { expected: String, got: String },
    #[error("Too large: {bytes} bytes, limit {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error(
        "Too large: the {what} {} {found} {unit}, at most {limit} are accepted; {}",
        if *.what == "request" || *.what == "transaction" { "has" } else { "would have" },
        if *.what == "request" || *.what == "transaction" { "split it into several" } else { "delete what is not needed first" }
    )]
    TooCostly { what: &'static str, unit: &'static str, found: usize, limit: usize },
    #[error("the configuration has changed meanwhile (from {expected} to {found}); nothing was done, try again")]
    Changed { expected: Expected, found: Version },
    #[error("step {step} of the transaction ({op}): {error}; nothing was done")]
    Step { step: usize, op: &'static str, error: Box<CibError> },
    #[error("Permission denied: user {user} may not {what}: {rule}")]
    Denied { user: String, what: String, rule: String },
    #[error("Permission denied: {name} cannot be evaluated, and so nothing is allowed to its users: {error}")]
    BadPermission { name: String, error: PathError },
    #[error("'{id}' is not taken: this cluster cannot run {what} yet; run what is in them as plain resources")]
    NotRunnable { what: &'static str, id: String },
    #[error("Not a request: {0}")]
    BadRequest(String),
}

impl CibError {
    /// The whole text: with what exactly breaks the schema.
    pub fn explain(&self) -> String {
        match self {
            CibError::Invalid { problems } => {
                let lines: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
                format!("{self}: {}", lines.join("; "))
            }
            _ => self.to_string(),
        }
    }

    /// The exit code that the original's tools end with.
    pub fn exit_code(&self) -> i32 {
        match self {
            CibError::NotFound => crm::NOSUCH,
            CibError::Exists { .. } => crm::EXISTS,
            CibError::UnknownSection { .. } | CibError::BadPath(_) | CibError::OtherElement { .. } => crm::USAGE,
            CibError::NoPayload { .. } => crm::NOINPUT,
            CibError::NotXml(_) | CibError::NotACib { .. } | CibError::BadVersion { .. } => crm::DATAERR,
            CibError::Old { .. } => crm::OLD,
            CibError::PatchVersion { .. } | CibError::Patch(_) => crm::ERROR,
            CibError::Invalid { .. } => crm::CONFIG,
            CibError::TooLarge { .. } | CibError::TooCostly { .. } => crm::DATAERR,
            CibError::Changed { .. } => crm::OLD,
            CibError::Step { error, .. } => error.exit_code(),
            CibError::Denied { .. } | CibError::BadPermission { .. } => crm::INSUFFICIENT_PRIV,
            CibError::NotRunnable { .. } => crm::UNIMPLEMENT_FEATURE,
            CibError::BadRequest(_) => crm::PROTOCOL,
        }
    }
}
