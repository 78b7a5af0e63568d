//! Process groups for programs of this host, over `RUN_DIR/groups.sock`: join one, send to all of its members, hear them in the
//! ring's order. One connection is one process in one group.
//!
//! Every frame is `u32 length | u8 kind | body`, the length counting kind and body, little-endian.
//!
//! | to the node | body | | from the node | body |
//! |---|---|---|---|---|
//! | 1 join | the group's name | | 1 members | JSON of [`Members`], with every change, the own joining among them |
//! | 2 send | the message | | 2 message | `u32 node`, `u32 pid`, the message |
//! | 3 leave | – | | 3 refused | why, as text; the connection ends |

use base::NodeId;
use serde::{Deserialize, Serialize};

/// File name of the socket within the run directory.
pub const SOCKET_NAME: &str = "groups.sock";
/// Largest message, as with corosync's CPG.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Of a frame: a message with its sender.
pub const MAX_FRAME_BYTES: usize = MAX_MESSAGE_BYTES + 16;
const PREFIX_BYTES: usize = 4;
/// The kind of [`ToNode::Send`], for who reads its message to where it shall stand.
pub const SEND: u8 = 2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToNode {
    Join(String),
    Send(Vec<u8>),
    Leave,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromNode {
    Members(Members),
    Message { node: NodeId, pid: u32, message: Vec<u8> },
    Refused(String),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    pub pid: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Members {
    pub members: Vec<Member>,
    pub left: Vec<Member>,
    pub joined: Vec<Member>,
}

/// The peer's fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {got} bytes, expected 1 to {MAX_FRAME_BYTES}")]
    Length { got: usize },
    #[error("a frame of kind {0}, which there is not")]
    Kind(u8),
    #[error("a message of {got} bytes, at most {MAX_MESSAGE_BYTES} are taken")]
    TooLarge { got: usize },
    #[error("a body that cannot be read")]
    Body,
}

/// How long the frame is that so begins.
pub fn length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let got = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if (1..=MAX_FRAME_BYTES).contains(&got) { Ok(got) } else { Err(FrameError::Length { got }) }
}

fn frame(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = 1 + parts.iter().map(|p| p.len()).sum::<usize>();
    let mut out = Vec::with_capacity(PREFIX_BYTES + length);
    // Bounded by whoever sends; a longer one is refused by whoever reads.
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    out.push(kind);
    parts.iter().for_each(|p| out.extend_from_slice(p));
    out
}

impl ToNode {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ToNode::Join(group) => frame(1, &[group.as_bytes()]),
            ToNode::Send(message) => frame(SEND, &[message]),
            ToNode::Leave => frame(3, &[]),
        }
    }

    /// A frame without its length.
    pub fn decode(frame: &[u8]) -> Result<ToNode, FrameError> {
        let (kind, body) = frame.split_first().ok_or(FrameError::Length { got: 0 })?;
        match *kind {
            1 => String::from_utf8(body.to_vec()).map(ToNode::Join).map_err(|_| FrameError::Body),
            SEND if body.len() > MAX_MESSAGE_BYTES => Err(FrameError::TooLarge { got: body.len() }),
            SEND => Ok(ToNode::Send(body.to_vec())),
            3 if body.is_empty() => Ok(ToNode::Leave),
            3 => Err(FrameError::Body),
            kind => Err(FrameError::Kind(kind)),
        }
    }
}

/// [`FromNode::Message`] without a copy of the message in between.
pub fn message_frame(node: NodeId, pid: u32, message: &[u8]) -> Vec<u8> {
    frame(2, &[&node.0.to_le_bytes(), &pid.to_le_bytes(), message])
}

impl FromNode {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            // Plain numbers cannot fail.
            FromNode::Members(members) => frame(1, &[&serde_json::to_vec(members).unwrap_or_default()]),
            FromNode::Message { node, pid, message } => message_frame(*node, *pid, message),
            FromNode::Refused(why) => frame(3, &[why.as_bytes()]),
        }
    }

    /// A frame without its length.
    pub fn decode(frame: &[u8]) -> Result<FromNode, FrameError> {
        let (kind, body) = frame.split_first().ok_or(FrameError::Length { got: 0 })?;
        match kind {
            1 => serde_json::from_slice(body).map(FromNode::Members).map_err(|_| FrameError::Body),
            2 => {
                let (node, rest) = body.split_first_chunk::<4>().ok_or(FrameError::Body)?;
                let (pid, message) = rest.split_first_chunk::<4>().ok_or(FrameError::Body)?;
                let (node, pid) = (NodeId(u32::from_le_bytes(*node)), u32::from_le_bytes(*pid));
                Ok(FromNode::Message { node, pid, message: message.to_vec() })
            }
            3 => Ok(FromNode::Refused(String::from_utf8_lossy(body).into_owned())),
            kind => Err(FrameError::Kind(*kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went_and_nonsense_is_refused() {
        for sent in [ToNode::Join("web".to_owned()), ToNode::Send(vec![0, 255]), ToNode::Send(vec![]), ToNode::Leave] {
            let bytes = sent.encode();
            let (prefix, body) = bytes.split_first_chunk().expect("a length");
            assert_eq!(length(*prefix), Ok(body.len()));
            assert_eq!(ToNode::decode(body), Ok(sent));
        }
        let member = Member { node: NodeId(2), pid: 7 };
        let members = Members { members: vec![member], left: vec![], joined: vec![member] };
        let message = FromNode::Message { node: NodeId(2), pid: 7, message: b"x".to_vec() };
        for sent in [FromNode::Members(members), message, FromNode::Refused("no".to_owned())] {
            assert_eq!(FromNode::decode(&sent.encode()[4..]), Ok(sent));
        }
        assert_eq!(length([0; 4]), Err(FrameError::Length { got: 0 }));
        assert!(length(u32::MAX.to_le_bytes()).is_err());
        for (bad, why) in [
            (&b""[..], FrameError::Length { got: 0 }),
            (b"\x09", FrameError::Kind(9)),
            (b"\x01\xff", FrameError::Body),
            (b"\x03x", FrameError::Body),
        ] {
            assert_eq!(ToNode::decode(bad), Err(why));
        }
        assert_eq!(FromNode::decode(b"\x02\0\0\0"), Err(FrameError::Body));
        let large = frame(2, &[&vec![0; MAX_MESSAGE_BYTES + 1]]);
        assert_eq!(ToNode::decode(&large[4..]), Err(FrameError::TooLarge { got: MAX_MESSAGE_BYTES + 1 }));
    }
}
