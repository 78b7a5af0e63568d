//! What every other crate shares: identifiers, scores, virtual time, exit codes, and the plain data of an IPVS table.
//!
//! Pure: no clock, no socket, no file. Anything here must be useful to at least two crates.

pub mod agent;
pub mod applet;
pub mod dates;
pub mod exit;
pub mod fencing;
pub mod ids;
pub mod ipvs;
pub mod lease;
pub mod names;
pub mod net;
pub mod operation;
pub mod outside;
pub mod score;
pub mod secret;
pub mod shared;
pub mod text;
pub mod time;

pub use fencing::FenceAction;
pub use ids::NodeId;
pub use names::Names;
pub use operation::{Instance, Operation};
pub use outside::{Reason, Value, Word, XmlText};
pub use score::Score;
pub use shared::Text;
pub use time::{Time, WallTime};
