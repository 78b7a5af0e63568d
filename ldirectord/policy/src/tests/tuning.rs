//! rise and fall, flap damping, slow start, drain, agent: all on virtual time.

use super::*;

fn at(s: u64) -> Time {
    Time::from_millis(s * 1_000)
}

fn with(tuning: Tuning) -> Plan {
    let mut plan = plan(2, false, 1);
    plan.virtuals[0].tuning = tuning;
    plan
}

struct Bed {
    plan: Plan,
    health: Health,
    table: Table,
}

impl Bed {
    fn new(tuning: Tuning) -> Bed {
        let mut bed = Bed { plan: with(tuning), health: Health::default(), table: Table::default() };
        bed.health.follow(&bed.plan, Time::ZERO);
        bed
    }

    fn check(&mut self, n: u8, up: bool, now: Time) -> Transition {
        let tuning = self.plan.virtuals[0].tuning.clone();
        self.health.record(id(n), &verdict(up), &tuning, now)
    }

    fn weights(&mut self, now: Time) -> Vec<(u8, u32)> {
        settle(&self.plan, &self.health, &mut self.table, now);
        self.table.weights()
    }

    fn agent(&mut self, n: u8, line: &str, now: Time) -> bool {
        self.health.agent(id(n), &AgentReport::parse(line).unwrap(), now)
    }
}

#[test]
fn rise_and_fall_count_checks_in_a_row() {
    let mut bed = Bed::new(Tuning { rise: 3, ..Tuning::fall(2) });
    assert_eq!(bed.check(1, true, at(0)), Transition::Up, "a server that nothing is known of needs one");
    assert_eq!(bed.check(1, false, at(1)), Transition::SoftFailure { failures: 1, limit: 2 });
    assert_eq!(bed.check(1, false, at(2)), Transition::Down);
    assert_eq!(bed.check(1, true, at(3)), Transition::Rising { passes: 1, limit: 3 });
    assert_eq!(bed.check(1, true, at(4)), Transition::Rising { passes: 2, limit: 3 });
    assert_eq!(bed.check(1, false, at(5)), Transition::None, "which begins the count anew");
    for s in 6..8 {
        assert!(matches!(bed.check(1, true, at(s)), Transition::Rising { .. }));
    }
    assert_eq!(bed.check(1, true, at(8)), Transition::Up);
}

fn flapping() -> Tuning {
    let flap = Flap { changes: 3, window: Duration::from_secs(60), hold: Duration::from_secs(20) };
    Tuning { flap: Some(flap), ..Tuning::fall(1) }
}

#[test]
fn who_flaps_is_held_down_until_a_time_without_failure() {
    let mut bed = Bed::new(flapping());
    bed.check(2, true, at(0));
    for s in 0..2 {
        assert_eq!(bed.check(1, true, at(2 * s)), Transition::Up);
        assert_eq!(bed.check(1, false, at(2 * s + 1)), Transition::Down);
    }
    assert_eq!(bed.check(1, true, at(4)), Transition::Up);
    assert_eq!(bed.check(1, false, at(5)), Transition::Damped);
    assert_eq!(bed.check(1, true, at(10)), Transition::Held);
    assert_eq!(bed.weights(at(10)), [(2, 5)]);
    assert_eq!(bed.check(1, false, at(15)), Transition::None, "a failure prolongs it to 15 s + 20 s");
    assert_eq!(bed.check(1, true, at(34)), Transition::Held);
    assert_eq!(bed.check(1, true, at(35)), Transition::Up);
    assert_eq!(bed.weights(at(35)), [(1, 5), (2, 5)]);
}

#[test]
fn falls_that_lie_far_apart_are_no_flapping() {
    let mut bed = Bed::new(flapping());
    for s in 0..20 {
        assert_eq!(bed.check(1, true, at(40 * s)), Transition::Up);
        assert_eq!(bed.check(1, false, at(40 * s + 1)), Transition::Down);
    }
}

#[test]
fn damping_never_takes_the_last_server_that_passes() {
    let mut bed = Bed::new(flapping());
    for s in 0..3 {
        bed.check(1, true, at(2 * s));
        bed.check(1, false, at(2 * s + 1));
    }
    assert_eq!(bed.weights(at(6)), [(99, 1)], "it fails: the fallback");
    assert_eq!(bed.check(1, true, at(7)), Transition::Held);
    assert_eq!(bed.weights(at(7)), [(1, 5)], "it passes and nobody else is there");
    bed.check(2, true, at(8));
    assert_eq!(bed.weights(at(8)), [(2, 5)]);
}

#[test]
fn weight_grows_after_a_server_came_back_but_not_at_start() {
    let mut bed = Bed::new(Tuning { slow_start: Duration::from_secs(100), ..Tuning::fall(1) });
    bed.plan.virtuals[0].reals[0].dest.weight = 100;
    bed.check(2, true, at(0));
    bed.check(1, true, at(0));
    assert_eq!(bed.weights(at(0)), [(1, 100), (2, 5)], "at start everybody has the whole weight");
    bed.check(1, false, at(10));
    bed.check(1, true, at(20));
    let mut seen = Vec::new();
    for s in 20..=121 {
        let weight = bed.weights(at(s))[0].1;
        assert!(weight >= seen.last().copied().unwrap_or(1), "never back");
        if seen.last() != Some(&weight) {
            seen.push(weight);
        }
    }
    assert_eq!(seen, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    // A small weight is never rounded to nothing.
    bed.check(2, false, at(200));
    bed.check(2, true, at(201));
    assert_eq!(bed.weights(at(201))[1], (2, 1));
}

#[test]
fn a_drained_server_keeps_its_entry_and_the_fallback_takes_over_when_all_are() {
    let mut bed = Bed::new(Tuning::fall(1));
    bed.check(1, true, at(0));
    bed.check(2, true, at(0));
    assert!(bed.health.set_drained(id(1), true, at(1)) && !bed.health.set_drained(id(1), true, at(1)));
    assert_eq!(bed.weights(at(1)), [(1, 0), (2, 5)]);
    bed.health.set_drained(id(2), true, at(2));
    assert_eq!(bed.weights(at(2)), [(1, 0), (2, 0), (99, 1)]);
    bed.check(1, false, at(3));
    assert_eq!(bed.weights(at(3)), [(2, 0), (99, 1)], "a drained server that dies leaves as any other");
    bed.check(1, true, at(4));
    bed.health.set_drained(id(1), false, at(4));
    assert_eq!(bed.weights(at(4)), [(1, 5), (2, 0)]);
}

#[test]
fn an_agent_tells_weight_and_state() {
    let mut bed = Bed::new(Tuning { agent: true, ..Tuning::fall(1) });
    bed.plan.virtuals[0].reals[0].dest.weight = 40;
    bed.check(1, true, at(0));
    bed.check(2, true, at(0));
    assert!(bed.agent(1, "75%", at(1)) && !bed.agent(1, "75%", at(1)));
    assert_eq!(bed.weights(at(1)), [(1, 30), (2, 5)]);
    bed.agent(1, "drain", at(2));
    assert_eq!(bed.weights(at(2)), [(1, 0), (2, 5)]);
    bed.agent(1, "up ready", at(3));
    assert_eq!(bed.weights(at(3)), [(1, 30), (2, 5)], "the weight that was told before still holds");
    bed.agent(1, "down # disk full", at(4));
    assert_eq!(bed.weights(at(4)), [(2, 5)]);
    bed.agent(1, "up,150%", at(5));
    assert_eq!(bed.weights(at(5)), [(1, 60), (2, 5)]);
    bed.agent(1, "maint", at(6));
    assert_eq!(bed.weights(at(6)), [(2, 5)]);
    bed.agent(1, "ready 0%", at(7));
    assert_eq!(bed.weights(at(7)), [(1, 0), (2, 5)]);
    // Checks count as well: an agent cannot bring up what fails.
    bed.agent(2, "up 100%", at(8));
    bed.check(2, false, at(8));
    assert_eq!(bed.weights(at(8)), [(1, 0), (99, 1)]);
    // Without the directive nothing of it is left.
    bed.plan.virtuals[0].tuning.agent = false;
    let plan = bed.plan.clone();
    bed.health.follow(&plan, at(9));
    assert_eq!(bed.weights(at(9)), [(1, 40)]);
}

#[test]
fn lines_of_agents() {
    let parse = |text: &str| AgentReport::parse(text);
    let report = |percent, down, admin| Ok(AgentReport { percent, down, admin });
    assert_eq!(parse("75%"), report(Some(75), None, None));
    assert_eq!(parse("UP, Ready\t10%"), report(Some(10), Some(false), Some(Admin::Ready)));
    assert_eq!(parse("stopped"), report(None, Some(true), None));
    assert_eq!(parse("drain maxconn:30"), report(None, None, Some(Admin::Drain)));
    assert_eq!(parse("99999999999999999999%"), report(Some(10_000), None, None));
    for bad in ["", "  ", "#down", "75", "-5%", "%", "sideways", "up \u{e9}", "+5%"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
