//! Frames of the executor's protocol, between a cluster node and a remote node: XML behind a header, over TLS with a shared key.
//!
//! Source: `lib/common/remote.c` of Pacemaker. The header is written in its sender's byte order, and its first field tells which that
//! is. A text ends in NUL, and its length counts that. Nobody writes compressed texts.

use std::fmt;

/// TCP port of the executor on a remote node.
pub const PORT: u16 = 3121;
/// Whom a cluster node says it is, in the TLS handshake.
pub const USER: &str = "lrmd";
/// The key that all cluster and remote nodes share.
pub const KEY_FILE: &str = "/etc/pacemaker/authkey";
/// Longest key that our TLS library takes.
pub const MAX_KEY_BYTES: usize = 512;
/// Largest text that is taken from the other side.
pub const MAX_TEXT_BYTES: usize = 16 << 20;
pub const HEADER_BYTES: usize = 40;

const MAGIC: u32 = 0xBADA_DBBD;
const VERSION: u32 = 1;

/// What is wrong with what the other side sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error(
        "expected the number {MAGIC:#x} in one or the other byte order, found {found:#x}: this is not the executor's protocol"
    )]
    Magic { found: u32 },
    #[error("the message's sizes ({total} in all, {offset} before the text, {text} of text) contradict each other")]
    Sizes { total: u32, offset: u32, text: u32 },
    #[error("a message of {bytes} bytes, expected at most {MAX_TEXT_BYTES}")]
    TooLarge { bytes: u32 },
    #[error("a compressed message; compression is not spoken here")]
    Compressed,
    #[error("the message is not UTF-8 text that ends in NUL")]
    Text,
}

/// `text` as it goes out; `number` counts the messages of its sender.
pub fn encode(number: u64, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 1).unwrap_or(u32::MAX);
    let header = HEADER_BYTES as u32;
    let mut out = Vec::with_capacity(HEADER_BYTES + text.len() + 1);
    for word in [MAGIC, VERSION] {
        out.extend(word.to_le_bytes());
    }
    for long in [number, 0] {
        out.extend(long.to_le_bytes());
    }
    for word in [header.saturating_add(length), header, 0, length] {
        out.extend(word.to_le_bytes());
    }
    out.extend(text.as_bytes());
    out.push(0);
    out
}

/// Puts together what arrives in pieces.
#[derive(Default)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("bytes", &self.buffer.len()).finish()
    }
}

impl Reader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole text. After an error nothing more can be read from this side.
    pub fn next_text(&mut self) -> Result<Option<String>, FrameError> {
        let Some(length) = self.text_bytes()? else { return Ok(None) };
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        let rest = self.buffer.split_off(HEADER_BYTES + length);
        let mut text = std::mem::replace(&mut self.buffer, rest).split_off(HEADER_BYTES);
        if text.pop() != Some(0) {
            return Err(FrameError::Text);
        }
        String::from_utf8(text).map(Some).map_err(|_| FrameError::Text)
    }

    /// Length of the text that the header announces, NUL included; `None` before all of the header is there.
    fn text_bytes(&self) -> Result<Option<usize>, FrameError> {
        let Some(found) = self.word(0, false) else { return Ok(None) };
        let big = match found {
            MAGIC => false,
            _ if found.swap_bytes() == MAGIC => true,
            _ => return Err(FrameError::Magic { found }),
        };
        if self.buffer.len() < HEADER_BYTES {
            return Ok(None);
        }
        let word = |at| self.word(at, big).unwrap_or(0);
        let (total, offset, compressed, text) = (word(24), word(28), word(32), word(36));
        if compressed != 0 {
            return Err(FrameError::Compressed);
        }
        if text as usize > MAX_TEXT_BYTES {
            return Err(FrameError::TooLarge { bytes: text });
        }
        if offset as usize != HEADER_BYTES || text == 0 || offset.checked_add(text) != Some(total) {
            return Err(FrameError::Sizes { total, offset, text });
        }
        Ok(Some(text as usize))
    }

    fn word(&self, at: usize, big: bool) -> Option<u32> {
        let bytes: [u8; 4] = self.buffer.get(at..at + 4)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_arrive_in_any_pieces() {
        let all = [encode(1, "<a/>"), encode(2, "<b x=\"ü\"/>")].concat();
        for size in 1..=all.len() {
            let (mut reader, mut texts) = (Reader::default(), Vec::new());
            for piece in all.chunks(size) {
                reader.push(piece);
                while let Some(text) = reader.next_text().expect("good") {
                    texts.push(text);
                }
            }
            assert_eq!(texts, ["<a/>", "<b x=\"ü\"/>"], "{size}");
        }
    }

    #[test]
    fn the_other_byte_order_is_read() {
        let mut swapped = encode(1, "<a/>");
        for at in [0, 4, 24, 28, 32, 36] {
            swapped[at..at + 4].reverse();
        }
        let mut reader = Reader::default();
        reader.push(&swapped);
        assert_eq!(reader.next_text(), Ok(Some("<a/>".to_owned())));
    }

    #[test]
    fn what_is_no_frame_is_refused_before_it_is_waited_for() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = encode(1, "<a/>");
            change(&mut bytes);
            let mut reader = Reader::default();
            reader.push(&bytes);
            reader.next_text().expect_err("refused")
        };
        let put = |at: usize, value: u32| move |b: &mut Vec<u8>| b[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert_eq!(refused(&put(0, 7)), FrameError::Magic { found: 7 });
        assert_eq!(refused(&put(36, u32::MAX)), FrameError::TooLarge { bytes: u32::MAX });
        assert!(matches!(refused(&put(24, 12)), FrameError::Sizes { total: 12, .. }));
        assert!(matches!(refused(&put(28, 41)), FrameError::Sizes { offset: 41, .. }));
        assert!(matches!(refused(&put(36, 0)), FrameError::Sizes { text: 0, .. }));
        assert_eq!(refused(&put(32, 1)), FrameError::Compressed);
        assert_eq!(refused(&|b| *b.last_mut().expect("NUL") = b'x'), FrameError::Text);
        assert_eq!(refused(&|b| b[41] = 0xff), FrameError::Text);
        let mut reader = Reader::default();
        reader.push(b"GET / HTTP/1.1\r\n");
        assert!(matches!(reader.next_text(), Err(FrameError::Magic { .. })));
    }
}
