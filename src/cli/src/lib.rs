//! The commands that people type: parsing, talking to the node's API, output as text, XML and JSON.
//!
//! One module per command; each ends in the exit code of the original. [`source::Source`] is where a command's CIB comes from: the
//! running cluster or, with `CIB_file` set, a file. Only the chosen command's argument tree is built.

mod acl_edit;
mod agent_process;
mod agents;
mod appliance;
mod args;
mod attrd_updater;
mod attributes;
mod cibadmin;
mod cibsecret;
mod client;
mod clock;
mod cluster;
mod completion;
mod corosync;
mod crm;
mod crm_attribute;
mod crm_diff;
mod crm_error;
mod crm_mon;
mod crm_node;
mod crm_report;
mod crm_resource;
mod crm_rule;
mod crm_shadow;
mod crm_simulate;
mod crm_ticket;
mod crm_verify;
mod doctor;
mod edit;
mod events;
mod explain;
mod fence_agent;
mod fence_check;
mod fence_values;
mod fencing;
mod grammar;
mod hosts;
pub mod ipvsadm;
mod iso8601;
mod last_failover;
mod ldirectord;
mod log;
mod manual;
mod metrics;
mod migrate;
mod nodes;
mod nvpairs;
mod overview;
mod patchset;
mod pcs;
mod renew;
mod report;
mod restart;
mod setup;
mod source;
mod stonith_admin;
mod terminal;
mod top;
mod wait;

use base::applet::Applet;
use clap::CommandFactory;
use std::ffi::OsString;

pub use agents::know as know_natives;

const fn applet(name: &'static str, about: &'static str, run: fn(Vec<OsString>) -> i32) -> Applet {
    Applet { name, about, run, hidden: false }
}

/// Commands of this crate, one line each.
pub const APPLETS: &[Applet] = &[
    applet("attrd_updater", "query and set node attributes that last until the cluster stops", attrd_updater::main),
    applet("cibadmin", "query and edit the cluster information base", cibadmin::main),
    applet("cibsecret", "keep sensitive resource parameters outside the CIB", cibsecret::main),
    applet("corosync-blackbox", "show what the node did of late, and write it to a file", corosync::blackbox),
    applet("corosync-cfgtool", "show the links between the nodes", corosync::cfgtool),
    applet("corosync-cmapctl", "show the running configuration and membership as keys", corosync::cmapctl),
    applet("corosync-cpgtool", "show process groups and their members", corosync::cpgtool),
    applet("corosync-keygen", "make the cluster's secret key", corosync::keygen),
    applet("corosync-notifyd", "tell of members, quorum and links as they change", corosync::notifyd),
    applet("corosync-objctl", "show and set keys, in the words of corosync 1", corosync::objctl),
    applet("corosync-qdevice-tool", "show what this node knows of its arbitrator", corosync::qdevicetool),
    applet("corosync-qnetd-tool", "show what an arbitrator of this host knows", corosync::qnetdtool),
    applet("corosync-quorumtool", "show votes, quorum and members", corosync::quorumtool),
    applet("crm", "configure and control the cluster, in crmsh's words", crm::main),
    applet("crm_attribute", "query and set cluster options and node attributes", crm_attribute::main),
    applet("crm_diff", "compare and patch CIBs", crm_diff::main),
    applet("crm_error", "explain return and exit codes", crm_error::main),
    applet("crm_failcount", "query and delete a resource's fail count", crm_attribute::failcount),
    applet("crm_master", "set a promotion score; for resource agents", attrd_updater::master),
    applet("crm_mon", "show the cluster's status", crm_mon::main),
    applet("crm_node", "show this node's name and id, and all nodes", crm_node::main),
    applet("crm_report", "collect all that is needed to look into a failure", crm_report::main),
    applet("crm_resource", "list, move, clean up and configure resources", crm_resource::main),
    applet("crm_rule", "check whether a rule is in effect", crm_rule::main),
    applet("crm_shadow", "work on a copy of the configuration", crm_shadow::main),
    applet("crm_simulate", "show what the cluster would do, and where that leads", crm_simulate::main),
    applet("crm_standby", "put a node in standby, and back", crm_attribute::standby),
    applet("crm_ticket", "show, grant, revoke and set tickets", crm_ticket::main),
    applet("crm_verify", "check a configuration, and say where it is wrong", crm_verify::main),
    applet("crmadmin", "show the designated controller and the nodes' states", crm_node::admin),
    applet("events", "show what happens, as it happens", events::main),
    applet("explain", "show why a resource is where it is, or not running", explain::main),
    applet("iso8601", "read and print dates, durations and periods", iso8601::main),
    applet("last-failover", "show what happened last, with its milliseconds", last_failover::main),
    applet("manual", "read the manual: chapters, commands, messages", manual::main),
    applet("metrics", "show what monitoring collects of this node, or serve it", metrics::main),
    applet("migrate", "turn keepalived's or Pacemaker's files into ours, with a report", migrate::main),
    applet("pcs", "configure and control the cluster, in pcs's words", pcs::main),
    applet("renew", "restart this node after an upgrade, without stopping what it runs", renew::main),
    applet("setup", "build a pair of directors, by questions or options", setup::main),
    applet("stonith_admin", "fence nodes, see fence devices, levels and what was fenced", stonith_admin::main),
    applet("top", "show the whole cluster on the terminal, live", top::main),
    doctor::DOCTOR,
    ipvsadm::IPVSADM,
    ipvsadm::RESTORE,
    ipvsadm::SAVE,
    ldirectord::LDIRECTORD,
];

type Tree = (&'static str, fn() -> clap::Command);

/// Argument trees, for completion and man pages.
const COMMANDS: &[Tree] = &[
    ("attrd_updater", attrd_updater::AttrdUpdater::command),
    ("cibadmin", cibadmin::Cibadmin::command),
    ("cibsecret", cibsecret::Cibsecret::command),
    ("corosync-blackbox", corosync::Blackboxed::command),
    ("corosync-cfgtool", corosync::Cfgtool::command),
    ("corosync-cmapctl", corosync::Cmapctl::command),
    ("corosync-cpgtool", corosync::Cpgtool::command),
    ("corosync-keygen", corosync::Keygen::command),
    ("corosync-notifyd", corosync::Notifyd::command),
    ("corosync-objctl", corosync::Objctl::command),
    ("corosync-qdevice-tool", corosync::Qdevicetool::command),
    ("corosync-qnetd-tool", corosync::Qnetdtool::command),
    ("corosync-quorumtool", corosync::Quorumtool::command),
    ("crm_attribute", crm_attribute::CrmAttribute::command),
    ("crm_diff", crm_diff::CrmDiff::command),
    ("crm_error", crm_error::CrmError::command),
    ("crm_failcount", crm_attribute::CrmFailcount::command),
    ("crm_mon", crm_mon::CrmMon::command),
    ("crm_node", crm_node::CrmNode::command),
    ("crm_report", crm_report::CrmReport::command),
    ("crm_resource", crm_resource::CrmResource::command),
    ("crm_rule", crm_rule::CrmRule::command),
    ("crm_shadow", crm_shadow::CrmShadow::command),
    ("crm_simulate", crm_simulate::CrmSimulate::command),
    ("crm_standby", crm_attribute::CrmStandby::command),
    ("crm_ticket", crm_ticket::CrmTicket::command),
    ("crm_verify", crm_verify::CrmVerify::command),
    ("crmadmin", crm_node::Crmadmin::command),
    ("doctor", doctor::Doctor::command),
    ("events", events::Events::command),
    ("explain", explain::Explain::command),
    ("ipvsadm", ipvsadm::tree),
    ("ipvsadm-restore", ipvsadm::restore_tree),
    ("ipvsadm-save", ipvsadm::save_tree),
    ("iso8601", iso8601::Iso8601::command),
    ("ldirectord", ldirectord::Ldirectord::command),
    ("last-failover", last_failover::LastFailover::command),
    ("manual", manual::Manual::command),
    ("metrics", metrics::Metrics::command),
    ("migrate", migrate::Migrate::command),
    ("renew", renew::Renew::command),
    ("setup", setup::tree),
    ("top", top::Top::command),
    ("stonith_admin", stonith_admin::StonithAdmin::command),
];

/// What `bascule` without a known applet does: the overview, its own commands, or word that there is no such command.
pub fn overview(applets: &[&Applet], asked: Option<&str>, args: Vec<OsString>) -> i32 {
    overview::run(applets, asked, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_sound_tree_with_examples() {
        for (name, make) in COMMANDS {
            assert!(APPLETS.iter().any(|a| a.name == *name), "{name}");
            let command = make();
            assert_eq!(command.get_name(), *name);
            assert!(command.get_after_help().is_some_and(|h| h.to_string().contains("Examples")), "{name}");
            command.debug_assert();
        }
    }
}
