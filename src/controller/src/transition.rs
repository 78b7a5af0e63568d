//! One transition under way: which actions run next ([`Progress`]), and the order to a node that belongs to each.
//!
//! After an abort nothing new starts but what follows from what runs whatever happens (notifications of it); the transition
//! is over when the last running action has reported. Only the coordinator changes a transition.

use crate::api::ViewId;
use crate::digest;
use crate::message::{Bump, Exec, OpIdentity};
pub use crate::progress::Limits;
use crate::progress::Progress;
use base::text::parse_interval_ms;
use base::{Instance, NodeId, Operation};
use scheduler::graph::{Action, ActionId, ActionKind, Graph, ResourceAction};
use std::collections::{BTreeMap, BTreeSet};

/// How long the network may take, unless `cluster-delay` says otherwise.
const CLUSTER_DELAY_MS: u64 = 60_000;

/// Priority from which actions are carried out after an abort as well; the scheduler gives it to what ends a notification.
const OWED: i32 = base::Score::INFINITY.value();

pub struct Transition {
    pub number: u32,
    graph: Graph,
    progress: Progress,
    aborted: Option<String>,
    /// There are such actions at all.
    owes: bool,
}

impl Transition {
    pub fn new(number: u32, graph: Graph) -> Transition {
        let progress = Progress::new(&graph.actions);
        let owes = graph.actions.iter().any(may_be_owed);
        Transition { number, graph, progress, aborted: None, owes }
    }

    pub fn len(&self) -> usize {
        self.graph.actions.len()
    }

    /// Actions that are more than ordering points.
    pub fn work(&self) -> usize {
        self.graph.actions.iter().filter(|a| !matches!(a.kind, ActionKind::Pseudo { .. })).count()
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        self.graph.settings.get(name).map(String::as_str)
    }

    pub fn abort(&mut self, reason: &str) -> bool {
        let first = self.aborted.is_none();
        if first {
            self.aborted = Some(reason.to_owned());
        }
        first
    }

    /// Whether there is anything to [`Transition::fire`].
    pub fn has_ready(&self) -> bool {
        self.progress.has_ready()
    }

    /// Passes ordering points and marks the actions that may start now as running. `hold` keeps back what must wait yet; after
    /// an abort all but what belongs to what runs is kept back.
    pub fn fire(&mut self, limits: Limits, hold: impl Fn(&Action) -> bool) -> Vec<Action> {
        if self.aborted.is_some() && !self.is_owed() {
            return Vec::new();
        }
        self.progress.pass_points();
        let (actions, aborted) = (&self.graph.actions, self.aborted.is_some());
        let held = |at: usize| aborted && !may_be_owed(&actions[at]) || hold(&actions[at]);
        std::iter::from_fn(|| self.progress.begin(limits, held)).map(|at| actions[at].clone()).collect()
    }

    /// Whether what runs, or has run, is to be followed by something whatever happens: notifications of what was done.
    pub fn is_owed(&self) -> bool {
        self.owes && !self.owed().is_empty()
    }

    /// Waiting actions of that kind to which what runs, or has run, leads.
    fn owed(&self) -> BTreeSet<ActionId> {
        let mut owed: BTreeSet<ActionId> = BTreeSet::new();
        let candidates = || self.graph.actions.iter().filter(|a| may_be_owed(a) && self.progress.is_waiting(a.id));
        loop {
            let leads = |input: &ActionId| owed.contains(input) || self.progress.is_done_or_runs(*input);
            let more: Vec<ActionId> = candidates()
                .filter(|a| !owed.contains(&a.id) && !a.inputs.is_empty() && a.inputs.iter().all(leads))
                .map(|a| a.id)
                .collect();
            if more.is_empty() {
                break;
            }
            owed.extend(more);
        }
        // Ordering points alone are nothing to wait for.
        let works = |id: &ActionId| {
            self.graph.actions.iter().any(|a| a.id == *id && !matches!(a.kind, ActionKind::Pseudo { .. }))
        };
        if owed.iter().any(works) { owed } else { BTreeSet::new() }
    }

    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.graph.actions.iter()
    }

    /// An earlier transition has begun this action.
    pub fn take(&mut self, id: ActionId) {
        self.progress.take(id);
    }

    /// Whether the operation `id` is what this action asks for. Those whose parameters come from the configuration must have the same.
    pub fn is_same(&self, action: &Action, op: &ResourceAction, id: &OpIdentity) -> bool {
        let same = *op.primitive.id == *id.resource && *op.operation == *id.operation && *op.key == *id.key;
        let digest = || {
            let all = action.attributes.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            digest::of_params(&all, op.interval_ms)
        };
        match op.operation.as_str() {
            // Each says something else of what is going on.
            "notify" => false,
            "start" | "migrate_from" | "monitor" | "reload" | "reload-agent" => same && digest() == id.digest,
            _ => same,
        }
    }

    /// A running action has reported; false if it was not running.
    pub fn confirm(&mut self, id: ActionId, ok: bool) -> bool {
        self.progress.confirm(id, ok)
    }

    pub fn running(&self) -> usize {
        self.progress.running()
    }

    /// Whether an action waits that could still run: something runs, or it is only held back.
    pub fn has_more(&self) -> bool {
        self.running() > 0 || if self.aborted.is_none() { self.progress.has_ready() } else { self.is_owed() }
    }

    /// Done, failed and never started.
    pub fn tally(&self) -> (usize, usize, usize) {
        self.progress.tally()
    }

    pub fn aborted(&self) -> Option<&str> {
        self.aborted.as_deref()
    }

    /// The order to a node that belongs to a resource action.
    pub fn exec(&self, action: &Action, op: &ResourceAction, node: NodeId, view: ViewId, uuid: &str) -> Exec {
        let attributes: BTreeMap<String, String> =
            action.attributes.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let target_rc = meta(action, "op_target_rc").and_then(|v| v.parse().ok()).unwrap_or(0);
        let mut extra = Vec::new();
        for (attr, name) in [("migrate_source", "migrate_source"), ("migrate_target", "migrate_target")] {
            if let Some(value) = meta(action, name) {
                extra.push((attr.to_owned(), value.to_owned()));
            }
        }
        let identity = OpIdentity {
            node,
            node_name: op.target.node.to_string(),
            resource: op.primitive.id.to_string(),
            class: op.primitive.class.to_string(),
            provider: op.primitive.provider.as_ref().map(ToString::to_string),
            agent: op.primitive.agent.to_string(),
            operation: op.operation.to_string(),
            interval_ms: recurring_interval(op),
            key: op.key.to_string(),
            transition_key: format!("{}:{}:{target_rc}:{uuid}", action.id, self.number),
            target_rc,
            digest: digest::of_params(&attributes, op.interval_ms),
            // A notification tells; what an agent makes of it changes nothing.
            ignore_failure: &*op.operation == "notify" || meta(action, "on_fail") == Some("ignore"),
            bump: self.bump(op),
            extra,
        };
        let operation = operation(&identity, op.timeout_ms, attributes);
        let own = op.own.iter().map(ToString::to_string).collect();
        let wait_ms = op.timeout_ms.saturating_add(self.delay_ms()).saturating_add(start_delay_ms(action));
        Exec { view, identity, operation, own, wait_ms, router: None }
    }

    fn delay_ms(&self) -> u64 {
        self.setting("cluster-delay").and_then(parse_interval_ms).unwrap_or(CLUSTER_DELAY_MS)
    }

    fn bump(&self, op: &ResourceAction) -> Bump {
        let offset = |name: &str| match self.setting(name) {
            Some("INFINITY") | None => Bump::Infinity,
            Some(_) => Bump::One,
        };
        match op.operation.as_str() {
            "start" => offset("failed-start-offset"),
            "stop" => offset("failed-stop-offset"),
            "promote" | "demote" => Bump::One,
            "monitor" if op.interval_ms > 0 => Bump::One,
            _ => Bump::None,
        }
    }
}

/// What the agent is asked to do: instance parameters, and what the cluster adds as `CRM_meta_*`.
fn operation(id: &OpIdentity, timeout_ms: u64, attributes: BTreeMap<String, String>) -> Operation {
    let (mut params, mut meta) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in attributes {
        match name.strip_prefix("CRM_meta_") {
            Some(name) => drop(meta.insert(name.to_owned(), value)),
            // The version of the graph's form: no parameter of the instance.
            None if name == "crm_feature_set" => {}
            None => drop(params.insert(name, value)),
        }
    }
    let instance = Instance {
        id: id.resource.clone(),
        class: id.class.clone(),
        provider: id.provider.clone(),
        agent: id.agent.clone(),
        params,
    };
    let (action, node) = (id.operation.clone(), id.node_name.clone());
    Operation { instance, action, interval_ms: id.interval_ms, timeout_ms, meta, node }
}

/// Notifications, and the points that lead to them.
fn may_be_owed(action: &Action) -> bool {
    let kind = matches!(action.kind, ActionKind::Pseudo { .. }) || action.operation() == "notify";
    kind && action.priority >= OWED
}

/// A cancellation carries the interval of what it cancels, but is itself done once.
fn recurring_interval(op: &ResourceAction) -> u64 {
    if matches!(op.operation.as_str(), "cancel" | "delete" | "notify") { 0 } else { op.interval_ms }
}

fn start_delay_ms(action: &Action) -> u64 {
    meta(action, "start_delay").and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Value of `CRM_meta_NAME`.
pub fn meta<'a>(action: &'a Action, name: &str) -> Option<&'a str> {
    let found = action.attributes.iter().find(|(n, _)| n.strip_prefix("CRM_meta_") == Some(name));
    found.map(|(_, v)| v.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::graph::{PrimitiveRef, Target};

    fn action(id: ActionId, node: &str, inputs: &[ActionId]) -> Action {
        let kind = if node.is_empty() {
            ActionKind::Pseudo { key: format!("p{id}").into(), operation: "start".into(), target: None }
        } else {
            ActionKind::Resource(ResourceAction {
                key: format!("r{id}_start_0").into(),
                operation: "start".into(),
                interval_ms: 0,
                target: Target { node: node.into(), uuid: "1".into() },
                router_node: None,
                primitive: PrimitiveRef {
                    id: format!("r{id}").into(),
                    long_id: None,
                    class: "ocf".into(),
                    provider: None,
                    agent: "Dummy".into(),
                },
                timeout_ms: 1000,
                own: vec![],
                shutdown_lock: None,
            })
        };
        let inputs = inputs.to_vec();
        Action {
            id,
            kind,
            priority: 0,
            inputs,
            attributes: vec![],
            internal_key: None,
            downed: vec![],
            maintenance: vec![],
        }
    }

    fn transition(actions: Vec<Action>) -> Transition {
        Transition::new(1, Graph { actions, ..Graph::default() })
    }

    fn fire(t: &mut Transition, batch: usize, per_node: usize) -> Vec<ActionId> {
        t.fire(Limits { batch, per_node }, |_| false).iter().map(|a| a.id).collect()
    }

    #[test]
    fn inputs_and_limits_decide_what_starts() {
        let mut t = transition(vec![
            action(1, "", &[]),
            action(2, "a", &[1]),
            action(3, "a", &[1]),
            action(4, "b", &[1]),
            action(5, "", &[2, 3, 4]),
            action(6, "b", &[5]),
        ]);
        assert_eq!(fire(&mut t, 0, 1), [2, 4]);
        assert!(t.confirm(2, true) && !t.confirm(2, true));
        assert_eq!(fire(&mut t, 0, 1), [3]);
        t.confirm(3, true);
        assert_eq!(fire(&mut t, 0, 1), [] as [ActionId; 0]);
        t.confirm(4, true);
        assert_eq!(fire(&mut t, 0, 1), [6]);
        t.confirm(6, true);
        assert!(!t.has_more());
        assert_eq!(t.tally(), (6, 0, 0));
        let mut t = transition(vec![action(1, "a", &[]), action(2, "b", &[]), action(3, "c", &[])]);
        assert_eq!(fire(&mut t, 2, 0), [1, 2]);
    }

    #[test]
    fn failures_phantoms_holds_and_aborts_keep_back() {
        let mut t = transition(vec![action(1, "a", &[]), action(2, "a", &[1]), action(3, "a", &[99])]);
        assert_eq!(fire(&mut t, 0, 0), [1]);
        t.confirm(1, false);
        assert_eq!(fire(&mut t, 0, 0), [] as [ActionId; 0]);
        assert!(!t.has_more(), "2 waits for a failure, 3 for a phantom");
        let mut t = transition(vec![action(1, "a", &[]), action(2, "b", &[])]);
        let fired = t.fire(Limits { batch: 0, per_node: 0 }, |a| a.id == 1);
        assert_eq!(fired.len(), 1);
        t.confirm(2, true);
        assert!(t.has_more(), "what is only held back is still to come");
        t.abort("because");
        assert!(!t.has_more());
        assert_eq!(fire(&mut t, 0, 0), [] as [ActionId; 0]);
    }

    #[test]
    fn who_is_to_be_told_of_what_was_done_is_told_after_an_abort() {
        let notify = |id, node: &str, inputs: &[ActionId]| {
            let mut told = action(id, node, inputs);
            told.priority = OWED;
            if let ActionKind::Resource(op) = &mut told.kind {
                op.operation = "notify".into();
            }
            told
        };
        // A promotion, the point after it, two notifications and what would come then; and one of something that never began.
        let mut t = transition(vec![
            action(1, "a", &[]),
            notify(2, "", &[1]),
            notify(3, "a", &[2]),
            notify(4, "b", &[2]),
            action(5, "b", &[3, 4]),
            action(6, "b", &[5]),
            notify(7, "b", &[6]),
        ]);
        assert_eq!(fire(&mut t, 0, 0), [1]);
        assert!(t.abort("an attribute"));
        assert_eq!((fire(&mut t, 0, 0), t.is_owed()), (vec![], true));
        t.confirm(1, true);
        assert_eq!(fire(&mut t, 0, 0), [3, 4]);
        assert!(!t.is_owed() && t.has_more());
        t.confirm(3, true);
        t.confirm(4, true);
        assert_eq!((fire(&mut t, 0, 0), t.has_more()), (vec![], false));
        // Nothing is owed for what failed.
        let mut t = transition(vec![action(1, "a", &[]), notify(2, "a", &[1])]);
        fire(&mut t, 0, 0);
        t.abort("because");
        t.confirm(1, false);
        assert!(!t.is_owed() && !t.has_more());
    }
}
