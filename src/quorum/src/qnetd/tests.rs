use super::*;
use crate::qnet::{Algorithm, Kind, ListKind, Node, RingId, TieBreaker};

/// A server, and its clients as far as a test moves them.
struct Net {
    server: Server,
    now: Time,
    /// The last vote that each client was told, and the number to confirm it with.
    told: BTreeMap<Conn, (Vote, u32)>,
    answers: Vec<(Conn, Message)>,
    closed: BTreeMap<Conn, String>,
}

impl Net {
    fn new(config: Config) -> Net {
        let (told, closed) = (BTreeMap::new(), BTreeMap::new());
        Net { server: Server::new(config), now: Time::ZERO, told, answers: Vec::new(), closed }
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { to, message } => {
                    if let (Some(vote), Some(seq)) = (message.vote, message.seq)
                        && (message.kind == Kind::VoteInfo || vote.is_decision())
                    {
                        self.told.insert(to, (vote, seq));
                    }
                    self.answers.push((to, *message));
                }
                Output::Close { conn, why } => {
                    self.closed.insert(conn, why);
                }
                Output::StartTls { .. } | Output::Told { .. } => {}
            }
        }
    }

    fn say(&mut self, conn: Conn, message: Message) -> Option<Message> {
        self.answers.clear();
        self.server.received(conn, &message, self.now);
        self.drain();
        self.answers.iter().find(|(to, m)| *to == conn && m.kind != Kind::VoteInfo).map(|(_, m)| m.clone())
    }

    /// Node `conn` of cluster `name` introduces itself with a configuration of `nodes`.
    fn join(&mut self, name: &str, conn: Conn, algorithm: Algorithm, nodes: &[u32]) {
        assert!(self.server.connected(conn, format!("client {conn}"), self.now));
        let mut hello = Message::numbered(Kind::Preinit, Some(1));
        hello.cluster_name = Some(name.to_owned());
        self.say(conn, hello).expect("an answer");
        let init = self.say(conn, init(conn, algorithm)).expect("an answer");
        assert_eq!(init.error, Some(Ok(())), "{init:?}");
        self.list(conn, ListKind::InitialConfig, 0, nodes);
    }

    fn list(&mut self, conn: Conn, list: ListKind, ring: u64, nodes: &[u32]) -> Message {
        let mut m = Message::numbered(Kind::NodeList, Some(3));
        m.list = Some(list);
        m.ring = Some(RingId { node: nodes[0], seq: ring });
        m.nodes = nodes.iter().copied().map(Node::new).collect();
        self.say(conn, m).expect("an answer")
    }

    /// All of `nodes` tell that they are together.
    fn view(&mut self, ring: u64, nodes: &[u32]) {
        nodes.iter().for_each(|n| drop(self.list(Conn::from(*n), ListKind::Membership, ring, nodes)));
    }

    fn vote(&self, conn: Conn) -> Option<Vote> {
        self.told.get(&conn).map(|(vote, _)| *vote)
    }

    fn confirm(&mut self, conn: Conn) {
        let seq = self.told.get(&conn).map(|(_, seq)| *seq);
        self.say(conn, Message::numbered(Kind::VoteInfoReply, seq));
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.server.handle_timeout(self.now);
        self.drain();
    }
}

fn init(conn: Conn, algorithm: Algorithm) -> Message {
    let mut m = Message::numbered(Kind::Init, Some(2));
    m.node_id = Some(conn as u32);
    m.ring = Some(RingId::default());
    m.heartbeat_ms = Some(1000);
    m.tie_breaker = Some(TieBreaker::Lowest);
    m.algorithm = Some(algorithm);
    m
}

#[test]
fn of_two_halves_one_gets_the_vote_after_the_other_has_confirmed_its_loss() {
    let mut net = Net::new(Config::default());
    net.join("web", 1, Algorithm::Ffsplit, &[1, 2]);
    net.join("web", 2, Algorithm::Ffsplit, &[1, 2]);
    net.view(8, &[1, 2]);
    assert_eq!((net.vote(1), net.vote(2)), (Some(Vote::Ack), Some(Vote::Ack)));
    // The cut: node 1 knows first. Node 2 still says that it is with 1.
    net.told.clear();
    let reply = net.list(1, ListKind::Membership, 12, &[1]);
    assert_eq!((reply.vote, net.vote(1)), (Some(Vote::WaitForReply), None));
    let reply = net.list(2, ListKind::Membership, 16, &[2]);
    assert_eq!((reply.vote, net.vote(2), net.vote(1)), (Some(Vote::NoChange), Some(Vote::Nack), None));
    // A confirmation of something else is none.
    net.say(2, Message::numbered(Kind::VoteInfoReply, Some(77)));
    assert_eq!(net.vote(1), None);
    net.confirm(2);
    assert_eq!(net.vote(1), Some(Vote::Ack));
}

#[test]
fn a_half_that_is_not_heard_is_waited_for_no_longer_than_its_heartbeat_allows() {
    let mut net = Net::new(Config::default());
    net.join("web", 1, Algorithm::Ffsplit, &[1, 2]);
    net.join("web", 2, Algorithm::Ffsplit, &[1, 2]);
    net.view(8, &[1, 2]);
    net.told.clear();
    // Node 1, which would win the tie, is dead; its connection stands.
    net.list(2, ListKind::Membership, 12, &[2]);
    net.pass(1000);
    net.say(2, Message::numbered(Kind::EchoRequest, Some(1))).expect("an echo");
    assert_eq!(net.vote(2), None);
    net.pass(500);
    assert!(net.closed.contains_key(&1), "{:?}", net.closed);
    assert_eq!(net.vote(2), Some(Vote::Ack));
}

#[test]
fn clusters_do_not_know_of_each_other_and_end_with_their_clients() {
    let mut net = Net::new(Config::default());
    for (name, at) in [("a", 1), ("b", 11)] {
        net.join(name, at, Algorithm::Ffsplit, &[at as u32, at as u32 + 1]);
        net.list(at, ListKind::Membership, 8, &[at as u32]);
    }
    assert_eq!((net.vote(1), net.vote(11)), (Some(Vote::Ack), Some(Vote::Ack)));
    assert_eq!(net.server.clusters().len(), 2);
    net.server.gone(1, net.now);
    assert_eq!(net.server.clusters().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(net.server.clusters.len(), 1, "nothing is kept of who went");
}

#[test]
fn four_nodes_split_evenly_and_the_active_half_stays_where_all_ask_for_it() {
    for (keep, winner) in [(false, [1, 2]), (true, [3, 4])] {
        let mut net = Net::new(Config::default());
        for node in 1..=4 {
            net.join("web", node, Algorithm::Ffsplit, &[1, 2, 3, 4]);
            let mut option = Message::numbered(Kind::SetOption, Some(9));
            option.keep_active_partition = Some(keep);
            net.say(node, option).expect("an answer");
        }
        // 1 and 2 are away first: 3 and 4 are alone, and have the vote. Then all are back in two halves.
        net.server.gone(1, net.now);
        net.server.gone(2, net.now);
        net.view(8, &[3, 4]);
        assert_eq!(net.vote(3), Some(Vote::Ack));
        net.join("web", 1, Algorithm::Ffsplit, &[1, 2, 3, 4]);
        net.join("web", 2, Algorithm::Ffsplit, &[1, 2, 3, 4]);
        for node in [1, 2] {
            let mut option = Message::numbered(Kind::SetOption, Some(9));
            option.keep_active_partition = Some(keep);
            net.say(node, option).expect("an answer");
        }
        net.view(12, &[1, 2]);
        let loser = if keep { [1, 2] } else { [3, 4] };
        loser.into_iter().for_each(|n| net.confirm(n));
        for n in winner {
            assert_eq!(net.vote(n), Some(Vote::Ack), "keep {keep}, node {n}");
        }
        for n in loser {
            assert_eq!(net.vote(n), Some(Vote::Nack), "keep {keep}, node {n}");
        }
    }
}

#[test]
fn a_majority_needs_no_tie_breaker_and_failed_heuristics_lose_an_even_split() {
    let mut net = Net::new(Config::default());
    (1..=2).for_each(|n| net.join("web", n, Algorithm::Ffsplit, &[1, 2]));
    net.view(8, &[1, 2]);
    net.view(12, &[1]);
    net.told.clear();
    let mut list = Message::numbered(Kind::NodeList, Some(3));
    (list.list, list.ring) = (Some(ListKind::Membership), Some(RingId { node: 2, seq: 16 }));
    (list.nodes, list.heuristics) = (vec![Node::new(2)], Heuristics::Pass);
    net.say(2, list);
    assert_eq!(net.vote(1), Some(Vote::Nack), "its surroundings are not known to be sound");
    net.confirm(1);
    assert_eq!(net.vote(2), Some(Vote::Ack));
    // Now both pass: the tie breaker.
    let mut change = Message::numbered(Kind::HeuristicsChange, Some(4));
    change.heuristics = Heuristics::Pass;
    net.say(1, change);
    assert_eq!(net.vote(2), Some(Vote::Nack));
    net.confirm(2);
    assert_eq!(net.vote(1), Some(Vote::Ack));
    // Three nodes never split evenly.
    let mut net = Net::new(Config::default());
    (1..=3).for_each(|n| net.join("odd", n, Algorithm::Ffsplit, &[1, 2, 3]));
    net.view(8, &[1]);
    net.view(8, &[2, 3]);
    net.confirm(1);
    assert_eq!((net.vote(1), net.vote(2), net.vote(3)), (Some(Vote::Nack), Some(Vote::Ack), Some(Vote::Ack)));
}

#[test]
fn lms_keeps_the_largest_part_and_who_comes_anew_takes_nothing_away() {
    let mut net = Net::new(Config::default());
    (1..=3).for_each(|n| net.join("web", n, Algorithm::Lms, &[1, 2, 3]));
    // While not all have told where they are, nobody gets a vote; the last report frees the others.
    let reply = net.list(1, ListKind::Membership, 8, &[1, 2, 3]);
    assert_eq!(reply.vote, Some(Vote::WaitForReply));
    net.view(8, &[1, 2, 3]);
    assert_eq!([1, 2, 3].map(|n| net.vote(n)), [Some(Vote::Ack); 3]);
    // 1 alone, 2 and 3 together: the tie breaker (1) does not count against two.
    net.list(1, ListKind::Membership, 12, &[1]);
    net.view(16, &[2, 3]);
    net.list(1, ListKind::Membership, 12, &[1]);
    assert_eq!([1, 2, 3].map(|n| net.vote(n)), [Some(Vote::Nack), Some(Vote::Ack), Some(Vote::Ack)]);
    // Down to the last one, and the others come back on their own.
    net.server.gone(1, net.now);
    net.server.gone(2, net.now);
    net.list(3, ListKind::Membership, 20, &[3]);
    assert_eq!(net.vote(3), Some(Vote::Ack));
    (1..=2).for_each(|n| net.join("web", n, Algorithm::Lms, &[1, 2, 3]));
    net.told.clear();
    net.view(24, &[1, 2]);
    net.view(24, &[1, 2]);
    assert_eq!([1, 2].map(|n| net.vote(n)), [Some(Vote::Nack); 2], "3 is active");
}

#[test]
fn two_nodes_with_2nodelms() {
    let mut net = Net::new(Config::default());
    (1..=2).for_each(|n| net.join("web", n, Algorithm::TwoNodeLms, &[1, 2]));
    net.view(8, &[1, 2]);
    assert_eq!([1, 2].map(|n| net.vote(n)), [Some(Vote::Ack); 2]);
    net.list(2, ListKind::Membership, 12, &[2]);
    net.list(1, ListKind::Membership, 16, &[1]);
    assert_eq!([1, 2].map(|n| net.vote(n)), [Some(Vote::Ack), Some(Vote::Nack)]);
    let reply = net.list(1, ListKind::ChangedConfig, 0, &[1, 2, 3]);
    assert_eq!(reply.error, Some(Err(Refusal::UnsupportedAlgorithm)));
}

#[test]
fn what_is_out_of_place_is_refused_by_name_and_changes_nothing() {
    let mut net = Net::new(Config { max_clients: 3, ..Config::default() });
    assert!(net.server.connected(1, "x".to_owned(), net.now));
    let error = |m: Option<Message>| m.and_then(|m| m.error).and_then(Result::err);
    for (kind, why) in [
        (Kind::StartTls, Refusal::PreinitRequired),
        (Kind::NodeList, Refusal::InitRequired),
        (Kind::EchoRequest, Refusal::InitRequired),
        (Kind::VoteInfo, Refusal::UnexpectedMessage),
        (Kind::Preinit, Refusal::MissingOption),
    ] {
        assert_eq!(error(net.say(1, Message::new(kind))), Some(why), "{kind:?}");
    }
    assert_eq!(error(net.say(1, init(1, Algorithm::Lms))), Some(Refusal::PreinitRequired));
    let mut hello = Message::new(Kind::Preinit);
    hello.cluster_name = Some("web".to_owned());
    net.say(1, hello.clone());
    let with = |change: fn(&mut Message)| {
        let mut m = init(1, Algorithm::Lms);
        change(&mut m);
        m
    };
    assert_eq!(error(net.say(1, with(|m| m.node_id = None))), Some(Refusal::MissingOption));
    assert_eq!(error(net.say(1, with(|m| m.heartbeat_ms = Some(999)))), Some(Refusal::InvalidHeartbeat));
    assert_eq!(net.server.clusters().len(), 0);
    assert_eq!(net.say(1, init(1, Algorithm::Lms)).and_then(|m| m.error), Some(Ok(())));
    assert!(net.server.connected(2, "y".to_owned(), net.now));
    net.say(2, hello);
    assert_eq!(error(net.say(2, init(1, Algorithm::Lms))), Some(Refusal::DuplicateNodeId));
    assert_eq!(error(net.say(2, init(2, Algorithm::Ffsplit))), Some(Refusal::AlgorithmDiffers));
    let mut breaker = init(2, Algorithm::Lms);
    breaker.tie_breaker = Some(TieBreaker::Highest);
    assert_eq!(error(net.say(2, breaker)), Some(Refusal::TieBreakerDiffers));
    assert!(net.server.connected(3, "z".to_owned(), net.now));
    assert!(!net.server.connected(4, "one too many".to_owned(), net.now));
    // Who never says anything sensible is dropped; who lives is not.
    net.pass(1000);
    net.say(1, Message::numbered(Kind::EchoRequest, Some(1)));
    net.pass(1400);
    net.say(1, Message::numbered(Kind::EchoRequest, Some(2)));
    for _ in 0..8 {
        net.pass(1000);
        net.say(1, Message::numbered(Kind::EchoRequest, Some(3)));
    }
    assert_eq!(net.closed.keys().copied().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn tls_is_as_the_server_asks_and_a_certificate_is_of_its_own_cluster() {
    let mut net = Net::new(Config { tls: Tls::Required, ..Config::default() });
    assert!(net.server.connected(1, "x".to_owned(), net.now));
    let mut hello = Message::new(Kind::Preinit);
    hello.cluster_name = Some("web".to_owned());
    let reply = net.say(1, hello.clone()).expect("an answer");
    assert_eq!((reply.tls, reply.client_cert_required), (Some(Tls::Required), Some(true)));
    let reply = net.say(1, init(1, Algorithm::Lms)).expect("an answer");
    assert_eq!(reply.error, Some(Err(Refusal::TlsRequired)));
    net.server.tls_started(1, Some(vec!["shop".to_owned()]));
    net.say(1, init(1, Algorithm::Lms));
    assert!(net.closed[&1].contains("shop"), "{:?}", net.closed);
    net.server.tls_started(1, None);
    net.closed.clear();
    net.say(1, init(1, Algorithm::Lms));
    assert!(net.closed[&1].contains("no valid certificate"), "{:?}", net.closed);
    net.server.tls_started(1, Some(vec!["web".to_owned()]));
    assert_eq!(net.say(1, init(1, Algorithm::Lms)).and_then(|m| m.error), Some(Ok(())));
}
