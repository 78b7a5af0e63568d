//! Payloads that are almost right: no byte of a peer may make a controller panic or hang.

use crate::harness::planner::plan;
use crate::harness::{GROUP, Lab, START_WALL, Tape, document};
use base::{NodeId, Time, WallTime};
use cib::Cib;
use controller::*;

/// Ordered payloads of a life with all kinds of messages: start, writes, failures, merges, leaving.
fn tape() -> Tape {
    let mut lab = Lab::new(3, GROUP, plan);
    lab.tape = Some(Vec::new());
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(300);
    lab.property(1, "some", "value");
    lab.partition(&[&[1], &[2, 3]]);
    lab.run_ms(300);
    lab.property(1, "other", "value");
    lab.run_ms(50);
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(300);
    lab.input(NodeId(2), Input::PeerReady { node: NodeId(1), ready: false });
    lab.ask(3, Request::Cleanup { resource: None, node: None, operation: None, refresh: true });
    lab.ask(3, Request::Shutdown { cancel: false });
    lab.run_ms(500);
    lab.tape.take().unwrap()
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// Numbers become huge or negative, bytes flip, pieces go missing or come twice.
fn mutate(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    let mut out = payload.to_vec();
    let at = random.below(out.len());
    match random.below(5) {
        0 => out[at] ^= 1 << random.below(8),
        1 => out.truncate(at),
        2 => {
            let end = (at + random.below(40)).min(out.len());
            let piece = out[at..end].to_vec();
            out.splice(at..at, piece);
        }
        3 => {
            let end = (at + random.below(40)).min(out.len());
            out.drain(at..end);
        }
        _ => {
            let digits: Vec<usize> = (17.min(out.len())..out.len()).filter(|i| out[*i].is_ascii_digit()).collect();
            if let Some(at) = digits.get(random.below(digits.len())) {
                let values: [&[u8]; 4] = [b"18446744073709551615", b"9223372036854775807", b"0", b"-1"];
                out.splice(*at..*at + 1, values[random.below(4)].iter().copied());
            }
        }
    }
    out
}

fn fresh() -> Controller {
    let names = (1..=3).map(|n| (NodeId(n), format!("node{n}"))).collect();
    Controller::new(Config::new(NodeId(1), names, "test", 1001), Cib::parse(&document(GROUP)).unwrap(), "", Time::ZERO)
}

#[test]
fn mutated_messages_do_no_harm() {
    let tape = tape();
    assert!(tape.len() > 60);
    let mut random = Random(11);
    let wall = WallTime(START_WALL);
    let (mut applied, mut stopped) = (0, 0);
    for round in 0..180 {
        // Damage that is rare lets a victim get far before it has to leave.
        let one_in = [4, 40, 400][round % 3];
        let mut victim = fresh();
        let mut now = Time::from_millis(1);
        let mut view = ViewId::default();
        for (sender, at, seq, payload) in &tape {
            now = now + std::time::Duration::from_millis(1);
            if *at != view {
                view = *at;
                victim.handle(
                    now,
                    wall,
                    Input::View { id: view, members: vec![NodeId(1), NodeId(2), NodeId(3)], quorate: true },
                );
            }
            let payload = if random.below(one_in) == 0 { mutate(&mut random, payload) } else { payload.clone() };
            victim.handle(now, wall, Input::Deliver { sender: *sender, view, seq: *seq, payload });
            victim.handle(now, wall, Input::Tick);
            let mut outputs = 0;
            let mut left = false;
            while let Some(output) = victim.poll_output() {
                left |= matches!(output, Output::FailStop { .. });
                outputs += 1;
                assert!(outputs < 10_000, "round {round} never ends");
            }
            if left {
                stopped += 1;
                let members = vec![NodeId(1), NodeId(2), NodeId(3)];
                victim.handle(now, wall, Input::View { id: view, members, quorate: true });
            }
            let _ = victim.poll_timeout();
        }
        let counters = victim.status().counters;
        applied += counters.get("messages_applied").copied().unwrap_or(0);
    }
    assert!(applied > 2000 && stopped > 300, "the test must reach both: {applied} applied, {stopped} times unreadable");
}
