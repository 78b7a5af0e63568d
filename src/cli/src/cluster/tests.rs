use super::*;
use scheduler::status::Role;

fn cluster(resources: &str, histories: &str) -> Cluster {
    let text = format!(
        "<cib have-quorum='1'><configuration><nodes><node id='1' uname='a'/><node id='2' uname='b'/></nodes><resources>{resources}</resources></configuration>\
         <status>{histories}</status></cib>"
    );
    read(&xml::parse(&text).expect("well-formed"), WallTime::from_secs(1_700_000_100)).expect("a CIB")
}

fn node(id: u32, uname: &str, ops: &str) -> String {
    format!(
        "<node_state id='{id}' uname='{uname}' in_ccm='1700000000' crmd='1700000000' join='member' expected='member'><lrm id='{id}'><lrm_resources>{ops}</lrm_resources></lrm></node_state>"
    )
}

fn history(id: &str, ops: &[(&str, i32, i32)]) -> String {
    let ops: String = ops
        .iter()
        .enumerate()
        .map(|(i, (op, rc, status))| {
            let expected = if *op == "monitor" { 7 } else { 0 };
            format!("<lrm_rsc_op id='{id}_{i}' operation='{op}' operation_key='{id}_{op}_0' call-id='{}' rc-code='{rc}' op-status='{status}' interval='0' transition-key='1:1:{expected}:x' transition-magic='{status}:{rc};1:1:{expected}:x'/>", i + 1)
        })
        .collect();
    format!("<lrm_resource id='{id}' class='ocf' provider='heartbeat' type='Dummy'>{ops}</lrm_resource>")
}

const R: &str = "<primitive id='r' class='ocf' provider='heartbeat' type='Dummy'/>";

#[test]
fn the_last_operation_tells() {
    let role = |ops: &[(&str, i32, i32)]| cluster(R, &node(1, "a", &history("r", ops))).resources[0].role;
    assert_eq!(role(&[("monitor", 7, 0)]), Role::Stopped);
    assert_eq!(role(&[("monitor", 7, 0), ("start", 0, 0)]), Role::Started);
    assert_eq!(role(&[("start", 0, 0), ("stop", 0, 0)]), Role::Stopped);
    assert_eq!(role(&[("start", 0, 0), ("promote", 0, 0)]), Role::Promoted);
    let failed_stop = cluster(R, &node(1, "a", &history("r", &[("start", 0, 0), ("stop", 1, 0)])));
    assert!(failed_stop.resources[0].failed);
    assert_eq!(failed_stop.resources[0].active_on, ["a"]);
    let starting = cluster(R, &node(1, "a", &history("r", &[("start", 193, -1)])));
    assert_eq!(starting.resources[0].pending.as_deref(), Some("start"));
}

#[test]
fn nodes_that_are_gone_hold_nothing() {
    let gone = node(1, "a", &history("r", &[("start", 0, 0)]))
        .replace("in_ccm='1700000000' crmd='1700000000'", "in_ccm='0' crmd='0'");
    let with_fencing = cluster(R, &gone);
    assert!(with_fencing.nodes[0].unclean && !with_fencing.nodes[0].online);
    assert_eq!(with_fencing.resources[0].active_on, ["a"], "until it is fenced, what ran there may still run");
}

#[test]
fn instances_of_clones_and_what_was_removed() {
    let clone = "<clone id='c'><primitive id='r' class='ocf' provider='heartbeat' type='Dummy'/></clone>";
    let both = node(1, "a", &history("r:0", &[("start", 0, 0)])) + &node(2, "b", &history("r", &[("start", 0, 0)]));
    let read = cluster(clone, &both);
    assert_eq!(read.instances, 2);
    assert_eq!(read.resources[0].active_on, ["a", "b"]);
    let removed = cluster("", &node(1, "a", &history("old", &[("start", 0, 0)])));
    assert!(removed.resources[0].removed);
    assert_eq!(removed.instances, 1);
}
