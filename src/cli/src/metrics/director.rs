//! Directors of this host: every virtual service and real server as their checks see them.

use super::exposition::Exposition;
use ::ldirectord::service::{Standing, Status, VirtualStatus};

pub fn directors(out: &mut Exposition, directors: &[Status]) {
    let config = |status: &Status| status.config.clone().unwrap_or_default();
    let active = out.gauge("bascule_director_active", "Whether a director keeps the table, or only checks");
    let refused = out.gauge("bascule_director_refused_changes", "Changes that the table refused at the last pass");
    let broken =
        out.gauge("bascule_director_reload_failed", "Whether the last reload was refused: the file has an error");
    let differences = out.gauge("bascule_director_differences", "Servers that operators have changed against the file");
    let repairs =
        out.counter("bascule_director_repairs", "Times that others had altered the table and it was repaired");
    for status in directors {
        let labels = [("config", config(status))];
        active.set(labels.clone(), f64::from(status.active));
        refused.set(labels.clone(), status.refused.len() as f64);
        let failed = status.last_reload.as_ref().is_some_and(|r| r.error.is_some());
        broken.set(labels.clone(), f64::from(failed));
        differences.set(labels.clone(), status.differences.len() as f64);
        repairs.set(labels, status.repairs as f64);
    }
    let all = || directors.iter().flat_map(|d| d.virtuals.iter().map(|v| (config(d), v)));
    let down =
        out.gauge("bascule_virtual_service_down", "Whether no real server of a service is up; absent while not known");
    let fallback = out.gauge("bascule_virtual_service_fallback", "Whether a service is answered by its fallback");
    for (config, service) in all() {
        let labels = [("config", config), ("service", service.id.clone())];
        if let Some(all_down) = service.all_down {
            down.set(labels.clone(), f64::from(all_down));
        }
        fallback.set(labels, f64::from(service.fallback_active));
    }
    let services: Vec<(String, &VirtualStatus)> = all().collect();
    servers(out, &services);
}

fn servers(out: &mut Exposition, services: &[(String, &VirtualStatus)]) {
    let up = out.gauge("bascule_real_server_up", "What the checks say of a real server; absent while not known");
    let weight = out.gauge("bascule_real_server_weight", "Weight that the table should have now; absent: no entry");
    let configured = out.gauge("bascule_real_server_configured_weight", "Weight of the file");
    let drained = out.gauge("bascule_real_server_drained", "Whether a server gets no new connections, by command");
    let maintenance = out.gauge("bascule_real_server_maintenance", "Whether a server is in maintenance");
    let failures = out.gauge("bascule_real_server_failed_checks", "Checks that failed in a row");
    let latency = out.gauge("bascule_real_server_check_latency_seconds", "How long the last check took");
    let age = out.gauge("bascule_real_server_check_age_seconds", "Time since the last check ended");
    let connections = out.gauge("bascule_real_server_connections", "Connections as last read from the table, by kind");
    for (config, service) in services {
        for real in &service.reals {
            let labels =
                || [("config", config.clone()), ("service", service.id.clone()), ("server", real.server.clone())];
            match real.standing {
                Standing::Up => up.set(labels(), 1.0),
                Standing::Down => up.set(labels(), 0.0),
                Standing::Unknown => {}
            }
            if let Some(w) = real.weight {
                weight.set(labels(), f64::from(w));
            }
            configured.set(labels(), f64::from(real.configured_weight));
            drained.set(labels(), f64::from(real.drained));
            maintenance.set(labels(), f64::from(real.maintenance));
            failures.set(labels(), f64::from(real.failures));
            if let Some(ms) = real.last_check_age_ms {
                age.set(labels(), ms as f64 / 1e3);
                latency.set(labels(), real.latency_us as f64 / 1e6);
            }
            for (kind, count) in [("active", real.active_conns), ("inactive", real.inactive_conns)] {
                let [a, b, c] = labels();
                if let Some(count) = count {
                    connections.set([a, b, c, ("state", kind.to_owned())], f64::from(count));
                }
            }
        }
    }
}
