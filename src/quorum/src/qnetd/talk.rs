//! The session with one client: what is answered to each message.

use super::lms::Verdict;
use super::{Client, Conn, Output, Server, Session, lms};
use crate::qnet::{Algorithm, Heuristics, KNOWN_OPTIONS, Kind, ListKind, MAX_BODY_BYTES, Message, Refusal, Tls, Vote};
use base::Time;

/// What a request is answered with, beside votes that go to others.
type Decision = Result<Vote, Refusal>;

impl Server {
    pub(super) fn talk(&mut self, conn: Conn, m: &Message, now: Time) {
        match m.kind {
            Kind::Preinit => self.preinit(conn, m),
            Kind::StartTls => self.start_tls(conn, m),
            Kind::EchoRequest if !self.introduced(conn) => self.refuse(conn, m.seq, Refusal::InitRequired),
            Kind::EchoRequest => self.send(conn, Message::numbered(Kind::EchoReply, m.seq)),
            Kind::Init => match self.guarded(conn) {
                Guarded::Open => self.init(conn, m, now),
                Guarded::NoTls => self.refuse(conn, m.seq, Refusal::TlsRequired),
                Guarded::Closed(why) => self.close(conn, why),
            },
            Kind::SetOption | Kind::NodeList | Kind::AskForVote | Kind::VoteInfoReply | Kind::HeuristicsChange => {
                match self.guarded(conn) {
                    Guarded::Open if !self.introduced(conn) => self.refuse(conn, m.seq, Refusal::InitRequired),
                    Guarded::Open => self.request(conn, m, now),
                    Guarded::NoTls => self.refuse(conn, m.seq, Refusal::TlsRequired),
                    Guarded::Closed(why) => self.close(conn, why),
                }
            }
            // What a server says.
            Kind::PreinitReply
            | Kind::InitReply
            | Kind::ServerError
            | Kind::SetOptionReply
            | Kind::EchoReply
            | Kind::NodeListReply
            | Kind::AskForVoteReply
            | Kind::VoteInfo
            | Kind::HeuristicsChangeReply => self.refuse(conn, m.seq, Refusal::UnexpectedMessage),
        }
    }

    fn introduced(&self, conn: Conn) -> bool {
        self.clients.get(&conn).is_some_and(|c| c.introduced)
    }

    /// Whether TLS and its certificate are as this server asks.
    fn guarded(&self, conn: Conn) -> Guarded {
        let Some(client) = self.clients.get(&conn) else { return Guarded::Closed("gone".to_owned()) };
        match (&client.session, self.config.tls) {
            (Session::Plain, Tls::Required) => Guarded::NoTls,
            (Session::Plain, _) => Guarded::Open,
            (Session::Tls { .. }, _) if !self.config.client_cert_required => Guarded::Open,
            (Session::Tls { certified: None }, _) => Guarded::Closed("it showed no valid certificate".to_owned()),
            (Session::Tls { certified: Some(names) }, _) => {
                let wanted = client.cluster_name.as_deref().unwrap_or_default();
                if names.iter().any(|n| n == wanted) {
                    Guarded::Open
                } else {
                    Guarded::Closed(format!("its certificate is of {}, not of cluster {wanted}", names.join(", ")))
                }
            }
        }
    }

    fn preinit(&mut self, conn: Conn, m: &Message) {
        let Some(name) = &m.cluster_name else { return self.refuse(conn, m.seq, Refusal::MissingOption) };
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.introduced || client.cluster_name.as_ref().is_some_and(|n| n != name) {
            return self.refuse(conn, m.seq, Refusal::UnexpectedMessage);
        }
        client.cluster_name = Some(name.clone());
        let mut answer = Message::numbered(Kind::PreinitReply, m.seq);
        (answer.tls, answer.client_cert_required) = (Some(self.config.tls), Some(self.config.client_cert_required));
        self.send(conn, answer);
    }

    fn start_tls(&mut self, conn: Conn, m: &Message) {
        let Some(client) = self.clients.get(&conn) else { return };
        if client.cluster_name.is_none() {
            self.refuse(conn, m.seq, Refusal::PreinitRequired);
        } else if self.config.tls == Tls::Unsupported || client.session != Session::Plain {
            self.refuse(conn, m.seq, Refusal::UnexpectedMessage);
            self.close(conn, "TLS was not offered".to_owned());
        } else {
            self.outputs.push_back(Output::StartTls { with: conn });
        }
    }

    fn init(&mut self, conn: Conn, m: &Message, now: Time) {
        let outcome = self.introduce(conn, m);
        if outcome.is_ok() {
            self.alive(conn, now);
            let client = self.clients.get(&conn);
            let text = client.map(|c| {
                let name = c.cluster_name.as_deref().unwrap_or_default();
                format!("cluster {name}: node {} ({}) came, {}", c.node_id, c.address, c.algorithm.words())
            });
            text.into_iter().for_each(|t| self.told(t));
        }
        let mut answer = Message::numbered(Kind::InitReply, m.seq);
        answer.error = Some(outcome);
        if !m.supported_messages.is_empty() {
            answer.supported_messages = Kind::ALL.iter().map(|k| k.code()).collect();
        }
        if !m.supported_options.is_empty() {
            answer.supported_options = KNOWN_OPTIONS.collect();
        }
        answer.max_request_bytes = u32::try_from(MAX_BODY_BYTES).ok();
        answer.max_reply_bytes = answer.max_request_bytes;
        answer.supported_algorithms = Algorithm::ALL.iter().map(|a| a.code()).collect();
        self.send(conn, answer);
    }

    fn introduce(&mut self, conn: Conn, m: &Message) -> Result<(), Refusal> {
        let default_keep = self.config.keep_active_partition;
        let heartbeats = self.config.heartbeat_ms.clone();
        let client = self.clients.get(&conn).ok_or(Refusal::Internal)?;
        let name = client.cluster_name.clone().ok_or(Refusal::PreinitRequired)?;
        if client.introduced {
            return Err(Refusal::UnexpectedMessage);
        }
        let (Some(node_id), Some(ring), Some(heartbeat_ms), Some(tie_breaker), Some(algorithm)) =
            (m.node_id, m.ring, m.heartbeat_ms, m.tie_breaker, m.algorithm)
        else {
            return Err(Refusal::MissingOption);
        };
        if !heartbeats.contains(&heartbeat_ms) {
            return Err(Refusal::InvalidHeartbeat);
        }
        for (_, other) in self.members(&name) {
            match () {
                () if other.tie_breaker != tie_breaker => return Err(Refusal::TieBreakerDiffers),
                () if other.algorithm != algorithm => return Err(Refusal::AlgorithmDiffers),
                () if other.node_id == node_id => return Err(Refusal::DuplicateNodeId),
                () => {}
            }
        }
        self.clusters.entry(name).or_default();
        let client = self.clients.get_mut(&conn).ok_or(Refusal::Internal)?;
        client.introduced = true;
        client.node_id = node_id;
        client.ring = ring;
        client.heartbeat_ms = heartbeat_ms;
        client.tie_breaker = tie_breaker;
        client.algorithm = algorithm;
        client.keep_active_partition = default_keep;
        Ok(())
    }

    /// From a client that has introduced itself.
    fn request(&mut self, conn: Conn, m: &Message, now: Time) {
        let numbered = m.seq.is_some();
        let decision = match m.kind {
            Kind::SetOption => return self.set_option(conn, m),
            _ if !numbered => Err(Refusal::MissingOption),
            Kind::NodeList => self.node_list(conn, m, now),
            Kind::AskForVote => self.asked_for_vote(conn, now),
            Kind::HeuristicsChange => self.heuristics(conn, m),
            // All that is left.
            _ => return self.vote_confirmed(conn, m.seq, now),
        };
        let vote = match decision {
            Ok(vote) => vote,
            Err(why) => return self.refuse(conn, m.seq, why),
        };
        let Some(client) = self.clients.get_mut(&conn) else { return };
        client.remember(vote);
        let kind = match m.kind {
            Kind::NodeList => Kind::NodeListReply,
            Kind::AskForVote => Kind::AskForVoteReply,
            _ => Kind::HeuristicsChangeReply,
        };
        let mut answer = Message::numbered(kind, m.seq);
        (answer.list, answer.ring, answer.vote) = (m.list, Some(client.ring), Some(vote));
        if kind == Kind::HeuristicsChangeReply {
            answer.heuristics = m.heuristics;
        }
        self.send(conn, answer);
    }

    fn set_option(&mut self, conn: Conn, m: &Message) {
        let heartbeats = self.config.heartbeat_ms.clone();
        if m.heartbeat_ms.is_some_and(|ms| !heartbeats.contains(&ms)) {
            return self.refuse(conn, m.seq, Refusal::InvalidHeartbeat);
        }
        let Some(client) = self.clients.get_mut(&conn) else { return };
        client.heartbeat_ms = m.heartbeat_ms.unwrap_or(client.heartbeat_ms);
        client.keep_active_partition = m.keep_active_partition.unwrap_or(client.keep_active_partition);
        let mut answer = Message::numbered(Kind::SetOptionReply, m.seq);
        (answer.heartbeat_ms, answer.keep_active_partition) = (m.heartbeat_ms, m.keep_active_partition);
        self.send(conn, answer);
    }

    fn node_list(&mut self, conn: Conn, m: &Message, now: Time) -> Decision {
        let list = m.list.ok_or(Refusal::MissingOption)?;
        let client = self.clients.get_mut(&conn).ok_or(Refusal::Internal)?;
        let named = m.nodes.iter().any(|n| n.id == client.node_id);
        match list {
            ListKind::InitialConfig | ListKind::ChangedConfig => {
                if !named && client.algorithm == Algorithm::Ffsplit {
                    return Err(Refusal::InvalidConfigList);
                }
                if m.nodes.len() != 2 && client.algorithm == Algorithm::TwoNodeLms {
                    return Err(Refusal::UnsupportedAlgorithm);
                }
                client.configured.clone_from(&m.nodes);
                client.config_version = m.config_version;
                if client.algorithm != Algorithm::Ffsplit {
                    return Ok(Vote::NoChange);
                }
                if list == ListKind::InitialConfig || client.membership.is_empty() {
                    return Ok(Vote::AskLater);
                }
                self.split_of(conn)
            }
            ListKind::Membership => {
                let ring = m.ring.ok_or(Refusal::MissingOption)?;
                if !named && client.algorithm == Algorithm::Ffsplit {
                    return Err(Refusal::InvalidMembershipList);
                }
                client.ring = ring;
                client.membership.clone_from(&m.nodes);
                client.membership_heuristics = m.heuristics;
                client.heuristics = m.heuristics;
                self.members_changed(conn, now)
            }
            ListKind::Quorum if m.quorate.is_none() => Err(Refusal::MissingOption),
            ListKind::Quorum if client.algorithm == Algorithm::Lms => self.lms(conn, now),
            ListKind::Quorum => Ok(Vote::NoChange),
        }
    }

    fn members_changed(&mut self, conn: Conn, now: Time) -> Decision {
        let client = self.clients.get(&conn).ok_or(Refusal::Internal)?;
        match client.algorithm {
            Algorithm::Test => Ok(Vote::Ack),
            Algorithm::Ffsplit if client.configured.is_empty() => Ok(Vote::AskLater),
            Algorithm::Ffsplit => self.split_of(conn),
            Algorithm::TwoNodeLms => self.two_node_lms(conn),
            Algorithm::Lms => {
                let name = client.cluster_name.clone().unwrap_or_default();
                let decision = self.lms(conn, now);
                // Those who waited for this one to say where it is.
                self.waiting_lms(&name, now);
                decision
            }
        }
    }

    fn asked_for_vote(&mut self, conn: Conn, now: Time) -> Decision {
        let client = self.clients.get(&conn).ok_or(Refusal::Internal)?;
        match client.algorithm {
            Algorithm::Test => Ok(Vote::Ack),
            Algorithm::Ffsplit => Err(Refusal::UnsupportedAlgorithmMessage),
            Algorithm::TwoNodeLms => Ok(client.standing.unwrap_or(Vote::AskLater)),
            Algorithm::Lms => self.lms(conn, now),
        }
    }

    fn heuristics(&mut self, conn: Conn, m: &Message) -> Decision {
        if m.heuristics == Heuristics::Undefined {
            return Err(Refusal::MissingOption);
        }
        let client = self.clients.get_mut(&conn).ok_or(Refusal::Internal)?;
        client.regular_heuristics = m.heuristics;
        client.heuristics = m.heuristics;
        match client.algorithm {
            Algorithm::Ffsplit if client.configured.is_empty() || client.membership.is_empty() => Ok(Vote::AskLater),
            Algorithm::Ffsplit => self.split_of(conn),
            _ => Ok(Vote::NoChange),
        }
    }

    /// `lms` waits for others to say where they are; it is also looked at once a heartbeat.
    pub(super) fn decide_late(&mut self, conn: Conn, now: Time) {
        let decision = self.lms(conn, now);
        if let Ok(vote) = decision
            && vote.is_decision()
        {
            self.send_vote(conn, vote);
        }
    }

    pub(super) fn waiting_lms(&mut self, name: &str, now: Time) {
        let waits: Vec<Conn> = self.members(name).filter(|(_, c)| c.decide_at.is_some()).map(|(n, _)| n).collect();
        waits.into_iter().for_each(|conn| self.decide_late(conn, now));
    }

    fn lms(&mut self, conn: Conn, now: Time) -> Decision {
        let client = self.clients.get(&conn).ok_or(Refusal::Internal)?;
        let name = client.cluster_name.clone().unwrap_or_default();
        let members: Vec<_> = self.members(&name).map(|(_, c)| c).collect();
        let mut verdict = lms::decide(client, &members);
        if verdict == Verdict::Decided(Vote::Ack) && self.take_from_others(&name, conn) {
            verdict = Verdict::Wait;
        }
        let client = self.clients.get_mut(&conn).ok_or(Refusal::Internal)?;
        Ok(verdict.settle(client, now))
    }

    /// `lms`: who has the vote in another partition loses it before this client gets it. Whether somebody has still to confirm that.
    fn take_from_others(&mut self, name: &str, conn: Conn) -> bool {
        let ring = self.clients.get(&conn).map(|c| c.ring);
        let has_it = |c: &Client| c.standing == Some(Vote::Ack) || c.confirms == Some(Vote::Nack);
        let others = self.members(name).filter(|(other, c)| *other != conn && Some(c.ring) != ring && has_it(c));
        let others: Vec<Conn> = others.map(|(other, _)| other).collect();
        for other in &others {
            let Some(client) = self.clients.get_mut(other) else { continue };
            if client.standing.replace(Vote::Nack) == Some(Vote::Ack) {
                client.confirms = Some(Vote::Nack);
                self.send_vote(*other, Vote::Nack);
            }
        }
        !others.is_empty()
    }

    fn two_node_lms(&mut self, conn: Conn) -> Decision {
        let client = self.clients.get(&conn).ok_or(Refusal::Internal)?;
        let name = client.cluster_name.clone().unwrap_or_default();
        let members: Vec<_> = self.members(&name).map(|(_, c)| c).collect();
        let verdict = lms::decide_two(client, &members);
        let client = self.clients.get_mut(&conn).ok_or(Refusal::Internal)?;
        // It never waits.
        Ok(verdict.settle(client, Time::ZERO))
    }

    fn split_of(&mut self, conn: Conn) -> Decision {
        let client = self.clients.get(&conn).ok_or(Refusal::Internal)?;
        let name = client.cluster_name.clone().unwrap_or_default();
        Ok(self.split(&name))
    }
}

enum Guarded {
    Open,
    NoTls,
    Closed(String),
}
