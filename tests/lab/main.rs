//! Director groups as real processes in namespaces of this host, with real links and addresses.

mod demo;
mod fixture;
mod lease;
