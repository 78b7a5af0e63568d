//! The times of an address lease, and what follows from them (DESIGN §3.18). Whoever waits for a lease, renews one or watches
//! over it takes the time from [`Bounds`]; nobody writes down one of his own.
//!
//! ```text
//!   ring's look ──permit──► keeper's renewal ──lifetime──► kernel's expiry
//!    every look     │         within request,   │            0..expiry later
//!    [lag]          '- ends by itself           '- repeated every renew
//!
//!   last permit     last renewal sent          last moment on this node
//!   0               ≤ permit + in_flight       ≤ permit + in_flight + lifetime + expiry = possession
//! ```
//!
//! A survivor may learn of a loss `lag` before the lost node's last permit is given: [`Bounds::hold`] is possession and lag.

use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Most addresses that one node leases, and for which these bounds hold.
pub const MAX_LEASES: usize = 1024;

/// All of them; [`Bounds::STANDARD`] is what the product runs with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Valid lifetime that the kernel is told with each renewal; whole seconds.
    pub lifetime: Duration,
    /// The kernel takes an address away up to so much later than that (measured: 0 to 0.4 s).
    pub expiry: Duration,
    /// Between two rounds of renewals.
    pub renew: Duration,
    /// How far ahead each look at the ring permits renewals.
    pub permit: Duration,
    /// The ring's thread looks at ring and controller that often, and gives a permit if both are well.
    pub look: Duration,
    /// Longest time between two heartbeats to the same node of a ring, whatever `token` is.
    pub heartbeat: Duration,
    /// How much longer one side of a cut may wait for a host that it knows to be silent about echo requests than the other side does
    /// for one that used to answer.
    pub patience: Duration,
    /// Longest answer of the kernel to one request; without it the next round asks again.
    pub request: Duration,
    /// A renewal that took longer than this counts only if it was still permitted when it was done.
    pub in_flight: Duration,
    /// Between two signs of life to the guard process.
    pub beat: Duration,
    /// Silence after which the guard looks whether the daemon is stopped or dead.
    pub silence: Duration,
    /// A keeper that made no step for that long is not vouched for by further signs of life.
    pub stuck: Duration,
    /// Silence after which the guard acts, whatever the state of the daemon's process.
    pub hung: Duration,
    /// Time that the guard has for taking all addresses away, [`MAX_LEASES`] of them.
    pub removal: Duration,
    /// How long after a start the set of owned resources may lack it (the two travel different ways).
    pub owner_grace: Duration,
    /// Between two questions to the LAN, whether somebody holds an address ([`Bounds::PROBES`] of them).
    pub probe: Duration,
    /// How long after the last question an answer is waited for.
    pub answer: Duration,
    /// After an answer, before it is asked anew.
    pub again: Duration,
    /// Between two words of a holder to the silent nodes on the LAN of its addresses.
    pub claim: Duration,
    /// How long a link that has its carrier again must keep it before its addresses may come back.
    pub settle: Duration,
    /// The same for one that has lost it again and again, at most.
    pub settle_most: Duration,
    /// A carrier that was not lost for so long does not flap.
    pub calm: Duration,
}

impl Bounds {
    /// Questions without an answer after which an address is nobody's.
    pub const PROBES: u32 = 3;

    pub const STANDARD: Bounds = Bounds {
        lifetime: ms(2000),
        expiry: ms(400),
        renew: ms(400),
        permit: ms(600),
        look: ms(50),
        heartbeat: ms(140),
        patience: ms(120),
        request: ms(400),
        in_flight: ms(100),
        beat: ms(40),
        silence: ms(90),
        stuck: ms(400),
        hung: ms(1000),
        removal: ms(500),
        owner_grace: ms(10_000),
        probe: ms(6),
        answer: ms(8),
        again: ms(20),
        claim: ms(50),
        settle: ms(250),
        settle_most: ms(32_000),
        calm: ms(60_000),
    };

    /// Longest time that an address stays on a node after the last permit was given there, with nothing in user space running.
    pub const fn possession(&self) -> Duration {
        ms(to_ms(self.permit) + to_ms(self.in_flight) + to_ms(self.lifetime) + to_ms(self.expiry))
    }

    /// How much later than a survivor's view the lost node may have been given its last permit: its last heartbeat and its
    /// last look may each be one interval away from the survivor's, and it may be the more patient of the two.
    pub const fn lag(&self) -> Duration {
        ms(to_ms(self.look) + to_ms(self.heartbeat) + to_ms(self.patience))
    }

    /// What `takeover=safe` waits from the view without the lost node, unless its death is confirmed.
    pub const fn hold(&self) -> Duration {
        ms(self.possession().as_millis() as u64 + to_ms(self.lag()))
    }

    /// Longest time that `takeover=fast` may leave an address on two nodes: the lost one lives, and neither its daemon nor
    /// its guard runs.
    pub const fn overlap(&self) -> Duration {
        self.hold()
    }

    /// From the stop or end of the daemon to the last address gone, by the guard.
    pub const fn stopped(&self) -> Duration {
        ms(to_ms(self.silence) + to_ms(self.removal))
    }

    /// The same for a daemon that runs and does nothing: the last sign of life may come [`Bounds::stuck`] late.
    pub const fn hung(&self) -> Duration {
        ms(to_ms(self.stuck) + to_ms(self.beat) + to_ms(self.hung) + to_ms(self.removal))
    }

    /// What asking the LAN takes where nobody answers: the wait of `takeover=fast`, and the last part of that of `safe`.
    pub const fn asked(&self) -> Duration {
        ms(to_ms(self.probe) * (Bounds::PROBES as u64 - 1) + to_ms(self.answer))
    }

    /// How long a start waits for a silent holder to stop answering before it gives up for the time being. A holder in which
    /// nothing runs has stopped by then, so one that still answers lives.
    pub const fn contest(&self) -> Duration {
        ms(to_ms(self.hold()) + to_ms(self.again) + to_ms(self.asked()))
    }

    /// From the moment at which a holder stops answering to the moment at which the taker knows.
    pub const fn noticed(&self) -> Duration {
        ms(to_ms(self.again) + to_ms(self.asked()))
    }

    /// Longest time that two holders keep an address once they can hear each other on its LAN: a claim, perhaps three hellos
    /// first, and its removal.
    pub const fn meeting(&self) -> Duration {
        ms(to_ms(self.claim) * 4 + to_ms(self.in_flight))
    }

    /// A stall of this process that may have cost the leases: from here on it looks before it decides.
    pub const fn stall(&self) -> Duration {
        ms(to_ms(self.lifetime) / 2)
    }
}

/// [`Duration`] has no constant arithmetic that cannot panic; these are all small.
const fn to_ms(d: Duration) -> u64 {
    d.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Bounds = Bounds::STANDARD;

    #[test]
    fn the_kernel_takes_whole_seconds() {
        assert_eq!(B.lifetime.subsec_nanos(), 0);
        assert!(B.lifetime >= ms(1000));
    }

    #[test]
    fn a_survivor_waits_longer_than_the_longest_possession() {
        // Every part by itself, so that none can be forgotten in the sum.
        let last_permit = B.look + B.heartbeat + B.patience;
        let last_renewal = last_permit + B.permit + B.in_flight;
        let last_moment = last_renewal + B.lifetime + B.expiry;
        assert!(B.hold() >= last_moment, "{:?} < {last_moment:?}", B.hold());
        assert!(B.hold() > B.possession());
        // What was measured to be possible before: permit, lifetime and expiry alone.
        assert!(B.hold() > ms(600 + 2000 + 400));
    }

    #[test]
    fn an_address_is_on_two_nodes_no_longer_than_stated() {
        assert!(B.overlap() >= B.possession() + B.lag());
        // The guard does better than the lease wherever it runs.
        assert!(B.stopped() < B.lifetime);
        assert!(B.hung() <= B.lifetime + B.expiry);
    }

    #[test]
    fn three_renewals_may_fail_before_the_lifetime_ends() {
        // Each takes the whole time that a request has, and the next round begins an interval after it.
        assert!(B.renew + B.request.max(B.renew) * 3 < B.lifetime);
    }

    #[test]
    fn a_permit_outlasts_looks_that_come_late() {
        assert!(B.permit > B.look * 4, "a busy machine makes a look or two late");
        assert!(B.permit > B.renew, "each round of a healthy node finds a permit");
        assert!(B.permit < B.lifetime, "permits never are what ends a lease late");
    }

    #[test]
    fn a_node_that_renews_stays_permitted_while_its_ring_forms_anew() {
        // Two detections of the default ring in a row, without a permit in between.
        assert!(B.permit + B.lifetime > ms(300) * 2 + ms(250) * 4);
    }

    #[test]
    fn a_renewal_that_counts_late_was_permitted_late() {
        assert!(B.in_flight < B.renew, "else the next round would begin before it is judged");
        assert!(B.in_flight <= B.request);
    }

    #[test]
    fn the_guard_is_patient_with_a_busy_machine_and_quick_with_a_stopped_daemon() {
        assert!(B.silence > B.beat * 2, "one late sign of life is none missing");
        assert!(B.stuck > B.request - B.beat, "a request that the kernel leaves unanswered is no stuck keeper");
        assert!(B.hung > B.silence * 4);
        assert!(B.hung > B.stuck, "a keeper that goes on is never taken for hung");
    }

    #[test]
    fn who_stalled_for_half_a_lease_looks_before_it_decides() {
        assert!(B.stall() < B.lifetime);
        assert!(B.stall() + B.renew < B.lifetime, "a stall below it, right before a renewal, costs no lease");
    }

    #[test]
    fn nobody_is_asked_for_longer_than_a_person_would_notice() {
        assert!(B.asked() <= ms(20));
        // Each question has as long as an answer on a LAN takes, several times over, before the next one.
        assert!(B.probe >= ms(5) && B.answer >= B.probe);
        const { assert!(Bounds::PROBES >= 3, "one packet may be lost, or two") };
    }

    #[test]
    fn who_still_answers_when_a_start_gives_up_lives() {
        assert!(B.contest() >= B.hold() + B.noticed());
        assert!(B.contest() > B.hung() + B.noticed(), "the guard has acted long before");
        // `safe` has waited for the lease before it asks.
        assert!(B.hold() >= B.possession());
        // Default timeout of an operation: a start that waits ends by itself.
        assert!(B.contest() < ms(20_000));
    }

    #[test]
    fn the_end_of_answers_is_noticed_at_once() {
        assert!(B.noticed() < B.probe * 10);
        assert!(B.again >= B.answer, "the answer of before is not taken for a new one");
    }

    #[test]
    fn two_holders_that_meet_are_one_long_before_a_lease_is_over() {
        assert!(B.meeting() < B.lifetime / 4);
        assert!(B.meeting() > B.claim * 4, "hello, hello, hello, claim");
    }

    #[test]
    fn a_flapping_link_is_left_alone_longer_each_time() {
        assert!(B.settle >= ms(200), "a switch port that begins to pass packets");
        assert!(B.settle < B.lifetime, "one loss of carrier costs less than one lease");
        assert!(B.settle_most >= B.settle * 64 && B.settle_most < B.calm);
    }

    #[test]
    fn an_owner_set_has_time_to_follow_a_start() {
        assert!(B.owner_grace > B.possession());
    }
}
