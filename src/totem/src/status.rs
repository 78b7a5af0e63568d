//! A snapshot of a ring for people and programs.

use crate::codec::Class;
use crate::types::{State, ViewId};
use base::NodeId;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub state: State,
    /// The installed view; stays while a new ring is being formed.
    pub view: ViewId,
    pub members: Vec<u32>,
    /// Operational, and everybody in the view was heard within the suspicion time: what a lease may rely on.
    pub current: bool,
    pub peers: Vec<PeerStatus>,
    pub counters: Counters,
    /// Messages that wait for the token.
    pub queued: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    pub node: NodeId,
    pub member: bool,
    /// Something was heard within the suspicion time.
    pub alive: bool,
    pub ready: bool,
    pub quorate: bool,
    pub view: ViewId,
    pub links: Vec<LinkStatus>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LinkStatus {
    pub link: u8,
    /// Heard on it of late.
    pub up: bool,
    /// The peer says that it hears us on it.
    pub heard_by_peer: bool,
    /// The one that ordered traffic takes.
    pub in_use: bool,
    /// Smoothed over a few heartbeats.
    pub rtt_us: Option<u64>,
    pub rtt_min_us: u64,
    pub rtt_max_us: u64,
    /// Of the last [`LinkStatus::round_trips`].
    pub rtt_average_us: u64,
    pub round_trips: u32,
    pub received: Traffic,
    pub sent: Traffic,
    /// Errors that the network reported (ICMP).
    pub errors: u64,
    /// Datagrams with data are at most so large, before sealing.
    pub datagram: usize,
    /// Probes of that size that had to be sent again.
    pub probes_repeated: u64,
    /// How often it came up, and went down.
    pub up_count: u64,
    pub down_count: u64,
}

/// What went over a link in one direction, before sealing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    pub beats: u64,
    pub beat_bytes: u64,
    /// Looking for the size of datagram that passes.
    pub probes: u64,
    pub probe_bytes: u64,
    /// Everything else, in datagrams.
    pub frames: u64,
    pub frame_bytes: u64,
}

impl Traffic {
    pub(crate) fn count(&mut self, frame: &[u8]) {
        let (packets, bytes) = match crate::codec::class(frame) {
            Class::Heartbeat => (&mut self.beats, &mut self.beat_bytes),
            Class::Probe => (&mut self.probes, &mut self.probe_bytes),
            Class::Ring => (&mut self.frames, &mut self.frame_bytes),
        };
        *packets += 1;
        *bytes += frame.len() as u64;
    }
}

/// Everything counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    pub tokens_received: u64,
    pub tokens_duplicate: u64,
    pub tokens_retransmitted: u64,
    pub tokens_held: u64,
    pub hold_cancels: u64,
    pub messages_sent: u64,
    pub messages_delivered: u64,
    pub frames_sent: u64,
    pub frames_duplicate: u64,
    /// Frames that this node asked for because it missed them.
    pub retransmits_requested: u64,
    /// Frames that this node sent again because somebody missed them.
    pub retransmits_served: u64,
    /// Frames of an old ring that this node sent to others while a new ring formed.
    pub recovery_sent: u64,
    /// Frames of an old ring that this node missed and got while a new ring formed.
    pub recovery_received: u64,
    /// Frames of an old ring that nobody left had, or that came after such a hole from a node that is gone.
    pub recovery_lost: u64,
    pub recovery_discarded: u64,
    pub gathers: u64,
    pub views: u64,
    pub suspicions: u64,
    pub consensus_timeouts: u64,
    pub commit_timeouts: u64,
    pub token_losses: u64,
    pub local_stalls: u64,
    pub joins_received: u64,
    pub joins_ignored: u64,
    pub merges_started: u64,
    /// Frames that could not be decoded, or that made no sense.
    pub frames_refused: u64,
    /// Frames of another ring or from somebody who is no member.
    pub frames_foreign: u64,
    pub fragments_dropped: u64,
}
