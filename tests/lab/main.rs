//! Director groups as real processes in namespaces of this host, with real links and addresses.

mod announce;
mod demo;
mod doctor;
mod fixture;
mod lease;
mod without_ipvs;

#[path = "../support/root.rs"]
mod root;
