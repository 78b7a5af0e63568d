//! `crm_resource --digests`: by which a changed parameter is noticed.

use crate::crm_mon::View;
use crate::report::Common;
use crate::source::Failure;
use base::exit::crm;
use scheduler::{NoDigests, OperationDigests};
use std::collections::BTreeMap;
use xml::Element;

pub fn show(view: &View<'_>, id: &str, node: Option<&str>, words: &[String], common: &Common) -> Result<i32, Failure> {
    let node = node.ok_or_else(|| Failure::usage("Must specify node name with --node for this command"))?;
    let pair = |w: &String| w.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
    let odd = |w: &String| Failure::usage(format!("'{w}' is not of the form NAME=VALUE"));
    let given: BTreeMap<String, String> =
        words.iter().map(|w| pair(w).ok_or_else(|| odd(w))).collect::<Result<_, _>>()?;
    let found = scheduler::digests(view.cib, view.now, id, node, &given).map_err(|e| {
        let code = match &e {
            NoDigests::NoResource(_) | NoDigests::NoNode(_) => crm::NOSUCH,
            NoDigests::NotPrimitive(_) => crm::UNIMPLEMENT_FEATURE,
            NoDigests::Schedule(_) => crm::DATAERR,
        };
        Failure::new(code, e.to_string())
    })?;
    common.print(|| text(&found, id, node), || vec![element(&found, id, node)])?;
    Ok(crm::OK)
}

fn text(found: &OperationDigests, id: &str, node: &str) -> String {
    let action = match (found.interval_ms, found.task.as_str()) {
        (0, "monitor") => "probe action".to_owned(),
        (0, task) => format!("{task} action"),
        (ms, task) => format!("{ms}ms-interval {task} action"),
    };
    let what = |set: &str| match set {
        "nonprivate" => "non-private",
        "nonreloadable" => "non-reloadable",
        _ => "all",
    };
    let mut text = format!("Digests for {id} {action} on {node}:\n");
    for (set, hash, _) in &found.sets {
        text += &format!("  * {hash} ({} parameters)\n", what(set));
    }
    text
}

fn element(found: &OperationDigests, id: &str, node: &str) -> Element {
    let mut e = Element::new("digests")
        .with("resource", id)
        .with("node", node)
        .with("task", &found.task)
        .with("interval", format!("{}ms", found.interval_ms));
    for (set, hash, params) in &found.sets {
        // Secrets are part of it, as in the configuration that it is about.
        let params = params.iter().fold(Element::new("parameters"), |p, (name, value)| p.with(name, value));
        e.push(Element::new("digest").with("type", *set).with("hash", hash).with_child(params));
    }
    e
}
