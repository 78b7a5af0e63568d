//! Golden cases: what the originals say, do and print, against ours.

mod cli;
mod director;
mod ipvsadm;
mod ldirectord;
mod samples;
mod scheduler;
#[path = "../support/shared.rs"]
mod shared;
