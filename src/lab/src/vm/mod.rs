//! A guest with kernel IPVS, for machines whose running kernel has none.
//!
//! [`image`] makes kernel, modules and initramfs once, from Debian's packages, into a cache; [`boot`] runs one job in
//! a fresh guest. The guest sees the host's root read-only under a tmpfs overlay, so the checkout, its `target/` and
//! every installed package are there, and nothing that it writes outlives it except what goes to the result share.

mod boot;
mod image;

pub use boot::{CONSOLE, Clock, Job, JobResult, emulator, run};
pub use image::{Image, missing_tools, prepare};

use std::io;
use std::path::PathBuf;

/// Why there is no guest, or no result from it.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    #[error("{tool} failed ({status}): {stderr}")]
    Tool { tool: String, status: String, stderr: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the Debian package index names no kernel image; run apt-get update")]
    NoKernelPackage,
    #[error("the guest did not end within {seconds} s; its console is in {console} and ends with:\n{last_words}")]
    Deadline { seconds: u64, console: PathBuf, last_words: String },
    #[error("the guest has stood still for {seconds} s; its console is in {console} and ends with:\n{last_words}")]
    Silent { seconds: u64, console: PathBuf, last_words: String },
    #[error("the guest ended without a result; its console is in {console} and ends with:\n{last_words}")]
    NoResult { console: PathBuf, last_words: String },
}

fn io_at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> VmError {
    let path = path.into();
    move |source| VmError::Io { path, source }
}
