//! Director groups as real processes in namespaces of this host, with real links and addresses.

mod demo;
mod doctor;
mod fixture;
mod lease;

#[path = "../support/root.rs"]
mod root;
