//! Small clusters, and what is to be done in each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::WallTime;
use scheduler::graph::Graph;
use scheduler::{Options, explain, schedule, status};
use xml::Element;

const NOW: i64 = 1_795_000_000;

/// Two nodes that are up, without fencing unless `options` says otherwise.
fn cluster(options: &str, resources: &str, constraints: &str, histories: [&str; 2]) -> Element {
    let state = |id: usize, history: &str| {
        format!(
            "<node_state id=\"{id}\" uname=\"n{id}\" in_ccm=\"1700000000\" crmd=\"1700000000\" join=\"member\" expected=\"member\">\
             {history}</node_state>"
        )
    };
    let text = format!(
        "<cib crm_feature_set=\"3.19.0\" validate-with=\"pacemaker-3.9\" have-quorum=\"1\" dc-uuid=\"1\"><configuration>\
         <crm_config><cluster_property_set id=\"o\">{options}</cluster_property_set></crm_config>\
         <nodes><node id=\"1\" uname=\"n1\"/><node id=\"2\" uname=\"n2\"/></nodes>\
         <resources>{resources}</resources><constraints>{constraints}</constraints></configuration>\
         <status>{}{}</status></cib>",
        state(1, histories[0]),
        state(2, histories[1])
    );
    xml::parse(&text).unwrap()
}

fn property(name: &str, value: &str) -> String {
    format!("<nvpair id=\"o-{name}\" name=\"{name}\" value=\"{value}\"/>")
}

fn no_fencing() -> String {
    property("fencing-enabled", "false")
}

fn dummy(id: &str, more: &str) -> String {
    format!("<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\">{more}</primitive>")
}

/// What the graph gives the first operation `key`.
fn parameter(cib: &Element, key: &str, name: &str) -> Option<String> {
    let graph = schedule(cib, WallTime::from_secs(NOW), &Options::default()).unwrap().graph.to_element();
    let op = graph.descendants().find(|e| e.attr("operation_key") == Some(key))?;
    op.child("attributes")?.attr(name).map(str::to_owned)
}

#[test]
fn a_pair_that_refers_takes_the_name_that_it_gives() {
    let a = dummy(
        "a",
        "<instance_attributes id=\"a-ia\"><nvpair id=\"a-fake\" name=\"fake\" value=\"V\"/></instance_attributes>",
    );
    let b =
        dummy("b", "<instance_attributes id=\"b-ia\"><nvpair id-ref=\"a-fake\" name=\"state\"/></instance_attributes>");
    let cib = cluster(&no_fencing(), &(a + &b), "", ["", ""]);
    assert_eq!(parameter(&cib, "b_start_0", "state").as_deref(), Some("V"));
    assert_eq!(parameter(&cib, "b_start_0", "fake"), None);
    assert_eq!(parameter(&cib, "a_start_0", "fake").as_deref(), Some("V"));
}

/// A history in which the operations had these results.
fn history(rsc: &str, ops: &[(&str, u64, i32)]) -> String {
    let entry = |(i, (task, interval, rc)): (usize, &(&str, u64, i32))| {
        let target = if *task == "monitor" && *interval == 0 && *rc == 7 { 7 } else { 0 };
        // Digests of no parameters at all, and of the time-out alone.
        let digest =
            if *interval > 0 { "4811cef7f7f94e3a35a70be7916cb2fd" } else { "f2317cad3d54cec5d7d7aa7d0bf35cf8" };
        let name = if *interval > 0 { format!("{rsc}_{task}_{interval}") } else { format!("{rsc}_{task}_0") };
        format!(
            "<lrm_rsc_op id=\"{name}\" operation_key=\"{name}\" operation=\"{task}\" interval=\"{interval}\" call-id=\"{}\" \
             rc-code=\"{rc}\" op-digest=\"{digest}\" op-status=\"0\" last-rc-change=\"{}\" transition-key=\"1:1:{target}:11111111-1111-1111-1111-111111111111\" \
             transition-magic=\"0:{rc};1:1:{target}:11111111-1111-1111-1111-111111111111\"/>",
            i + 1,
            NOW - 100
        )
    };
    let ops: String = ops.iter().enumerate().map(entry).collect();
    format!(
        "<lrm id=\"1\"><lrm_resources><lrm_resource id=\"{rsc}\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\">{ops}\
         </lrm_resource></lrm_resources></lrm>"
    )
}

fn run(cib: &Element) -> Graph {
    schedule(cib, WallTime::from_secs(NOW), &Options::default()).unwrap().graph
}

fn actions(graph: &Graph) -> Vec<String> {
    let name = |a: &scheduler::graph::Action| match a.target() {
        Some(target) => format!("{} {}", a.key(), target.node),
        None => a.key().to_owned(),
    };
    let mut all: Vec<String> = graph.actions.iter().map(name).collect();
    all.sort();
    all
}

#[test]
fn a_new_resource_is_looked_for_and_started_once() {
    let graph = run(&cluster(&no_fencing(), &dummy("a", ""), "", ["", ""]));
    assert_eq!(actions(&graph), ["a_monitor_0 n1", "a_monitor_0 n2", "a_start_0 n1"]);
    assert_eq!(graph.to_pretty(), graph.to_element().to_pretty());
    let none = Graph { actions: Vec::new(), ..graph.clone() };
    assert_eq!(none.to_pretty(), none.to_element().to_pretty());
    let start = graph.actions.iter().find(|a| a.operation() == "start").unwrap();
    assert_eq!(start.inputs.len(), 2);
    assert_eq!(start.attribute("CRM_meta_timeout"), Some("20000"));
}

#[test]
fn without_fencing_devices_nothing_starts() {
    let graph = run(&cluster("", &dummy("a", ""), "", ["", ""]));
    assert!(actions(&graph).iter().all(|a| a.contains("monitor")));
}

#[test]
fn a_failed_monitor_restarts_and_the_threshold_moves() {
    let up = history("a", &[("start", 0, 0), ("monitor", 10000, 7)]);
    let ops = "<operations><op id=\"m\" name=\"monitor\" interval=\"10s\"/></operations>";
    let away = history("a", &[("monitor", 0, 7)]);
    let graph = run(&cluster(&no_fencing(), &dummy("a", ops), "", [&up, &away]));
    assert_eq!(actions(&graph), ["a_monitor_10000 n1", "a_start_0 n1", "a_stop_0 n1"]);
    let limit = format!(
        "{ops}<meta_attributes id=\"x\"><nvpair id=\"t\" name=\"migration-threshold\" value=\"1\"/></meta_attributes>"
    );
    let count = "<transient_attributes id=\"1\"><instance_attributes id=\"s\">\
                 <nvpair id=\"f\" name=\"fail-count-a#monitor_10000\" value=\"1\"/>\
                 <nvpair id=\"l\" name=\"last-failure-a#monitor_10000\" value=\"1794999900\"/></instance_attributes></transient_attributes>";
    let failed = format!("{count}{up}");
    let cib = cluster(&no_fencing(), &dummy("a", &limit), "", [&failed, &away]);
    assert_eq!(actions(&run(&cib)), ["a_monitor_10000 n2", "a_start_0 n2", "a_stop_0 n1"]);
    let told = explain(&cib, WallTime::from_secs(NOW)).unwrap();
    let a = told.of("a")[0];
    assert_eq!(a.node.as_deref(), Some("n2"));
    let n1 = &a.nodes[0];
    let texts: Vec<(&str, Option<i32>)> = n1.steps.iter().map(|s| (s.kind, s.sum)).collect();
    assert_eq!(texts, [("default", Some(0)), ("failures", Some(-1_000_000))]);
    assert_eq!(n1.verdict, "ruled out: 1 failure here, migration-threshold=1");
    assert_eq!(a.why, "a moves from n1 to n2: n1 is ruled out (1 failure here, migration-threshold=1)");
}

#[test]
fn groups_start_in_order_in_one_place() {
    let group = format!("<group id=\"g\">{}{}</group>", dummy("a", ""), dummy("b", ""));
    let ban = "<rsc_location id=\"cli-ban-g-on-n1\" rsc=\"g\" node=\"n1\" score=\"-INFINITY\"/>";
    let graph = run(&cluster(&no_fencing(), &group, ban, ["", ""]));
    let list = actions(&graph);
    assert!(list.contains(&"a_start_0 n2".to_owned()) && list.contains(&"b_start_0 n2".to_owned()), "{list:?}");
    let id = |key: &str| graph.actions.iter().find(|a| a.key() == key).unwrap();
    assert!(id("b_start_0").inputs.contains(&id("a_start_0").id));
}

#[test]
fn a_lost_node_is_fenced_before_its_resources_start_elsewhere() {
    let device = "<primitive id=\"st\" class=\"stonith\" type=\"fence_x\"/>";
    let up = history("a", &[("start", 0, 0)]);
    let cib = cluster("", &format!("{device}{}", dummy("a", "")), "", [&history("st", &[("start", 0, 0)]), &up]);
    let text = cib
        .to_compact()
        .replace("uname=\"n2\" in_ccm=\"1700000000\" crmd=\"1700000000\"", "uname=\"n2\" in_ccm=\"0\" crmd=\"0\"");
    let graph = run(&xml::parse(&text).unwrap());
    let fence = graph.actions.iter().find(|a| a.operation() == "stonith").unwrap();
    assert_eq!(fence.target().unwrap().node, "n2");
    assert_eq!(fence.downed, ["2"]);
    let start = graph.actions.iter().find(|a| a.key() == "a_start_0").unwrap();
    assert!(start.inputs.contains(&fence.id));
}

#[test]
fn status_is_what_the_scheduler_sees() {
    let up = history("a", &[("start", 0, 0)]);
    let standby = cluster(&no_fencing(), &dummy("a", ""), "", [&up, ""]).to_compact().replace(
        "<node id=\"1\" uname=\"n1\"/>",
        "<node id=\"1\" uname=\"n1\"><instance_attributes id=\"n1-a\"><nvpair id=\"n1-s\" name=\"standby\" value=\"on\"/>\
         </instance_attributes></node>",
    );
    let cib = xml::parse(&standby).unwrap();
    let cluster = status::read(&cib, WallTime::from_secs(NOW)).unwrap();
    assert!(cluster.nodes[0].standby && cluster.nodes[0].online && cluster.nodes[1].online);
    assert_eq!(cluster.resources[0].active_on, ["n1"]);
    assert_eq!(cluster.resources[0].role, status::Role::Started);
    let list = actions(&run(&cib));
    assert!(list.contains(&"a_stop_0 n1".to_owned()) && list.contains(&"a_start_0 n2".to_owned()), "{list:?}");
}

#[test]
fn documents_from_hell_end_in_an_answer() {
    let loops = "<rsc_colocation id=\"c1\" rsc=\"a\" with-rsc=\"b\" score=\"INFINITY\"/>\
                 <rsc_colocation id=\"c2\" rsc=\"b\" with-rsc=\"a\" score=\"INFINITY\"/>\
                 <rsc_order id=\"o1\" first=\"a\" then=\"b\"/><rsc_order id=\"o2\" first=\"b\" then=\"a\"/>\
                 <rsc_location id=\"l\" rsc=\"nobody\" node=\"nowhere\" score=\"x\"/><rsc_ticket id=\"t\" rsc=\"a\" ticket=\"\"/>";
    run(&cluster(&no_fencing(), &format!("{}{}", dummy("a", ""), dummy("b", "")), loops, ["", ""]));
    let chain: String = (0..400).map(|i| dummy(&format!("r{i}"), "")).collect();
    let links: String = (1..400)
        .map(|i| {
            format!(
                "<rsc_colocation id=\"c{i}\" rsc=\"r{i}\" with-rsc=\"r{}\" score=\"INFINITY\"/><rsc_order id=\"o{i}\" first=\"r{}\" then=\"r{i}\"/>",
                i - 1,
                i - 1
            )
        })
        .collect();
    let deep =
        cluster(&format!("{}{}", no_fencing(), property("enable-startup-probes", "false")), &chain, &links, ["", ""]);
    schedule(&deep, WallTime::from_secs(NOW), &Options::default()).unwrap();
    for broken in ["<cib/>", "<cib><configuration/><status><node_state/></status></cib>", "<nocib/>"] {
        let _ = schedule(&xml::parse(broken).unwrap(), WallTime::from_secs(NOW), &Options::default());
    }
    let many = "<clone id=\"c\"><meta_attributes id=\"m\"><nvpair id=\"n\" name=\"clone-max\" value=\"2000000000\"/></meta_attributes>";
    let _ = schedule(
        &cluster(&no_fencing(), &format!("{many}{}</clone>", dummy("a", "")), "", ["", ""]),
        WallTime::from_secs(NOW),
        &Options::default(),
    );
}
