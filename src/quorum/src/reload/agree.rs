//! A reload is one decision of all members: everywhere or nowhere.
//!
//! ```text
//!   somebody asks --Ask--> every member reads its own file --Vote--> all yes: apply │ a no, a view, too late: nothing
//! ```
//!
//! All of it are ordered messages, so each member comes to the same end at the same place. A view in between ends the attempt:
//! who is new in it has not voted. Pure: the caller reads, sends and applies.

use base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of refusal that one node may contribute, and their length.
const MAX_LINES: usize = 8;
const MAX_LINE_BYTES: usize = 600;

/// What must be the same on every node: the keys of totem{}, nodelist{} and quorum{}, and a mark of the key file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Shared {
    pub keys: BTreeMap<String, String>,
    pub key_mark: [u8; 16],
}

/// Keys that are each node's own.
const OWN: &[&str] = &["totem.keyfile", "totem.key"];

impl Shared {
    pub fn of(kept: &BTreeMap<String, String>, key_mark: [u8; 16]) -> Shared {
        let shared = |key: &str| {
            let section = key.split('.').next().unwrap_or_default();
            matches!(section, "totem" | "nodelist" | "quorum") && !OWN.contains(&key)
        };
        let keys = kept.iter().filter(|(k, _)| shared(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
        Shared { keys, key_mark }
    }

    /// How this node's file differs from the one of who asked, in words.
    pub fn differences(&self, asked: &Shared, file: &str, asker: &str) -> Vec<String> {
        let mut all: Vec<&String> = self.keys.keys().chain(asked.keys.keys()).collect();
        all.sort();
        all.dedup();
        let word = |value: Option<&String>| value.map_or("absent".to_owned(), |v| format!("`{v}`"));
        let differ = all.into_iter().filter(|key| self.keys.get(*key) != asked.keys.get(*key));
        let mut lines: Vec<String> = differ
            .map(|key| {
                let (here, there) = (word(self.keys.get(key)), word(asked.keys.get(key)));
                format!("{file}: {key} is {here} here and {there} on {asker}: copy the file to every node first")
            })
            .collect();
        if self.key_mark != asked.key_mark {
            lines.push(format!("the authkey is not the one of {asker}: copy it to every node first"));
        }
        lines
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    Ask {
        number: u64,
        shared: Shared,
    },
    /// Nothing speaks against it here, or what does.
    Vote {
        asker: NodeId,
        number: u64,
        refusals: Vec<String>,
    },
    /// It took too long.
    Cancel {
        number: u64,
    },
}

/// What the caller has to do.
#[derive(PartialEq, Eq, Debug)]
pub enum Step {
    Nothing,
    /// Read the file, compare, send a [`Message::Vote`], and keep what was read.
    Read {
        asker: NodeId,
        number: u64,
        shared: Shared,
    },
    Apply {
        asker: NodeId,
        number: u64,
    },
    /// Nothing has changed anywhere; why, each line with the node that says it.
    Drop {
        asker: NodeId,
        number: u64,
        why: Vec<String>,
    },
}

struct Round {
    asker: NodeId,
    number: u64,
    waiting: BTreeSet<NodeId>,
    refusals: Vec<String>,
}

#[derive(Default)]
pub struct Agreement {
    members: BTreeSet<NodeId>,
    round: Option<Round>,
}

impl Agreement {
    /// Who and which attempt is under way.
    pub fn under_way(&self) -> Option<(NodeId, u64)> {
        self.round.as_ref().map(|r| (r.asker, r.number))
    }

    pub fn view(&mut self, members: &[NodeId]) -> Step {
        self.members = members.iter().copied().collect();
        self.drop_round("the membership changed meanwhile: try again")
    }

    /// A message of the order.
    pub fn receive(&mut self, sender: NodeId, message: Message, name: impl Fn(NodeId) -> String) -> Step {
        match (message, &mut self.round) {
            (Message::Ask { number, .. }, Some(round)) => {
                let why = vec![format!("a reload asked for on {} is under way: try again", name(round.asker))];
                Step::Drop { asker: sender, number, why }
            }
            (Message::Ask { number, shared }, None) => {
                let waiting = self.members.clone();
                self.round = Some(Round { asker: sender, number, waiting, refusals: Vec::new() });
                Step::Read { asker: sender, number, shared }
            }
            (Message::Vote { asker, number, refusals }, Some(round))
                if (asker, number) == (round.asker, round.number) =>
            {
                let bounded = |line: &String| {
                    let mut end = line.len().min(MAX_LINE_BYTES);
                    while !line.is_char_boundary(end) {
                        end -= 1;
                    }
                    format!("{}: {}", name(sender), line.get(..end).unwrap_or_default())
                };
                round.waiting.remove(&sender);
                round.refusals.extend(refusals.iter().take(MAX_LINES).map(bounded));
                self.finish()
            }
            (Message::Cancel { number }, Some(round)) if (sender, number) == (round.asker, round.number) => {
                let late: Vec<String> = round.waiting.iter().map(|n| name(*n)).collect();
                self.drop_round(&format!("{} did not read its file in time", late.join(", ")))
            }
            _ => Step::Nothing,
        }
    }

    fn finish(&mut self) -> Step {
        let Some(Round { asker, number, refusals, .. }) = self.round.take_if(|r| r.waiting.is_empty()) else {
            return Step::Nothing;
        };
        if refusals.is_empty() { Step::Apply { asker, number } } else { Step::Drop { asker, number, why: refusals } }
    }

    fn drop_round(&mut self, why: &str) -> Step {
        match self.round.take() {
            Some(Round { asker, number, mut refusals, .. }) => {
                refusals.push(why.to_owned());
                Step::Drop { asker, number, why: refusals }
            }
            None => Step::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn name(node: NodeId) -> String {
        format!("n{node}")
    }

    fn asked() -> Agreement {
        let mut all = Agreement::default();
        assert_eq!(all.view(&[A, B]), Step::Nothing);
        let shared = Shared::default();
        let step = all.receive(A, Message::Ask { number: 7, shared: shared.clone() }, name);
        assert_eq!(step, Step::Read { asker: A, number: 7, shared });
        all
    }

    fn vote(all: &mut Agreement, from: NodeId, refusals: &[&str]) -> Step {
        let refusals = refusals.iter().map(|r| (*r).to_owned()).collect();
        all.receive(from, Message::Vote { asker: A, number: 7, refusals }, name)
    }

    #[test]
    fn all_have_to_agree() {
        let mut all = asked();
        assert_eq!(vote(&mut all, B, &[]), Step::Nothing);
        assert_eq!(vote(&mut all, B, &[]), Step::Nothing, "twice counts once");
        assert_eq!(vote(&mut all, A, &[]), Step::Apply { asker: A, number: 7 });
        assert_eq!(all.under_way(), None);
        let mut all = asked();
        vote(&mut all, A, &[]);
        let why = vec!["n2: corosync.conf:3:5: no".to_owned()];
        assert_eq!(vote(&mut all, B, &["corosync.conf:3:5: no"]), Step::Drop { asker: A, number: 7, why });
    }

    #[test]
    fn a_view_a_cancellation_or_a_second_one_ends_in_nothing() {
        let mut all = asked();
        vote(&mut all, A, &[]);
        assert!(matches!(all.view(&[A]), Step::Drop { asker: A, number: 7, .. }));
        assert_eq!(vote(&mut all, B, &[]), Step::Nothing, "too late");
        let mut all = asked();
        vote(&mut all, A, &[]);
        assert_eq!(all.receive(B, Message::Cancel { number: 7 }, name), Step::Nothing, "not its own");
        let Step::Drop { why, .. } = all.receive(A, Message::Cancel { number: 7 }, name) else { panic!("it goes on") };
        assert!(why[0].contains("n2"), "{why:?}");
        let mut all = asked();
        let second = all.receive(B, Message::Ask { number: 1, shared: Shared::default() }, name);
        assert!(matches!(second, Step::Drop { asker: B, number: 1, .. }));
        vote(&mut all, A, &[]);
        assert_eq!(vote(&mut all, B, &[]), Step::Apply { asker: A, number: 7 }, "the first goes on");
    }

    #[test]
    fn what_differs_is_named_and_what_is_each_nodes_own_is_not_compared() {
        let of = |list: &[(&str, &str)], mark: u8| {
            let kept = list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Shared::of(&kept, [mark; 16])
        };
        let here = of(&[("totem.token", "1000"), ("logging.debug", "on"), ("totem.keyfile", "/a")], 1);
        let there = of(&[("totem.token", "3000"), ("quorum.two_node", "1"), ("totem.keyfile", "/b")], 2);
        let lines = here.differences(&there, "corosync.conf", "n1");
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("quorum.two_node is absent here and `1` on n1"));
        assert!(lines[1].contains("totem.token is `1000` here and `3000` on n1") && lines[2].contains("authkey"));
        assert!(here.differences(&here, "f", "n1").is_empty());
    }
}
