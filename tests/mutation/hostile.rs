//! Inputs made to break a scheduler: each ends within its time, with a graph or an error, and what is wrong is said.

use crate::{STACK_BYTES, invariants};
use base::WallTime;
use scheduler::simulate::{self, Depth};
use std::fmt::Write;
use std::time::{Duration, Instant};
use xml::Element;

/// Time for each, slightly optimised and on a loaded machine.
const LONGEST: Duration = Duration::from_secs(120);

const NOW: i64 = 1_795_000_000;

/// Two nodes that are up, no fencing.
fn cluster(resources: &str, constraints: &str) -> String {
    let state = |id| {
        format!(
            "<node_state id=\"{id}\" uname=\"n{id}\" in_ccm=\"1\" crmd=\"1\" join=\"member\" expected=\"member\"/>\n"
        )
    };
    format!(
        "<cib crm_feature_set=\"3.19.0\" validate-with=\"pacemaker-3.9\" have-quorum=\"1\" dc-uuid=\"1\">\n<configuration>\n<crm_config>\
         <cluster_property_set id=\"o\"><nvpair id=\"f\" name=\"fencing-enabled\" value=\"false\"/></cluster_property_set></crm_config>\n\
         <nodes><node id=\"1\" uname=\"n1\"/><node id=\"2\" uname=\"n2\"/></nodes>\n<resources>\n{resources}</resources>\n\
         <constraints>\n{constraints}</constraints>\n</configuration>\n<status>\n{}{}</status>\n</cib>\n",
        state(1),
        state(2)
    )
}

fn primitive(id: &str) -> String {
    format!("<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"/>\n")
}

/// Outcome of an input: number of actions, and all that is said of it with the lines it is said about.
struct Outcome {
    actions: usize,
    said: String,
}

fn run(name: &str, text: &str) -> Outcome {
    let began = Instant::now();
    let work = || {
        let cib: Element = match xml::parse(text) {
            Ok(cib) => cib,
            Err(e) => return Outcome { actions: 0, said: e.to_string() },
        };
        let mut said: String = cib::schema::verify(&cib).iter().fold(String::new(), |mut all, p| {
            let _ = writeln!(all, "{p}");
            all
        });
        let options = simulate::Options { depth: Depth::Execute, ..Default::default() };
        let now = WallTime::from_secs(NOW);
        match simulate::run(cib.clone(), now, &options) {
            Ok(done) => {
                done.messages.iter().for_each(|m| said.push_str(&format!("{}\n", m.text)));
                let status = scheduler::status::read(&cib, now).unwrap();
                invariants::check(&cib, &status, &done.graph).unwrap_or_else(|e| panic!("{name}: {e:?}"));
                Outcome { actions: done.graph.actions.len(), said }
            }
            Err(e @ scheduler::ScheduleError::Thread(_)) => panic!("{name}: {e}"),
            Err(e) => Outcome { actions: 0, said: format!("{said}{e}\n") },
        }
    };
    let outcome = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap()
    });
    let spent = began.elapsed();
    println!("{name}: {spent:?}, {} actions", outcome.actions);
    assert!(spent < LONGEST, "{name}: {spent:?}");
    outcome
}

#[test]
fn deep_nesting_is_refused_with_its_place() {
    let deep = format!("{}{}", "<group id=\"g\">\n".repeat(5_000), "</group>\n".repeat(5_000));
    let said = run("nested groups", &cluster(&deep, "")).said;
    assert!(said.starts_with("line 2") && said.contains("nested deeper"), "{said}");
    let rules = format!(
        "<rsc_location id=\"l\" rsc=\"a\">{}{}</rsc_location>\n",
        "<rule id=\"r\" score=\"1\">".repeat(150),
        "</rule>".repeat(150)
    );
    run("nested rules", &cluster(&primitive("a"), &rules));
    let groups = format!("{}{}{}", "<group id=\"g\">".repeat(150), primitive("a"), "</group>".repeat(150));
    let said = run("groups in groups", &cluster(&groups, "")).said;
    assert!(said.contains("line 6,"), "{said}");
    let clones = format!("{}{}{}", "<clone id=\"c\">".repeat(150), primitive("a"), "</clone>".repeat(150));
    run("clones in clones", &cluster(&clones, ""));
}

#[test]
fn huge_clones_are_bounded() {
    for (name, count) in
        [("clone-max", "1000000000"), ("clone-max", "99999999999999999999"), ("clone-node-max", "100000")]
    {
        let clone = format!(
            "<clone id=\"c\"><meta_attributes id=\"m\"><nvpair id=\"x\" name=\"{name}\" value=\"{count}\"/>\
             <nvpair id=\"u\" name=\"globally-unique\" value=\"true\"/></meta_attributes>{}</clone>\n",
            primitive("a")
        );
        run(&format!("{name}={count}"), &cluster(&clone, ""));
    }
    let bundle = format!(
        "<bundle id=\"b\"><podman image=\"i\" replicas=\"100000000\" replicas-per-host=\"1000\"/>\
         <network ip-range-start=\"10.0.0.1\" control-port=\"3121\"/>{}</bundle>\n",
        primitive("a")
    );
    run("replicas", &cluster(&bundle, ""));
}

#[test]
fn long_chains_end() {
    const LENGTH: usize = 3_000;
    let resources: String = (0..LENGTH).map(|i| primitive(&format!("r{i}"))).collect();
    let orders: String =
        (1..LENGTH).map(|i| format!("<rsc_order id=\"o{i}\" first=\"r{}\" then=\"r{i}\"/>\n", i - 1)).collect();
    assert!(run("chain of orders", &cluster(&resources, &orders)).actions > LENGTH);
    let together =
        |i: usize| format!("<rsc_colocation id=\"c{i}\" rsc=\"r{i}\" with-rsc=\"r{}\" score=\"INFINITY\"/>\n", i - 1);
    let colocations: String = (1..LENGTH).map(together).collect();
    run("chain of colocations", &cluster(&resources, &colocations));
    let backwards: String = (1..LENGTH)
        .map(|i| format!("<rsc_colocation id=\"c{i}\" rsc=\"r{}\" with-rsc=\"r{i}\" score=\"INFINITY\"/>\n", i - 1))
        .collect();
    run("chain of colocations, backwards", &cluster(&resources, &backwards));
    run("one group", &cluster(&format!("<group id=\"g\">\n{resources}</group>\n"), ""));
}

/// Collectives are assigned by ways of their own, each of which can lead back to itself or on without end.
#[test]
fn chains_of_collectives_end() {
    const LENGTH: usize = 3_000;
    let clones: String = (0..LENGTH)
        .map(|i| format!("<clone id=\"k{i}\"><meta_attributes id=\"k{i}-m\"><nvpair id=\"k{i}-x\" name=\"clone-max\" value=\"1\"/></meta_attributes>{}</clone>\n", primitive(&format!("r{i}"))))
        .collect();
    let groups: String =
        (0..LENGTH).map(|i| format!("<group id=\"k{i}\">{}</group>\n", primitive(&format!("r{i}")))).collect();
    let colocations: String = (1..LENGTH)
        .map(|i| format!("<rsc_colocation id=\"c{i}\" rsc=\"k{}\" with-rsc=\"k{i}\" score=\"INFINITY\"/>\n", i - 1))
        .collect();
    run("chain of groups", &cluster(&groups, &colocations));
    run("chain of clones", &cluster(&clones, &colocations));
}

#[test]
fn what_a_bundle_holds_may_name_the_bundle() {
    for (kind, meta) in [("", ""), ("promoted-max", "<nvpair id=\"b-p\" name=\"promotable\" value=\"true\"/>")] {
        let bundle = format!(
            "<bundle id=\"b\"><podman image=\"i\" replicas=\"3\"/><network control-port=\"3121\"/><primitive id=\"r\" \
             class=\"ocf\" provider=\"pacemaker\" type=\"Stateful\"><meta_attributes id=\"r-m\">{meta}</meta_attributes></primitive></bundle>\n"
        );
        for (dependent, primary) in [("r", "b"), ("b", "r"), ("b", "b"), ("r", "r")] {
            let constraints = format!(
                "<rsc_colocation id=\"c\" rsc=\"{dependent}\" with-rsc=\"{primary}\" score=\"100\"/>\n\
                 <rsc_order id=\"o\" first=\"{dependent}\" then=\"{primary}\"/>\n"
            );
            run(&format!("{dependent} with {primary} {kind}"), &cluster(&bundle, &constraints));
        }
    }
}

#[test]
fn cycles_are_broken_and_named() {
    const LENGTH: usize = 100;
    let resources: String = (0..LENGTH).map(|i| primitive(&format!("r{i}"))).collect();
    let orders: String = (0..LENGTH)
        .map(|i| format!("<rsc_order id=\"o{i}\" first=\"r{i}\" then=\"r{}\"/>\n", (i + 1) % LENGTH))
        .collect();
    let said = run("cycle of orders", &cluster(&resources, &orders)).said;
    assert!(said.contains("rsc_order") && said.contains("cycle") && said.contains("line "), "{said}");
    for score in ["INFINITY", "-INFINITY", "100"] {
        let colocations: String = (0..LENGTH)
            .map(|i| {
                let next = (i + 1) % LENGTH;
                format!("<rsc_colocation id=\"c{i}\" rsc=\"r{i}\" with-rsc=\"r{next}\" score=\"{score}\"/>\n")
            })
            .collect();
        let said = run(&format!("cycle of colocations, {score}"), &cluster(&resources, &colocations)).said;
        assert!(said.contains("rsc_colocation") && said.contains("cycle") && said.contains("line "), "{said}");
    }
    let all: String = (0..40)
        .flat_map(|i| (0..40).filter(move |j| *j != i).map(move |j| (i, j)))
        .map(|(i, j)| format!("<rsc_colocation id=\"c{i}-{j}\" rsc=\"r{i}\" with-rsc=\"r{j}\" score=\"{}\"/>\n", i + j))
        .collect();
    run("everything with everything", &cluster(&resources, &all));
    let own = "<rsc_order id=\"o\" first=\"r1\" then=\"r1\"/>\n<rsc_colocation id=\"c\" rsc=\"r1\" with-rsc=\"r1\" score=\"INFINITY\"/>\n";
    run("itself", &cluster(&resources, own));
}

#[test]
fn giant_values_are_carried() {
    let giant = "x".repeat(8 << 20);
    let with = format!(
        "<primitive id=\"a\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"><instance_attributes id=\"i\">\
         <nvpair id=\"p\" name=\"p\" value=\"{giant}\"/></instance_attributes></primitive>\n"
    );
    assert!(run("giant parameter", &cluster(&with, "")).actions > 0);
    let pattern =
        format!("<rsc_location id=\"l\" rsc-pattern=\"{}\" node=\"n1\" score=\"1\"/>\n", "(a*)*".repeat(2_000));
    run("giant pattern", &cluster(&primitive("a"), &pattern));
    let many: String = (0..20_000).map(|i| format!("<nvpair id=\"n{i}\" name=\"n{i}\" value=\"{i}\"/>")).collect();
    let with = format!(
        "<primitive id=\"a\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"><meta_attributes id=\"i\">{many}</meta_attributes></primitive>\n"
    );
    run("many meta-attributes", &cluster(&with, ""));
}
