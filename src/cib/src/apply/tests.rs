use crate::*;
use proptest::prelude::*;
use xml::parse;

fn cib() -> Cib {
    Cib::parse(
        "<cib epoch='5' num_updates='3' admin_epoch='0' validate-with='pacemaker-3.9'><configuration><crm_config/><nodes>\
        <node id='1' uname='d1'/></nodes><resources><primitive id='vip' class='ocf' provider='heartbeat' type='IPaddr2'/>\
        <primitive id='web' class='lsb' type='web'/></resources><constraints/></configuration><status/></cib>",
    )
    .expect("sound")
}

fn section(name: &str) -> Target {
    Target::Section(name.to_owned())
}

fn request(op: Op, target: Target, payload: &str) -> Request {
    let payload = (!payload.is_empty()).then(|| parse(payload).expect("well-formed"));
    Request { at: base::WallTime::from_secs(0), ..Request::new(op, target, payload) }
}

/// It became a value of the first pair there, whichever that was.
#[test]
fn a_pair_that_refers_to_another_is_added_beside_those_that_are_there() {
    let mut cib = cib();
    let with = |pair: &str| {
        let text = format!("<primitive id='vip'><instance_attributes id='p'>{pair}</instance_attributes></primitive>");
        Request::upsert("resources", parse(&text).expect("xml"))
    };
    cib.apply(&with("<nvpair id='a' name='passwd' value='x'/>")).expect("accepted");
    let refers = with("<nvpair id-ref='a' name='password'/>");
    assert!(cib.apply(&refers).expect("accepted").changed);
    let pairs: Vec<String> = cib.root().find_id("p").expect("there").elements().map(xml::Element::to_compact).collect();
    assert_eq!(pairs, ["<nvpair id=\"a\" name=\"passwd\" value=\"x\"/>", "<nvpair id-ref=\"a\" name=\"password\"/>"]);
    assert!(!cib.apply(&refers).expect("accepted").changed, "a second time it is there");
}

#[test]
fn configuration_raises_epoch_and_status_raises_num_updates() {
    let mut cib = cib();
    let state = "<node_state id='1' uname='d1' in_ccm='true'/>";
    let done = cib.apply(&Request::upsert("status", parse(state).expect("xml"))).expect("accepted");
    assert!(done.changed && !done.config_changed);
    assert_eq!(cib.version().to_string(), "0.5.4");
    let again = cib.apply(&Request::upsert("status", parse(state).expect("xml"))).expect("accepted");
    assert!(!again.changed);
    assert_eq!(again.version.to_string(), "0.5.4");
    let standby = "<node id='1'><instance_attributes id='n1'><nvpair id='n1s' name='standby' value='on'/></instance_attributes></node>";
    let mut modify = request(Op::Modify, section("nodes"), standby);
    modify.origin = "d1".into();
    let done = cib.apply(&modify).expect("accepted");
    assert!(done.config_changed);
    assert_eq!(cib.version().to_string(), "0.6.0");
    assert_eq!(cib.root().attr("update-origin"), Some("d1"));
    assert_eq!(cib.root().attr("cib-last-written"), Some("Thu Jan  1 00:00:00 1970"));
    assert_eq!(cib.root().find_id("1").and_then(|n| n.attr("uname")), Some("d1"));
}

#[test]
fn whoever_changes_the_configuration_signs_it_and_books_are_kept_without_a_name() {
    let configuration = "<configuration><crm_config/><nodes/><resources/><constraints/></configuration>";
    let whole = "<cib epoch='6' num_updates='3' admin_epoch='0' validate-with='pacemaker-3.9'><configuration><crm_config/><nodes/>\
                 <resources/><constraints/></configuration><status/></cib>";
    let off = "<primitive id='off' class='lsb' type='off'/>";
    let step = request(Op::Create, section("resources"), off);
    let cases = [
        request(Op::Replace, section("configuration"), configuration),
        request(Op::Replace, section("resources"), "<resources/>"),
        request(Op::Replace, Target::Whole, whole),
        request(Op::Create, section("resources"), off),
        request(Op::Modify, section("resources"), "<primitive id='vip' description='x'/>"),
        request(Op::Delete, section("resources"), "<primitive id='web'/>"),
        request(Op::Delete, Target::XPath("//primitive[@id='web']".into()), ""),
        request(Op::Bump, Target::Whole, ""),
        request(Op::Erase, Target::Whole, ""),
        Request { steps: vec![step], ..request(Op::Transaction, Target::Whole, "") },
    ];
    let signature = |cib: &Cib| {
        ["cib-last-written", "update-origin", "update-client", "update-user"]
            .map(|n| cib.root().attr(n).map(str::to_owned))
    };
    for mut change in cases {
        let mut cib = cib();
        change.at = base::WallTime::from_secs(60);
        (change.origin, change.client, change.user) = ("d2".into(), "cibadmin".into(), "root".into());
        cib.apply(&change).unwrap_or_else(|e| panic!("{change:?}: {e}"));
        let signed = ["Thu Jan  1 00:01:00 1970", "d2", "cibadmin", "root"].map(|v| Some(v.to_owned()));
        assert_eq!(signature(&cib), signed, "{change:?}");
        let before = cib.version();
        let node = parse("<nodes><node id='9' uname='d9'/></nodes>").expect("xml");
        cib.keep_books(&Request::upsert("nodes", node)).expect("accepted");
        assert!(cib.version() > before && signature(&cib) == signed, "{change:?}");
    }
}

#[test]
fn create_refuses_what_is_there_and_modify_what_is_not() {
    let mut cib = cib();
    let before = cib.clone();
    let vip = "<primitive id='vip' class='lsb' type='x'/>";
    let error = cib.apply(&request(Op::Create, section("resources"), vip)).expect_err("it exists");
    assert_eq!(error.exit_code(), 108);
    let gone = "<primitive id='gone' class='lsb' type='x'/>";
    let error = cib.apply(&request(Op::Modify, section("resources"), gone)).expect_err("not there");
    assert_eq!(error.exit_code(), 105);
    assert_eq!(cib, before);
    let mut allowed = request(Op::Modify, section("resources"), gone);
    allowed.options.allow_create = true;
    cib.apply(&allowed).expect("accepted");
    assert!(cib.root().find_id("gone").is_some());
    cib.apply(&request(Op::Create, section("tags"), "<tag id='t'><obj_ref id='vip'/></tag>")).expect("a new section");
    assert_eq!(cib.section("tags").map(|t| t.elements().count()), Some(1));
}

#[test]
fn what_breaks_the_schema_is_refused_whole() {
    let mut cib = cib();
    cib.apply(&request(Op::Create, section("constraints"), "<rsc_location id='l' rsc='vip' node='d1' score='1'/>"))
        .expect("sound");
    let before = cib.clone();
    let error = cib
        .apply(&request(Op::Delete, section("resources"), "<primitive id='vip'/>"))
        .expect_err("a constraint names it");
    assert_eq!(error.exit_code(), 78);
    assert!(matches!(&error, CibError::Invalid { problems } if problems[0].message.contains("'vip'")), "{error:?}");
    assert_eq!(cib, before);
}

#[test]
fn delete_by_attributes_by_xpath_and_of_nothing() {
    let mut cib = cib();
    let done = cib
        .apply(&request(Op::Delete, section("resources"), "<primitive id='web' class='ocf'/>"))
        .expect("no match is fine");
    assert!(!done.changed);
    cib.apply(&request(Op::Delete, section("resources"), "<primitive class='lsb'/>")).expect("accepted");
    assert!(cib.root().find_id("web").is_none());
    cib.apply(&request(Op::Create, section("resources"), "<primitive id='web' class='lsb' type='web'/>"))
        .expect("accepted");
    cib.apply(&Request::delete_xpath("//primitive", true)).expect("accepted");
    assert_eq!(cib.section("resources").map(|r| r.elements().count()), Some(0));
    cib.apply(&Request::delete_xpath("/cib/status", false)).expect("accepted");
    assert!(cib.section("status").is_some());
}

#[test]
fn replace_whole_needs_a_version_that_is_not_older() {
    let mut cib = cib();
    let mut older = cib.root().clone();
    older.set("epoch", "4");
    let replace = Request::new(Op::Replace, Target::Whole, Some(older));
    assert_eq!(cib.apply(&replace).expect_err("older").exit_code(), 103);
    let mut newer = cib.root().clone();
    newer.set("epoch", "9");
    cib.apply(&Request::new(Op::Replace, Target::Whole, Some(newer))).expect("newer");
    assert_eq!(cib.version().to_string(), "0.10.0");
    cib.apply(&request(Op::Replace, section("nodes"), "<nodes><node id='2' uname='d2'/></nodes>")).expect("accepted");
    assert!(cib.root().find_id("2").is_some());
}

#[test]
fn query_bump_erase_and_patch() {
    let mut cib = cib();
    let vip = cib.query(&Request::query(Target::XPath("//primitive[@id='vip']".into()))).expect("there");
    assert_eq!(vip.id(), Some("vip"));
    let both = cib.query(&Request::query(Target::XPath("//primitive".into()))).expect("there");
    assert_eq!((both.name(), both.elements().count()), ("xpath-query", 2));
    assert_eq!(cib.query(&Request::query(section("tags"))).expect_err("none").exit_code(), 105);
    assert_eq!(cib.query(&Request::query(section("tgas"))).expect_err("no such").exit_code(), 64);
    cib.apply(&request(Op::Bump, Target::Whole, "")).expect("accepted");
    assert_eq!(cib.version().to_string(), "0.6.0");
    let old = cib.clone();
    cib.apply(&request(Op::Delete, section("resources"), "<primitive id='web'/>")).expect("accepted");
    let patchset = patchset(old.root(), cib.root()).expect("they differ");
    let mut replica = old.clone();
    replica.apply(&Request::new(Op::Patch, Target::Whole, Some(patchset.clone()))).expect("from that version");
    assert_eq!(replica.version(), cib.version());
    assert!(replica.root().find_id("web").is_none());
    assert!(matches!(
        replica.apply(&Request::new(Op::Patch, Target::Whole, Some(patchset))),
        Err(CibError::PatchVersion { .. })
    ));
    cib.apply(&request(Op::Erase, Target::Whole, "")).expect("accepted");
    assert_eq!(cib.version().admin_epoch, 1);
    assert_eq!(cib.section("resources").map(|r| r.elements().count()), Some(0));
}

#[test]
fn scores_count_up_when_asked() {
    let mut cib = cib();
    let state = |value: &str| format!("<node_state id='1'><nvpair id='fc' name='f' value='{value}'/></node_state>");
    cib.apply(&Request::upsert("status", parse(&state("1")).expect("xml"))).expect("accepted");
    for (value, after) in [("value++", "2"), ("value+=5", "7"), ("value+=INFINITY", "INFINITY")] {
        let mut update = Request::upsert("status", parse(&state(value)).expect("xml"));
        update.options.score_update = true;
        cib.apply(&update).expect("accepted");
        assert_eq!(cib.root().find_id("fc").and_then(|n| n.attr("value")), Some(after));
    }
}

#[test]
fn times() {
    for (text, ms) in
        [("10", 10_000), ("10s", 10_000), ("500ms", 500), ("2min", 120_000), ("1h", 3_600_000), ("P1DT1M", 86_460_000)]
    {
        assert_eq!(interval_ms(text), Some(ms), "{text}");
    }
    assert_eq!(interval_ms("soon"), None);
}

fn arbitrary_request() -> impl Strategy<Value = Request> {
    let ops = prop_oneof![
        Just(Op::Create),
        Just(Op::Modify),
        Just(Op::Replace),
        Just(Op::Delete),
        Just(Op::Bump),
        Just(Op::Erase)
    ];
    let targets = prop_oneof![
        Just(Target::Whole),
        prop_oneof![Just("status"), Just("resources"), Just("tags"), Just("cib")].prop_map(section),
        prop_oneof![Just("//primitive"), Just("/cib/status/x"), Just("//*[@id='vip']"), Just("/cib")]
            .prop_map(|x| Target::XPath(x.into())),
    ];
    let payloads = prop_oneof![
        Just(""),
        Just("<primitive id='p' class='lsb' type='t'/>"),
        Just("<x id='1'><y/></x>"),
        Just("<status/>"),
        Just("<cib epoch='99'/>"),
        Just("<resources><primitive id='q' class='lsb' type='t'/></resources>"),
        Just("<tag id='t'/>"),
    ];
    (ops, targets, payloads, any::<bool>(), any::<bool>()).prop_map(|(op, target, payload, create, multiple)| {
        let mut request = request(op, target, payload);
        request.options = Options { allow_create: create, multiple, ..Options::default() };
        request
    })
}

proptest! {
    #[test]
    fn replicas_agree_and_refusals_leave_no_trace(requests in proptest::collection::vec(arbitrary_request(), 1..12)) {
        let (mut one, mut two) = (cib(), cib());
        for request in requests {
            let (before, version) = (one.snapshot(), one.version());
            let sent = Request::decode(&request.encode()).expect("own encoding");
            prop_assert_eq!(&sent, &request);
            // As in the cluster, where the sender as well applies its message: positions in problems are the message's.
            let (a, b) = (one.apply(&sent), two.apply(&sent));
            prop_assert_eq!(&a, &b);
            match a {
                Ok(outcome) if outcome.changed => prop_assert!(one.version() > version),
                _ => prop_assert_eq!(before, one.snapshot()),
            }
            prop_assert_eq!(one.digest(), two.digest());
            prop_assert!(schema::check(one.root()).iter().all(|p| p.severity != Severity::Error));
            prop_assert_eq!(&Cib::parse(&one.snapshot()).expect("sound"), &one);
        }
    }
}
