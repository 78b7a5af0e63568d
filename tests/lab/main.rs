//! Director groups as real processes in namespaces of this host, with real links and addresses.

mod fixture;
mod lease;
