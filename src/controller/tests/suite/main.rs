//! Clusters of controllers on a virtual clock: one program, so that the harness is compiled and linked once.

#![allow(clippy::unwrap_used)]

mod alerts;
mod authority;
mod chaos;
mod cluster;
mod durability;
mod fencing;
mod follow;
mod fuzz;
mod harness;
mod instances;
mod merges;
mod ring;
mod scheduled;
mod silent;
mod strays;
