use super::*;
use crate::cluster;

const CIB: &str = "<cib admin_epoch='0' epoch='7' num_updates='2' have-quorum='1' dc-uuid='1' cib-last-written='Fri Nov 20 12:00:00 2026' \
update-origin='d1' update-client='cibadmin' update-user='root'><configuration><crm_config><cluster_property_set id='cib-bootstrap-options'>\
<nvpair id='o1' name='stonith-enabled' value='false'/></cluster_property_set></crm_config><nodes><node id='1' uname='d1'/><node id='2' uname='d2'>\
<instance_attributes id='nodes-2'><nvpair id='n2' name='standby' value='on'/></instance_attributes></node></nodes><resources>\
<group id='director'><primitive id='vip' class='ocf' provider='heartbeat' type='IPaddr2'/><primitive id='lvs' class='ocf' provider='heartbeat' type='ldirectord'/></group>\
<clone id='ping-clone'><primitive id='ping' class='ocf' provider='heartbeat' type='Dummy'/></clone>\
<primitive id='off' class='lsb' type='off'><meta_attributes id='off-m'><nvpair id='off-m1' name='target-role' value='Stopped'/></meta_attributes></primitive></resources>\
<constraints><rsc_location id='cli-ban-vip-on-d2' rsc='vip' node='d2' score='-INFINITY'/></constraints></configuration><status>\
<node_state id='1' uname='d1' in_ccm='true' crmd='online' join='member' expected='member'><transient_attributes id='1'><instance_attributes id='status-1'>\
<nvpair id='s1' name='fail-count-lvs#monitor_10000' value='2'/><nvpair id='s2' name='pingd' value='100'/></instance_attributes></transient_attributes><lrm id='1'><lrm_resources>\
<lrm_resource id='vip' class='ocf' provider='heartbeat' type='IPaddr2'><lrm_rsc_op id='vip_last_0' operation_key='vip_start_0' operation='start' call-id='5' rc-code='0' op-status='0' interval='0' transition-key='3:1:0:x' exec-time='12'/></lrm_resource>\
<lrm_resource id='lvs' class='ocf' provider='heartbeat' type='ldirectord'><lrm_rsc_op id='lvs_last_0' operation_key='lvs_start_0' operation='start' call-id='6' rc-code='0' op-status='0' interval='0' transition-key='4:1:0:x'/>\
<lrm_rsc_op id='lvs_last_failure_0' operation_key='lvs_monitor_10000' operation='monitor' call-id='7' rc-code='7' op-status='0' interval='10000' transition-key='5:1:0:x' exit-reason='gone' exec-time='1500'/>\
<lrm_rsc_op id='lvs_x' operation_key='lvs_start_0' operation='start' call-id='9' rc-code='0' op-status='0' interval='0' transition-key='4:2:0:x'/></lrm_resource>\
<lrm_resource id='ping' class='ocf' provider='heartbeat' type='Dummy'><lrm_rsc_op id='ping_last_0' operation_key='ping_monitor_0' operation='monitor' call-id='2' rc-code='0' op-status='0' interval='0' transition-key='4:0:7:x'/></lrm_resource>\
</lrm_resources></lrm></node_state><node_state id='2' uname='d2' in_ccm='true' crmd='online' join='member' expected='member'/></status></cib>";

fn shown(options: &CrmMon) -> String {
    with_warnings(&[], |view| options.render(view).expect("renders"))
}

fn with_warnings<T>(warnings: &[&str], work: impl FnOnce(&View<'_>) -> T) -> T {
    let cib = xml::parse(CIB).expect("well-formed");
    work(&View {
        cluster: cluster::read(&cib, WallTime::from_secs(1_700_000_100)).expect("a CIB"),
        operations: cluster::operations(&cib),
        now: WallTime(0),
        cib: &cib,
        fencing: Vec::new(),
        warnings: warnings.iter().map(|w| (*w).to_owned()).collect(),
        live: true,
        only: narrow::Only::default(),
        descriptions: true,
    })
}

fn after<'a>(text: &'a str, heading: &str) -> &'a str {
    text.split(heading).nth(1).unwrap_or_else(|| panic!("no '{heading}' in\n{text}"))
}

#[test]
fn what_runs_where() {
    let text = shown(&CrmMon::default());
    assert!(text.starts_with("Cluster Summary:\n  * Stack: corosync (Pacemaker is running)\n  * Current DC: d1 (version unknown) - partition with quorum\n"), "{text}");
    assert!(text.contains("  * Last change:  Fri Nov 20 12:00:00 2026 by root via cibadmin on d1\n  * 2 nodes configured\n  * 5 resource instances configured (1 DISABLED)\n"), "{text}");
    assert!(text.contains("Node List:\n  * Node d2: standby\n  * Online: [ d1 ]\n"), "{text}");
    let resources = "\n  * Resource Group: director:\n    * vip\t(ocf:heartbeat:IPaddr2):\t Started d1\n    * lvs\t(ocf:heartbeat:ldirectord):\t Started d1\n  \
        * Clone Set: ping-clone [ping]:\n    * Started: [ d1 ]\n\nFailed";
    assert!(after(&text, "Active Resources:").starts_with(resources), "{text}");
    assert!(
        text.ends_with(
            "Failed Resource Actions:\n  * lvs 10s-interval monitor on d1 returned 'not running' (gone) after 1.500s\n"
        ),
        "{text}"
    );
}

#[test]
fn inactive_and_by_node() {
    let full = shown(&CrmMon { inactive: true, ..CrmMon::default() });
    assert!(full.contains("    * Stopped: [ d2 ]\n  * off\t(lsb:off):\t Stopped (disabled)\n"), "{full}");
    let by_node = shown(&CrmMon { group_by_node: true, ..CrmMon::default() });
    let d1 = "  * Node d1: online:\n    * Resources:\n      * vip\t(ocf:heartbeat:IPaddr2):\t Started\n      * lvs\t(ocf:heartbeat:ldirectord):\t Started\n      * ping";
    assert!(by_node.contains(d1), "{by_node}");
}

#[test]
fn attributes_counts_operations_and_bans() {
    let options = CrmMon {
        show_node_attributes: true,
        failcounts: true,
        operations: true,
        neg_locations: Some(String::new()),
        ..CrmMon::default()
    };
    let text = shown(&options);
    assert!(
        text.contains("Node Attributes:\n  * Node: d1:\n    * pingd                           \t: 100       \n"),
        "{text}"
    );
    assert!(
        text.contains("Migration Summary:\n  * Node: d1:\n    * lvs: migration-threshold=1000000 fail-count=2\n"),
        "{text}"
    );
    assert!(text.contains("    * vip: migration-threshold=1000000:\n      * (5) start\n"), "{text}");
    assert!(text.contains("  * cli-ban-vip-on-d2\tprevents vip from running on d2\n"), "{text}");
}

#[test]
fn xml_and_json_say_the_same() {
    let xml_form = CrmMon { common: Common { output_as: Format::Xml, ..Common::default() }, ..CrmMon::default() };
    let root = xml::parse(&shown(&xml_form)).expect("XML");
    let vip = root.child("resources").and_then(|r| r.find_id("vip")).expect("vip is there");
    assert_eq!((vip.attr("role"), vip.attr("active")), (Some("Started"), Some("true")));
    assert_eq!(vip.child("node").and_then(|n| n.attr("name")), Some("d1"));
    assert_eq!(
        root.child("summary").and_then(|s| s.child("nodes_configured")).and_then(|n| n.attr("number")),
        Some("2")
    );
    let json_form = CrmMon { common: Common { output_as: Format::Json, ..Common::default() }, ..CrmMon::default() };
    let value: serde_json::Value = serde_json::from_str(&shown(&json_form)).expect("JSON");
    assert_eq!(value["summary"]["resources_configured"]["number"], 5);
    assert_eq!(value["nodes"][0]["name"], "d1");
    assert_eq!(value["nodes"][1]["standby"], true);
    assert_eq!(value["resources"][0]["children"][0]["role"], "Started");
}

#[test]
fn every_form_shows_what_the_node_warns_of() {
    let warnings = ["node d2 lives, but no ring can be formed with it: its authkey differs", "storage of d1: full"];
    let in_form = |output_as: Format| {
        let options = CrmMon { common: Common { output_as, ..Common::default() }, ..CrmMon::default() };
        with_warnings(&warnings, |view| options.render(view).expect("renders"))
    };
    let text = in_form(Format::Text);
    let section = format!("\n\nWarnings:\n  * {}\n  * {}\n", warnings[0], warnings[1]);
    assert!(text.ends_with(&section), "{text}");
    let root = xml::parse(&in_form(Format::Xml)).expect("XML");
    let list = root.child("status").and_then(|s| s.child("errors")).expect("a list");
    let told = list.elements().map(|e| e.text()).collect::<Vec<_>>();
    assert_eq!(told, warnings.map(|w| format!("warning: {w}")));
    assert!(root.child("warnings").is_none(), "the schema has none");
    let value: serde_json::Value = serde_json::from_str(&in_form(Format::Json)).expect("JSON");
    assert_eq!(value["warnings"][1]["text"], warnings[1]);
    let (line, code) = with_warnings(&warnings, simple_line);
    assert_eq!((line.as_str(), code), (format!("CLUSTER WARN: {}, {}\n", warnings[0], warnings[1]).as_str(), 1));
    let without = CrmMon { exclude: vec!["warnings".to_owned()], ..CrmMon::default() };
    let text = with_warnings(&warnings, |view| without.render(view).expect("renders"));
    assert!(!text.contains("Warnings"), "{text}");
    assert!(!shown(&CrmMon::default()).contains("Warnings"), "nothing where all is well");
}

#[test]
fn without_a_reason_there_are_no_brackets() {
    for reason in ["", " "] {
        let cib = xml::parse(&CIB.replace("exit-reason='gone'", &format!("exit-reason='{reason}'"))).expect("XML");
        let cluster = cluster::read(&cib, WallTime::from_secs(1_700_000_100)).expect("a CIB");
        let said: Vec<String> = cluster.failures.iter().map(words::failed_action).collect();
        assert_eq!(said, ["lvs 10s-interval monitor on d1 returned 'not running' after 1.500s"]);
    }
}

#[test]
fn times_for_people() {
    let cases = [(0, "0s"), (250, "250ms"), (1500, "1.500s"), (10_000, "10s"), (90_000, "1m30s"), (3_600_000, "1h")];
    for (ms, words) in cases {
        assert_eq!(words::readable_ms(ms), words);
    }
}

/// Every level of `--fence-history` shows what it says, in text and as XML; before, the option was taken and ignored.
#[test]
fn fencing_is_shown_by_level() {
    use wire::api::{FenceEvent, FenceState};
    let event = |state, action: &str, completed_ms| FenceEvent {
        target: "d2".into(),
        action: action.into(),
        state,
        delegate: (completed_ms > 0).then(|| "d1".into()),
        client: "controller".into(),
        origin: "d1".into(),
        completed_ms,
        exit_reason: (state == FenceState::Failed).then(|| "no answer".into()),
        ..FenceEvent::default()
    };
    let fencing = vec![
        event(FenceState::Pending, "reboot", 0),
        event(FenceState::Success, "off", 9000),
        event(FenceState::Success, "off", 8000),
        event(FenceState::Failed, "reboot", 7000),
    ];
    let cib = xml::parse(CIB).expect("well-formed");
    let view = View {
        cluster: cluster::read(&cib, WallTime::from_secs(1_700_000_100)).expect("a CIB"),
        operations: cluster::operations(&cib),
        now: WallTime(0),
        cib: &cib,
        fencing,
        warnings: Vec::new(),
        live: true,
        only: narrow::Only::default(),
        descriptions: true,
    };
    let at =
        |level: Option<&str>| CrmMon { fence_history: level.map(str::to_owned), ..CrmMon::default() }.render(&view);
    let text = |level| at(level).expect("renders");
    let has = |text: &str| {
        let titles = ["Failed Fencing Actions:\n", "Pending Fencing Actions:\n", "Fencing History:\n"];
        titles.map(|title| text.contains(title))
    };
    assert_eq!(has(&text(None)), [true, true, false]);
    assert_eq!(has(&text(Some("0"))), [false; 3]);
    assert_eq!(has(&text(Some("1"))), [true, true, false]);
    assert_eq!(has(&text(Some("2"))), [true, false, true]);
    assert!(
        at(Some("4")).is_ok() && CrmMon { fence_history: Some("4".into()), ..CrmMon::default() }.fence_level().is_err()
    );
    let lines = |level| text(level).matches("\n  * turning off of d2 by d1 for controller@d1 successful at ").count();
    assert_eq!((lines(Some("2")), lines(Some("3"))), (1, 2), "the newest of each kind, then all");
    let failed = "Failed Fencing Actions:\n  * reboot of d2 by d1 for controller@d1 last failed (no answer) at ";
    assert!(text(None).contains(failed), "{}", text(None));

    let mut options = CrmMon::default();
    options.common.output_as = Format::Xml;
    let xml = |options: &CrmMon| options.render(&view).expect("renders");
    let whole = xml(&options);
    assert!(whole.contains("<fence_history status=\"0\">") && whole.matches("<fence_event ").count() == 4, "{whole}");
    options.fence_history = Some("1".into());
    assert_eq!(xml(&options).matches("<fence_event ").count(), 2);
    options.fence_history = Some("0".into());
    assert!(!xml(&options).contains("fence_history"));
}
