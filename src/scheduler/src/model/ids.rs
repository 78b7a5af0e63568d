//! Dense numbers of the things that the scheduler handles; each names one slot of a table in [`super::Sched`].

use super::{Action, Colocation, Location, Node, Resource, Sched};
use std::ops::{Index, IndexMut};

macro_rules! dense_id {
    ($name:ident, $item:ty, $table:ident) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);

        impl $name {
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }

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

dense_id!(NodeIdx, Node, nodes);
dense_id!(RscIdx, Resource, resources);
dense_id!(ActIdx, Action, actions);
dense_id!(ColocIdx, Colocation, colocations);
dense_id!(LocIdx, Location, locations);
