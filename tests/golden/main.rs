//! Golden cases: what the originals say, do and print, against ours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod cts;
mod director;
mod explain;
mod frontends;
mod ipvsadm;
mod ldirectord;
mod migrate;
mod ocf;
mod output;
mod samples;
mod scheduler;
#[path = "../support/shared.rs"]
mod shared;
