//! Where a director serves.

use base::ipvs::{Family, ServiceKey};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where clients' packets come in: an address, and the firewall marks that packets to it get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub addr: IpAddr,
    pub marks: BTreeSet<u32>,
}

impl From<IpAddr> for Place {
    fn from(addr: IpAddr) -> Place {
        Place { addr, marks: BTreeSet::new() }
    }
}

impl Place {
    /// Whether packets to this place are this service's.
    pub fn is_of(&self, service: &ServiceKey) -> bool {
        match *service {
            ServiceKey::Address { addr, .. } => addr == self.addr,
            ServiceKey::Fwmark { mark, family } => Family::of(self.addr) == family && self.marks.contains(&mark),
        }
    }
}
