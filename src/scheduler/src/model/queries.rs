//! Questions about resources and nodes that several concerns ask: flags, parents, kinds of clones and nodes.

use super::*;

impl Sched {
    pub fn set(&mut self, rsc: RscIdx, flags: u32) {
        self[rsc].flags |= flags;
    }

    pub fn clear(&mut self, rsc: RscIdx, flags: u32) {
        self[rsc].flags &= !flags;
    }

    pub fn set_recursive(&mut self, rsc: RscIdx, flags: u32) {
        self.set(rsc, flags);
        for child in self[rsc].children.clone() {
            self.set_recursive(child, flags);
        }
    }

    /// True if the flag is set on any (or, without `any`, on every) resource of this tree.
    pub fn is_set_recursive(&self, rsc: RscIdx, flag: u32, any: bool) -> bool {
        if self[rsc].is(flag) == any {
            return any;
        }
        let differs = self[rsc].children.iter().any(|c| self.is_set_recursive(*c, flag, any) == any);
        if differs { any } else { !any }
    }

    pub fn set_next_role(&mut self, rsc: RscIdx, role: Role) {
        self[rsc].next_role = role;
    }

    pub fn find_node(&self, name: &str) -> Option<NodeIdx> {
        self.node_by_name.get(&name.to_ascii_lowercase()).copied()
    }

    pub fn find_node_by_id(&self, id: &str) -> Option<NodeIdx> {
        self.node_by_id.get(&id.to_ascii_lowercase()).copied()
    }

    pub fn is_guest(&self, node: NodeIdx) -> bool {
        let n = &self[node];
        n.is_remote_kind && n.remote.is_some_and(|r| self[r].launcher.is_some())
    }

    /// A remote node proper, not a guest.
    pub fn is_remote(&self, node: NodeIdx) -> bool {
        let n = &self[node];
        n.is_remote_kind && n.remote.is_none_or(|r| self[r].launcher.is_none())
    }

    pub fn is_bundle_node(&self, node: NodeIdx) -> bool {
        self.is_guest(node) && self[node].remote.is_some_and(|r| self.is_bundled(r))
    }

    /// What launches the guest behind this node.
    pub fn guest_launcher(&self, node: NodeIdx) -> Option<RscIdx> {
        self[self[node].remote?].launcher
    }

    pub fn is_bundle(&self, rsc: Option<RscIdx>) -> bool {
        rsc.is_some_and(|r| self[r].variant == Variant::Bundle)
    }

    /// A bundle, or part of one, directly or not.
    pub fn is_bundled(&self, rsc: RscIdx) -> bool {
        let mut at = rsc;
        while let Some(parent) = self[at].parent {
            at = parent;
        }
        self[at].variant == Variant::Bundle
    }

    /// Topmost ancestor; a bundle counts only if asked for.
    pub fn top_of(&self, rsc: RscIdx, include_bundle: bool) -> RscIdx {
        let mut at = rsc;
        while let Some(parent) = self[at].parent {
            if !include_bundle && self[parent].variant == Variant::Bundle {
                break;
            }
            at = parent;
        }
        at
    }

    pub fn uber_parent(&self, rsc: RscIdx) -> RscIdx {
        self.top_of(rsc, false)
    }

    pub fn is_parent(&self, child: RscIdx, ancestor: RscIdx) -> bool {
        let mut at = child;
        while let Some(parent) = self[at].parent {
            if parent == ancestor {
                return true;
            }
            at = parent;
        }
        false
    }

    pub fn is_anonymous_clone(&self, rsc: Option<RscIdx>) -> bool {
        rsc.is_some_and(|r| self[r].is_clone() && !self[r].is(flags::rsc::UNIQUE))
    }

    pub fn is_unique_clone(&self, rsc: Option<RscIdx>) -> bool {
        rsc.is_some_and(|r| self[r].is_clone() && self[r].is(flags::rsc::UNIQUE))
    }

    pub fn is_group(&self, rsc: Option<RscIdx>) -> bool {
        rsc.is_some_and(|r| self[r].variant == Variant::Group)
    }

    pub fn printable_id(&self, rsc: RscIdx) -> &Str {
        let r = &self[rsc];
        if r.is(flags::rsc::UNIQUE) { &r.id } else { r.xml_id() }
    }
}
