//! Fail counts: node attributes that count failures, and when they expire.

use super::history::OpRef;
use super::state::ms_to_s;
use crate::model::flags::rsc as rf;
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched, Str, add_scores, base_name};
use std::rc::Rc;

/// The resource and operation that a `PREFIX-RSC#OP_INTERVAL` attribute is about, if it is one of `name`.
fn counts_for(attr: &str, prefix: &str, name: &str, unique: bool) -> bool {
    let Some(rest) = attr.strip_prefix(prefix).and_then(|r| r.strip_prefix('-')).and_then(|r| r.strip_prefix(name))
    else {
        return false;
    };
    let rest = match rest.strip_prefix(':') {
        Some(numbered) if !unique => {
            let digits = numbered.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return false;
            }
            &numbered[digits..]
        }
        _ => rest,
    };
    let Some(operation) = rest.strip_prefix('#') else { return false };
    matches!(operation.rsplit_once('_'), Some((op, interval)) if !op.is_empty() && !interval.is_empty() && interval.bytes().all(|b| b.is_ascii_digit()))
}

impl Sched {
    fn fail_name(&self, rsc: RscIdx) -> Str {
        let r = &self[rsc];
        let name = r.history_id.as_ref().unwrap_or(&r.id);
        if r.is(rf::UNIQUE) { name.clone() } else { base_name(name).into() }
    }

    /// Failures of a resource on a node and the time of the last; `effective` leaves out what has expired, `launched` adds
    /// those of what the resource launches.
    pub fn fail_count(
        &mut self,
        node: NodeIdx,
        rsc: RscIdx,
        effective: bool,
        launched: bool,
        op: Option<OpRef>,
    ) -> (i32, i64) {
        let name = self.fail_name(rsc);
        let unique = self[rsc].is(rf::UNIQUE);
        let (mut count, mut last) = (0, 0i64);
        for prefix in ["fail-count", "last-failure"] {
            for (attr, value) in self[node].attrs.starting_with(&format!("{prefix}-{name}")) {
                if !counts_for(attr, prefix, &name, unique) {
                    continue;
                }
                if prefix == "fail-count" {
                    count = add_scores(count, self.score_of(value).unwrap_or(0));
                } else {
                    last = last.max(Sched::int_attr(value).unwrap_or(0));
                }
            }
        }
        if count > 0 && self[rsc].failure_expiration_ms > 0 && self.failure_blocks(node, rsc, op) {
            let id = self[rsc].id.clone();
            self.warn(format!("Ignoring failure timeout for {id} because it conflicts with on-fail=block"));
            self[rsc].failure_expiration_ms = 0;
        }
        let expiration = ms_to_s(self[rsc].failure_expiration_ms);
        if effective && count > 0 && last > 0 && expiration > 0 && self.now > last.saturating_add(expiration) {
            count = 0;
        }
        if launched && !self[rsc].launched.is_empty() && !self.is_bundled(rsc) {
            for other in self[rsc].launched.clone() {
                let (more, when) = self.fail_count(node, other, effective, false, op);
                count = add_scores(count, more);
                last = last.max(when);
            }
        }
        let last = if count > 0 && last > 0 { last } else { 0 };
        (count, last)
    }

    /// An operation that is configured to block on failure has failed.
    fn failure_blocks(&self, node: NodeIdx, rsc: RscIdx, op: Option<OpRef>) -> bool {
        let name = base_name(&self[rsc].id).to_owned();
        let conf = Rc::clone(&self[rsc].conf);
        let blocking: Vec<_> = conf.ops.iter().filter(|o| o.on_fail.as_deref() == Some("block")).collect();
        if blocking.is_empty() {
            return false;
        }
        let ops = match op {
            Some(op) => vec![op],
            None => self.history.ops_of(&self[node].name, &name),
        };
        blocking.iter().any(|config| {
            ops.iter().any(|at| {
                let entry = self.history.op(*at);
                let same = entry.interval_ms == config.interval_ms
                    && config.name.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(entry.task()));
                let id = entry.id.as_deref().unwrap_or_default();
                same && (id.eq_ignore_ascii_case(&format!("{name}_last_failure_0"))
                    || (id.eq_ignore_ascii_case(&format!("{name}_{}_{}", entry.task(), entry.interval_ms))
                        && entry.rc.unwrap_or(0) != entry.target_rc()))
            })
        })
    }

    /// Schedules the removal of a resource's fail count on a node.
    pub fn clear_fail_count(&mut self, rsc: RscIdx, node: NodeIdx) -> ActIdx {
        let key = self.key(rsc, "clear_failcount", 0);
        let action = self.custom_action(Some(rsc), key, "clear_failcount", Some(node), false);
        self.set_action_meta(action, "op_no_wait", "true");
        action
    }

    /// More failures on the node than the resource accepts; gives the resource to ban.
    pub fn threshold_reached(&mut self, rsc: RscIdx, node: NodeIdx) -> Option<RscIdx> {
        if self[rsc].ban_after_failures == 0 || self[rsc].is(rf::IGNORE_FAILURE) {
            return None;
        }
        let (count, _) = self.fail_count(node, rsc, true, true, None);
        if count <= 0 || self[rsc].ban_after_failures > count {
            return None;
        }
        let banned = if self[rsc].is(rf::UNIQUE) { rsc } else { self.uber_parent(rsc) };
        let text = format!("{} cannot run on {} due to reaching migration threshold", self[banned].id, self[node].name);
        self.warn(text);
        Some(banned)
    }
}
