//! What one entry of an operation history means for its resource.

use super::history::{FailedOp, OpRef, ParamCheck, exec};
use super::state::ms_to_s;
use crate::model::flags::rsc as rf;
use crate::model::{INFINITY, NodeIdx, OnFail, RscIdx, Sched, Str};
use crate::status::Role;
use base::exit::OcfCode;
use base::text::parse_int;

/// An entry while it is judged; the results start as recorded and may be reinterpreted.
pub(super) struct Judged {
    pub rsc: RscIdx,
    pub node: NodeIdx,
    pub at: OpRef,
    pub id: Str,
    pub task: Str,
    pub key: Str,
    pub interval_ms: u64,
    pub expected: i32,
    pub rc: i32,
    pub status: i32,
}

const OK: i32 = OcfCode::OK.0;
const NOT_INSTALLED: i32 = OcfCode::NOT_INSTALLED.0;
const NOT_RUNNING: i32 = OcfCode::NOT_RUNNING.0;
const PROMOTED: i32 = OcfCode::PROMOTED.0;

impl Sched {
    /// Applies one entry; `last_failure` and `on_fail` carry what earlier ones of the same resource and node came to.
    pub(super) fn unpack_op(
        &mut self,
        rsc: RscIdx,
        node: NodeIdx,
        at: OpRef,
        last_failure: &mut Option<OpRef>,
        on_fail: &mut OnFail,
    ) {
        let Some(mut h) = self.start_judging(rsc, node, at) else { return };
        let expired = self.check_expiry(&h);
        let original_rc = h.rc;
        self.reinterpret(&mut h, on_fail, expired);
        if expired && self.process_expired(&h, original_rc) {
            return;
        }
        let masked = !self.is_bundled(rsc) && self.history.op(at).masks_probe_failure();
        if masked {
            self.mask_probe_failure(&h, *last_failure, on_fail);
            return;
        }
        let parent = if self[rsc].is(rf::UNIQUE) { rsc } else { self.uber_parent(rsc) };
        match h.status {
            exec::PENDING => self.process_pending(&h, *last_failure),
            exec::DONE => self.update_state(&h, h.rc, *last_failure, on_fail),
            exec::NOT_INSTALLED => {
                let (strategy, role) = self.failure_handling(&h);
                if strategy == OnFail::Ignore {
                    *on_fail = OnFail::Ban;
                }
                self.add_location(parent, Some(node), -INFINITY, "hard-error");
                self.process_failure(&h, strategy, role, last_failure, on_fail);
            }
            _ => self.process_failed(&h, parent, last_failure, on_fail),
        }
    }

    fn start_judging(&mut self, rsc: RscIdx, node: NodeIdx, at: OpRef) -> Option<Judged> {
        let op = self.history.op(at);
        let (Some(id), Some(task)) = (op.id.clone(), op.task.clone()) else {
            self.error(format!("Ignoring resource history entry for {} without ID or operation", self[rsc].id));
            return None;
        };
        let counts = ["monitor", "start", "stop", "promote", "demote", "migrate_to", "migrate_from", "asyncmon"];
        if !counts.contains(&&*task) {
            return None;
        }
        let status = op.status.filter(|s| (exec::PENDING..=exec::NO_SECRETS).contains(s) && *s != exec::CANCELLED);
        let rc = op.rc.filter(|rc| (0..=255).contains(rc));
        let (Some(status), Some(rc)) = (status, rc) else {
            self.error(format!(
                "Ignoring resource history entry {id} for {} with invalid op-status or rc-code",
                self[rsc].id
            ));
            return None;
        };
        let key = op.key.clone().unwrap_or_else(|| id.clone());
        Some(Judged { rsc, node, at, id, task, key, interval_ms: op.interval_ms, expected: op.target_rc(), rc, status })
    }

    fn process_failed(&mut self, h: &Judged, parent: RscIdx, last_failure: &mut Option<OpRef>, on_fail: &mut OnFail) {
        if h.status == exec::NOT_CONNECTED
            && self[h.node].is_remote_kind
            && let Some(remote) = self[h.node].remote.filter(|r| self[*r].is(rf::MANAGED))
        {
            self.set(remote, rf::FAILED | rf::STOP_IF_FAILED);
        }
        let (strategy, role) = self.failure_handling(h);
        let pretend = strategy == OnFail::Ignore || (strategy == OnFail::RestartContainer && &*h.task == "stop");
        if pretend {
            self.update_state(h, h.expected, *last_failure, on_fail);
            self.set(h.rsc, rf::IGNORE_FAILURE);
            self.record_failed(h);
            if strategy == OnFail::RestartContainer && *on_fail <= OnFail::Restart {
                *on_fail = strategy;
            }
            return;
        }
        self.process_failure(h, strategy, role, last_failure, on_fail);
        if h.status == exec::ERROR_HARD {
            self.error(self.prevented(h, parent, &format!("on {}", self[h.node].name), "hard"));
            self.add_location(parent, Some(h.node), -INFINITY, "hard-error");
        } else if h.status == exec::ERROR_FATAL {
            self.error(self.prevented(h, parent, "anywhere", "fatal"));
            self.add_location(parent, None, -INFINITY, "fatal-error");
        }
    }

    fn prevented(&self, h: &Judged, parent: RscIdx, where_to: &str, how: &str) -> String {
        let reason = self.history.op(h.at).exit_reason.as_ref().filter(|r| !r.is_empty());
        let reason = reason.map(|r| format!(": {r}")).unwrap_or_default();
        let words = base::exit::OcfCode(h.rc).title();
        let id = &self[parent].id;
        format!("Preventing {id} from restarting {where_to} because of {how} failure ({words}{reason}) | {}", h.id)
    }

    fn failure_handling(&mut self, h: &Judged) -> (OnFail, Role) {
        let config = self.find_op_config(h.rsc, &h.task, h.interval_ms, true);
        let meta = self.action_meta(h.rsc, Some(h.node), &h.task, h.interval_ms, config.as_deref());
        let on_fail = self.parse_on_fail(h.rsc, &h.task, h.interval_ms, meta.get("on-fail").map(|v| &**v));
        (on_fail, self.role_after_failure(h.rsc, &h.task, on_fail))
    }

    /// What a failure means for the resource's state.
    fn process_failure(
        &mut self,
        h: &Judged,
        strategy: OnFail,
        fail_role: Role,
        last_failure: &mut Option<OpRef>,
        on_fail: &mut OnFail,
    ) {
        *last_failure = Some(h.at);
        let is_probe = self.history.op(h.at).is_probe();
        if self.options.symmetric || h.rc != NOT_INSTALLED {
            let text = format!(
                "Unexpected result ({}) was recorded for {} of {} on {}",
                OcfCode(h.rc),
                if is_probe { "probe" } else { &h.task },
                self[h.rsc].id,
                self[h.node].name
            );
            self.warn(text);
            self.record_failed(h);
        }
        *on_fail = (*on_fail).max(strategy);
        match &*h.task {
            "stop" => self.add_location(h.rsc, Some(h.node), -INFINITY, "__stop_fail__"),
            "migrate_to" => self.migrate_to_failed(h),
            "migrate_from" => self.migrate_from_failed(h),
            "promote" => self[h.rsc].orig_role = Role::Promoted,
            "demote" if strategy == OnFail::Block => {
                self[h.rsc].orig_role = Role::Promoted;
                self.set_next_role(h.rsc, Role::Stopped);
            }
            "demote" if h.rc == NOT_RUNNING => self[h.rsc].orig_role = Role::Stopped,
            "demote" => self[h.rsc].orig_role = Role::Unpromoted,
            _ => {}
        }
        if is_probe && h.rc == NOT_INSTALLED {
            self[h.rsc].orig_role = Role::Stopped;
        } else if self[h.rsc].orig_role < Role::Started {
            self.set_active(h.rsc);
        }
        if fail_role != Role::Started && self[h.rsc].next_role < fail_role {
            self.set_next_role(h.rsc, fail_role);
        }
        if fail_role == Role::Stopped {
            self.ban_everywhere(h.rsc);
        }
    }

    pub(super) fn set_active(&mut self, rsc: RscIdx) {
        let promotable = self[self.top_of(rsc, false)].is(rf::PROMOTABLE);
        self[rsc].orig_role = if promotable { Role::Unpromoted } else { Role::Started };
    }

    fn record_failed(&mut self, h: &Judged) {
        if !self[h.node].online {
            return;
        }
        let node = self[h.node].name.clone();
        let known = |f: &FailedOp, s: &Sched| {
            s.history.op(f.op).key.as_ref() == Some(&h.key) && f.node.eq_ignore_ascii_case(&node)
        };
        if self.failed.iter().any(|f| known(f, self)) {
            return;
        }
        let rsc_id = self[h.rsc].id.clone();
        self.failed.push(FailedOp { op: h.at, node, rsc_id });
    }

    fn block_if_unrecoverable(&mut self, h: &Judged) {
        if &*h.task != "stop" || self.can_fence(h.node) {
            return;
        }
        let text = format!(
            "No further recovery can be attempted for {} because stop on {} failed",
            self[h.rsc].id, self[h.node].name
        );
        self.error(text);
        self.clear(h.rsc, rf::MANAGED);
        self.set(h.rsc, rf::BLOCKED);
    }

    /// Maps what was recorded to what it means: degraded is running, some errors are hard, a probe's result is no failure.
    fn reinterpret(&mut self, h: &mut Judged, on_fail: &mut OnFail, expired: bool) {
        let effective = match h.rc {
            190 => OK,
            191 => PROMOTED,
            rc => rc,
        };
        if effective != h.rc {
            h.rc = effective;
            if !expired && (!self[h.node].shutdown || self[h.node].online) {
                self.record_failed(h);
            }
        }
        if !self.is_bundled(h.rsc)
            && self.history.op(h.at).masks_probe_failure()
            && (h.status != exec::DONE || h.rc != NOT_RUNNING)
        {
            h.status = exec::DONE;
            h.rc = NOT_RUNNING;
        }
        match h.status {
            exec::DONE | exec::ERROR => {}
            exec::NO_FENCE_DEVICE | exec::NO_SECRETS => {
                h.status = exec::ERROR_HARD;
                return;
            }
            _ => return,
        }
        let is_probe = self.history.op(h.at).is_probe();
        h.status = if h.expected >= 0 && h.rc == h.expected { exec::DONE } else { exec::ERROR };
        if h.expected < 0 {
            self.warn(format!("Expected result not found for {} (corrupt or obsolete CIB?)", h.key));
        }
        match h.rc {
            OK if is_probe && h.expected == NOT_RUNNING => h.status = exec::DONE,
            NOT_RUNNING if (is_probe || h.expected == h.rc || !self[h.rsc].is(rf::MANAGED)) => {
                h.status = exec::DONE;
                self[h.rsc].orig_role = Role::Stopped;
                *on_fail = OnFail::Ignore;
                self.set_next_role(h.rsc, Role::Unknown);
            }
            PROMOTED => {
                if is_probe && h.rc != h.expected {
                    h.status = exec::DONE;
                }
                if !expired || h.rc == h.expected {
                    self[h.rsc].orig_role = Role::Promoted;
                }
            }
            9 => {
                if !expired {
                    self[h.rsc].orig_role = Role::Promoted;
                }
                h.status = exec::ERROR;
            }
            6 => h.status = exec::ERROR_FATAL,
            3 if h.interval_ms > 0 => h.status = exec::NOT_SUPPORTED,
            2..=5 => {
                if !expired {
                    self.block_if_unrecoverable(h);
                }
                h.status = exec::ERROR_HARD;
            }
            OK => {}
            _ if h.status == exec::DONE => h.status = exec::ERROR,
            _ => {}
        }
    }

    fn should_clear_for_parameters(&mut self, h: &Judged) -> bool {
        if !matches!(&*h.task, "start" | "monitor") {
            return false;
        }
        if self.needs_remote_name(h.rsc) {
            self.param_checks.push(ParamCheck { rsc: h.rsc, node: h.node, op: h.at, last_failure: true });
            return false;
        }
        !matches!(self.compare_digest(h.rsc, h.node, h.at), crate::digest::Match::Unknown | crate::digest::Match::Same)
    }

    /// A remote connection's failure does not expire while its node is still to be fenced.
    fn ignores_failure_timeout(&self, h: &Judged) -> bool {
        self[h.rsc].remote_reconnect_ms > 0
            && self.options.fencing_enabled
            && h.interval_ms != 0
            && h.task.eq_ignore_ascii_case("monitor")
            && self.find_node(&self[h.rsc].id).is_some_and(|n| !self[n].remote_fenced)
    }

    /// Whether a failure is so old that it does not count any more; clears fail counts where that is due.
    fn check_expiry(&mut self, h: &Judged) -> bool {
        let is_last_failure = h.id.ends_with("_last_failure_0");
        let expiration = ms_to_s(self[h.rsc].failure_expiration_ms);
        if h.status == exec::NOT_INSTALLED {
            return false;
        }
        let (mut expired, mut unexpired_count) = (false, 0);
        if let Some(last_run) = self.history.op(h.at).last_change.filter(|_| expiration > 0) {
            expired = self.now >= last_run.saturating_add(expiration) && !self.ignores_failure_timeout(h);
            let (count, last) = self.fail_count(h.node, h.rsc, true, false, Some(h.at));
            unexpired_count = count;
            let until = last.saturating_add(expiration).saturating_add(1);
            if count != 0 && self.now < until {
                self.update_recheck(until);
            }
        }
        let mut clear = false;
        if expired {
            if self.fail_count(h.node, h.rsc, false, false, Some(h.at)).0 != 0 {
                if unexpired_count == 0 {
                    clear = true;
                } else {
                    expired = false;
                }
            } else if is_last_failure && self[h.rsc].remote_reconnect_ms > 0 {
                clear = true;
            }
        }
        if !expired && is_last_failure && self.should_clear_for_parameters(h) {
            clear = true;
        }
        if clear {
            let action = self.clear_fail_count(h.rsc, h.node);
            if self.options.fencing_enabled && self[h.rsc].remote_reconnect_ms > 0 {
                let id = self[h.rsc].id.clone();
                if let Some(remote) = self.find_node(&id) {
                    let fence = self.fence_op(remote, None, true, None, false);
                    self.order_actions(fence, action, crate::model::flags::rel::FIRST_IMPLIES_THEN);
                }
            }
        }
        if expired
            && h.interval_ms == 0
            && &*h.task == "monitor"
            && matches!(h.rc, OK | NOT_RUNNING | PROMOTED | 190 | 191)
        {
            expired = false;
        }
        expired
    }

    /// True if the entry, having expired, is not to be looked at any more.
    fn process_expired(&mut self, h: &Judged, original_rc: i32) -> bool {
        let masked = !self.is_bundled(h.rsc) && self.history.op(h.at).masks_probe_failure();
        if masked && original_rc != h.expected {
            if self[h.rsc].orig_role <= Role::Stopped {
                self[h.rsc].orig_role = Role::Unknown;
            }
            return true;
        }
        if h.rc == h.expected {
            return false;
        }
        if h.interval_ms == 0 {
            return true;
        }
        if self[h.node].online && !self[h.node].unclean {
            // Makes the digests differ, so that the operation is scheduled again and its failure forgotten.
            self.history.op_mut(h.at).restart_digest = Some("calculated-failure-timeout".into());
            return true;
        }
        false
    }

    fn mask_probe_failure(&mut self, h: &Judged, last_failure: Option<OpRef>, on_fail: &mut OnFail) {
        let banned = if self[h.rsc].is(rf::UNIQUE) { h.rsc } else { self.uber_parent(h.rsc) };
        self.update_state(h, h.expected, last_failure, on_fail);
        self.record_failed(h);
        self.add_location(banned, Some(h.node), -INFINITY, "masked-probe-failure");
    }

    fn failure_is_newer(&self, h: &Judged, last_failure: Option<OpRef>) -> bool {
        let Some(failure) = last_failure.map(|f| self.history.op(f)) else { return false };
        let this = self.history.op(h.at);
        failure.task.as_ref() == Some(&h.task)
            && failure.interval_ms == h.interval_ms
            && matches!((failure.last_change, this.last_change), (Some(f), Some(t)) if f >= t)
    }

    fn process_pending(&mut self, h: &Judged, last_failure: Option<OpRef>) {
        if self.failure_is_newer(h, last_failure) {
            return;
        }
        match &*h.task {
            "start" => {
                self.set(h.rsc, rf::START_PENDING);
                self.set_active(h.rsc);
            }
            "promote" => self[h.rsc].orig_role = Role::Promoted,
            "migrate_to" if self[h.node].unclean => {
                let target = self.history.op(h.at).migrate_target.clone();
                if let Some(target) = target.and_then(|t| self.find_node(&t)) {
                    self.stop_action(h.rsc, Some(target), false);
                }
            }
            _ => {}
        }
        let is_probe = &*h.task == "monitor" && h.interval_ms == 0;
        if self[h.rsc].pending_action.is_none() && !is_probe {
            self[h.rsc].pending_action = Some(h.task.clone());
            self[h.rsc].pending_node = Some(h.node);
        }
    }

    /// What a success (or a failure that counts as one) means for the resource's state.
    fn update_state(&mut self, h: &Judged, rc: i32, last_failure: Option<OpRef>, on_fail: &mut OnFail) {
        let masked = !self.is_bundled(h.rsc) && self.history.op(h.at).masks_probe_failure();
        let mut clears_failure = false;
        if rc == NOT_INSTALLED || masked {
            self[h.rsc].orig_role = Role::Stopped;
        } else if rc == NOT_RUNNING {
            clears_failure = true;
        } else {
            match &*h.task {
                "monitor" => {
                    clears_failure = last_failure.is_some_and(|f| self.history.op(f).key.as_ref() == Some(&h.key));
                    if self[h.rsc].orig_role < Role::Started {
                        self.set_active(h.rsc);
                    }
                }
                "start" | "migrate_from" => {
                    self[h.rsc].orig_role = Role::Started;
                    clears_failure = true;
                }
                "stop" => {
                    self[h.rsc].orig_role = Role::Stopped;
                    clears_failure = true;
                }
                "promote" => {
                    self[h.rsc].orig_role = Role::Promoted;
                    clears_failure = true;
                }
                "demote" => {
                    clears_failure = *on_fail == OnFail::Demote;
                    self[h.rsc].orig_role = Role::Unpromoted;
                }
                "migrate_to" => self.migrate_to_succeeded(h),
                _ if self[h.rsc].orig_role < Role::Started => self.set_active(h.rsc),
                _ => {}
            }
        }
        if !clears_failure {
            return;
        }
        match *on_fail {
            OnFail::Stop | OnFail::Ban | OnFail::Standby | OnFail::Fence => return,
            OnFail::ResetRemote if self[h.rsc].remote_reconnect_ms != 0 => return,
            _ => {}
        }
        *on_fail = OnFail::Ignore;
        self.set_next_role(h.rsc, Role::Unknown);
    }

    /// The number in a node attribute, as a fail count or time.
    pub(super) fn int_attr(text: &str) -> Option<i64> {
        parse_int(text)
    }
}
