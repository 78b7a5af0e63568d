//! What `corosync-qdevice-tool` and the status show of the arbitrator.

use super::super::core::Core;
use quorum::qdevice::HeuristicsMode;
use wire::api::DeviceInfo;

pub(in crate::node) fn shown(core: &Core) -> Option<DeviceInfo> {
    let settings = &core.identity.settings;
    let file = settings.config.quorum.device.as_ref()?;
    let device = core.arbitration.device.as_ref()?;
    let now = crate::clock::now();
    let (status, state) = (device.status(), core.quorum.device());
    let echoed = status.echoed_ago_ms(now).map(|ms| base::WallTime(crate::clock::wall().0 - ms));
    Some(DeviceInfo {
        votes: file.votes,
        registered: state.registered,
        alive: state.alive,
        cast: state.cast,
        undecided: core.is_undecided(),
        cluster_name: settings.config.totem.cluster_name.clone(),
        config_version: settings.config.kept.get("totem.config_version").and_then(|v| v.parse().ok()),
        host: file.host.clone(),
        port: file.port,
        force_ip_version: file.ip_version,
        algorithm: file.algorithm.words().to_owned(),
        tie_breaker: file.tie_breaker.words(),
        keep_active_partition: match file.algorithm {
            quorum::qnet::Algorithm::Test => "Unsupported by algorithm",
            quorum::qnet::Algorithm::Ffsplit if !file.keep_active_partition => "Disabled",
            quorum::qnet::Algorithm::Ffsplit if device.is_ready() && !status.keeps_partition => "Unsupported by QNetd",
            quorum::qnet::Algorithm::Ffsplit => "Enabled",
            _ => "Algorithm hard-coded",
        }
        .to_owned(),
        timeout_ms: file.timeout_ms,
        sync_timeout_ms: file.sync_timeout_ms,
        connect_timeout_ms: file.connect_timeout_ms,
        heartbeat_ms: status.heartbeat_ms,
        tls: file.tls.words().to_owned(),
        tls_active: status.tls_active,
        state: status.state,
        trouble: status.trouble,
        heuristics_mode: match file.heuristics.mode {
            HeuristicsMode::Off => "Disabled",
            HeuristicsMode::On => "Enabled",
            HeuristicsMode::Sync => "Sync",
        }
        .to_owned(),
        heuristics: status.heuristics,
        heuristics_regular: status.heuristics_regular,
        heuristics_membership: status.heuristics_membership,
        heuristics_connect: status.heuristics_connect,
        connected_since: core.arbitration.connected_since.filter(|_| device.is_ready()),
        echoed,
        polled: core.arbitration.polled,
    })
}

/// What of it an operator should know.
pub(in crate::node) fn warnings(core: &Core) -> Vec<String> {
    let settings = &core.identity.settings;
    let (Some(file), Some(device)) = (&settings.config.quorum.device, core.arbitration.client()) else {
        return Vec::new();
    };
    let at = format!("arbitrator {} port {}", file.host, file.port);
    let mut all = Vec::new();
    let status = device.status();
    if let Some(why) = status.trouble.filter(|_| !device.is_ready()) {
        all.push(format!("{at} is not connected: {why}; a split or the loss of half of the nodes would end quorum"));
    }
    if device.is_ready() && !status.tls_active && file.tls != quorum::qnet::Tls::Unsupported {
        all.push(format!(
            "{at}: the connection is not encrypted, and anyone on the way can vote: get certificates \
             (corosync-qdevice-net-certutil), or say `tls: off` where that is as it should be"
        ));
    }
    all
}
