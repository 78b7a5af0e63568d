//! Clusters of real `bascule node` processes in namespaces of this host: forming, failing, parting, merging, bad input.
//!
//! No resources that need a network here (crate `lab`'s tests have them): this is about the ring, the CIB and its store.

mod acl;
mod agents;
mod alerts;
mod arbitrator;
mod booth;
mod busy;
mod cmap;
mod commands;
mod debian;
mod director;
mod disk;
mod door;
mod fence_tools;
mod fencing;
mod fixture;
mod guides;
mod hostile;
mod links;
mod manual;
mod named;
mod page;
mod partition;
mod pcsd;
mod records;
mod reload;
mod remote;
mod report;
mod resources;
mod restart;
mod scheduler;
mod secrets;
mod service;
mod setup;
mod sizes;
mod ssh;
mod stale;
mod start;
mod stock_fences;
mod stops;
mod tools;
mod votes;
mod watching;

#[path = "../support/asker.rs"]
mod asker;
#[path = "../attack/mod.rs"]
mod attack;
#[path = "../support/root.rs"]
mod root;
