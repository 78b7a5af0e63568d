//! Which sync daemons this node should run, as a pure function of its groups.
//!
//! The kernel runs one master and one backup daemon per network namespace. The master sends all connections, whatever
//! their group; a backup of sync id 0 takes those of every id. So a node that holds groups sends under the id of one of them,
//! and a node that holds not all of them listens to the id of the others, or to all ids if they are several.

use base::ipvs::{SyncDaemon, SyncState};
use std::collections::BTreeMap;

/// One group's sync settings on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    /// Its `state` is without meaning.
    pub daemon: SyncDaemon,
    /// The group runs here.
    pub active: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Stop(SyncState, u32),
    Start(SyncDaemon),
}

/// The daemons that should run, master first.
pub(super) fn wanted(members: &BTreeMap<String, Member>, running: &[SyncDaemon]) -> Vec<SyncDaemon> {
    let of = |active: bool| members.values().filter(move |m| m.active == active).map(|m| &m.daemon);
    // A running master stays as long as one of its groups does: a restart would lose what it has not sent yet.
    let kept = of(true).find(|d| running.iter().any(|r| r.state == SyncState::Master && fits(d, r)));
    let master = kept.or_else(|| of(true).min_by_key(|d| d.sync_id));
    let mut backup = of(false).min_by_key(|d| d.sync_id).cloned();
    if let Some(backup) = &mut backup
        && of(false).any(|d| d.sync_id != backup.sync_id)
    {
        backup.sync_id = 0;
    }
    let master = master.map(|d| SyncDaemon { state: SyncState::Master, ..d.clone() });
    master.into_iter().chain(backup.map(|d| SyncDaemon { state: SyncState::Backup, ..d })).collect()
}

/// What leads from the running daemons to the wanted ones; nothing if they are the same.
pub(super) fn steps(wanted: &[SyncDaemon], running: &[SyncDaemon]) -> Vec<Step> {
    let mut steps = Vec::new();
    for state in [SyncState::Master, SyncState::Backup] {
        let want = wanted.iter().find(|d| d.state == state);
        let have = running.iter().find(|d| d.state == state);
        if let (Some(want), Some(have)) = (want, have)
            && fits(want, have)
        {
            continue;
        }
        steps.extend(have.map(|h| Step::Stop(state, h.sync_id)));
        steps.extend(want.map(|w| Step::Start(w.clone())));
    }
    steps
}

/// Whether a running daemon has these settings; what is not set is the kernel's choice.
pub(super) fn fits(want: &SyncDaemon, have: &SyncDaemon) -> bool {
    fn same<T: PartialEq>(want: &Option<T>, have: &Option<T>) -> bool {
        want.is_none() || want == have
    }
    want.interface == have.interface
        && want.sync_id == have.sync_id
        && same(&want.max_len, &have.max_len)
        && same(&want.group, &have.group)
        && same(&want.port, &have.port)
        && same(&want.ttl, &have.ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(state: SyncState, sync_id: u32) -> SyncDaemon {
        SyncDaemon { state, interface: "eth1".into(), sync_id, max_len: None, group: None, port: None, ttl: None }
    }

    fn groups(list: &[(u32, bool)]) -> BTreeMap<String, Member> {
        let member = |&(id, active)| (format!("g{id}"), Member { daemon: daemon(SyncState::Master, id), active });
        list.iter().map(member).collect()
    }

    /// Ids of master and backup after all steps.
    fn after(list: &[(u32, bool)], running: &[SyncDaemon]) -> (Option<u32>, Option<u32>) {
        let mut now = running.to_vec();
        for step in steps(&wanted(&groups(list), running), running) {
            match step {
                Step::Stop(state, id) => now.retain(|d| (d.state, d.sync_id) != (state, id)),
                Step::Start(d) => now.push(d),
            }
        }
        let id = |state| now.iter().find(|d| d.state == state).map(|d| d.sync_id);
        (id(SyncState::Master), id(SyncState::Backup))
    }

    #[test]
    fn roles_follow_the_groups() {
        let (master, backup) = (|id| daemon(SyncState::Master, id), |id| daemon(SyncState::Backup, id));
        assert_eq!(after(&[(1, false)], &[]), (None, Some(1)));
        assert_eq!(after(&[(1, true)], &[backup(1)]), (Some(1), None));
        assert_eq!(after(&[(1, false)], &[master(1)]), (None, Some(1)));
        // Each director holds one of two groups.
        assert_eq!(after(&[(1, true), (2, false)], &[backup(0)]), (Some(1), Some(2)));
        // The survivor goes on as the master that it was; who comes back listens to every id.
        assert_eq!(after(&[(1, true), (2, true)], &[master(2), backup(1)]), (Some(2), None));
        assert_eq!(after(&[(1, false), (2, false)], &[]), (None, Some(0)));
        // The group whose id is in use moves away.
        assert_eq!(after(&[(1, false), (2, true)], &[master(1)]), (Some(2), Some(1)));
        assert_eq!(after(&[], &[master(1), backup(2)]), (None, None));
    }

    #[test]
    fn what_runs_already_is_left_alone_and_other_settings_are_not() {
        let mut have = daemon(SyncState::Backup, 1);
        (have.port, have.ttl) = (Some(8848), Some(1));
        let mut members = groups(&[(1, false)]);
        assert_eq!(steps(&wanted(&members, &[have.clone()]), &[have.clone()]), []);
        members.get_mut("g1").unwrap().daemon.port = Some(9000);
        assert_eq!(steps(&wanted(&members, &[have.clone()]), &[have]).len(), 2);
    }
}
