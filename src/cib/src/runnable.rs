//! What a cluster of ours cannot run: refused where a request comes in, rather than accepted and failed. (Files of the original that
//! hold it are read, verified and simulated all the same.)

use crate::{CibError, Request};
use xml::Element;

/// Refuses a request that brings in bundles, remote nodes or guest nodes.
pub fn check(request: &Request) -> Result<(), CibError> {
    let parts = std::iter::once(request).chain(&request.steps);
    let mut all = parts.filter_map(|r| r.payload.as_ref()).flat_map(|p| p.descendants());
    match all.find_map(|e| Some((e, needs(e)?))) {
        Some((e, what)) => Err(CibError::NotRunnable { what, id: e.id().unwrap_or_default().to_owned() }),
        None => Ok(()),
    }
}

fn needs(e: &Element) -> Option<&'static str> {
    let is = |name: &str, value: &str| e.attr(name) == Some(value);
    match e.name() {
        "bundle" => Some("bundles"),
        "primitive" | "template" if is("class", "ocf") && is("provider", "pacemaker") && is("type", "remote") => {
            Some("remote nodes")
        }
        "nvpair" if is("name", "remote-node") => Some("guest nodes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Target};

    #[test]
    fn what_needs_a_remote_daemon_is_refused_wherever_it_stands() {
        let request = |op, xml: &str| Request::new(op, Target::Whole, Some(xml::parse(xml).expect("XML")));
        let remote = "<resources><primitive id='r' class='ocf' provider='pacemaker' type='remote'/></resources>";
        let guest = "<nvpair id='g' name='remote-node' value='guest1'/>";
        let bundle = "<diff><change><change-result><bundle id='b'/></change-result></change></diff>";
        for (xml, what) in [(remote, "remote nodes"), (guest, "guest nodes"), (bundle, "bundles")] {
            let mut steps = Request::new(Op::Transaction, Target::Whole, None);
            steps.steps.push(request(Op::Create, xml));
            for asked in [request(Op::Modify, xml), steps] {
                let error = check(&asked).expect_err(what);
                assert!(error.to_string().contains(what), "{error}");
            }
        }
        assert_eq!(
            check(&request(Op::Create, "<primitive id='r' class='ocf' provider='heartbeat' type='remote'/>")),
            Ok(())
        );
    }
}
