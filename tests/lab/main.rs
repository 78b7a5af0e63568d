//! Director groups as real processes in namespaces of this host, with real links and addresses.

mod announce;
mod carrier;
mod cuts;
mod demo;
mod doctor;
mod ecmp;
mod fixture;
mod guard;
mod lease;
mod lost;
mod setups;
mod stranger;
mod targets;
mod without_ipvs;

#[path = "../support/asker.rs"]
mod asker;
#[path = "../support/root.rs"]
mod root;
