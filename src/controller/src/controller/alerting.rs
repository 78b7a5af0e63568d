//! Events that alert agents are called for, as they happen on this node.

use super::Controller;
use crate::alerts::{self, Calls, Event};
use crate::api::Output;
use crate::message::OpRecord;
use base::NodeId;

impl Controller {
    /// Calls whom the configuration of this moment wants to be called.
    pub(super) fn notify(&mut self, event: &Event) {
        let calls = alerts::calls(self.replica.cib.root(), self.wall, event);
        if calls != Calls::default() {
            self.outputs.push_back(Output::Notify(calls));
        }
    }

    /// A resource of this node runs in danger.
    pub(super) fn on_trouble(&mut self, resource: String, description: String) {
        let node = self.config.my_name();
        self.notify(&Event::Trouble { node, resource, description });
    }

    /// An operation of this node has ended.
    pub(super) fn notify_results(&mut self, news: &[OpRecord]) {
        for event in news.iter().filter_map(Event::of_result) {
            self.notify(&event);
        }
    }

    /// A transient attribute was changed; the coordinator tells, as the original's one writer does.
    pub(super) fn on_attribute(&mut self, node: NodeId, name: String, value: Option<String>) {
        if self.is_coordinator() {
            self.notify(&Event::Attribute { node: self.config.name_of(node), id: node, name, value });
        }
    }
}
