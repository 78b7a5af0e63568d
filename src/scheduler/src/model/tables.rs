//! A dense number picks its slot out of the model's tables.

use super::ids::{ActIdx, ColocIdx, LocIdx, NodeIdx, RscIdx};
use super::{Action, Colocation, Location, Node, Resource, Sched};
use std::ops::{Index, IndexMut};

macro_rules! table {
    ($name:ident, $item:ty, $table:ident) => {
        impl Index<$name> for Sched {
            type Output = $item;

            fn index(&self, id: $name) -> &$item {
                &self.$table[id.at()]
            }
        }

        impl IndexMut<$name> for Sched {
            fn index_mut(&mut self, id: $name) -> &mut $item {
                &mut self.$table[id.at()]
            }
        }
    };
}

table!(NodeIdx, Node, nodes);
table!(RscIdx, Resource, resources);
table!(ActIdx, Action, actions);
table!(ColocIdx, Colocation, colocations);
table!(LocIdx, Location, locations);
