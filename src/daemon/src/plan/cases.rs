//! What happens in each kind of failure, how long clients wait, and how long an address may be on two nodes. Pure.
//!
//! Times are waits of the programs, added up from [`Bounds`] and the ring's own; what agents and the machine take comes on top.

use super::Takeover;
use base::lease::Bounds;
use serde_json::{Value, json};
use std::time::Duration;

/// Shortest and longest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub least: Duration,
    pub most: Duration,
}

impl Span {
    const NONE: Span = Span { least: Duration::ZERO, most: Duration::ZERO };

    fn plus(self, wait: Duration) -> Span {
        Span { least: self.least + wait, most: self.most + wait }
    }

    fn text(&self) -> String {
        match (self.least.as_millis(), self.most.as_millis()) {
            (least, most) if least == most => format!("{most} ms"),
            (least, most) => format!("{least} to {most} ms"),
        }
    }

    fn json(&self) -> Value {
        json!({ "least": self.least.as_millis() as u64, "most": self.most.as_millis() as u64 })
    }
}

/// One kind of failure.
pub(super) struct Case {
    pub key: &'static str,
    pub name: &'static str,
    pub what: String,
    /// With `fast` and with `safe`; `None`: as long as the failure lasts.
    outage: [Option<Span>; 2],
    /// Longest time on two nodes of which both can be reached, with `fast` and with `safe`.
    twice: [Duration; 2],
    /// While the networks are cut, both hold the address, and no client reaches more than one.
    apart: bool,
}

impl Case {
    pub fn outage(&self, takeover: Takeover) -> Option<Span> {
        self.outage[takeover as usize]
    }

    pub fn twice(&self, takeover: Takeover) -> Duration {
        self.twice[takeover as usize]
    }

    pub fn text(&self) -> String {
        let outage = |t| self.outage(t).map_or_else(|| "as long as it lasts".to_owned(), |span| span.text());
        let twice = |t| match self.twice(t).as_millis() {
            0 => "never".to_owned(),
            ms => format!("{ms} ms at most"),
        };
        let both = |fast: String, safe: String| {
            if fast == safe { fast } else { format!("{fast}; safe: {safe}") }
        };
        let after = if self.apart { ", once the networks are whole" } else { "" };
        format!(
            "{}\n  {}\n  no service        {}\n  held twice        {}{after}\n",
            self.name,
            self.what,
            both(outage(Takeover::Fast), outage(Takeover::Safe)),
            both(twice(Takeover::Fast), twice(Takeover::Safe)),
        )
    }

    pub fn json(&self) -> Value {
        let outage = |t| self.outage(t).map_or(Value::Null, |span| span.json());
        let twice = |t| self.twice(t).as_millis() as u64;
        json!({
            "case": self.key,
            "what": self.what,
            "outage_ms": { "fast": outage(Takeover::Fast), "safe": outage(Takeover::Safe) },
            "twice_ms": { "fast": twice(Takeover::Fast), "safe": twice(Takeover::Safe) },
            "held_apart": self.apart,
        })
    }
}

/// What the cases follow from.
pub(super) struct Basis {
    pub bounds: Bounds,
    /// From a node's last packet to the view without it.
    pub detected: Span,
    /// A controller that hangs gives its leases no more permits after this,
    pub unready: Duration,
    /// and has its node out of the ring after this.
    pub hung: Duration,
    /// The half that is cut off loses its vote: three nodes, or something that arbitrates.
    pub arbitrated: bool,
}

impl Basis {
    /// All addresses of a group, which are asked for together, where nobody answers.
    fn asked(&self) -> Duration {
        self.bounds.asked()
    }

    /// From a node's end: seen, for `safe` waited for, asked for.
    fn lost(&self) -> [Option<Span>; 2] {
        let fast = self.detected.plus(self.asked());
        [Some(fast), Some(fast.plus(self.bounds.hold()))]
    }

    pub fn cases(&self) -> Vec<Case> {
        [self.of_nodes(), self.of_networks(), self.of_programs()].into_iter().flatten().collect()
    }

    fn of_nodes(&self) -> Vec<Case> {
        let never = [Duration::ZERO; 2];
        let stays = self.bounds.possession();
        vec![
            Case {
                key: "node",
                name: "a node loses its power, or its kernel panics",
                what: "nobody answers for its addresses: another node takes them".to_owned(),
                outage: self.lost(),
                twice: never,
                apart: false,
            },
            Case {
                key: "kernel",
                name: "a node's kernel stands still and goes on (a virtual machine that was suspended)",
                what: "as above; when it goes on, its clock has not moved: its leases still have what was left of them"
                    .to_owned(),
                outage: self.lost(),
                twice: [stays, stays],
                apart: false,
            },
        ]
    }

    fn of_networks(&self) -> Vec<Case> {
        let (never, nothing) = ([Duration::ZERO; 2], [Some(Span::NONE); 2]);
        let both = match self.arbitrated {
            true => "nobody answers: another node takes the addresses; the half without quorum gives them up",
            false => "nobody answers: another node takes the addresses; both hold them, and no client reaches both",
        };
        vec![
            Case {
                key: "ring",
                name: "the ring's network fails, the addresses' network works",
                what: "the holder answers for its addresses there: it keeps them, and the other node stays away"
                    .to_owned(),
                outage: nothing,
                twice: never,
                apart: false,
            },
            Case {
                key: "carrier",
                name: "an address's link loses its carrier",
                what: format!(
                    "the address is dropped and its group moves at once; the link may be used again {} ms after its \
                     carrier is back, up to {} s if it flaps",
                    self.bounds.settle.as_millis(),
                    self.bounds.settle_most.as_secs()
                ),
                outage: nothing,
                twice: never,
                apart: false,
            },
            Case {
                key: "service_lan",
                name: "the addresses' network fails behind the switch, the carrier stays",
                what: "nobody notices, unless a ping resource looks, and a rule moves the group".to_owned(),
                outage: [None; 2],
                twice: never,
                apart: false,
            },
            Case {
                key: "both_networks",
                name: "both networks of the holder fail",
                what: format!("{both}; whoever meets the other first gives up by a fixed rule"),
                outage: self.lost(),
                twice: [self.bounds.meeting(); 2],
                apart: !self.arbitrated,
            },
        ]
    }

    fn of_programs(&self) -> Vec<Case> {
        let (b, never) = (&self.bounds, [Duration::ZERO; 2]);
        let again = b.again;
        let [fast, safe] = self.lost();
        let seen = |by: Duration| fast.map(|s| Span { least: s.least, most: s.most.max(by + self.asked()) + again });
        // The kernel answers and serves until the lease is over, at the latest; `safe` has waited longer by then.
        let served = b.lifetime - b.renew;
        let late = safe.map(|s| Span { least: self.asked(), most: s.most.saturating_sub(served) });
        // It serves until its guard or its leases end it, and is in the ring until its silence is noticed there.
        let most = (self.hung + self.detected.most + again).saturating_sub(b.hung);
        let hung = Span { least: Duration::ZERO, most }.plus(self.asked());
        vec![
            Case {
                key: "daemon",
                name: "a node's daemon ends or is stopped",
                what: format!("its guard takes the addresses away within {} ms", b.stopped().as_millis()),
                outage: [seen(b.stopped()), safe],
                twice: never,
                apart: false,
            },
            Case {
                key: "daemon_hangs",
                name: "a node's daemon hangs",
                what: format!(
                    "where its leases hang as well, its guard takes the addresses away within {} ms; where its core alone hangs, \
                     its leases are over within {} ms; it is out of the ring after {} ms",
                    b.hung().as_millis(),
                    (self.unready + b.possession()).as_millis(),
                    self.hung.as_millis()
                ),
                outage: [Some(hung), Some(hung.plus(b.hold()))],
                twice: never,
                apart: false,
            },
            Case {
                key: "daemon_and_guard",
                name: "a node's daemon and guard end or are stopped together",
                what: format!(
                    "its kernel answers and serves until the lease is over, {} ms at most; then another node takes the addresses",
                    b.possession().as_millis()
                ),
                outage: [Some(Span { least: self.asked(), most: self.asked() + again }), late],
                twice: never,
                apart: false,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(arbitrated: bool) -> Basis {
        let ms = Duration::from_millis;
        Basis {
            bounds: Bounds::STANDARD,
            detected: Span { least: ms(150), most: ms(700) },
            unready: ms(2000),
            hung: ms(5000),
            arbitrated,
        }
    }

    fn case(all: &[Case], key: &str) -> (Option<Span>, Option<Span>, Duration, Duration) {
        let case = all.iter().find(|c| c.key == key).unwrap_or_else(|| panic!("no case {key}"));
        let (fast, safe) = (Takeover::Fast, Takeover::Safe);
        (case.outage(fast), case.outage(safe), case.twice(fast), case.twice(safe))
    }

    #[test]
    fn an_outage_is_the_sum_of_its_waits() {
        let (all, b) = (basis(false).cases(), Bounds::STANDARD);
        let (fast, safe, ..) = case(&all, "node");
        let (fast, safe) = (fast.unwrap(), safe.unwrap());
        assert_eq!(fast.least, Duration::from_millis(150) + b.asked());
        assert_eq!(fast.most, Duration::from_millis(700) + b.asked());
        assert_eq!((safe.least - fast.least, safe.most - fast.most), (b.hold(), b.hold()));
        assert_eq!(case(&all, "ring").0, Some(Span::NONE));
        assert_eq!(case(&all, "service_lan").0, None);
        let (hung, ..) = case(&all, "daemon_hangs");
        let hung = hung.unwrap();
        assert!(
            hung.least < b.hung
                && hung.most < Duration::from_millis(5000 + 700)
                && hung.most > Duration::from_millis(4000)
        );
        let (killed, ..) = case(&all, "daemon");
        assert!(killed.unwrap().most >= b.stopped() + b.noticed());
        let (_, late, ..) = case(&all, "daemon_and_guard");
        assert!(late.unwrap().most < safe.most, "the kernel serves for a part of the wait");
    }

    #[test]
    fn no_failure_of_one_part_puts_an_address_on_two_nodes() {
        for case in basis(false).cases() {
            let both = [case.twice(Takeover::Fast), case.twice(Takeover::Safe)];
            match case.key {
                "kernel" => assert_eq!(both, [Bounds::STANDARD.possession(); 2]),
                "both_networks" => assert_eq!(both, [Bounds::STANDARD.meeting(); 2]),
                other => assert_eq!(both, [Duration::ZERO; 2], "{other}"),
            }
        }
    }

    #[test]
    fn who_arbitrates_changes_what_a_cut_leaves_behind() {
        let apart = |arbitrated| basis(arbitrated).cases().iter().find(|c| c.key == "both_networks").unwrap().apart;
        assert!(apart(false) && !apart(true));
        let text = basis(false).cases().iter().map(Case::text).collect::<String>();
        assert!(text.contains("held twice        never") && text.contains("as long as it lasts"), "{text}");
    }
}
