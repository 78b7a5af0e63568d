//! What daemon and worker say to each other: little-endian lengths, a CIB as text one way, a schedule as JSON the other.

use base::WallTime;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Longest frame; a CIB is at most [`cib::MAX_CIB_BYTES`] long, a graph of it a few times as much.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// One run to be made.
pub(super) struct Order {
    pub transition: u32,
    pub wall: WallTime,
    pub cib: String,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    Schedule(Box<scheduler::Schedule>),
    Refused(String),
    Panicked,
}

impl Order {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20 + self.cib.len());
        bytes.extend(self.transition.to_le_bytes());
        bytes.extend(self.wall.0.to_le_bytes());
        bytes.extend((self.cib.len() as u64).to_le_bytes());
        bytes.extend_from_slice(self.cib.as_bytes());
        bytes
    }

    /// The next order, or `None` at the end of the input.
    pub fn read(from: &mut impl Read) -> io::Result<Option<Order>> {
        let Some(transition) = number::<4>(from)? else { return Ok(None) };
        let truncated = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let wall = number::<8>(from)?.ok_or_else(truncated)?;
        let length = u64::from_le_bytes(number::<8>(from)?.ok_or_else(truncated)?);
        if length > MAX_BYTES {
            return Err(io::Error::other(format!("an order of {length} bytes; at most {MAX_BYTES} are taken")));
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        let cib = String::from_utf8(bytes).map_err(io::Error::other)?;
        let wall = WallTime(i64::from_le_bytes(wall));
        Ok(Some(Order { transition: u32::from_le_bytes(transition), wall, cib }))
    }
}

impl Reply {
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::other)?;
        to.write_all(&(bytes.len() as u64).to_le_bytes())?;
        to.write_all(&bytes)?;
        to.flush()
    }
}

/// `N` bytes, or `None` if the input ends before the first of them.
fn number<const N: usize>(from: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match from.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_as_they_were_sent() {
        let order = Order { transition: 7, wall: WallTime(-5), cib: "<cib/>".to_owned() };
        let bytes = order.to_bytes();
        let read = Order::read(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!((read.transition, read.wall, read.cib.as_str()), (7, WallTime(-5), "<cib/>"));
        assert!(Order::read(&mut [].as_slice()).unwrap().is_none());
        for cut in 5..bytes.len() {
            assert!(Order::read(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut huge = bytes;
        huge[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Order::read(&mut huge.as_slice()).is_err());
    }
}
