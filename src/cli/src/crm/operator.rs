//! What an operator reaches for beside configuring: a node's passing attributes and its state, fail counts set by hand, what the
//! configuration at hand would lead to, and words of crmsh that need its own files.

use crate::attributes::{self, Scope, Which};
use crate::crm_simulate;
use crate::edit::error;
use crate::source::{Failure, Source};
use std::ffi::OsString;
use wire::api::FencingOp;
use xml::Element;

/// `node status-attr NODE show|set|delete NAME [VALUE]`: an attribute that is forgotten when the node stops.
pub fn status_attribute(source: &Source, words: &[&str]) -> Result<String, Failure> {
    let [node, command, name, value @ ..] = words else {
        return Err(error("usage: node status-attr NODE show|set|delete NAME [VALUE]"));
    };
    let scope = Scope::Transient { name: (*node).to_owned() };
    let which = Which { name, set_id: None, id: None };
    match (*command, value) {
        ("set", [value]) => {
            attributes::set(source, &scope, which, value, false)?;
            Ok(String::new())
        }
        ("show", []) => {
            let found = attributes::values(&source.cib()?, &scope, which)?;
            let found = found.first().ok_or_else(|| error(format!("{node} has no attribute {name}")))?;
            Ok(format!("scope=status  name={} value={}\n", found.name, found.value))
        }
        ("delete", []) => {
            let gone = attributes::delete(source, &scope, which)?;
            let id = gone.ok_or_else(|| error(format!("{node} has no attribute {name}")))?;
            Ok(format!("Deleted status attribute: id={id} name={name}\n"))
        }
        _ => Err(error(format!("node.status-attr: '{}' does not fit: show, set or delete", words.join(" ")))),
    }
}

/// `resource failcount RSC set NODE VALUE`.
pub fn set_failcount(source: &Source, id: &str, node: &str, value: &str) -> Result<String, Failure> {
    if base::Score::parse(value).is_none_or(|s| s < base::Score::ZERO) {
        return Err(error(format!("'{value}' is no fail count: a number or INFINITY")));
    }
    let name = format!("fail-count-{id}#monitor_0");
    let scope = Scope::Transient { name: node.to_owned() };
    attributes::set(source, &scope, Which { name: &name, set_id: None, id: None }, value, false)?;
    Ok(String::new())
}

/// `node clearstate NODE`: the operator knows that it is down, and the cluster takes his word.
pub fn clear_state(source: &Source, node: &str, agrees: impl FnOnce(&str) -> bool) -> Result<String, Failure> {
    let client = source.client().ok_or_else(|| error("clearstate needs the running cluster"))?;
    let cib = source.cib()?;
    let view = crate::crm_mon::View::of(&cib)?;
    let known = view.cluster.nodes.iter().find(|n| base::ids::same_node(&n.name, node));
    let known = known.ok_or_else(|| error(format!("node {node} does not exist")))?;
    if known.online {
        return Err(error(format!(
            "node {node} is a member of this cluster: its state is known, and it cannot be taken for dead (to stop it: crm node fence {node})"
        )));
    }
    if !agrees(&format!("Is {node} really off? What runs on it is started elsewhere")) {
        return Err(error("nothing was done; once you are sure: crm --force node clearstate NODE"));
    }
    let target = crate::source::checked("node", &known.name)?;
    let op = FencingOp::Confirm { target };
    crate::fencing::ask(client, &format!("crm.{}", std::process::id()), 0, op)?;
    Ok(format!("INFO: {node} is taken for down\n"))
}

/// `configure simulate|ptest`: what the cluster would do with the configuration as it stands in this session.
pub fn simulate(source: &Source, configuration: &Element, words: &[&str]) -> Result<String, Failure> {
    let mut args: Vec<OsString> = vec!["-S".into()];
    for word in words {
        match *word {
            "scores" => args.push("-s".into()),
            "utilization" => args.push("-U".into()),
            // What these ask for is shown always, or is a picture.
            "actions" | "nograph" => {}
            v if !v.is_empty() && v.chars().all(|c| c == 'v') => {}
            other => {
                let known = "nograph, v, scores, actions, utilization";
                return Err(error(format!("configure.simulate: '{other}' is none of: {known}")));
            }
        }
    }
    let mut cib = source.cib()?;
    let others: Vec<Element> = cib.elements().filter(|e| e.name() != "configuration").cloned().collect();
    cib.nodes_mut().clear();
    cib.push(configuration.clone());
    others.into_iter().for_each(|e| cib.push(e));
    let file = std::env::temp_dir().join(format!("crm-simulate-{}.xml", std::process::id()));
    let cannot = |e: std::io::Error| error(format!("cannot write {}: {e}", file.display()));
    kernel::files::replace(&file, cib.to_pretty().as_bytes(), 0o600).map_err(cannot)?;
    args.extend(["-x".into(), file.clone().into()]);
    let code = crm_simulate::main(args);
    // What was made for this is of no use any more.
    let _ = std::fs::remove_file(&file);
    match code {
        0 => Ok(String::new()),
        code => Err(Failure::new(code, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passing_attribute_is_set_shown_and_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("cib.xml");
        let cib = "<cib validate-with=\"pacemaker-3.9\" admin_epoch=\"0\" epoch=\"1\" num_updates=\"0\"><configuration><crm_config/><nodes><node id=\"1\" uname=\"n\"/></nodes><resources/><constraints/></configuration><status/></cib>";
        std::fs::write(&file, cib).expect("written");
        let source = Source::File(file);
        let ask = |words: &[&str]| status_attribute(&source, words);
        ask(&["n", "set", "pingd", "100"]).expect("set");
        assert_eq!(ask(&["n", "show", "pingd"]).expect("there"), "scope=status  name=pingd value=100\n");
        assert!(ask(&["n", "delete", "pingd"]).is_ok() && ask(&["n", "show", "pingd"]).is_err());
        assert!(ask(&["n", "put", "pingd"]).is_err() && ask(&["n"]).is_err());
        assert!(set_failcount(&source, "r", "n", "-1").is_err() && set_failcount(&source, "r", "n", "3").is_ok());
        assert!(clear_state(&source, "n", |_| true).is_err(), "it needs the cluster");
    }
}
