//! IPVS tables behind one narrow trait.
//!
//! [`Ipvs`] is what everybody programs against. [`Kernel`] speaks generic netlink to the running kernel, [`Memory`]
//! is a table in memory that refuses what the kernel refuses, and can be loaded from and saved to a JSON file.
//! All of them are synchronous; asynchronous callers give them a thread (`spawn_blocking` or an actor).
//!
//! A single [`Change`] is atomic; a sequence of changes is not, and says for each change whether it was made.

pub mod codec;
mod error;
mod kernel;
mod memory;
pub mod render;

pub use error::Error;
pub use kernel::{DEFAULT_DEADLINE_MS, Kernel};
pub use memory::{FileError, Memory};

use base::ipvs::{Dest, DestKey, Info, Service, ServiceEntry, ServiceKey, SyncDaemon, SyncState, Timeouts};

/// Longest name of a scheduler, persistence engine or interface in bytes (`IP_VS_SCHEDNAME_MAXLEN` - 1).
pub const MAX_NAME_LEN: usize = 15;

/// One request that alters the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    AddService(Service),
    EditService(Service),
    DeleteService(ServiceKey),
    AddDest(ServiceKey, Dest),
    EditDest(ServiceKey, Dest),
    DeleteDest(ServiceKey, DestKey),
    /// Counters of one service or of all.
    Zero(Option<ServiceKey>),
    /// Removes all services.
    Flush,
    /// Zero leaves a value as it is.
    SetTimeouts(Timeouts),
    StartDaemon(SyncDaemon),
    StopDaemon {
        state: SyncState,
        sync_id: u32,
    },
}

/// An IPVS table: the kernel's, one in memory, or the relay's.
///
/// Implementors write the reading methods and [`Ipvs::apply`]; callers use the named methods.
pub trait Ipvs: Send {
    fn info(&mut self) -> Result<Info, Error>;

    /// All services in kernel order, with their destinations and 64-bit counters.
    fn services(&mut self) -> Result<Vec<ServiceEntry>, Error>;

    /// One service with its destinations, or [`Error::NoSuchService`].
    fn service(&mut self, key: &ServiceKey) -> Result<ServiceEntry, Error>;

    fn timeouts(&mut self) -> Result<Timeouts, Error>;

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error>;

    /// Whether it would take a service with this scheduler; or this persistence engine. Nothing is loaded to find out.
    fn has_scheduler(&mut self, name: &str) -> bool {
        memory::SCHEDULERS.contains(&name)
    }

    fn has_engine(&mut self, name: &str) -> bool {
        memory::PERSISTENCE_ENGINES.contains(&name)
    }

    /// Makes one change, or none and says why.
    fn apply(&mut self, change: &Change) -> Result<(), Error>;

    /// Makes the changes in order, going on after a refusal; one result each, in the same order.
    /// A connection that fails midway leaves [`Error::Unknown`] for every change whose fate is not known.
    fn apply_all(&mut self, changes: &[Change]) -> Vec<Result<(), Error>> {
        changes.iter().map(|change| self.apply(change)).collect()
    }

    fn add_service(&mut self, service: &Service) -> Result<(), Error> {
        self.apply(&Change::AddService(service.clone()))
    }

    /// Replaces scheduler, flags, persistence of an existing service.
    fn edit_service(&mut self, service: &Service) -> Result<(), Error> {
        self.apply(&Change::EditService(service.clone()))
    }

    fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        self.apply(&Change::DeleteService(*key))
    }

    fn add_dest(&mut self, service: &ServiceKey, dest: &Dest) -> Result<(), Error> {
        self.apply(&Change::AddDest(*service, dest.clone()))
    }

    /// Replaces forwarding, weight, tunnel and thresholds of an existing destination.
    fn edit_dest(&mut self, service: &ServiceKey, dest: &Dest) -> Result<(), Error> {
        self.apply(&Change::EditDest(*service, dest.clone()))
    }

    fn delete_dest(&mut self, service: &ServiceKey, dest: &DestKey) -> Result<(), Error> {
        self.apply(&Change::DeleteDest(*service, *dest))
    }

    fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Error> {
        self.apply(&Change::Zero(service.copied()))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.apply(&Change::Flush)
    }

    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Error> {
        self.apply(&Change::SetTimeouts(*timeouts))
    }

    fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), Error> {
        self.apply(&Change::StartDaemon(daemon.clone()))
    }

    fn stop_daemon(&mut self, state: SyncState, sync_id: u32) -> Result<(), Error> {
        self.apply(&Change::StopDaemon { state, sync_id })
    }
}
