//! How agents are asked what they are, by everybody who asks.
//!
//! A question must never become an action: a fence agent that reads neither its arguments nor its input runs its default, which fences.
//! Agents of the Fence Agent API take `-o metadata` from the command line, and only where there is none `action=metadata` from standard
//! input; so both are given. The environment holds nothing by which an agent could take anything else for its task.

/// Where fence agents are unless [`FENCE_AGENTS_VAR`] says otherwise.
pub const FENCE_AGENTS_DIR: &str = "/usr/sbin";
pub const FENCE_AGENTS_VAR: &str = "BASCULE_FENCE_AGENTS";

/// Arguments and input for the meta-data of an agent of this class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetadataQuery {
    pub args: &'static [&'static str],
    pub input: &'static str,
}

impl MetadataQuery {
    pub fn of(class: &str) -> MetadataQuery {
        match class {
            "stonith" => MetadataQuery { args: &["-o", "metadata"], input: "action=metadata\n" },
            _ => MetadataQuery { args: &["meta-data"], input: "" },
        }
    }

    /// The whole environment, beside what finds an OCF agent's own files.
    pub const PATH: &'static str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}
