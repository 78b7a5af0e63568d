//! IPVS and its modules, its settings, connection tracking, the clock.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Report, error, note, warning};
use ::ldirectord::config::{Method, ServiceProtocol};
use kernel::host::ClockState;
use kernel::settings::{CONN_TAB_BITS, Host, Setting, settings_for};
use std::collections::BTreeSet;

/// Schedulers and their modules are called alike: `ip_vs_` and the name.
const MODULE: &str = "ip_vs";

/// Table lines about which other rules say more.
const TOLD_ELSEWHERE: &str = "net.ipv4.vs.conntrack";
/// Lines that matter only where connections are synchronised.
const OF_SYNC: [&str; 4] = [
    "net.ipv4.vs.sloppy_tcp",
    "net.ipv4.vs.sync_threshold",
    "net.ipv4.vs.sync_refresh_period",
    "net.ipv4.vs.sync_retries",
];

pub fn check(facts: &Facts, report: &mut Report) {
    if facts.is_director() || !facts.sync_daemons.is_empty() {
        ipvs(facts, report);
        schedulers(facts, report);
        ipvs_settings(facts, report);
    }
    helpers(facts, report);
    conntrack(facts, report);
    clock(facts, report);
}

fn ipvs(facts: &Facts, report: &mut Report) {
    let Err(why) = &facts.ipvs else { return };
    if facts.modules_available.as_ref().is_some_and(|m| m.contains(MODULE)) {
        report.add(
            note("ipvs"),
            "module ip_vs is not loaded",
            "nothing yet: the director loads it at its first start. Settings of IPVS were not looked at",
            ["modprobe ip_vs", "echo ip_vs > /etc/modules-load.d/ipvs.conf"],
        );
        return;
    }
    report.add(
        error("ipvs"),
        why.clone(),
        "no virtual service can be set up: this host cannot be a director",
        ["apt install linux-image-amd64   (the running kernel has no module ip_vs), then reboot into it"],
    );
}

fn schedulers(facts: &Facts, report: &mut Report) {
    let Some(available) = &facts.modules_available else { return };
    if facts.ipvs.is_err() {
        return;
    }
    let wanted: BTreeSet<(&str, String)> =
        facts.virtuals().map(|(d, v)| (v.scheduler.as_str(), d.file.display().to_string())).collect();
    for (scheduler, file) in wanted {
        let module = format!("{MODULE}_{scheduler}");
        if !available.contains(&module) && !facts.modules_loaded.contains(&module) {
            report.add(
                error("scheduler"),
                format!("{file} wants scheduler {scheduler}; this kernel has no module {module}"),
                "the kernel refuses the virtual service, so its address answers nobody",
                [format!("write a scheduler that is there, or install the kernel package that has {module}")],
            );
        }
    }
}

/// The audited table, as far as it is about IPVS.
fn ipvs_settings(facts: &Facts, report: &mut Report) {
    let about_ipvs = |s: &&Setting| s.name.starts_with("net.ipv4.vs.") && s.name != TOLD_ELSEWHERE;
    for setting in settings_for(Host::Director, &facts.topologies()).filter(about_ipvs) {
        let Some(seen) = facts.setting(&setting.name.replace('.', "/")) else { continue };
        if setting.wanted.accepts(seen) {
            continue;
        }
        let (name, wanted) = (setting.name, setting.wanted.value());
        let idle = OF_SYNC.contains(&name) && facts.sync_daemons.is_empty();
        report.add(
            if idle { note("ipvs-setting") } else { warning("ipvs-setting") },
            format!("{name} is {seen}, recommended is {wanted}"),
            setting.reason,
            [
                format!("sysctl -w {name}=\"{wanted}\""),
                "agent ocf:bascule:director-settings keeps it so; or put it into /etc/sysctl.d".to_owned(),
            ],
        );
    }
    if let Some(bits) = facts.conn_tab_bits.filter(|b| *b < CONN_TAB_BITS.least) {
        report.add(
            note("conn-tab-bits"),
            format!("the connection table has 2^{bits} buckets"),
            CONN_TAB_BITS.reason,
            [format!(
                "echo 'options ip_vs conn_tab_bits={}' > /etc/modprobe.d/ip_vs.conf, and reload the module",
                CONN_TAB_BITS.least
            )],
        );
    }
}

/// Protocols whose data connections only a helper module finds.
fn helpers(facts: &Facts, report: &mut Report) {
    let ftp = facts.reals().any(|(v, r)| v.service == ServiceProtocol::Ftp && r.forward == Method::Masq);
    if ftp && facts.ipvs.is_ok() && !facts.modules_loaded.contains("ip_vs_ftp") {
        report.add(
            warning("ftp-helper"),
            "FTP is masqueraded and module ip_vs_ftp is not loaded",
            "data connections of FTP do not find their way through the director",
            ["modprobe ip_vs_ftp", "echo ip_vs_ftp > /etc/modules-load.d/ip_vs_ftp.conf"],
        );
    }
}

fn conntrack(facts: &Facts, report: &mut Report) {
    let number = |name: &str| facts.number(&format!("net/netfilter/{name}"));
    if let (Some(count), Some(max)) = (number("nf_conntrack_count"), number("nf_conntrack_max"))
        && max > 0
        && count.saturating_mul(10) >= max.saturating_mul(8)
    {
        report.add(
            error("conntrack-full"),
            format!("the connection tracking table holds {count} of at most {max}"),
            "when it is full the kernel drops every new connection (\"table full, dropping packet\")",
            [format!("sysctl -w net.netfilter.nf_conntrack_max={}", max.saturating_mul(4))],
        );
    }
    if facts.is_director() && number("nf_conntrack_tcp_loose") == Some(0) {
        report.add(
            warning("conntrack-loose"),
            "net.netfilter.nf_conntrack_tcp_loose is 0",
            "after a fail-over this host takes packets of running connections for invalid, and rules that drop those cut them",
            ["sysctl -w net.netfilter.nf_conntrack_tcp_loose=1"],
        );
    }
}

fn clock(facts: &Facts, report: &mut Report) {
    let breaks = "logs and timelines of the nodes cannot be laid beside each other, rules with dates act at different times, and \
                  certificates are judged wrongly";
    match &facts.clock {
        ClockState::Synchronised => {}
        ClockState::Unsynchronised => report.add(
            warning("clock"),
            "the kernel's clock is not synchronised",
            breaks,
            ["apt install chrony   (or: systemctl enable --now systemd-timesyncd)", "chronyc tracking"],
        ),
        ClockState::Unknown(why) => report.add(
            note("clock"),
            format!("whether the clock is synchronised cannot be read: {why}"),
            breaks,
            ["timedatectl"],
        ),
    }
}
