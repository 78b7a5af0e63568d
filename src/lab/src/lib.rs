//! Test hosts: namespaces, links, web servers, client prober, and a VM with IPVS; for the demo, tests and benches.

pub mod demo;
pub mod hosts;
pub mod outage;
pub mod probe;
pub mod vm;
pub mod web;

use base::applet::Applet;

/// Commands of this crate.
pub const APPLETS: &[Applet] = &[
    Applet { name: "demo", about: "See it work: a director group on this machine", run: demo::run, hidden: false },
    Applet { name: "lab-web", about: "HTTP server of a test host", run: web::run, hidden: true },
    Applet { name: "lab-probe", about: "Client of a test network", run: probe::run, hidden: true },
];
