//! What checks and agents have found, into health.

use super::Core;
use crate::plan::real_id;
use crate::service::log;
use crate::service::notices;
use crate::service::runner::{CheckId, Finding};
use policy::{AgentReport, RealId, Standing, Transition, Verdict};
use std::time::{Duration, Instant};

impl Core {
    pub(super) fn finding(&mut self, finding: Finding) {
        let Some((agent, reals)) = self.runner.reals(finding.id) else { return };
        let verdict = match finding.outcome {
            Ok(verdict) => verdict,
            Err(why) => {
                // Said at most every ten seconds: with no descriptors left every check would say it.
                if self.local_trouble.is_none_or(|t| t.elapsed() > Duration::from_secs(10)) {
                    self.local_trouble = Some(Instant::now());
                    let check = self.runner.label(finding.id);
                    self.log(&format!("Cannot check, verdicts stay as they are: {check}: {why}"));
                }
                return;
            }
        };
        if self.options.debug {
            let state = if verdict.up { "up" } else { "down" };
            let check = self.runner.label(finding.id);
            self.log(&format!("check {check}: {state}: {} ({} us)", verdict.answer, verdict.latency_us));
        }
        if agent {
            return self.agent_answer(finding.id, &reals, &verdict);
        }
        for id in reals.iter() {
            self.judged(*id, &verdict);
        }
    }

    fn judged(&mut self, id: RealId, verdict: &Verdict) {
        let now = self.now();
        let Some(tuning) = self.tuning(&id.service).cloned() else { return };
        let transition = self.health.record(id, verdict, &tuning, now);
        if let Some(text) = notices::of_transition(&id, transition) {
            self.log(&text);
        }
        self.tell_news(&id);
        if let (Transition::Damped, Some(flap)) = (transition, &tuning.flap) {
            self.log(&notices::damped(&id, flap));
        }
        if matches!(transition, Transition::Up | Transition::Down | Transition::Damped | Transition::Held) {
            self.dirty.insert(id.service);
            self.changed.send_modify(|n| *n += 1);
        }
        if !self.monitor.is_empty() {
            let maintained = self.health.get(&id).is_some_and(|r| r.maintenance);
            let line = match maintained {
                true => self.monitor.line(&id, false, "Server in maintenance"),
                false => self.monitor.of_verdict(&id, verdict),
            };
            if let Some((file, line)) = line {
                log::append(&file, &line);
            }
        }
    }

    /// An agent that does not answer, or not in its language, leaves everything as it was; this is said once.
    fn agent_answer(&mut self, id: CheckId, reals: &[RealId], verdict: &Verdict) {
        let report = if verdict.up { AgentReport::parse(&verdict.answer) } else { Err(verdict.answer.clone()) };
        let servers = || reals.first().map(|r| notices::pair(&r.service, &r.dest)).unwrap_or_default();
        let report = match report {
            Ok(report) => report,
            Err(why) => {
                if self.mute_agents.insert(id) {
                    self.log(&format!("Agent of real server: {}: {why}; weight and state stay as they are", servers()));
                }
                return;
            }
        };
        if self.mute_agents.remove(&id) {
            self.log(&format!("Agent of real server: {} answers again", servers()));
        }
        let now = self.now();
        for real in reals {
            if self.health.agent(*real, &report, now) {
                self.log(&format!(
                    "Agent of real server: {} says: {}",
                    notices::pair(&real.service, &real.dest),
                    verdict.answer
                ));
                self.dirty.insert(real.service);
                self.tell_news(real);
            }
        }
    }

    /// Log and mail tell of a server that came or went, with the reason: from what is known of it, not from what the table needed.
    pub(super) fn tell_news(&mut self, id: &RealId) {
        let Some(serves) = self.health.news(id) else { return };
        let Some(record) = self.health.get(id) else { return };
        let reason = match (&record.agent, record.maintenance) {
            (_, true) => "in maintenance".to_owned(),
            (Some(agent), _) if !serves && record.standing == Standing::Up => format!("its agent says so: {agent:?}"),
            _ => record.answer.to_string(),
        };
        let word = if serves { "up" } else { "down" };
        self.log(&format!("Real server {word}: {}: {reason}", notices::pair(&id.service, &id.dest)));
        let Some(v) = self.config.virtuals.iter().find(|v| v.key == id.service).filter(|_| self.active) else { return };
        let weight = v.reals.iter().find(|r| real_id(v, r) == *id).map_or(0, |r| r.weight);
        let text = notices::of_news(id, serves, v.quiescent, weight);
        self.alerts.tell(v, self.config.global.alert_from.as_deref(), self.phase, &text, Some(&reason));
    }
}
