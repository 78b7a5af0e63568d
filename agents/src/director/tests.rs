//! Sharing: what is told, what is understood, what a director on another node makes of it.

use super::board::Board;
use super::bulletin::{Body, Bulletin, MAX_BULLETIN_BYTES, decode, encode, is_bulletin};
use super::outbox::{FRESH_EVERY, MAX_SHARED, Outbox};
use super::*;
use crate::agent::{Hosted, Native};
use base::Operation;
use base::ipvs::{DestKey, Protocol, ServiceKey};
use kernel::ipvs::{Ipvs, Memory};
use ldirectord::service::{Director, RealId, VerdictEntry};
use std::time::{Duration, Instant};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn entry(n: u32, up: bool, age_ms: u64) -> VerdictEntry {
    let service =
        ServiceKey::Address { protocol: Protocol::Tcp, addr: [192, 0, 2, (n / 10_000) as u8].into(), port: 80 };
    let dest = DestKey { addr: std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into(), port: 80 };
    VerdictEntry { real: RealId { service, dest }, up, failures: 0, age_ms, answer: "x".repeat(500) }
}

fn verdicts(entries: impl IntoIterator<Item = VerdictEntry>) -> Verdicts {
    Verdicts { entries: entries.into_iter().collect() }
}

/// From one node's outbox over the wire onto another's board.
struct Pair {
    outbox: Outbox,
    board: Board,
    life: u64,
    bytes: usize,
    bulletins: usize,
}

impl Pair {
    fn new() -> Pair {
        Pair { outbox: Outbox::default(), board: Board::default(), life: 1, bytes: 0, bulletins: 0 }
    }

    fn tell(&mut self, known: &Verdicts, now: Duration, newcomers: bool) {
        for body in self.outbox.step(known, now, newcomers) {
            let account = self.outbox.account();
            let payload = encode(&Bulletin { director: "lvs".into(), life: self.life, account, body });
            assert!(is_bulletin(&payload) && payload.len() <= MAX_BULLETIN_BYTES / 2, "{} bytes", payload.len());
            self.bytes += payload.len();
            self.bulletins += 1;
            self.board.take(NodeId(1), decode(&payload).unwrap(), now);
        }
    }

    fn heard(&self, now: Duration) -> Vec<(u32, bool, u64)> {
        let number = |e: &VerdictEntry| match e.real.dest.addr {
            std::net::IpAddr::V4(v4) => v4.to_bits() & 0xff_ffff,
            std::net::IpAddr::V6(_) => 0,
        };
        self.board.verdicts("lvs", now).entries.iter().map(|e| (number(e), e.up, e.age_ms)).collect()
    }
}

#[test]
fn changes_travel_at_once_and_ages_follow_in_one_short_word() {
    let mut pair = Pair::new();
    pair.tell(&verdicts([entry(1, true, 100), entry(2, true, 200)]), s(10), false);
    assert_eq!(pair.heard(s(12)), [(1, true, 2_100), (2, true, 2_200)]);
    pair.tell(&verdicts([entry(1, true, 600), entry(2, false, 0)]), s(10) + Duration::from_millis(500), false);
    assert_eq!(pair.bulletins, 2, "one account, one change");
    assert_eq!(pair.heard(s(12)), [(1, true, 2_100), (2, false, 1_500)]);
    pair.tell(&verdicts([entry(1, true, 700), entry(2, false, 400)]), s(11), false);
    assert_eq!(pair.heard(s(12)), [(1, true, 1_700), (2, false, 1_500)], "the older of the service's ages counts");
    pair.tell(&verdicts([entry(1, true, 750), entry(2, false, 450)]), s(11), false);
    assert_eq!(pair.bulletins, 3, "nothing to say");
}

#[test]
fn ten_thousand_servers_cost_one_short_word_a_second() {
    let known = verdicts((0..10_000).map(|n| entry(n, n % 7 != 0, 900)));
    let mut pair = Pair::new();
    pair.tell(&known, s(10), false);
    assert!(pair.bytes < 4 << 20 && pair.bulletins < 200, "{} bytes, {} bulletins", pair.bytes, pair.bulletins);
    assert_eq!(pair.heard(s(10)).len(), 10_000);
    pair.bytes = 0;
    pair.tell(&known, s(10) + FRESH_EVERY, false);
    assert!(pair.bytes < 500, "{} bytes", pair.bytes);
    assert!(pair.heard(s(11)).iter().all(|(_, _, age_ms)| *age_ms == 900));
    let many = verdicts((0..MAX_SHARED as u32 + 5).map(|n| entry(n, true, 0)));
    pair.tell(&many, s(12), true);
    assert_eq!(pair.heard(s(12)).len(), MAX_SHARED);
}

#[test]
fn newcomers_and_removed_servers_bring_a_complete_account() {
    let mut pair = Pair::new();
    let known = verdicts([entry(1, true, 0), entry(2, true, 0)]);
    pair.tell(&known, s(10), false);
    pair.board = Board::default();
    pair.tell(&known, s(11), false);
    assert_eq!(pair.heard(s(11)), [], "a word of freshness says nothing to who knows nothing");
    pair.tell(&known, s(11), true);
    assert_eq!(pair.heard(s(11)).len(), 2);
    pair.tell(&verdicts([entry(2, true, 0)]), s(12), false);
    assert_eq!(pair.heard(s(12)), [(2, true, 0)]);
}

#[test]
fn a_new_life_does_not_refresh_what_the_old_one_said() {
    let mut pair = Pair::new();
    pair.tell(&verdicts([entry(1, true, 0)]), s(10), false);
    pair.board.take(
        NodeId(1),
        Bulletin {
            director: "lvs".into(),
            life: 2,
            account: 1,
            body: Body::Fresh { ages_ms: vec![(entry(1, true, 0).real.service, 0)] },
        },
        s(20),
    );
    assert_eq!(pair.heard(s(20)), [(1, true, 10_000)], "kept, but as old as it is");
}

#[test]
fn of_two_nodes_the_newer_word_counts() {
    let mut board = Board::default();
    for (node, up, age_ms) in [(1, true, 5_000), (2, false, 1_000), (3, true, 7_000)] {
        let body = Body::All { part: 0, last: true, entries: vec![entry(1, up, age_ms)] };
        board.take(NodeId(node), Bulletin { director: "lvs".into(), life: 1, account: 1, body }, s(10));
    }
    let newest = board.verdicts("lvs", s(10)).entries;
    assert_eq!(newest.iter().map(|e| (e.up, e.age_ms)).collect::<Vec<_>>(), [(false, 1_000)]);
}

#[test]
fn noise_is_refused() {
    let body = Body::All { part: 0, last: false, entries: vec![entry(1, true, 0)] };
    let good = encode(&Bulletin { director: "lvs".into(), life: 1, account: 1, body });
    let mut noise = 99u64;
    for _ in 0..2_000 {
        let mut bad = good.clone();
        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let at = (noise >> 20) as usize % bad.len();
        bad[at] ^= (noise >> 56) as u8;
        bad.truncate((noise >> 30) as usize % (bad.len() + 1));
        if let Ok(bulletin) = decode(&bad) {
            Board::default().take(NodeId(1), bulletin, s(1));
        }
    }
    assert!(decode(&vec![0x42; MAX_BULLETIN_BYTES + 1]).is_err());
    assert!(!is_bulletin(&[1, 2, 3]) && !is_bulletin(&[]));
}

#[derive(Clone, Default)]
struct Table(Arc<Mutex<Memory>>);

impl Ipvs for Table {
    fn info(&mut self) -> Result<base::ipvs::Info, kernel::ipvs::Error> {
        lock(&self.0).info()
    }
    fn services(&mut self) -> Result<Vec<base::ipvs::ServiceEntry>, kernel::ipvs::Error> {
        lock(&self.0).services()
    }
    fn service(&mut self, key: &ServiceKey) -> Result<base::ipvs::ServiceEntry, kernel::ipvs::Error> {
        lock(&self.0).service(key)
    }
    fn timeouts(&mut self) -> Result<base::ipvs::Timeouts, kernel::ipvs::Error> {
        lock(&self.0).timeouts()
    }
    fn daemons(&mut self) -> Result<Vec<base::ipvs::SyncDaemon>, kernel::ipvs::Error> {
        lock(&self.0).daemons()
    }
    fn apply(&mut self, change: &kernel::ipvs::Change) -> Result<(), kernel::ipvs::Error> {
        lock(&self.0).apply(change)
    }
}

impl Table {
    fn ports(&self) -> Vec<u16> {
        let entries = lock(&self.0).services().unwrap();
        entries.iter().flat_map(|e| e.dests.iter().filter(|d| d.dest.weight > 0).map(|d| d.dest.key.port)).collect()
    }
}

/// A node's directors on a table in memory; what they share ends on a list.
struct Node {
    directors: Directors,
    table: Table,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

fn node() -> Node {
    let (table, sent) = (Table::default(), Arc::new(Mutex::new(Vec::new())));
    let (opened, list) = (table.clone(), sent.clone());
    let data_plane: DataPlane = Arc::new(move || Ok(Box::new(opened.clone())));
    let share: Share = Arc::new(move |payload| {
        lock(&list).push(payload);
        true
    });
    let directors = Directors::new(data_plane, None, Some(share), Arc::new(|_| {}));
    directors.set_members([NodeId(1), NodeId(2)].into(), true);
    Node { directors, table, sent }
}

impl Node {
    /// What it has to tell so far.
    fn tell(&self, to: &Node) {
        for payload in std::mem::take(&mut *lock(&self.sent)) {
            to.directors.receive(NodeId(1), &payload).unwrap();
        }
    }

    async fn director<T>(&self, f: impl FnOnce(&Director) -> T) -> T {
        let slot = self.directors.inner.known("lvs").unwrap();
        let state = slot.state.lock().await;
        f(&state.running.as_ref().unwrap().director)
    }

    async fn call(&self, operation: &str, params: &[(&str, &str)]) -> i32 {
        let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let instance = Instance { id: "lvs".into(), params, ..Instance::default() };
        let agent = Hosted::new(super::Director(self.directors.clone()));
        agent.run(&Operation { instance, action: operation.into(), ..Operation::default() }).await.code.0
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + s(20);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A server that accepts, and its port.
async fn open_port() -> (u16, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

#[tokio::test]
async fn what_one_director_knows_is_in_the_next_ones_table_before_the_address() {
    let (live, _listener) = open_port().await;
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = closed.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.cf");
    let text = format!(
        "checktimeout=2\ncheckinterval=1\nquiescent=no\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:{live} masq\n\treal=127.0.0.1:{dead} masq\n\tchecktype=connect\n\tprotocol=tcp\n"
    );
    std::fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    for warm in ["yes", "no"] {
        let params = [("configfile", file), ("warm_standby", warm)];
        let (old, new) = (node(), node());
        assert_eq!(new.call("monitor", &params).await, 7);
        assert_eq!(old.call("start", &params).await, 0);
        until("the old director has its table", || old.table.ports() == [live]).await;
        until("it has told of both servers", || {
            for payload in std::mem::take(&mut *lock(&old.sent)) {
                new.directors.receive(NodeId(1), &payload).unwrap();
            }
            new.directors.inner.told("lvs").entries.len() == 2
        })
        .await;
        new.directors.prime([192, 0, 2, 9].into()).await;
        assert_eq!(new.table.ports(), [] as [u16; 0], "not its address");
        let began = Instant::now();
        new.directors.prime([192, 0, 2, 1].into()).await;
        assert_eq!(new.table.ports(), [live], "warm_standby={warm}");
        println!("warm_standby={warm}: primed in {} us", began.elapsed().as_micros());
        assert_eq!(new.call("monitor", &params).await, 7, "primed is not started");
        assert_eq!(new.call("start", &params).await, 0);
        assert_eq!(new.call("monitor", &params).await, 0);
        new.directors.unprime([192, 0, 2, 1].into()).await;
        assert_eq!(new.table.ports(), [live], "started is not primed any more");
        assert_eq!(new.call("stop", &params).await, 0);
        assert_eq!(new.table.ports(), [] as [u16; 0]);
    }
}

/// A drain at the active director holds after a take-over, and after a restart of the one that it was given to.
#[tokio::test]
async fn a_drain_holds_at_the_next_director_and_after_a_restart() {
    let (first, _one) = open_port().await;
    let (second, _two) = open_port().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.cf");
    let text = format!(
        "checktimeout=2\ncheckinterval=1\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:{first} masq\n\treal=127.0.0.1:{second} masq\n\tchecktype=connect\n\tprotocol=tcp\n"
    );
    std::fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    for warm in ["yes", "no"] {
        let params = [("configfile", file), ("warm_standby", warm)];
        let (old, new) = (node(), node());
        assert_eq!(new.call("monitor", &params).await, 7);
        assert_eq!(old.call("start", &params).await, 0);
        until("the old director has its table", || old.table.ports().len() == 2).await;
        old.director(|d| d.handle()).await.drain(&format!("127.0.0.1:{first}"), true).await.unwrap();
        assert_eq!(old.table.ports(), [second]);
        until("it has told of the drain", || {
            old.tell(&new);
            !lock(&new.directors.inner.board).marks("lvs").is_empty()
        })
        .await;
        assert_eq!(new.call("start", &params).await, 0);
        until("the next one has only the other", || new.table.ports() == [second]).await;
        // The one that it was given to comes back without memory, as after a restart of its machine, and hears of it.
        let back = node();
        assert_eq!(back.call("monitor", &params).await, 7);
        lock(&new.sent).clear();
        new.directors.set_members([NodeId(1), NodeId(2)].into(), true);
        until("it is told of the drain", || {
            new.tell(&back);
            !lock(&back.directors.inner.board).marks("lvs").is_empty()
        })
        .await;
        assert_eq!(back.call("start", &params).await, 0);
        until("its table has only the other", || back.table.ports() == [second]).await;
        // Taken back there, it is taken back everywhere.
        back.director(|d| d.handle()).await.drain("127.0.0.1", false).await.unwrap();
        until("the other director has both again", || {
            back.tell(&new);
            new.table.ports().len() == 2
        })
        .await;
        for node in [&old, &new, &back] {
            assert_eq!(node.call("stop", &params).await, 0);
        }
    }
}

/// A service by mark alone: which address brings its packets is known by the mark agent.
#[tokio::test]
async fn an_address_primes_the_services_of_its_marks() {
    let (live, _listener) = open_port().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.cf");
    let text = format!(
        "checktimeout=2\ncheckinterval=1\nvirtual=7\n\treal=127.0.0.1:{live} masq\n\tchecktype=connect\n\tprotocol=fwm\n"
    );
    std::fs::write(&file, text).unwrap();
    let params = [("configfile", file.to_str().unwrap())];
    let node = node();
    assert_eq!(node.call("monitor", &params).await, 7);
    let marking = |mark| FwMarks { mark, prefixes: vec![([192, 0, 2, 0].into(), 28)] };
    node.directors.note_fwmarks("other", marking(8));
    node.directors.prime([192, 0, 2, 1].into()).await;
    assert_eq!(node.table.ports(), [] as [u16; 0], "another mark");
    node.directors.note_fwmarks("marks", marking(7));
    node.directors.prime([192, 0, 2, 99].into()).await;
    assert_eq!(node.table.ports(), [] as [u16; 0], "not marked");
    node.directors.prime([192, 0, 2, 1].into()).await;
    assert_eq!(node.table.ports(), [live], "and the first check was waited for");
    node.directors.unprime([192, 0, 2, 1].into()).await;
    assert_eq!(node.table.ports(), [] as [u16; 0]);
}

#[tokio::test]
async fn a_primed_director_stands_down_with_its_address_and_a_deleted_one_ends() {
    let (live, listener) = open_port().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.cf");
    let text = format!(
        "checktimeout=2\ncheckinterval=1\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:{live} masq\n\tchecktype=connect\n\tprotocol=tcp\n"
    );
    std::fs::write(&file, text).unwrap();
    let params = [("configfile", file.to_str().unwrap())];
    let node = node();
    assert_eq!(node.call("monitor", &params).await, 7);
    node.directors.prime([192, 0, 2, 1].into()).await;
    assert_eq!(node.table.ports(), [live], "nothing was known: the address waits for the first check");
    node.directors.unprime([192, 0, 2, 1].into()).await;
    assert_eq!(node.table.ports(), [] as [u16; 0]);
    assert_eq!(node.directors.status().await.len(), 1, "on standby again");
    node.directors.set_configured(BTreeSet::from(["lvs".to_owned()])).await;
    assert_eq!(node.directors.status().await.len(), 1);
    node.directors.set_configured(BTreeSet::new()).await;
    assert_eq!(node.directors.status().await.len(), 0);
    while tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_ok() {}
    let more = tokio::time::timeout(Duration::from_millis(2500), listener.accept()).await;
    assert!(more.is_err(), "the servers of a deleted director are not checked any more");
    assert_eq!(node.call("start", &params).await, 0);
    assert_eq!(node.call("stop", &params).await, 0);
    assert_eq!(node.directors.status().await.len(), 0, "no standby for what is not configured");
}

#[tokio::test]
async fn who_was_fenced_leaves_none_of_its_own_entries_behind_and_all_others() {
    let (live, _listener) = open_port().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.cf");
    let text = format!(
        "checktimeout=2\ncheckinterval=1\nvirtual=192.0.2.1:80\n\treal=127.0.0.1:{live} masq\n\tchecktype=on\n\tprotocol=tcp\n"
    );
    std::fs::write(&file, text).unwrap();
    let params = [("configfile", file.to_str().unwrap())];
    let node = node();
    let foreign = ServiceKey::Address { protocol: Protocol::Tcp, addr: [192, 0, 2, 9].into(), port: 25 };
    let added = kernel::ipvs::Change::AddService(base::ipvs::Service::new(foreign, "rr"));
    lock(&node.table.0).apply(&added).unwrap();
    assert_eq!(node.call("start", &params).await, 0);
    until("the director has its table", || node.table.ports() == [live]).await;
    assert_eq!(node.directors.abandon("this node was fenced").await, [] as [String; 0]);
    let left: Vec<ServiceKey> = lock(&node.table.0).services().unwrap().iter().map(|e| e.service.key).collect();
    assert_eq!(left, [foreign], "only what it owns");
    assert_eq!(node.directors.status().await.len(), 0, "nor is anything checked any more");
    assert_eq!(node.directors.abandon("once more").await, [] as [String; 0]);
}

/// Four active directors, each with its outbox; what they say goes to all in one order.
#[test]
fn active_directors_agree_by_what_is_delivered_to_all() {
    let members: BTreeSet<NodeId> = (1..=4).map(NodeId).collect();
    let mut outboxes: Vec<Outbox> = (0..4).map(|_| Outbox::default()).collect();
    let mut boards: Vec<Board> = (0..4).map(|_| Board::default()).collect();
    let say = |outboxes: &mut Vec<Outbox>, boards: &mut Vec<Board>, n: usize, up: bool, now: Duration| {
        for body in outboxes[n].step(&verdicts([entry(1, up, 0), entry(2, true, 0)]), now, false) {
            let account = outboxes[n].account();
            let payload = encode(&Bulletin { director: "lvs".into(), life: 1, account, body });
            for board in boards.iter_mut() {
                board.take(NodeId(n as u32 + 1), decode(&payload).unwrap(), now);
            }
        }
    };
    let agreed = |boards: &[Board], now: Duration| {
        let all: Vec<Vec<bool>> =
            boards.iter().map(|b| b.agreed("lvs", &members, now).into_values().collect()).collect();
        assert!(all.windows(2).all(|w| w[0] == w[1]), "{all:?}");
        all[0].clone()
    };
    assert_eq!(agreed(&boards, s(10)), [] as [bool; 0], "nobody has said anything");
    (0..4).for_each(|n| say(&mut outboxes, &mut boards, n, true, s(10)));
    assert_eq!(agreed(&boards, s(10)), [true, true]);
    say(&mut outboxes, &mut boards, 2, false, s(11));
    assert_eq!(agreed(&boards, s(11)), [true, true], "one alone may be wrong");
    say(&mut outboxes, &mut boards, 0, false, s(11));
    assert_eq!(agreed(&boards, s(11)), [false, true], "half of them are not");
    // The two that say "up" fall silent, the others go on: they alone are active then.
    [0, 2].into_iter().for_each(|n| say(&mut outboxes, &mut boards, n, true, s(12)));
    assert_eq!(agreed(&boards, s(12)), [true, true]);
    [0, 2].into_iter().for_each(|n| say(&mut outboxes, &mut boards, n, n == 0, s(14)));
    assert_eq!(agreed(&boards, s(14)), [false, true], "one of two");
    // Who has left the ring counts no more.
    let left: BTreeSet<NodeId> = [NodeId(1)].into();
    assert!(boards[3].agreed("lvs", &left, s(14)).into_values().all(|up| up));
    assert!(boards[3].agreed("lvs", &members, s(20)).is_empty(), "all are silent");
}
