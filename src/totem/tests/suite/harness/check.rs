//! What extended virtual synchrony promises, checked over the logs of all process lives.

use super::{Cluster, Entry, Life, MessageId};
use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use totem::{View, ViewId};

impl Cluster {
    /// Panics with the property that does not hold.
    pub fn check(&self) {
        for life in &self.lives {
            views_make_sense(life);
            nothing_twice_and_in_order(life);
        }
        same_number_same_message(&self.lives);
        same_view_same_members(&self.lives);
        together_delivered_the_same(&self.lives);
        safe_is_held_by_all(&self.lives);
    }

    /// Of every process that still runs, all messages came back to itself.
    pub fn check_self_delivery(&self) {
        for life in self.lives.iter().filter(|l| l.running) {
            let delivered: BTreeSet<&MessageId> = life.delivered().map(|(id, _)| id).collect();
            for (t, e) in &life.log {
                if let Entry::Sent { id } = e {
                    assert!(delivered.contains(id), "{} lost its own {id:?} of {t:?}", life.node);
                }
            }
        }
    }
}

fn views_make_sense(life: &Life) {
    let me = life.node;
    let mut previous: Option<&View> = None;
    for (_, v) in life.views() {
        assert!(v.members.contains(&me) && v.transitional.contains(&me), "{me}: {v:?}");
        assert!(v.members.is_sorted() && v.transitional.iter().all(|t| v.members.contains(t)));
        assert_eq!(v.id.rep, v.members[0].0);
        let old: &[NodeId] = previous.map_or(&[], |p| &p.members);
        assert_eq!(v.previous, previous.map_or(ViewId::NONE, |p| p.id));
        assert!(v.id > v.previous, "{me}: {v:?}");
        assert!(v.transitional.iter().all(|t| *t == me || old.contains(t)));
        let left: Vec<NodeId> = old.iter().copied().filter(|n| !v.transitional.contains(n)).collect();
        let joined: Vec<NodeId> = v.members.iter().copied().filter(|n| !v.transitional.contains(n)).collect();
        assert_eq!((&v.left, &v.joined), (&left, &joined));
        previous = Some(v);
    }
}

fn nothing_twice_and_in_order(life: &Life) {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    let mut position = (ViewId::NONE, 0);
    let mut view = ViewId::NONE;
    for (_, e) in &life.log {
        match e {
            Entry::View(v) => view = v.id,
            Entry::Deliver { id, message } => {
                assert!(seen.insert(*id), "{}: {id:?} twice", life.node);
                assert_eq!(message.view, view, "{}: {id:?} in another view", life.node);
                assert!((message.view, message.seq) > position, "{}: {id:?} out of order", life.node);
                position = (message.view, message.seq);
                let fifo = last.entry((id.0, id.1)).or_default();
                assert!(id.2 > *fifo, "{}: {id:?} after {fifo}", life.node);
                *fifo = id.2;
            }
            _ => {}
        }
    }
}

fn same_number_same_message(lives: &[Life]) {
    let mut known: BTreeMap<(ViewId, u64), MessageId> = BTreeMap::new();
    let mut place: BTreeMap<MessageId, (ViewId, u64)> = BTreeMap::new();
    for life in lives {
        for (id, m) in life.delivered() {
            assert_eq!(*known.entry((m.view, m.seq)).or_insert(*id), *id, "{:?} {}", m.view, m.seq);
            assert_eq!(*place.entry(*id).or_insert((m.view, m.seq)), (m.view, m.seq), "{id:?} in two places");
        }
    }
}

fn same_view_same_members(lives: &[Life]) {
    let mut known: BTreeMap<ViewId, &Vec<NodeId>> = BTreeMap::new();
    for life in lives {
        for (_, v) in life.views() {
            assert_eq!(*known.entry(v.id).or_insert(&v.members), &v.members, "{}", v.id);
        }
    }
}

fn in_view(life: &Life, view: ViewId) -> Vec<MessageId> {
    life.delivered().filter(|(_, m)| m.view == view).map(|(id, _)| *id).collect()
}

/// Who says that the other came along was right, and both delivered the same.
fn together_delivered_the_same(lives: &[Life]) {
    for a in lives {
        for (_, va) in a.views() {
            for b in lives.iter().filter(|b| b.node != a.node && va.transitional.contains(&b.node)) {
                for (_, vb) in b.views().filter(|(_, vb)| vb.id == va.id) {
                    assert_eq!(va.previous, vb.previous, "{} and {} into {}", a.node, b.node, va.id);
                    assert_eq!(va.transitional, vb.transitional, "{} and {} into {}", a.node, b.node, va.id);
                    assert_eq!(
                        in_view(a, va.previous),
                        in_view(b, va.previous),
                        "{} and {} went together from {} to {}",
                        a.node,
                        b.node,
                        va.previous,
                        va.id
                    );
                }
            }
        }
    }
}

/// What was said to be safe in a view, every member delivers there, unless its process ends first.
fn safe_is_held_by_all(lives: &[Life]) {
    for a in lives {
        let mut members: Vec<NodeId> = Vec::new();
        let mut delivered: Vec<(u64, MessageId)> = Vec::new();
        for (at, e) in &a.log {
            match e {
                Entry::View(v) => {
                    members = v.members.clone();
                    delivered.clear();
                }
                Entry::Transitional(t) => members = t.members.clone(),
                Entry::Deliver { id, message } => delivered.push((message.seq, *id)),
                Entry::Safe { view, seq } => {
                    for b in lives.iter().filter(|b| members.contains(&b.node)) {
                        // Only a life that was in this view and went on from it must have delivered all.
                        let was_in = b.views().any(|(_, v)| v.id == *view);
                        let went_on = b.views().any(|(_, v)| v.previous == *view);
                        if was_in && went_on {
                            let theirs: BTreeSet<MessageId> = in_view(b, *view).into_iter().collect();
                            for (_, id) in delivered.iter().filter(|(s, _)| s <= seq) {
                                let (n, m) = (a.node, b.node);
                                assert!(
                                    theirs.contains(id),
                                    "{n} called {id:?} safe at {at:?}, {m} never delivered it"
                                );
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
