//! Devices and levels as configurations have them; requests that meet the verdict or the view which make them needless.

use super::device::{self, Covers, Device, Facts, HostCheck, MAX_DELAY_MS};
use super::state::{Members, State, Turn};
use super::{Ask, CLUSTER, Ended, FenceAction, FenceId, FenceOp, FenceOrder, Outcome, Step, topology};
use crate::api::ViewId;
use base::outside::{Reason, Word};
use base::{NodeId, WallTime};
use std::collections::BTreeMap;

fn with(params: &[(&str, &str)]) -> Device {
    Device::new("d", "fence_x", params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
}

#[test]
fn who_is_covered_follows_the_parameters() {
    for (params, check, covers_n1, covers_n9) in [
        (vec![("pcmk_host_list", "n1, n2")], HostCheck::StaticList, Covers::Yes, Covers::No),
        (vec![("pcmk_host_map", "n1:1;n2:2,3")], HostCheck::StaticList, Covers::Yes, Covers::No),
        (vec![("pcmk_host_map", "N1=1 n2=2")], HostCheck::StaticList, Covers::Yes, Covers::No),
        (vec![], HostCheck::ByAgent, Covers::Perhaps, Covers::Perhaps),
        (vec![("pcmk_host_check", "none"), ("pcmk_host_list", "n1")], HostCheck::None, Covers::Yes, Covers::Yes),
        (vec![("pcmk_host_check", "status")], HostCheck::Status, Covers::Perhaps, Covers::Perhaps),
    ] {
        let device = with(&params);
        assert_eq!(
            (device.check, device.covers("n1"), device.covers("n9")),
            (check, covers_n1, covers_n9),
            "{params:?}"
        );
    }
    let by_agent = with(&[]);
    let can = |list, status| Facts { list, status, ..Facts::default() };
    assert_eq!(by_agent.check_with(Some(&can(true, true))), HostCheck::DynamicList);
    assert_eq!(by_agent.check_with(Some(&can(false, true))), HostCheck::Status);
    assert_eq!(by_agent.check_with(Some(&can(false, false))), HostCheck::None);
    assert_eq!(
        with(&[("pcmk_host_map", "n1:1;n2:2,3;a\\ b:x\\;y")]).map[1..],
        [("n2".into(), "2,3".into()), ("a b".into(), "x;y".into())]
    );
}

#[test]
fn an_agent_gets_what_it_understands() {
    let get = |input: Vec<(String, String)>| input.into_iter().collect::<BTreeMap<_, _>>();
    let device = with(&[
        ("ip", "10.0.0.9"),
        ("pcmk_host_map", "n1:7"),
        ("pcmk_off_action", "kill"),
        ("action", "on"),
        ("evil", "x\naction=off"),
    ]);
    let facts = Facts { has_plug: true, has_port: true, ..Facts::default() };
    let input = get(device.input("off", Some("n1"), Some(&facts)));
    let wanted = [("action", "kill"), ("ip", "10.0.0.9"), ("nodename", "n1"), ("plug", "7")];
    assert_eq!(input, wanted.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
    assert_eq!(get(device.input("reboot", Some("n2"), None))["port"], "n2", "nothing is known of the agent");
    let named = with(&[("pcmk_host_argument", "uuid")]);
    assert_eq!(get(named.input("off", Some("n1"), Some(&facts)))["uuid"], "n1");
    let none = with(&[("pcmk_host_argument", "none"), ("port", "3")]);
    assert_eq!(get(none.input("off", Some("n1"), Some(&facts))).get("plug"), None);
    let given = with(&[("plug", "3")]);
    assert_eq!(get(given.input("off", Some("n1"), Some(&facts)))["plug"], "3", "what is configured stays");
}

#[test]
fn times_limits_and_delays() {
    let device = with(&[("pcmk_reboot_timeout", "90s"), ("pcmk_off_retries", "5"), ("pcmk_action_limit", "-1")]);
    assert_eq!((device.timeout_ms("reboot", 60_000), device.timeout_ms("off", 60_000)), (90_000, 60_000));
    assert_eq!((device.tries("off"), device.tries("reboot")), (5, 2));
    assert_eq!(
        (device.limit(), with(&[]).limit(), with(&[("pcmk_action_limit", "3")]).limit()),
        (None, Some(1), Some(3))
    );
    assert_eq!(with(&[("pcmk_delay_base", "5")]).delay_ms("n1", 77), 5000);
    // A slip of the pen does not hold a loss up for days.
    assert_eq!(with(&[("pcmk_delay_base", "600h")]).delay_ms("n1", 77), MAX_DELAY_MS);
    assert!(
        with(&[("pcmk_delay_base", "n1:1s"), ("pcmk_delay_max", "99999h")]).delay_ms("n1", u64::MAX) <= MAX_DELAY_MS
    );
    let by_node = with(&[("pcmk_delay_base", "n1:1s;n2:5")]);
    assert_eq!((by_node.delay_ms("n1", 1), by_node.delay_ms("n2", 1), by_node.delay_ms("n3", 1)), (1000, 5000, 0));
    let random = with(&[("pcmk_delay_base", "2s"), ("pcmk_delay_max", "10s")]);
    let drawn: Vec<u64> =
        (0..100u64).map(|seed| random.delay_ms("n1", seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    assert!(drawn.iter().all(|ms| (2000..=10_000).contains(ms)), "{drawn:?}");
    assert!(drawn.iter().any(|ms| *ms < 4000) && drawn.iter().any(|ms| *ms > 8000), "{drawn:?}");
}

#[test]
fn what_an_agent_says_of_itself() {
    let document = "<resource-agent name='fence_y'><parameters><parameter name='plug'/></parameters><actions>\
        <action name='on' automatic='0' on_target='1'/><action name='off'/><action name='status'/><action name='list'/>\
        </actions></resource-agent>";
    let facts = Facts::read(document).unwrap_or_default();
    assert!(
        facts.list
            && facts.status
            && !facts.reboot
            && !facts.automatic
            && facts.on_target
            && facts.has_plug
            && !facts.has_port
    );
    assert_eq!(with(&[]).mapped(FenceAction::Reboot, Some(&facts)), FenceAction::Off);
    assert_eq!(with(&[("pcmk_reboot_action", "cycle")]).mapped(FenceAction::Reboot, Some(&facts)), FenceAction::Reboot);
    let required = "<resource-agent name='z'><actions><action name='on' required='1'/></actions></resource-agent>";
    assert!(Facts::read(required).unwrap_or_default().automatic);
    assert_eq!(Facts::read("Success: Rebooted"), None);
}

#[test]
fn levels_by_node_pattern_and_attribute() {
    let cib = xml::parse(
        "<cib><configuration><nodes><node id='3' uname='web3'><instance_attributes id='i'><nvpair id='r' name='rack' value='b'/>\
         </instance_attributes></node></nodes><resources><group id='g'><meta_attributes id='gm'><nvpair id='gt' name='target-role' value='Stopped'/>\
         </meta_attributes><primitive id='a' class='stonith' type='fence_a'/></group></resources><constraints>\
         <rsc_location id='l' rsc='a' node='n1' score='-INFINITY'/><rsc_location id='m' rsc='a'><rule id='x' score='-INFINITY'>\
         <expression id='y' attribute='#uname' operation='eq' value='n2'/></rule></rsc_location></constraints>\
         <fencing-topology><fencing-level id='p' target-pattern='^n[0-9]+$' index='1' devices='p1'/>\
         <fencing-level id='n2' target='n1' index='2' devices='b,c'/><fencing-level id='n1' target='n1' index='1' devices='a'/>\
         <fencing-level id='t' target-attribute='rack' target-value='b' index='4' devices='t'/>\
         <fencing-level id='bad' target='n1' index='12' devices='x'/><fencing-level id='evil' target-pattern='(' index='1' devices='x'/>\
         </fencing-topology></configuration><status/></cib>",
    )
    .expect("good");
    let words = |l: &[&str]| l.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    assert_eq!(topology::levels_of(&cib, "n1"), [(1, words(&["a"])), (2, words(&["b", "c"]))]);
    assert_eq!(topology::levels_of(&cib, "n7"), [(1, words(&["p1"]))]);
    assert_eq!(topology::levels_of(&cib, "web3"), [(4, words(&["t"]))]);
    assert_eq!(topology::levels_of(&cib, "web4"), []);
    assert!(
        device::is_banned(&cib, "a", "n1") && device::is_banned(&cib, "a", "n2") && !device::is_banned(&cib, "a", "n3")
    );
    assert_eq!(device::all(&cib)[0].disabled.as_deref(), Some("target-role of g is Stopped"));
}

#[test]
fn a_stronger_action_is_enough_for_a_weaker_one() {
    use FenceAction::{Off, On, Reboot};
    for (under_way, asked, enough) in [
        (Off, Reboot, true),
        (Off, Off, true),
        (Reboot, Off, false),
        (Reboot, Reboot, true),
        (Off, On, false),
        (On, On, true),
    ] {
        assert_eq!(under_way.covers(asked), enough, "{under_way:?} for {asked:?}");
    }
}

const TARGET: NodeId = NodeId(1);

/// A view of nodes 2 and 3, with the target or without it.
struct There {
    view: u64,
    with_target: bool,
    life: u64,
}

impl Members for There {
    fn view(&self) -> ViewId {
        ViewId { seq: self.view, rep: 2 }
    }

    fn is_member(&self, node: NodeId) -> bool {
        node != TARGET || self.with_target
    }

    fn life(&self, node: NodeId) -> u64 {
        if node == TARGET { self.life } else { 1 }
    }
}

fn number(number: u64) -> FenceId {
    FenceId { node: 2, incarnation: 1, number }
}

/// A transition of this view wants the target fenced.
fn wanted(id: u64, there: &There) -> FenceOp {
    FenceOp::Ask(Ask {
        id: number(id),
        target: TARGET.0,
        name: Word::cleaned("node1"),
        action: FenceAction::Reboot,
        client: Word::cleaned(CLUSTER),
        origin: Word::cleaned("node2"),
        timeout_ms: 0,
        delay_ms: 0,
        tolerance_ms: 0,
        attributes: Vec::new(),
        view: Some(there.view()),
    })
}

/// The device has worked.
fn works(state: &mut State, id: u64, there: &There) -> Vec<Turn> {
    let (id, attempt, executor) = (number(id), 1, 2);
    let step = Step { level: 0, device: Word::cleaned("off1"), action: FenceAction::Reboot };
    let (view, incarnation, delay_ms, timeout_ms) = (there.view(), 1, 0, 60_000);
    state.order(&FenceOrder { view, id, attempt, step: step.clone(), executor, incarnation, delay_ms, timeout_ms });
    let outcome = Outcome { id, attempt, step, executor, ended: Ended::Done, reason: Reason::default() };
    assert_eq!(state.apply(&FenceOp::Outcome(outcome), WallTime(5), there), []);
    let verdict = FenceOp::Verdict { id, ok: true, reason: Reason::default(), last: false };
    state.apply(&verdict, WallTime(6), there)
}

#[test]
fn one_life_of_a_node_is_fenced_once_however_requests_and_verdict_cross() {
    let mut state = State::default();
    let lost = There { view: 1, with_target: false, life: 7 };
    assert_eq!(state.apply(&wanted(1, &lost), WallTime(1), &lost), []);
    // It is back while the device is at it, and gone again, this time because of it; nobody has heard of that yet.
    state.view(WallTime(2), &There { view: 2, with_target: true, ..lost });
    let gone = There { view: 3, ..lost };
    state.view(WallTime(3), &gone);
    assert_eq!(state.apply(&wanted(2, &gone), WallTime(4), &gone), []);
    assert_eq!(state.open.len(), 2, "the first was needless for a while, and is no answer");

    let turns = works(&mut state, 1, &gone);
    assert_eq!(turns[0], Turn::Down { target: TARGET });
    let Turn::Over { askers, .. } = &turns[1] else { panic!("{turns:?}") };
    assert_eq!((askers.as_slice(), state.open.len()), ([number(1), number(2)].as_slice(), 0));
    // One that was on its way meanwhile.
    let settled = [Turn::Down { target: TARGET }, Turn::Settled { target: TARGET, action: FenceAction::Reboot }];
    assert_eq!(state.apply(&wanted(3, &gone), WallTime(7), &gone), settled);
    assert_eq!((state.open.len(), state.history.len()), (0, 1));

    let next_life = There { life: 8, ..gone };
    assert_eq!(state.apply(&wanted(4, &next_life), WallTime(8), &next_life), []);
    assert_eq!(state.open.len(), 1, "another life, another loss");
}

#[test]
fn what_was_wanted_in_one_view_is_void_in_the_next() {
    let mut state = State::default();
    let lost = There { view: 1, with_target: false, life: 7 };
    let back = There { view: 2, with_target: true, ..lost };
    state.view(WallTime(2), &back);
    assert_eq!(state.apply(&wanted(1, &lost), WallTime(3), &back), []);
    assert_eq!(state.open, [], "the target is back: the DC of this view has to want it itself");
    assert_eq!(state.apply(&wanted(2, &back), WallTime(4), &back), []);
    assert_eq!(state.open.len(), 1);
}
