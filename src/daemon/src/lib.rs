//! The node: tokio drivers around the cores, and the applet `bascule node`.
//!
//! [`config`] reads what the operator brings. The rest drives the cores: inputs drained, the core stepped, its outputs
//! performed, the one next timer armed.

mod alerts;
mod api;
mod asking;
mod blackbox;
mod changes;
mod claims;
mod clock;
pub mod config;
pub mod exec;
mod groups;
mod listen;
mod logging;
mod node;
mod pcsd;
mod plan;
mod qnet;
mod qnetd;
mod reach;
mod remote;
mod ring;
mod schedule;
mod service;
pub mod store;
mod timeline;
mod web;

use base::applet::Applet;

/// Commands of this crate.
pub const APPLETS: &[Applet] = &[
    Applet {
        name: "node",
        about: "Run this host's node of the cluster; --check explains its configuration",
        run: node::run,
        hidden: false,
    },
    Applet {
        name: "plan",
        about: "Predict a fail-over: detection, take-over, longest overlap",
        run: plan::run,
        hidden: false,
    },
    Applet {
        name: "pcsd",
        about: "Let other hosts build, start and stop a cluster on this one",
        run: pcsd::run,
        hidden: false,
    },
    Applet {
        name: "remote",
        about: "Be a remote node of a cluster: run what its nodes ask for",
        run: remote::executor::run,
        hidden: false,
    },
    Applet {
        name: "pacemaker-remoted",
        about: "Be a remote node of a cluster, as the original's daemon is called",
        run: remote::executor::run,
        hidden: false,
    },
    Applet {
        name: "qnetd",
        about: "Be the arbitrator (quorum device) of other clusters",
        run: qnetd::run,
        hidden: false,
    },
    Applet {
        name: "corosync-qnetd",
        about: "Be the arbitrator of other clusters, as the original's daemon is called",
        run: qnetd::run,
        hidden: false,
    },
    Applet {
        name: "corosync-qnetd-certutil",
        about: "Make and sign the certificates of this host's arbitrator",
        run: qnet::certutil::run_server,
        hidden: false,
    },
    Applet {
        name: "corosync-qdevice-net-certutil",
        about: "Ask for, import and hand on the certificate of this cluster",
        run: qnet::certutil::run_client,
        hidden: false,
    },
    Applet {
        name: schedule::APPLET,
        about: "Compute transitions for the node daemon (started by it)",
        run: schedule::run_worker,
        hidden: true,
    },
];
