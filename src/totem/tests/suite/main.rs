//! Rings of many nodes on a virtual clock: one program, so that the harness is compiled and linked once.

#![allow(clippy::unwrap_used)]

mod detection;
mod harness;
mod links;
mod membership;
mod ordering;
mod random;
mod sizes;
