//! Messages cut out of a stream.

/// `u16 type | u32 length`.
pub const HEADER_BYTES: usize = 6;

/// One message as it came, its options unread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub kind: u16,
    pub body: Vec<u8>,
}

/// The peer's fault: the stream cannot be read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message of at most {limit} bytes was expected, the peer announces {got}")]
pub struct FrameError {
    pub limit: usize,
    pub got: u32,
}

/// Bytes of one connection that wait until they make a message.
pub struct Frames {
    bytes: Vec<u8>,
    limit: usize,
}

impl Frames {
    /// `limit`: largest body that is taken.
    pub fn new(limit: usize) -> Frames {
        Frames { bytes: Vec::new(), limit }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Nothing of a message has come yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are still missing to the end of the message that has begun, or of its header: whoever reads no more than that
    /// takes nothing of what follows.
    pub fn missing(&self) -> usize {
        let have = self.bytes.len();
        match self.bytes.first_chunk::<HEADER_BYTES>() {
            Some([_, _, length @ ..]) => {
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX).min(self.limit);
                (HEADER_BYTES + length).saturating_sub(have)
            }
            None => HEADER_BYTES - have,
        }
    }

    /// The next whole message.
    pub fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [k0, k1, l0, l1, l2, l3] = *header;
        let got = u32::from_be_bytes([l0, l1, l2, l3]);
        let length = usize::try_from(got).ok().filter(|n| *n <= self.limit);
        let Some(length) = length else { return Err(FrameError { limit: self.limit, got }) };
        let end = HEADER_BYTES + length;
        let Some(body) = self.bytes.get(HEADER_BYTES..end) else { return Ok(None) };
        let frame = Frame { kind: u16::from_be_bytes([k0, k1]), body: body.to_vec() };
        self.bytes.drain(..end);
        Ok(Some(frame))
    }
}

pub(super) fn encode(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend(kind.to_be_bytes());
    // A body that is written here is far smaller than 4 GiB: its lists are bounded.
    out.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(body);
    out
}
