//! What a cluster of ours cannot run: refused where a request comes in, rather than accepted and failed. (Files of the original that
//! hold it are read, verified and simulated all the same.)

use crate::{CibError, Request};
use xml::Element;

/// Refuses a request that brings in bundles.
pub fn check(request: &Request) -> Result<(), CibError> {
    let parts = std::iter::once(request).chain(&request.steps);
    let mut all = parts.filter_map(|r| r.payload.as_ref()).flat_map(|p| p.descendants());
    match all.find_map(|e| Some((e, needs(e)?))) {
        Some((e, what)) => Err(CibError::NotRunnable { what, id: e.id().unwrap_or_default().to_owned() }),
        None => Ok(()),
    }
}

fn needs(e: &Element) -> Option<&'static str> {
    (e.name() == "bundle").then_some("bundles")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Target};

    #[test]
    fn a_bundle_is_refused_wherever_it_stands_and_remote_nodes_are_not() {
        let request = |op, xml: &str| Request::new(op, Target::Whole, Some(xml::parse(xml).expect("XML")));
        let remote = "<resources><primitive id='r' class='ocf' provider='pacemaker' type='remote'/></resources>";
        let guest = "<nvpair id='g' name='remote-node' value='guest1'/>";
        let bundle = "<diff><change><change-result><bundle id='b'/></change-result></change></diff>";
        for xml in [remote, guest] {
            assert_eq!(check(&request(Op::Modify, xml)), Ok(()));
        }
        let mut steps = Request::new(Op::Transaction, Target::Whole, None);
        steps.steps.push(request(Op::Create, bundle));
        for asked in [request(Op::Modify, bundle), steps] {
            let error = check(&asked).expect_err("a bundle");
            assert!(error.to_string().contains("bundles"), "{error}");
        }
    }
}
