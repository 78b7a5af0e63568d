//! What has to hold, one property a file. Some are watched while the world runs, some are looked at when it has come to rest.

pub mod active;
pub mod addresses;
pub mod arbitrator;
pub mod evs;
pub mod fencing;
pub mod leftovers;
pub mod limits;
pub mod links;
pub mod liveness;
pub mod needless;
pub mod order;
pub mod quorum;
pub mod reload;
pub mod replicas;
pub mod safe_changes;
pub mod status;
pub mod takeover;
pub mod transitions;
