//! Director groups as real processes in namespaces of this host, with real links and addresses.

mod announce;
mod cuts;
mod demo;
mod doctor;
mod fixture;
mod guard;
mod lease;
mod lost;
mod without_ipvs;

#[path = "../support/root.rs"]
mod root;
