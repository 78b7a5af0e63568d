//! The stages of a run, in order.

use crate::graph::Graph;
use crate::model::Sched;
use base::WallTime;
use xml::Element;

/// How to decide.
#[derive(Default)]
pub(crate) struct Mode {
    pub transition: u32,
    pub show_utilization: bool,
    /// Secrets in the CIB are blanked out.
    pub sanitized: bool,
}

/// From a model that shows the cluster's status to one with all actions decided, and the graph of those to be done.
pub(crate) fn decide(s: &mut Sched, cib: &Element, now: WallTime, mode: &Mode) -> Graph {
    s.options.show_utilization = mode.show_utilization;
    s.sanitized = mode.sanitized;
    s.apply_node_health();
    s.unpack_constraints(cib, now);
    s.apply_node_criteria();
    s.create_internal_constraints();
    s.handle_config_changes();
    s.assign_all();
    s.schedule_resource_actions();
    s.order_remote_connection_actions();
    s.schedule_fencing_and_shutdowns();
    s.apply_orderings();
    s.build_graph(mode.transition)
}
