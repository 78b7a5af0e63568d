//! `monitorfile`: one line for each check.

use super::log;
use crate::config::{Config, Virtual, bracketed};
use crate::plan::real_id;
use policy::{RealId, Verdict};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The files and the fixed part of each server's lines.
#[derive(Default)]
pub struct Monitor {
    lines: BTreeMap<RealId, (PathBuf, String)>,
}

impl Monitor {
    pub fn new(config: &Config) -> Monitor {
        let watched = config.virtuals.iter().filter_map(|v| Some((v, v.monitor_file.clone()?)));
        let lines = watched.flat_map(|(v, file)| {
            v.reals.iter().map(move |real| (real_id(v, real), (file.clone(), describe(v, real))))
        });
        Monitor { lines: lines.collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line for an outcome, if the server's checks are written anywhere.
    pub fn line(&self, id: &RealId, up: bool, message: &str) -> Option<(PathBuf, String)> {
        let (file, fixed) = self.lines.get(id)?;
        let state = if up { "up" } else { "down" };
        let pid = std::process::id();
        Some((file.clone(), format!("[{}] [{pid}] {fixed} [{state}] {}\n", log::now(), escape(message))))
    }

    pub fn of_verdict(&self, id: &RealId, verdict: &Verdict) -> Option<(PathBuf, String)> {
        self.line(id, verdict.up, &verdict.answer)
    }
}

fn describe(v: &Virtual, real: &crate::config::Real) -> String {
    let protocol = match v.protocol() {
        Some(base::ipvs::Protocol::Udp) => "udp",
        Some(_) => "tcp",
        None => "fwm",
    };
    let mut words = vec![v.check_type.to_string(), v.service.name().to_owned(), protocol.to_owned()];
    words.extend([bracketed(real.addr), real.port.to_string()]);
    if let Some(host) = &v.virtual_host {
        words.extend([host.clone(), v.port_to_check(real).to_string()]);
    }
    words.extend([real.weight.to_string(), real.forward.name().to_owned()]);
    words.extend([escape(&real.request), escape(&real.receive)]);
    words.join(" ")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\r' | '\n' | '%' => out.push_str(&format!("%{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
