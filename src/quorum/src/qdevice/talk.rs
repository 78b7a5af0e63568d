//! What is said to the server, and what its answers do.

use super::{Config, Device, ECHOES, HeuristicsMode, Output, Phase};
use crate::qnet::{Heuristics, Kind, ListKind, Message, Node, NodeState, Refusal, RingId, Tls, Vote};
use base::Time;
use std::time::Duration;

/// Whether TLS is to be spoken, from what both want.
fn tls(mine: Tls, theirs: Tls) -> Result<bool, &'static str> {
    match (mine, theirs) {
        (Tls::Required, Tls::Unsupported) => Err("TLS is required here, and it does not offer it"),
        (Tls::Unsupported, Tls::Required) => Err("it requires TLS, and that is off here"),
        (Tls::Unsupported, _) | (_, Tls::Unsupported) => Ok(false),
        _ => Ok(true),
    }
}

impl Device {
    /// The connection is there.
    pub fn connected(&mut self, now: Time) {
        if self.phase != Phase::Connecting {
            return;
        }
        self.step(Phase::Preinit, now);
        let name = self.config.cluster_name.clone();
        self.ask(Message { cluster_name: Some(name), ..Message::new(Kind::Preinit) });
    }

    /// The handshake is over, and the server is who it should be.
    pub fn secured(&mut self, now: Time) {
        if self.phase == Phase::Tls {
            self.secure = true;
            self.introduce(now);
        }
    }

    pub fn received(&mut self, m: &Message, now: Time) {
        self.status.heard = true;
        match (m.kind, self.phase) {
            (Kind::PreinitReply, Phase::Preinit) => self.preinit_reply(m, now),
            (Kind::InitReply, Phase::Init) => self.init_reply(m, now),
            (Kind::SetOptionReply, Phase::Options) => self.ready(m, now),
            (Kind::SetOptionReply, Phase::Ready) => self.heartbeat_agreed(m),
            (Kind::EchoReply, Phase::Ready) => self.echoed(m, now),
            (
                Kind::NodeListReply | Kind::AskForVoteReply | Kind::HeuristicsChangeReply | Kind::VoteInfo,
                Phase::Ready,
            ) => {
                self.decide(m.vote, m.ring);
                if m.kind == Kind::VoteInfo {
                    // Only now: whoever confirms that it has lost the vote does not count it any more.
                    self.send(Message::numbered(Kind::VoteInfoReply, m.seq));
                }
                if m.vote == Some(Vote::AskLater) && m.list == Some(ListKind::Membership) {
                    self.status.ask_again = true;
                }
            }
            (Kind::ServerError, _) => self.refused(m.error.and_then(Result::err), now),
            _ => self.disconnect("it sent what was not expected", now),
        }
    }

    fn step(&mut self, phase: Phase, now: Time) {
        self.phase = phase;
        self.until = now + Duration::from_millis(self.config.connect_timeout_ms.into());
    }

    fn send(&mut self, message: Message) {
        self.outputs.push_back(Output::Send(Box::new(message)));
    }

    /// With the next number; which one.
    fn ask(&mut self, message: Message) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.send(Message { seq: Some(self.seq), ..message });
        self.seq
    }

    fn preinit_reply(&mut self, m: &Message, now: Time) {
        let Some(theirs) = m.tls else { return self.disconnect("its answer lacks an option", now) };
        match tls(self.config.tls, theirs) {
            Err(why) => self.disconnect(why, now),
            Ok(false) => self.introduce(now),
            Ok(true) => {
                self.step(Phase::Tls, now);
                self.ask(Message::new(Kind::StartTls));
                self.outputs.push_back(Output::StartTls);
            }
        }
    }

    fn introduce(&mut self, now: Time) {
        self.step(Phase::Init, now);
        self.heartbeat_ms = self.wanted_heartbeat();
        let Config { me, algorithm, tie_breaker, .. } = self.config;
        let mut m = Message::new(Kind::Init);
        m.supported_messages = Kind::ALL.iter().map(|k| k.code()).collect();
        m.supported_options = crate::qnet::KNOWN_OPTIONS.collect();
        m.node_id = Some(me);
        m.algorithm = Some(algorithm);
        m.heartbeat_ms = Some(self.heartbeat_ms);
        m.tie_breaker = Some(tie_breaker);
        m.ring = Some(self.ring);
        self.ask(m);
    }

    fn init_reply(&mut self, m: &Message, now: Time) {
        match m.error {
            Some(Ok(())) => {}
            Some(Err(why)) => return self.refused(Some(why), now),
            None => return self.disconnect("its answer lacks an option", now),
        }
        self.step(Phase::Options, now);
        let mut option = Message::new(Kind::SetOption);
        option.heartbeat_ms = Some(self.heartbeat_ms);
        // An older server does not know it.
        let known = m.supported_options.contains(crate::qnet::KNOWN_OPTIONS.end());
        self.keeps_partition = known;
        option.keep_active_partition = known.then_some(self.config.keep_active_partition);
        self.ask(option);
    }

    fn ready(&mut self, m: &Message, now: Time) {
        self.heartbeat_ms = m.heartbeat_ms.unwrap_or(self.heartbeat_ms);
        self.phase = Phase::Ready;
        self.vouched = now;
        self.status.trouble = None;
        self.told("arbitrator: connected", false);
        self.vote = None;
        self.open_until = now + Duration::from_millis(self.config.sync_timeout_ms.into());
        self.echo(now);
        // There may have been a view since this node introduced itself.
        self.agree_heartbeat(now);
        self.tell_config(ListKind::InitialConfig);
        if self.ring != RingId::default() {
            self.membership(now);
        }
    }

    fn refused(&mut self, why: Option<Refusal>, now: Time) {
        let why = why.map_or("it refused without a reason", Refusal::words);
        self.disconnect(&format!("it refused: {why}"), now);
    }

    /// Short while all are there, so that one that dies is known to be dead soon; long while the vote is needed.
    fn wanted_heartbeat(&self) -> u32 {
        let complete = self.config.nodes.iter().all(|n| self.members.contains(n));
        if complete { self.config.heartbeat_ms } else { self.config.timeout_ms.max(self.config.heartbeat_ms) }
    }

    /// A shorter one counts here before the server knows of it, a longer one once it has agreed.
    pub(super) fn agree_heartbeat(&mut self, now: Time) {
        let wanted = self.wanted_heartbeat();
        if wanted == self.asked_ms.unwrap_or(self.heartbeat_ms) {
            return;
        }
        self.asked_ms = Some(wanted);
        if wanted < self.heartbeat_ms {
            self.heartbeat_ms = wanted;
            // What was vouched for before may be too long ago for the shorter one.
            self.vouched = self.vouched.max(self.last_echo().unwrap_or(now));
            self.next_echo = now;
        }
        self.ask(Message { heartbeat_ms: Some(wanted), ..Message::new(Kind::SetOption) });
    }

    fn last_echo(&self) -> Option<Time> {
        self.echoes.back().map(|(_, at)| *at)
    }

    fn heartbeat_agreed(&mut self, m: &Message) {
        if let Some(ms) = m.heartbeat_ms.filter(|ms| self.asked_ms == Some(*ms)) {
            self.heartbeat_ms = ms;
            self.asked_ms = None;
        }
    }

    pub(super) fn echo(&mut self, now: Time) {
        self.next_echo = now + Duration::from_millis((self.heartbeat_ms / ECHOES).max(1).into());
        let seq = self.ask(Message::new(Kind::EchoRequest));
        self.echoes.push_back((seq, now));
        if std::mem::take(&mut self.status.ask_again) && self.config.algorithm != crate::qnet::Algorithm::Ffsplit {
            self.ask(Message::new(Kind::AskForVote));
        }
    }

    fn echoed(&mut self, m: &Message, now: Time) {
        while let Some((seq, at)) = self.echoes.pop_front() {
            if Some(seq) == m.seq {
                self.vouched = self.vouched.max(at);
                self.status.echoed = Some(now);
                return;
            }
        }
        self.disconnect("it answered what was not asked", now);
    }

    /// What of the present view the server has to know, after the heuristics.
    pub(super) fn membership(&mut self, now: Time) {
        if self.config.heuristics == HeuristicsMode::Off {
            return self.tell_membership();
        }
        self.heuristics.sync_due = true;
        self.heuristics.next = None;
        self.outputs.push_back(Output::Check { sync: true });
        // The time that they may take is not the arbitrator's.
        self.open_until = self.open_until.max(now + Duration::from_millis(self.config.sync_timeout_ms.into()));
    }

    pub(super) fn tell_config(&mut self, list: ListKind) {
        let mut m = Message::new(Kind::NodeList);
        m.list = Some(list);
        m.config_version = self.config.config_version;
        m.nodes = self.config.nodes.iter().copied().map(Node::new).collect();
        self.ask(m);
    }

    pub(super) fn tell_membership(&mut self) {
        let mut m = Message::new(Kind::NodeList);
        m.list = Some(ListKind::Membership);
        m.ring = Some(self.ring);
        m.nodes = self.members.iter().copied().map(Node::new).collect();
        m.heuristics = self.heuristics.last;
        self.ask(m);
        self.tell_quorum();
    }

    pub(super) fn tell_quorum(&mut self) {
        let mut m = Message::new(Kind::NodeList);
        m.list = Some(ListKind::Quorum);
        m.quorate = Some(self.quorate);
        let state = |id: &u32| if self.members.contains(id) { NodeState::Member } else { NodeState::Dead };
        m.nodes = self.config.nodes.iter().map(|id| Node { state: Some(state(id)), ..Node::new(*id) }).collect();
        self.ask(m);
    }

    pub(super) fn tell_heuristics(&mut self, result: Heuristics) {
        self.ask(Message { heuristics: result, ..Message::new(Kind::HeuristicsChange) });
    }
}
