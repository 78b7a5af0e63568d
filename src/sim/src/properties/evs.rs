//! Extended virtual synchrony, as the ring promises it: one message at one place, one membership for one view, who goes on
//! together has delivered the same, and what was called safe is delivered by everybody who goes on.
//!
//! A process that starts over is a new one.

use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use totem::{Message, Transitional, View, ViewId};

/// Views of which the details are kept.
const MAX_VIEWS: usize = 64;

/// What a process has been given in its present view.
#[derive(Clone, Default)]
struct Given {
    view: ViewId,
    members: BTreeSet<NodeId>,
    /// The last message, how many there were, and what they were.
    last: u64,
    count: u64,
    digest: u64,
}

/// By whom, how many messages, and what they were.
type Delivered = (NodeId, u64, u64);

#[derive(Default)]
struct OfView {
    members: Vec<NodeId>,
    messages: BTreeMap<u64, u64>,
    /// Up to which message somebody was told that it is safe, and at whom.
    safe: BTreeMap<NodeId, (u64, BTreeSet<NodeId>)>,
    /// Up to which message those who went on had delivered.
    gone: BTreeMap<NodeId, u64>,
    /// By the next view and their company: what those who went there together had delivered here.
    together: BTreeMap<(ViewId, BTreeSet<NodeId>), Delivered>,
}

#[derive(Default)]
pub struct Evs {
    given: BTreeMap<NodeId, Given>,
    views: BTreeMap<ViewId, OfView>,
    pub broken: Option<String>,
    pub views_seen: u64,
}

fn digest_of(sender: NodeId, payload: &[u8]) -> u64 {
    // As FNV-1a, but eight bytes at a time; each step can be undone, so no two words at one place come to the same.
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |h: u64, word: u64| (h ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = payload.as_chunks::<8>();
    let whole =
        words.iter().fold(mix(payload.len() as u64, u64::from(sender.0)), |h, w| mix(h, u64::from_le_bytes(*w)));
    rest.iter().fold(whole, |h, b| mix(h, u64::from(*b)))
}

impl Evs {
    pub fn begins(&mut self, id: NodeId, _life: u64) {
        self.given.insert(id, Given::default());
    }

    /// A machine that was installed anew counts its rings from the beginning: what its number named before was another's.
    pub fn another_machine(&mut self, id: NodeId) {
        self.views.retain(|view, _| view.rep != id.0);
    }

    pub fn ends(&mut self, id: NodeId) {
        self.given.remove(&id);
    }

    /// What it was given before is of no account: it comes back like one that has just started.
    pub fn starts_over(&mut self, id: NodeId) {
        self.given.insert(id, Given::default());
    }

    fn fail(&mut self, text: String) {
        self.broken.get_or_insert(text);
    }

    pub fn delivered(&mut self, id: NodeId, m: &Message) {
        let digest = digest_of(m.sender, &m.payload);
        let of_view = self.views.entry(m.view).or_default();
        if *of_view.messages.entry(m.seq).or_insert(digest) != digest {
            return self.fail(format!("message {} of {} is another one at node {id}", m.seq, m.view));
        }
        let given = self.given.entry(id).or_default();
        if given.view != m.view {
            let view = given.view;
            return self.fail(format!("node {id} in {view} is given a message of {}", m.view));
        }
        if m.seq <= given.last {
            let last = given.last;
            return self.fail(format!("node {id} is given {} of {} after {last}", m.seq, m.view));
        }
        given.last = m.seq;
        given.count += 1;
        given.digest = given.digest.wrapping_mul(31).wrapping_add(digest);
    }

    pub fn transitional(&mut self, id: NodeId, t: &Transitional) {
        let given = self.given.entry(id).or_default();
        if given.view == t.view {
            given.members = t.members.iter().copied().collect();
        }
    }

    pub fn safe(&mut self, id: NodeId, view: ViewId, seq: u64) {
        let Some(given) = self.given.get(&id).filter(|g| g.view == view) else { return };
        let (upto, members) = (seq.min(given.last), given.members.clone());
        let of_view = self.views.entry(view).or_default();
        // A message has the number of its last frame: where that is not safe, the message is not.
        let upto = of_view.messages.range(..=upto).next_back().map_or(0, |(last, _)| *last);
        let short = members.iter().find(|m| of_view.gone.get(m).is_some_and(|last| *last < upto)).copied();
        of_view.safe.insert(id, (upto, members));
        if let Some(short) = short {
            self.fail(format!("{upto} of {view} is safe at node {id}, and node {short} went on without it"));
        }
    }

    pub fn view(&mut self, id: NodeId, v: &View, _now: Time) {
        self.views_seen += 1;
        if !v.members.contains(&id) || !v.members.is_sorted() || v.id <= v.previous {
            return self.fail(format!("node {id}: a view that makes no sense: {v:?}"));
        }
        let before = self.given.get(&id).cloned().unwrap_or_default();
        if before.view != ViewId::NONE && before.view != v.previous {
            return self.fail(format!("node {id} goes from {} to {}, which follows {}", before.view, v.id, v.previous));
        }
        let known = &mut self.views.entry(v.id).or_default().members;
        if known.is_empty() {
            known.clone_from(&v.members);
        } else if *known != v.members {
            let known = known.clone();
            return self.fail(format!("{}: node {id} has members {:?}, others {known:?}", v.id, v.members));
        }
        if before.view != ViewId::NONE {
            self.went_on(id, &before, v);
        }
        let members = v.members.iter().copied().collect();
        self.given.insert(id, Given { view: v.id, members, ..Given::default() });
        while self.views.len() > MAX_VIEWS {
            self.views.pop_first();
        }
    }

    fn went_on(&mut self, id: NodeId, before: &Given, v: &View) {
        let of_view = self.views.entry(v.previous).or_default();
        of_view.gone.insert(id, before.last);
        let short = of_view.safe.iter().find(|(_, (upto, at))| at.contains(&id) && before.last < *upto);
        let short = short.map(|(by, (upto, _))| (*by, *upto));
        let company: BTreeSet<NodeId> = v.transitional.iter().copied().collect();
        let mine = (id, before.count, before.digest);
        let first = *of_view.together.entry((v.id, company)).or_insert(mine);
        if let Some((by, upto)) = short {
            return self
                .fail(format!("{upto} of {} is safe at node {by}, and node {id} went on without it", v.previous));
        }
        if (first.1, first.2) != (mine.1, mine.2) {
            self.fail(format!(
                "nodes {} and {id} went together from {} to {} with {} and {} messages that are not the same",
                first.0, v.previous, v.id, first.1, mine.1
            ));
        }
    }
}
