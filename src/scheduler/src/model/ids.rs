//! Dense numbers of the things that the scheduler handles; each names one slot of a table (see [`super::tables`]).

macro_rules! dense_id {
    ($($name:ident)*) => { $(
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);

        impl $name {
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }
    )* };
}

dense_id!(NodeIdx RscIdx ActIdx ColocIdx LocIdx);
