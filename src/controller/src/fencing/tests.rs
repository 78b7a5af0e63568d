//! Devices and levels as configurations have them.

use super::device::{self, Covers, Device, Facts, HostCheck, MAX_DELAY_MS};
use super::{FenceAction, topology};
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
