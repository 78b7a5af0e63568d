//! Bits of resources, actions and orderings.

/// Resource flags.
pub mod rsc {
    pub const REMOVED: u32 = 1 << 0;
    pub const MANAGED: u32 = 1 << 1;
    pub const BLOCKED: u32 = 1 << 2;
    /// Launched by a container that is no longer configured to launch it.
    pub const REMOVED_LAUNCHED: u32 = 1 << 3;
    pub const NOTIFY: u32 = 1 << 4;
    pub const UNIQUE: u32 = 1 << 5;
    pub const FENCE_DEVICE: u32 = 1 << 6;
    pub const PROMOTABLE: u32 = 1 << 7;
    pub const UNASSIGNED: u32 = 1 << 8;
    pub const ASSIGNING: u32 = 1 << 9;
    pub const UPDATING_NODES: u32 = 1 << 10;
    pub const RESTARTING: u32 = 1 << 11;
    pub const STOP_IF_FAILED: u32 = 1 << 12;
    pub const RELOAD: u32 = 1 << 13;
    /// A remote connection that may itself run on a remote node (bundle).
    pub const REMOTE_NESTING: u32 = 1 << 14;
    pub const CRITICAL: u32 = 1 << 15;
    pub const FAILED: u32 = 1 << 16;
    pub const START_PENDING: u32 = 1 << 17;
    pub const MIGRATABLE: u32 = 1 << 18;
    pub const IGNORE_FAILURE: u32 = 1 << 19;
    pub const REPLICA_CONTAINER: u32 = 1 << 20;
    pub const MAINTENANCE: u32 = 1 << 21;
    pub const REMOTE_CONNECTION: u32 = 1 << 22;
    pub const NEEDS_QUORUM: u32 = 1 << 23;
    pub const NEEDS_FENCING: u32 = 1 << 24;
    pub const NEEDS_UNFENCING: u32 = 1 << 25;
    pub const EXCLUSIVE_PROBES: u32 = 1 << 26;
    /// Stop only where it should not be (`multiple-active=stop_unexpected`).
    pub const STOP_UNEXPECTED: u32 = 1 << 27;
}

/// Action flags.
pub mod act {
    pub const PSEUDO: u32 = 1 << 0;
    pub const RUNNABLE: u32 = 1 << 1;
    pub const OPTIONAL: u32 = 1 << 2;
    pub const ALWAYS_IN_GRAPH: u32 = 1 << 3;
    pub const ATTRS_EVALUATED: u32 = 1 << 4;
    pub const MIGRATABLE: u32 = 1 << 5;
    pub const ADDED_TO_GRAPH: u32 = 1 << 6;
    pub const MIGRATION_ABORT: u32 = 1 << 7;
    pub const RESCHEDULE: u32 = 1 << 8;
    pub const DETECT_LOOP: u32 = 1 << 9;
    pub const INPUTS_DEDUPLICATED: u32 = 1 << 10;
    pub const ON_DC: u32 = 1 << 11;
}

/// What an ordering of two actions implies.
pub mod rel {
    pub const NONE: u32 = 0;
    pub const ORDERED: u32 = 1 << 0;
    pub const IF_ON_SAME_NODE: u32 = 1 << 1;
    pub const IF_ON_SAME_NODE_OR_TARGET: u32 = 1 << 2;
    pub const IF_REQUIRED_ON_SAME_NODE: u32 = 1 << 3;
    pub const IF_FIRST_UNMIGRATABLE: u32 = 1 << 4;
    pub const FIRST_IMPLIES_THEN: u32 = 1 << 5;
    pub const THEN_IMPLIES_FIRST: u32 = 1 << 6;
    pub const PROMOTED_THEN_IMPLIES_FIRST: u32 = 1 << 7;
    pub const UNRUNNABLE_FIRST_BLOCKS: u32 = 1 << 8;
    pub const UNMIGRATABLE_THEN_BLOCKS: u32 = 1 << 9;
    pub const ASYMMETRIC: u32 = 1 << 10;
    pub const MIN_RUNNABLE: u32 = 1 << 11;
    pub const NESTED_REMOTE_PROBE: u32 = 1 << 12;
    pub const INTERMEDIATE_STOP: u32 = 1 << 13;
    pub const SERIALIZE: u32 = 1 << 14;
    pub const FIRST_IMPLIES_SAME_NODE_THEN: u32 = 1 << 15;
    pub const FIRST_IMPLIES_THEN_GRAPHED: u32 = 1 << 16;
    pub const THEN_IMPLIES_FIRST_GRAPHED: u32 = 1 << 17;
    pub const THEN_CANCELS_FIRST: u32 = 1 << 18;
    pub const GUEST_ALLOWED: u32 = 1 << 19;
    pub const FIRST_ELSE_THEN: u32 = 1 << 20;
}
