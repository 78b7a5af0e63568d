//! Inputs whose shape could lead astray: circles of capacities, circles of orderings, long chains.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base::WallTime;
use scheduler::simulate::{self, Options, Simulated};

const NODES: [(&str, &str, &str); 3] = [("1", "cpu", "2"), ("2", "cpu", "8"), ("3", "mem", "10")];

fn simulated(strategy: &str, nodes: &[usize], resources: &str, constraints: &str) -> Simulated {
    let node = |n: &usize| {
        let (id, name, value) = NODES[*n];
        format!(
            "<node id='{id}' uname='n{id}'><utilization id='u{id}'><nvpair id='v{id}' name='{name}' value='{value}'/>\
             </utilization></node>"
        )
    };
    let state = |n: &usize| {
        let id = NODES[*n].0;
        format!("<node_state id='{id}' uname='n{id}' in_ccm='true' crmd='online' join='member' expected='member'/>")
    };
    let text = format!(
        "<cib validate-with='pacemaker-3.9' have-quorum='1'><configuration><crm_config><cluster_property_set id='s'>\
         <nvpair id='f' name='fencing-enabled' value='false'/><nvpair id='p' name='placement-strategy' value='{strategy}'/>\
         </cluster_property_set></crm_config><nodes>{}</nodes><resources>{resources}</resources>\
         <constraints>{constraints}</constraints></configuration><status>{}</status></cib>",
        nodes.iter().map(node).collect::<String>(),
        nodes.iter().map(state).collect::<String>()
    );
    simulate::run(xml::parse(&text).unwrap(), WallTime::from_secs(1_795_000_000), &Options::default()).unwrap()
}

fn service(id: &str) -> String {
    format!("<primitive id='{id}' class='systemd' type='{id}'/>")
}

/// One node has more of the processor than another, and a third none of it but memory: each comes before one and after one, so
/// that only an order which looks at all of them does not depend on how they are listed.
#[test]
fn a_circle_of_capacities_gives_the_same_places_in_whatever_order_nodes_are_listed() {
    let resources = service("a") + &service("b") + &service("c");
    let starts = |nodes: &[usize]| -> Vec<String> {
        let summary = simulated("balanced", nodes, &resources, "").summary;
        let starts = summary.lines().filter(|l| l.contains("* Start ")).map(|l| l.split_whitespace().collect());
        starts.collect()
    };
    let first = starts(&[0, 1, 2]);
    assert_eq!(first.len(), 3, "{first:?}");
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(starts(&order), first, "{order:?}");
    }
}

#[test]
fn orderings_in_a_circle_are_left_out_and_told() {
    let clone = |id: &str| format!("<clone id='{id}'>{}</clone>", service(&format!("{id}-of")));
    let order = |id: &str, first: &str, then: &str| format!("<rsc_order id='{id}' first='{first}' then='{then}'/>");
    let resources = clone("x") + &clone("y") + &service("z");
    let sound = simulated("default", &[0], &resources, &order("o1", "x", "y"));
    assert!(sound.complete && sound.warnings.is_empty());
    let circle = simulated("default", &[0], &resources, &(order("o1", "x", "y") + &order("o2", "y", "x")));
    assert!(!circle.complete, "{}", circle.summary);
    assert!(circle.warnings.contains("An invalid transition was produced"), "{}", circle.warnings);
    assert!(circle.messages.iter().any(|m| m.text.starts_with("Contradictory orderings")));
    assert!(circle.summary.contains("z\t(systemd:z):\t Started n1"), "the rest is done: {}", circle.summary);
}

#[test]
fn the_chain_of_what_must_go_together_may_be_long() {
    let count = 1_200;
    let resources: String = (0..count).map(|i| service(&format!("p{i}"))).collect();
    let with = |i: usize| format!("<rsc_colocation id='c{i}' rsc='p{i}' with-rsc='p{}' score='INFINITY'/>", i + 1);
    let chain: String = (0..count - 1).map(with).collect();
    let done = simulated("utilization", &[0, 1], &resources, &chain);
    let starts = done.summary.lines().filter(|l| l.contains("* Start ")).count();
    assert!(done.complete && starts == count, "{starts}");
}
