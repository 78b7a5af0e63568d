//! One node's operations: rounds, records, and what comes before a start or a probe.

use super::*;
use crate::api::ViewId;
use crate::message::Bump;
use base::NodeId;

fn exec(operation: &str, interval_ms: u64) -> Exec {
    let identity = OpIdentity {
        node: NodeId(1),
        node_name: "a".into(),
        resource: "vip".into(),
        class: "ocf".into(),
        provider: Some("heartbeat".into()),
        agent: "IPaddr2".into(),
        operation: operation.into(),
        interval_ms,
        key: format!("vip_{operation}_{interval_ms}"),
        transition_key: format!("{operation}:1:0:u"),
        target_rc: 0,
        digest: String::new(),
        ignore_failure: false,
        bump: Bump::One,
        extra: vec![],
    };
    let operation = base::Operation { action: operation.into(), interval_ms, ..base::Operation::default() };
    Exec { view: ViewId::default(), identity, operation, own: vec![], wait_ms: 20000, router: None }
}

fn calls(doings: &Doings) -> Vec<String> {
    let text = |o: &Output| match o {
        Output::Execute { call, operation, .. } => format!("{call} {}", operation.action),
        Output::Cancel { call } => format!("cancel {call}"),
        other => format!("{other:?}"),
    };
    doings.outputs.iter().map(text).collect()
}

fn number(doings: &Doings) -> u64 {
    let call = |o: &Output| match o {
        Output::Execute { call, .. } => Some(*call),
        _ => None,
    };
    doings.outputs.iter().find_map(call).unwrap_or(0)
}

#[test]
fn monitors_report_changes_only_and_end_with_their_resource() {
    let (mut local, wall) = (Local::new(NodeId(1), "a".into(), "own".into()), WallTime(0));
    let ok = ExecResult::done(OcfCode::OK);
    let mut now = Time::ZERO;
    assert_eq!(calls(&local.start(now, wall, exec("start", 0))), ["1 start"]);
    assert!(local.held().contains("vip"));
    assert_eq!(calls(&local.start(now, wall, exec("monitor", 10000))), Vec::<String>::new());
    let done = local.finished(now, wall, 1, &ok);
    assert_eq!((done.reports.len(), calls(&done)), (1, vec!["2 monitor".to_owned()]));
    let first = local.finished(now, wall, 2, &ok);
    assert!(first.reports.len() == 1 && first.reports[0].call > done.reports[0].call, "numbered as they come");
    now = Time::from_millis(10000);
    assert_eq!(local.deadline(), Some(now));
    assert_eq!(calls(&local.tick(now, wall)), ["2 monitor"]);
    assert_eq!(local.finished(now, wall, 2, &ok).reports.len(), 0);
    now = Time::from_millis(20000);
    local.tick(now, wall);
    let failed = local.finished(now, wall, 2, &ExecResult::done(OcfCode::NOT_RUNNING));
    assert!(failed.reports[0].failed() && failed.reports[0].call > first.reports[0].call);
    assert!(!local.held().contains("vip"));
    now = Time::from_millis(30000);
    assert_eq!(calls(&local.tick(now, wall)), ["2 monitor"]);
    let again = local.finished(now, wall, 2, &ExecResult::done(OcfCode::NOT_RUNNING));
    assert!(again.reports.len() == 1 && again.reports[0].call > failed.reports[0].call, "every failed round counts");
    now = Time::from_millis(40000);
    assert_eq!(calls(&local.tick(now, wall)), ["2 monitor"]);
    let stop = local.start(now, wall, exec("stop", 0));
    let (cancel, stop_call) = (calls(&stop)[0].clone(), number(&stop));
    assert_eq!(cancel, "cancel 2");
    assert_eq!(local.finished(now, wall, 2, &ok).reports.len(), 0, "a cancelled round's answer is late");
    local.finished(now, wall, stop_call, &ok);
    assert_eq!(local.deadline(), None);
}

/// An operation on `x` with these parameters.
fn on_x(action: &str, interval_ms: u64, agent: &str, params: &[(&str, &str)]) -> Exec {
    let mut exec = exec(action, interval_ms);
    exec.identity.resource = "x".into();
    exec.identity.key = format!("x_{action}_{interval_ms}");
    exec.identity.target_rc = if action == "monitor" && interval_ms == 0 { 7 } else { 0 };
    exec.operation.instance = base::Instance {
        id: "x".into(),
        class: "ocf".into(),
        provider: Some("heartbeat".into()),
        agent: agent.into(),
        params: params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    };
    exec
}

/// What runs: action, agent and parameters.
fn runs(doings: &Doings) -> Vec<String> {
    let text = |o: &Output| match o {
        Output::Execute { operation, .. } => {
            let i = &operation.instance;
            let params: Vec<String> = i.params.iter().map(|(n, v)| format!("{n}={v}")).collect();
            Some(format!("{} {} {}", operation.action, i.agent, params.join(" ")).trim_end().to_owned())
        }
        Output::Record(record) => Some(format!("keep {}", record.instance.id)),
        Output::Unrecord { instance } => Some(format!("forget {instance}")),
        _ => None,
    };
    doings.outputs.iter().filter_map(text).collect()
}

struct Bench {
    local: Local,
    now: Time,
}

impl Bench {
    fn new() -> Bench {
        Bench { local: Local::new(NodeId(1), "a".into(), "own".into()), now: Time::ZERO }
    }

    fn ask(&mut self, exec: Exec) -> Doings {
        self.local.start(self.now, WallTime(0), exec)
    }

    fn end(&mut self, of: &Doings, code: OcfCode) -> Doings {
        self.local.finished(self.now, WallTime(0), number(of), &ExecResult::done(code))
    }

    /// Asks, and lets everything end with the code.
    fn done(&mut self, exec: Exec, code: OcfCode) -> Doings {
        let mut doings = self.ask(exec);
        while number(&doings) != 0 {
            doings = self.end(&doings, code);
        }
        doings
    }
}

#[test]
fn what_ends_or_checks_an_instance_is_what_was_started() {
    let before = [("ip", "10.0.0.1")];
    // What the configuration says by then: changed, removed, renamed away, another agent.
    let after: [(&str, &[(&str, &str)]); 4] =
        [("IPaddr2", &[("ip", "10.0.0.2")]), ("IPaddr2", &[]), ("", &[]), ("Dummy", &[("state", "/a")])];
    for (agent, params) in after {
        for action in ["stop", "demote", "promote", "monitor", "notify", "migrate_to"] {
            let mut bench = Bench::new();
            let start = bench.ask(on_x("start", 0, "IPaddr2", &before));
            let Some(Output::Execute { record: Some(record), .. }) = start.outputs.first() else { panic!("no record") };
            assert_eq!(record.instance.params.len(), 1);
            let started = bench.end(&start, OcfCode::OK);
            let interval_ms = if action == "monitor" { 1000 } else { 0 };
            let asked = bench.ask(on_x(action, interval_ms, agent, params));
            assert_eq!(runs(&asked), [format!("{action} IPaddr2 ip=10.0.0.1")], "{agent} {params:?}");
            let ended = bench.end(&asked, OcfCode::OK);
            let id = &ended.reports[0].identity;
            assert_eq!((id.agent.as_str(), &id.digest), ("IPaddr2", &started.reports[0].identity.digest));
            let forgotten = runs(&ended).contains(&"forget x".to_owned());
            assert_eq!(forgotten, action == "stop", "{action}");
        }
    }
}

#[test]
fn parameters_of_an_operation_are_its_own() {
    let mut bench = Bench::new();
    let mut start = on_x("start", 0, "Dummy", &[("state", "/a"), ("slow", "yes")]);
    start.own = vec!["slow".into()];
    bench.done(start, OcfCode::OK);
    let mut monitor = on_x("monitor", 1000, "Dummy", &[("state", "/b"), ("OCF_CHECK_LEVEL", "10")]);
    monitor.own = vec!["OCF_CHECK_LEVEL".into()];
    assert_eq!(runs(&bench.ask(monitor)), ["monitor Dummy OCF_CHECK_LEVEL=10 state=/a"]);
    assert_eq!(runs(&bench.ask(on_x("stop", 0, "Dummy", &[])))[0], "stop Dummy state=/a");
}

#[test]
fn a_start_first_stops_what_is_in_place_otherwise() {
    let mut bench = Bench::new();
    bench.done(on_x("start", 0, "IPaddr2", &[("ip", "10.0.0.1")]), OcfCode::OK);
    let clear = bench.ask(on_x("start", 0, "Dummy", &[("state", "/a")]));
    assert_eq!(runs(&clear), ["stop IPaddr2 ip=10.0.0.1"]);
    let start = bench.end(&clear, OcfCode::OK);
    assert_eq!(runs(&start), ["forget x", "start Dummy state=/a"]);
    assert_eq!(start.reports.len(), 0);
    assert_eq!(bench.end(&start, OcfCode::OK).reports.len(), 1);
    // The same again needs no stop; and what cannot be stopped fails the start.
    assert_eq!(runs(&bench.ask(on_x("start", 0, "Dummy", &[("state", "/a")]))), ["start Dummy state=/a"]);
    let mut bench = Bench::new();
    bench.done(on_x("start", 0, "IPaddr2", &[("ip", "10.0.0.1")]), OcfCode::OK);
    let clear = bench.ask(on_x("start", 0, "IPaddr2", &[("ip", "10.0.0.2")]));
    let failed = bench.end(&clear, OcfCode::ERROR);
    assert!(failed.reports[0].failed() && failed.reports[0].reason.contains("could not be stopped"));
    assert_eq!(runs(&bench.ask(on_x("stop", 0, "IPaddr2", &[("ip", "10.0.0.2")]))), ["stop IPaddr2 ip=10.0.0.1"]);
}

#[test]
fn a_probe_first_looks_after_what_was_started() {
    for there in [true, false] {
        let mut bench = Bench::new();
        bench.done(on_x("start", 0, "IPaddr2", &[("ip", "10.0.0.1")]), OcfCode::OK);
        let look = bench.ask(on_x("monitor", 0, "IPaddr2", &[("ip", "10.0.0.2")]));
        assert_eq!(runs(&look), ["monitor IPaddr2 ip=10.0.0.1"]);
        let next = bench.end(&look, if there { OcfCode::OK } else { OcfCode::NOT_RUNNING });
        let wanted: &[&str] = if there { &[] } else { &["forget x", "monitor IPaddr2 ip=10.0.0.2"] };
        assert_eq!(runs(&next), wanted);
        assert_eq!(next.reports.len(), usize::from(there));
    }
}

#[test]
fn records_outlive_the_daemon() {
    let mut bench = Bench::new();
    let start = bench.ask(on_x("start", 0, "IPaddr2", &[("ip", "10.0.0.1")]));
    let Some(Output::Execute { record: Some(record), .. }) = start.outputs.first() else { panic!("no record") };
    for (code, told) in [(OcfCode::OK, 1), (OcfCode::NOT_RUNNING, 0)] {
        let mut bench = Bench::new();
        let look = bench.local.restore(bench.now, WallTime(0), vec![(**record).clone()]);
        assert_eq!(runs(&look), ["monitor IPaddr2 ip=10.0.0.1"]);
        let ended = bench.end(&look, code);
        assert_eq!((ended.reports.len(), bench.local.held().resources().len()), (told, told));
        let stop = bench.ask(on_x("stop", 0, "IPaddr2", &[]));
        let wanted = if told == 1 { "stop IPaddr2 ip=10.0.0.1" } else { "stop IPaddr2" };
        assert_eq!(runs(&stop), [wanted]);
    }
}

#[test]
fn a_resource_that_became_a_numbered_instance_is_stopped_under_its_name() {
    for (was, is) in [("x", "x:0"), ("x:0", "x")] {
        let mut bench = Bench::new();
        let mut start = on_x("start", 0, "Dummy", &[]);
        (start.identity.resource, start.operation.instance.id) = (was.into(), was.into());
        bench.done(start, OcfCode::OK);
        let mut stop = on_x("stop", 0, "Dummy", &[]);
        (stop.identity.resource, stop.operation.instance.id) = (is.into(), is.into());
        let asked = bench.ask(stop);
        assert!(matches!(&asked.outputs[0], Output::Execute { operation, .. } if operation.instance.id == was));
        assert_eq!(runs(&bench.end(&asked, OcfCode::OK)), [format!("forget {was}")]);
        assert!(bench.local.held().resources().is_empty());
    }
}

#[test]
fn a_failure_during_an_operation_is_told_after_it() {
    let mut bench = Bench::new();
    let start = bench.ask(on_x("start", 0, "IPaddr2", &[]));
    let gone = ExecResult::done(OcfCode::NOT_RUNNING);
    assert_eq!(bench.local.fail(bench.now, WallTime(0), "x", &gone).reports.len(), 0);
    let ended = bench.end(&start, OcfCode::OK);
    let codes: Vec<i32> = ended.reports.iter().map(|r| r.code).collect();
    assert_eq!(codes, [0, 7]);
    assert!(ended.reports[1].call > ended.reports[0].call);
}

#[test]
fn facts_that_come_late_are_told_of_the_last_start() {
    let mut bench = Bench::new();
    let started = bench.done(on_x("start", 0, "Dummy", &[("fake", "one")]), OcfCode::OK);
    let params = vec![crate::ParamFacts { name: "fake".into(), reloadable: true, ..crate::ParamFacts::default() }];
    let facts = AgentFacts { params, reload: Some(crate::Reload::Legacy) };
    let name = AgentName { class: "ocf".into(), provider: Some("heartbeat".into()), agent: "Dummy".into() };
    let told = bench.local.learn(name.clone(), facts.clone());
    assert!(told.reports[0].identity.extra.iter().any(|(n, _)| n == "op-restart-digest"));
    assert!(told.reports[0].call > started.reports[0].call);
    assert_eq!(bench.local.learn(name, facts).reports.len(), 0, "once");
    // The agent is called as it knows it, and its record has the new parameters then.
    let reload = bench.ask(on_x("reload-agent", 0, "Dummy", &[("fake", "two")]));
    assert_eq!(runs(&reload), ["reload Dummy fake=two"]);
    assert_eq!(runs(&bench.end(&reload, OcfCode::OK)), ["keep x"]);
    assert_eq!(runs(&bench.ask(on_x("stop", 0, "Dummy", &[]))), ["stop Dummy fake=two"]);
}
