//! Test hosts: namespaces, links, web servers, client prober, and a VM with IPVS; for the demo, tests and benches.

pub mod vm;

/// Commands of this crate.
pub const APPLETS: &[base::applet::Applet] = &[];
