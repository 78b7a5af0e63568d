//! What must hold while a fault lasts, and once it is over.

use super::faults::{Fault, Kind};
use super::field::{Field, vip};
use super::report::Report;
use crate::fixture::{self, cib_call, post};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use wire::api::{CibOp, CibReply, CibTarget, NodeStatus};
use xml::Element;

/// Longest wait for the answer of one node; it is asked again.
const ANSWERS: Duration = Duration::from_secs(3);

/// One view, one configuration, everything once and where it is said to be.
pub async fn well(field: &mut Field) -> Result<(), String> {
    let names = field.cluster.names.clone();
    if let Some((name, code)) = field.ended_for_good.iter().next() {
        return Err(format!("{name} has ended with {code}, and its unit does not start it again"));
    }
    let all: Vec<NodeStatus> = names
        .iter()
        .map(|n| field.cluster.status(n).ok_or_else(|| format!("{n} does not answer")))
        .collect::<Result<_, _>>()?;
    let first = &all[0];
    if !all.iter().all(|s| s.members.len() == names.len() && s.view == first.view && s.dc == first.dc && s.quorate) {
        let seen: Vec<String> = all.iter().map(|s| format!("{:?} dc {:?}", s.members, s.dc)).collect();
        return Err(format!("not one view: {seen:?}"));
    }
    let there = what_is_there(field).await;
    let holder = one_of(&there, "vip")?;
    if one_of(&there, "app")? != holder {
        return Err(format!("the group is in two places: {there:?}"));
    }
    if names.iter().any(|n| !there.contains(&("beat".to_owned(), (*n).to_owned()))) {
        return Err(format!("the clone is not everywhere: {there:?}"));
    }
    for name in &names {
        let shown = what_is_shown(field, name)?;
        if shown != there {
            return Err(format!("{name} shows {shown:?}, and there is {there:?}"));
        }
    }
    same_everywhere(field)
}

fn one_of(there: &BTreeSet<(String, String)>, resource: &str) -> Result<String, String> {
    let mut at = there.iter().filter(|(r, _)| r == resource);
    match (at.next(), at.next()) {
        (Some((_, node)), None) => Ok(node.clone()),
        _ => Err(format!("{resource} does not run once: {there:?}")),
    }
}

/// Resource and node, as addresses and files say.
async fn what_is_there(field: &Field) -> BTreeSet<(String, String)> {
    let mut there = BTreeSet::new();
    for name in &field.cluster.names {
        if field.cluster.lab.host(name).expect("a host").has_address(vip()).await.expect("looked") {
            there.insert(("vip".to_owned(), (*name).to_owned()));
        }
        let dummies = ["app", "beat"].into_iter().filter(|r| field.has(name, r));
        there.extend(dummies.map(|r| (r.to_owned(), (*name).to_owned())));
    }
    there
}

/// The same as `crm_mon` tells it on that node.
fn what_is_shown(field: &Field, node: &str) -> Result<BTreeSet<(String, String)>, String> {
    let (code, text, why) = field.cluster.command(node, &["crm_mon", "-1", "--output-as=xml"]);
    let tree = xml::parse(&text).map_err(|_| format!("crm_mon on {node}: {code} {why}"))?;
    let mut shown = BTreeSet::new();
    if let Some(resources) = tree.child("resources") {
        gather(resources, &mut shown);
    }
    Ok(shown)
}

fn gather(under: &Element, shown: &mut BTreeSet<(String, String)>) {
    for element in under.elements() {
        if element.name() != "resource" {
            gather(element, shown);
            continue;
        }
        let id = element.id().unwrap_or_default().to_owned();
        if id != "switch" && element.attr("active") == Some("true") {
            let nodes = element.elements_named("node").filter_map(|n| n.attr("name"));
            shown.extend(nodes.map(|n| (id.clone(), n.to_owned())));
        }
    }
}

/// All replicas are equal. The writer writes meanwhile, so that only those of one version are compared.
fn same_everywhere(field: &Field) -> Result<(), String> {
    let ask = |name: &&str| -> Result<CibReply, String> {
        let mut call = cib_call(CibOp::Query, "configuration", None);
        call.target = CibTarget::Whole;
        post(&field.cluster.run_dir(name), "cib", &call, ANSWERS).ok_or_else(|| format!("{name} does not answer"))
    };
    let all: Vec<CibReply> = field.cluster.names.iter().map(ask).collect::<Result<_, _>>()?;
    if all.iter().any(|r| r.version != all[0].version) {
        return Err(format!("versions differ: {:?}", all.iter().map(|r| r.version).collect::<Vec<_>>()));
    }
    if all.iter().any(|r| r.xml != all[0].xml) {
        let texts: Vec<&str> = all.iter().filter_map(|r| r.xml.as_deref()).collect();
        return Err(format!("replicas differ at {:?}: {}", all[0].version, first_difference(&texts)));
    }
    Ok(())
}

fn first_difference(texts: &[&str]) -> String {
    let shortest = texts.iter().map(|t| t.len()).min().unwrap_or(0);
    let at = (0..shortest).find(|n| texts.iter().any(|t| t.as_bytes()[*n] != texts[0].as_bytes()[*n]));
    let from = at.unwrap_or(shortest).saturating_sub(80);
    let part = |t: &&str| String::from_utf8_lossy(&t.as_bytes()[from..t.len().min(from + 200)]).into_owned();
    format!("{:#?}", texts.iter().map(part).collect::<Vec<_>>())
}

/// What must have held since the fault began.
pub fn check(field: &Field, fault: &Fault, began: Instant, title: &str, report: &mut Report) {
    let verdict = |held: bool, why: String| if held { Ok(()) } else { Err(format!("{title}: {why}")) };
    let (_, reached) = field.asker.judge(began, Instant::now());
    let stated = field.stated(case(fault.kind));
    report.check(
        "address_once",
        verdict(reached <= stated, format!("two nodes answered for {reached:?}, stated {stated:?}")),
    );
    if let Some((configuration, _)) = field.cluster.configuration(field.cluster.names[0]) {
        let lost: Vec<String> =
            field.writer.promised().into_iter().filter(|id| !configuration.contains(&format!("\"{id}\""))).collect();
        report.check("safe_is_kept", verdict(lost.is_empty(), format!("told as safe and lost: {lost:?}")));
    }
    let (fenced, may) = (field.fenced(), fault.may_be_fenced());
    let once: BTreeSet<&String> = fenced.iter().collect();
    let right = once.len() == fenced.len() && fenced.iter().all(|target| may.contains(&target.as_str()));
    if field.fencing {
        report.check("fenced_rightly", verdict(right, format!("fenced: {fenced:?}, at most once each of {may:?}")));
        report.check("never_twice", verdict(field.twice.is_empty(), field.twice.join(", ")));
    }
    for stop in &field.stops {
        report.check("nothing_left", stop.clone().map_err(|why| format!("{title}: {why}")));
    }
}

/// What `bascule plan` calls it.
const fn case(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::RingDown | Kind::RingOneWay => Some("ring"),
        Kind::LanDown => Some("carrier"),
        Kind::BothDown => Some("both_networks"),
        Kind::Stopped | Kind::Killed => Some("daemon"),
        _ => None,
    }
}

/// Every node is stopped in good order.
pub async fn nothing_left_at_the_end(field: &mut Field, report: &mut Report) {
    let names = field.cluster.names.clone();
    field.held_down.extend(names.iter().copied());
    for name in &names {
        // A violation before may have left none.
        let _ = field.pid(name).map(|pid| nix::sys::signal::kill(pid, Signal::SIGTERM));
    }
    let begin = Instant::now();
    while names.iter().any(|n| field.cluster.daemons.get_mut(n).is_some_and(|d| matches!(d.try_wait(), Ok(None)))) {
        if begin.elapsed() > fixture::PATIENCE {
            let why = format!("the nodes do not end\n{}", field.cluster.logs());
            return report.check("nothing_left", Err(why));
        }
        field.pass(Duration::from_millis(50)).await;
    }
    field.pass(Duration::from_millis(500)).await;
    for name in &names {
        let left = field.left_on(name).await;
        let held = if left.is_empty() { Ok(()) } else { Err(format!("left on {name} at the end: {left:?}")) };
        report.check("nothing_left", held);
    }
}
