//! Changes of the CIB that clients ask for.

use super::{Applied, Effect, Replica};
use crate::status;
use base::NodeId;
use cib::acl::Subject;
use cib::{CibError, Request, Target};

impl Replica {
    pub(super) fn apply_cib(
        &mut self,
        text: &str,
        subject: Option<&Subject>,
        effects: &mut Vec<Effect>,
    ) -> Result<Applied, CibError> {
        let request = Request::decode(text.as_bytes())?;
        let status = replaces_status(&request).then(|| self.status().cloned()).flatten();
        let outcome = match subject {
            Some(subject) => self.cib.apply_as(&request, subject)?,
            None => self.cib.apply(&request)?,
        };
        // A replaced document brings its own, older idea of what the nodes do.
        if let Some(status) = status {
            self.cib.edit_status(|s| {
                let changed = *s != status;
                *s = status;
                changed
            });
        }
        let replaces = |r: &Request| matches!(r.op, cib::Op::Replace | cib::Op::Erase | cib::Op::Patch);
        if outcome.config_changed && (replaces(&request) || request.steps.iter().any(replaces)) {
            self.introduce();
            // Someone has said what stands in place of what was lost.
            self.lineage.fill();
            self.mark_lineage();
        }
        self.write_runtime();
        if outcome.config_changed {
            self.log_config();
            effects.push(Effect::Config);
        }
        if outcome.changed {
            effects.push(Effect::Changed { reason: format!("{} of the CIB", request.op.name()) });
        }
        Ok(Applied { changed: outcome.changed, config_changed: outcome.config_changed, answer: outcome.answer })
    }

    pub(super) fn tell_attribute(&self, node: NodeId, name: &str, effects: &mut Vec<Effect>) {
        let value = self.status().and_then(|s| status::attribute(s, node, name)).map(str::to_owned);
        effects.push(Effect::Attribute { node, name: name.to_owned(), value });
    }
}

/// Whether a request, or a step of it, brings a whole document along, status and all.
fn replaces_status(request: &Request) -> bool {
    if request.steps.iter().any(replaces_status) {
        return true;
    }
    let whole = match &request.target {
        Target::Whole => true,
        Target::Section(name) => name == "cib" || name == "all",
        Target::XPath(_) => false,
    };
    whole && matches!(request.op, cib::Op::Replace | cib::Op::Erase | cib::Op::Patch)
}
