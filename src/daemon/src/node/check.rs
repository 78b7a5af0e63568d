//! `bascule node --check`: what the files mean on this host, and what is wrong with them. Starts nothing.

use super::args::Args;
use crate::config::{self, Allow, Config, Local, Severity, Timers};
use crate::plan::setup;
use base::exit::crm;
use serde_json::{Value, json};

pub(super) fn run(args: &Args) -> i32 {
    let reading = config::load(&args.config, Allow { unauthenticated: args.allow_unauthenticated });
    let mut findings: Vec<config::Finding> = reading.findings.clone();
    let mut lines: Vec<String> = Vec::new();
    let mut refused = reading.refused();
    let mut me = None;
    if let Some(config) = &reading.config {
        // A nodelist with faults of its own is not looked through for this host.
        if !refused {
            match config::resolve(config, &Local::of_this_host(args.node.clone())) {
                Ok(resolved) => me = Some(resolved),
                Err(more) => {
                    refused = true;
                    findings.extend(more);
                }
            }
        }
        match config::read_key(config, args.authkey.as_deref()) {
            _ if !config.totem.authenticated => {}
            Ok((_, warning)) => lines.extend(warning.map(|w| format!("warning: {w}"))),
            Err(error) if args.allow_unauthenticated => {
                lines.push(format!("warning: running without authentication: {error}"))
            }
            Err(error) => {
                refused = true;
                lines.push(format!("refused: {error}"));
            }
        }
    }
    // What the node has stored, if it has run here.
    let stored = crate::plan::stored_cib(&args.state_dir).ok().flatten();
    let resources = stored.map(|cib| setup::Resources::read(cib.root()));
    if let Some(config) = &reading.config {
        lines.extend(setup::warnings(config, resources.as_ref()).into_iter().map(|w| format!("warning: {w}")));
    }
    let problems: Vec<String> = findings.iter().map(|f| f.to_string()).chain(lines).collect();
    if args.json {
        let document = json!({
            "refused": refused,
            "findings": problems,
            "me": me.as_ref().map(|r| r.me),
            "nodes": me.as_ref().map(|r| r.nodes.iter().map(|n| json!({"id": n.id, "name": n.name, "votes": n.votes, "addresses": n.addresses})).collect::<Vec<Value>>()),
            "timers": reading.config.as_ref().map(timers_json),
        });
        kernel::outln!("{document:#}");
    } else {
        problems.iter().for_each(|p| kernel::outln!("{p}"));
        if let Some(config) = &reading.config {
            kernel::output::put(explain(config, me.as_ref()));
        }
        kernel::outln!("{}: {}", args.config.display(), verdict(refused, &findings));
    }
    if refused { crm::CONFIG } else { crm::OK }
}

fn verdict(refused: bool, findings: &[config::Finding]) -> &'static str {
    if refused {
        "refused"
    } else if findings.iter().any(|f| f.severity == Severity::Warning) {
        "accepted, with warnings"
    } else {
        "accepted"
    }
}

/// The timers in effect, as text.
fn explain(config: &Config, resolved: Option<&config::Resolved>) -> String {
    use std::fmt::Write;
    let timers = Timers::of(&config.totem, config.nodes.len());
    let mut out = String::new();
    if let Some(resolved) = resolved {
        for node in &resolved.nodes {
            let mark = if node.id == resolved.me { "  <- this host" } else { "" };
            let addresses: Vec<String> = node.addresses.iter().map(|a| a.to_string()).collect();
            let _ = writeln!(
                out,
                "node {:>5} {:<16} votes {} {}{mark}",
                node.id,
                node.name,
                node.votes,
                addresses.join(" ")
            );
        }
    }
    let peers = config.nodes.len().saturating_sub(1);
    let timing = timing(config, &timers).with_peers(peers);
    let (beat, suspect) = (timing.beat_interval(peers).as_millis(), timing.suspect.as_millis());
    let _ = match timing.dead_after() {
        Some(dead) => writeln!(
            out,
            "a dead node is noticed within {} ms; a silent one whose host answers pings, or never did, after {suspect} ms (heartbeats \
             every {beat} ms)",
            dead.as_millis()
        ),
        None => writeln!(out, "a silent node is declared dead after {suspect} ms (heartbeats every {beat} ms)"),
    };
    out + &why(&timers)
}

/// Where those times come from: corosync's are told only where they apply.
fn why(timers: &Timers) -> String {
    if timers.token_explicit {
        return format!(
            "  as the file asks: `token` gives {} ms, and nobody is declared dead earlier\n",
            timers.token_ms
        );
    }
    format!(
        "  `token` is not set, so that heartbeats decide; corosync would wait for its default of {} ms: write `token: {}` to \
         have that patience here\n",
        timers.token_ms, timers.token_ms
    )
}

/// The ring's times, from the file's.
pub(crate) fn timing(config: &Config, timers: &Timers) -> totem::Timing {
    let ms = std::time::Duration::from_millis;
    let file = &config.totem;
    let consensus = file.consensus_ms.map(ms);
    let mut timing = match timers.token_explicit {
        true => totem::Timing::patient(ms(timers.token_ms), consensus),
        false => {
            let fast = file.dead_after_ms.map_or(totem::Timing::fast(), |t| totem::Timing::noticing(ms(t)));
            totem::Timing { consensus: consensus.unwrap_or(fast.consensus), ..fast }
        }
    };
    if let Some(retransmit_ms) = file.token_retransmit_ms {
        timing.token_retransmit = ms(retransmit_ms).min(timing.token / 2);
    }
    if let Some(hold_ms) = file.hold_ms {
        // A token that rests longer would be missed.
        timing.hold = ms(hold_ms).min(timing.token / 2);
    }
    if config.kept.contains_key("totem.join") {
        timing.join = ms(file.join_ms).min(timing.consensus / 2);
    }
    timing
}

/// The timers that the ring really runs with.
fn timers_json(config: &Config) -> Value {
    let timers = Timers::of(&config.totem, config.nodes.len());
    let peers = config.nodes.len().saturating_sub(1);
    let timing = timing(config, &timers).with_peers(peers);
    let ms = |time: std::time::Duration| time.as_millis() as u64;
    json!({
        "token_ms": ms(timing.token),
        "token_retransmit_ms": ms(timing.token_retransmit),
        "hold_ms": ms(timing.hold),
        "join_ms": ms(timing.join),
        "consensus_ms": ms(timing.consensus),
        "token_explicit": timers.token_explicit,
        "heartbeat_ms": ms(timing.beat_interval(peers)),
        "dead_after_ms": ms(timing.dead_after().unwrap_or(timing.suspect)),
        "suspect_ms": ms(timing.suspect),
    })
}
