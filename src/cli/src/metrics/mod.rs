//! `bascule metrics`: what monitoring collects of this node, in the OpenMetrics text format; once, or served over HTTP.
//!
//! ```text
//!   node's API, directors' sockets, kernel IPVS --gather--> Facts --cluster, ring, director, table--> text
//! ```
//!
//! Names are those of `ha_cluster_exporter` and of node_exporter's IPVS collector where they mean the same, so that dashboards go on;
//! what those do not have begins with `bascule_`.

mod cluster;
mod director;
mod exposition;
mod gather;
mod ring;
mod serve;
mod table;
#[cfg(test)]
mod tests;

pub use gather::Facts;

use crate::args::{self, Command};
use crate::report::{Common, put};
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use exposition::Exposition;
use gather::Found;
use std::ffi::OsString;

/// Show what monitoring collects of this node, or serve it
#[derive(Parser, Debug)]
#[command(
    name = "metrics",
    disable_version_flag = true,
    after_help = "Examples:\n  bascule metrics                               once, as OpenMetrics text (also for node_exporter's textfile collector)\n  bascule metrics --output-to /var/lib/prometheus/node-exporter/bascule.prom\n  bascule metrics --listen 127.0.0.1:9664       for Prometheus, at http://127.0.0.1:9664/metrics\n  bascule metrics --listen unix:/run/bascule/metrics.sock\n\nDashboard and alert rules: configs/monitoring. Names are those of ha_cluster_exporter and of node_exporter's ipvs collector where they\nmean the same. What does not answer is told in ha_cluster_scrape_success, and takes nothing from the rest."
)]
pub struct Metrics {
    /// Serve them at /metrics: ADDRESS:PORT, or unix:PATH
    #[arg(long, value_name = "WHERE")]
    listen: Option<serve::Place>,
    #[command(flatten)]
    common: Common,
}

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<Metrics>(args)
}

impl Command for Metrics {
    const NAME: &'static str = "metrics";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if !self.common.is_text() {
            return Err(Failure::usage(
                "metrics have one form, OpenMetrics text; for JSON see 'crm_mon --output-as json'",
            ));
        }
        match &self.listen {
            Some(place) => serve::serve(place),
            None => {
                let facts = Facts::ask();
                match self.common.output_to {
                    Some(_) => self.common.write(&text(&facts))?,
                    None => put(&text(&facts)),
                }
                Ok(if facts.status.answer.is_ok() { crm::OK } else { crm::DISCONNECT })
            }
        }
    }
}

/// All that the facts say, in the OpenMetrics text format.
fn text(facts: &Facts) -> String {
    let mut out = Exposition::default();
    scrape(&mut out, facts);
    if let Some(status) = facts.status.get() {
        ring::node(&mut out, status);
    }
    if let Some(quorum) = facts.quorum.get() {
        ring::quorum(&mut out, quorum);
    }
    if let Some(held) = facts.held.get() {
        cluster::cluster(&mut out, held);
    }
    if let Some(directors) = facts.directors.get() {
        director::directors(&mut out, directors);
    }
    if let Some(Some(services)) = facts.table.get() {
        table::table(&mut out, services);
    }
    out.text()
}

/// How the sources answered.
fn scrape(out: &mut Exposition, facts: &Facts) {
    fn one<T>(name: &'static str, found: &Found<T>) -> (&'static str, bool, f64) {
        (name, found.answer.is_ok(), found.took.as_secs_f64())
    }
    let sources = [
        one("node", &facts.status),
        one("corosync", &facts.quorum),
        one("pacemaker", &facts.held),
        one("director", &facts.directors),
        one("ipvs", &facts.table),
    ];
    let success = out.gauge("ha_cluster_scrape_success", "Whether this source answered");
    let took = out.gauge("ha_cluster_scrape_duration_seconds", "How long this source took to answer");
    for (name, ok, seconds) in sources {
        success.set([("collector", name)], f64::from(ok));
        took.set([("collector", name)], seconds);
    }
}
