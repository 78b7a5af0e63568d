//! Golden cases: what the originals say, do and print, against ours.

mod cli;
mod ipvsadm;
mod ldirectord;
mod samples;
#[path = "../support/shared.rs"]
mod shared;
