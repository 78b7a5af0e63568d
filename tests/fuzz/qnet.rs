//! What an arbitrator and its clients say to each other, hostile on either side.

use crate::fuzz;
use base::Time;
use quorum::qdevice::{self, Device, HeuristicsMode};
use quorum::qnet::{
    Algorithm, Frames, Heuristics, Kind, ListKind, MAX_BODY_BYTES, Message, Node, NodeState, RingId, TieBreaker, Tls,
    Vote,
};
use quorum::qnetd::{self, Conn, Server};
use std::collections::BTreeMap;
use std::time::Duration;

/// Outputs for one message: to every client a vote, and what is told of it.
const MOST_OUTPUTS: usize = 64;

/// One of each kind with its options, as far as either side sends them.
fn messages() -> Vec<Message> {
    let message = |kind: &Kind| {
        let mut m = Message::numbered(*kind, Some(3));
        (m.cluster_name, m.node_id, m.ring) = (Some("web".to_owned()), Some(1), Some(RingId { node: 1, seq: 8 }));
        let other = Node { state: Some(NodeState::Member), ..Node::new(2) };
        (m.nodes, m.heartbeat_ms, m.quorate) = (vec![Node::new(1), other], Some(1000), Some(true));
        (m.supported_messages, m.error) = (vec![0, 1], Some(Ok(())));
        m.tie_breaker = TieBreaker::of_text("lowest");
        m.algorithm = Algorithm::of_text("ffsplit");
        (m.list, m.vote, m.tls) = (Some(ListKind::Membership), Some(Vote::Ack), Some(Tls::Unsupported));
        m
    };
    Kind::ALL.iter().map(message).collect()
}

fn samples() -> Vec<Vec<u8>> {
    let all = messages();
    let whole = all.iter().flat_map(Message::encode).collect();
    all.iter().map(Message::encode).chain([whole]).collect()
}

/// The frames of a stream, each decoded or not; ends where the stream has lost its bounds.
fn each(input: &[u8], mut take: impl FnMut(Result<Message, quorum::qnet::DecodeError>)) {
    let mut frames = Frames::new(MAX_BODY_BYTES);
    frames.push(input);
    while let Ok(Some(frame)) = frames.cut() {
        take(Message::decode(&frame));
    }
}

/// A server with the two halves of a parted cluster, which do as they should.
struct Halves {
    server: Server,
    votes: BTreeMap<Conn, Vote>,
}

impl Halves {
    fn new() -> Halves {
        let mut halves = Halves { server: Server::new(qnetd::Config::default()), votes: BTreeMap::new() };
        for conn in [1, 2] {
            halves.server.connected(conn, format!("client {conn}"), Time::ZERO);
            let mut hello = Message::numbered(Kind::Preinit, Some(1));
            hello.cluster_name = Some("web".to_owned());
            let mut init = Message::numbered(Kind::Init, Some(2));
            (init.node_id, init.ring, init.heartbeat_ms) =
                (u32::try_from(conn).ok(), Some(RingId::default()), Some(1000));
            (init.algorithm, init.tie_breaker) = (Some(Algorithm::Ffsplit), Some(TieBreaker::Lowest));
            let mut known = Message::numbered(Kind::NodeList, Some(3));
            known.list = Some(ListKind::InitialConfig);
            known.nodes = vec![Node::new(1), Node::new(2)];
            let mut view = Message::numbered(Kind::NodeList, Some(4));
            view.list = Some(ListKind::Membership);
            view.ring = Some(RingId { node: conn as u32, seq: 8 });
            view.nodes = vec![Node::new(conn as u32)];
            [hello, init, known, view].iter().for_each(|m| halves.say(conn, m));
        }
        halves
    }

    fn say(&mut self, conn: Conn, message: &Message) {
        self.server.received(conn, message, Time::ZERO);
        self.drain();
    }

    /// Votes are counted and confirmed at once.
    fn drain(&mut self) {
        for count in 0.. {
            assert!(count < MOST_OUTPUTS, "it never falls silent");
            match self.server.poll_output() {
                Some(qnetd::Output::Send { to, message }) => {
                    if let Some(vote @ (Vote::Ack | Vote::Nack)) = message.vote {
                        self.votes.insert(to, vote);
                        let both = [1, 2].iter().all(|n| self.votes.get(n) == Some(&Vote::Ack));
                        assert!(!both, "both halves have the vote");
                    }
                    if message.kind == Kind::VoteInfo && to < 3 {
                        let reply = Message::numbered(Kind::VoteInfoReply, message.seq);
                        self.server.received(to, &reply, Time::ZERO);
                    }
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// A stranger beside the halves of a parted cluster: whatever it says, both never have the vote.
#[test]
fn qnet_server() {
    fuzz("qnet, as the server hears it", &samples(), |input| {
        let mut halves = Halves::new();
        assert_eq!(halves.votes.get(&1), Some(&Vote::Ack));
        halves.server.connected(3, "stranger".to_owned(), Time::ZERO);
        let mut accepted = false;
        each(input, |message| match message {
            Ok(message) => {
                accepted = true;
                halves.say(3, &message);
            }
            Err(error) => {
                halves.server.undecodable(3, error, Time::ZERO);
                halves.drain();
            }
        });
        halves.server.handle_timeout(Time::ZERO + Duration::from_secs(11));
        accepted
    });
}

fn config() -> qdevice::Config {
    qdevice::Config {
        server: "arbiter".to_owned(),
        cluster_name: "web".to_owned(),
        me: 1,
        nodes: vec![1, 2],
        config_version: Some(1),
        algorithm: Algorithm::Ffsplit,
        tie_breaker: TieBreaker::Lowest,
        tls: Tls::Unsupported,
        keep_active_partition: true,
        heartbeat_ms: 1500,
        timeout_ms: 8000,
        sync_timeout_ms: 24_000,
        connect_timeout_ms: 8000,
        wait_for_all: false,
        heuristics: HeuristicsMode::On,
        heuristics_interval_ms: 30_000,
    }
}

/// A client that has come so far as `answers` good answers take it.
fn client(answers: usize) -> Device {
    let mut device = Device::new(config(), Time::ZERO);
    device.set_view(RingId { node: 1, seq: 8 }, vec![1, 2], Time::ZERO);
    device.handle_timeout(Time::ZERO);
    device.connected(Time::ZERO);
    let good = [Kind::PreinitReply, Kind::InitReply, Kind::SetOptionReply];
    for message in good.iter().filter_map(|k| messages().into_iter().find(|m| m.kind == *k)).take(answers) {
        device.received(&message, Time::ZERO);
    }
    device
}

/// A hostile server: no vote of another ring ever counts, and what it says makes nobody busy.
#[test]
fn qnet_client() {
    assert!(client(3).is_ready(), "so that the answers reach all of its states");
    let mut round = 0;
    fuzz("qnet, as the client hears it", &samples(), |input| {
        round += 1;
        let mut device = client(round % 4);
        let (mut accepted, mut outputs) = (false, 0);
        each(input, |message| {
            match message {
                Ok(message) => {
                    accepted = true;
                    let had = device.casts();
                    device.received(&message, Time::ZERO);
                    let won = device.casts() && !had;
                    assert!(
                        !won || message.ring == Some(RingId { node: 1, seq: 8 }),
                        "a vote of another ring: {message:?}"
                    );
                }
                Err(_) => device.lost("it sent what cannot be read", Time::ZERO),
            }
            while let Some(output) = device.poll_output() {
                outputs += 1;
                if matches!(output, qdevice::Output::Check { .. }) {
                    device.checked(Heuristics::Pass, Time::ZERO);
                }
            }
        });
        assert!(outputs <= MOST_OUTPUTS * (1 + input.len() / 6), "{outputs} outputs");
        device.set_view(RingId { node: 1, seq: 12 }, vec![1], Time::ZERO);
        assert!(!device.casts(), "a vote outlives its view");
        let mut now = Time::ZERO;
        for _ in 0..100 {
            let Some(next) = device.poll_timeout() else { break };
            now = now.max(next);
            device.handle_timeout(now);
            while device.poll_output().is_some() {}
        }
        assert!(now > Time::ZERO + Duration::from_secs(1), "its timers stand still at {now:?}");
        accepted
    });
}
