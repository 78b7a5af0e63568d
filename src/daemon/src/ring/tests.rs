use super::*;
use crate::clock;
use std::sync::Mutex as SyncMutex;
use std::time::Instant;

struct End {
    ring: Ring,
    reports: mpsc::Receiver<Report>,
    permit: Permit,
    /// Ring numbers that the thread wanted reserved.
    reserved: Arc<SyncMutex<Vec<u64>>>,
}

fn node(id: u32, net: u8) -> ResolvedNode {
    let address = std::net::SocketAddr::from(([127, 0, net, id as u8], 25405));
    ResolvedNode { id: NodeId(id), name: id.to_string(), votes: 1, addresses: vec![address] }
}

/// One of two nodes on loopback; `net` keeps the tests apart.
fn start(id: u32, net: u8, key: u8) -> End {
    let reserved = Arc::new(SyncMutex::new(Vec::new()));
    // A disk that never takes anything: the ring forms all the same.
    let asked = reserved.clone();
    let reserve = Box::new(move |seq| {
        asked.lock().unwrap().push(seq);
        false
    });
    let permit = Permit::default();
    let options = Options {
        core: totem::Config::new(NodeId(id), [NodeId(1), NodeId(2)], u64::from(id)),
        nodes: vec![node(1, net), node(2, net)],
        key: wire::seal::Root::new(&[key; 128]),
        cluster_name: "t".into(),
        session: [id as u8; 16],
        block_unlisted: true,
        realtime: false,
        permit: permit.clone(),
        reserve,
    };
    let (ring, reports) = Ring::start(NodeId(id), options).unwrap();
    End { ring, reports, permit, reserved }
}

impl End {
    /// The next report that `wanted` accepts, ticking meanwhile if asked to.
    async fn wait<T>(&mut self, tick: bool, what: &str, mut wanted: impl FnMut(RingEvent) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if tick {
                self.ring.tick(clock::now());
            }
            if let Ok(Some(report)) = tokio::time::timeout(Duration::from_millis(50), self.reports.recv()).await
                && let Some(found) = wanted(report.event)
            {
                return found;
            }
        }
        panic!("did not happen: {what}");
    }

    async fn view_of(&mut self, members: usize) {
        self.wait(true, "a view", |e| matches!(e, RingEvent::View(v) if v.members.len() == members).then_some(()))
            .await;
    }

    fn permitted(&self) -> bool {
        self.permit.until() > kernel::clock::boottime()
    }
}

#[tokio::test]
async fn messages_pass_and_come_back_safe() {
    let (mut a, mut b) = (start(1, 31, 7), start(2, 31, 7));
    tokio::join!(a.view_of(2), b.view_of(2));
    let payload = vec![42; 100_000];
    assert!(a.ring.broadcast(payload.clone()).await);
    let (seq, got) = b
        .wait(true, "delivery", |e| match e {
            RingEvent::Deliver(m) => Some((m.seq, m.payload)),
            _ => None,
        })
        .await;
    assert_eq!(got, payload);
    a.wait(true, "safety", |e| matches!(e, RingEvent::Safe { seq: s, .. } if s >= seq).then_some(())).await;
    let asked = a.reserved.lock().unwrap().clone();
    assert!(!asked.is_empty() && a.ring.status().unreserved == asked.len() as u64, "{asked:?}");
    a.ring.leave().await;
    b.wait(true, "goodbye", |e| {
        matches!(e, RingEvent::Event(totem::Event::PeerLeft { node: NodeId(1) })).then_some(())
    })
    .await;
    a.wait(false, "the end", |e| matches!(e, RingEvent::Ended(_)).then_some(())).await;
}

#[tokio::test]
async fn another_key_is_another_world() {
    let (mut a, mut b) = (start(1, 32, 7), start(2, 32, 8));
    tokio::join!(a.view_of(1), b.view_of(1));
    for end in [&mut a, &mut b] {
        let text = end
            .wait(true, "the other is named", |e| match e {
                RingEvent::Unreadable { text, .. } => Some(text),
                _ => None,
            })
            .await;
        assert!(text.contains("authkey"), "{text}");
    }
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert!(a.ring.status().dropped.altered > 0 && a.ring.status().unreadable.len() == 1);
    assert_eq!(a.ring.status().totem.members, [1]);
}

/// The one that stays has a session with the former process, and goes on sending in it.
#[tokio::test]
async fn who_comes_back_with_another_key_is_named_and_names_the_other() {
    let (mut a, mut b) = (start(1, 34, 7), start(2, 34, 7));
    tokio::join!(a.view_of(2), b.view_of(2));
    b.ring.leave().await;
    b.wait(false, "the end", |e| matches!(e, RingEvent::Ended(_)).then_some(())).await;
    drop(b);
    let mut b = start(2, 34, 8);
    for end in [&mut b, &mut a] {
        let named = |e| match e {
            RingEvent::Unreadable { text, .. } => Some(text),
            _ => None,
        };
        let text = end.wait(true, "the other is named", named).await;
        assert!(text.contains("authkey"), "{text}");
    }
}

#[tokio::test]
async fn a_hung_controller_loses_readiness_permit_and_ring() {
    let (mut a, mut b) = (start(1, 33, 7), start(2, 33, 7));
    tokio::join!(a.view_of(2), b.view_of(2));
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(!a.permitted(), "no lease before the controller says that its state may be relied on");
    a.ring.set_owners_current(true);
    a.ring.tick(clock::now());
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(a.permitted());
    // From here on a's controller hangs, while its ring runs.
    let hung = Instant::now();
    let not_ready = |e| matches!(e, RingEvent::Event(totem::Event::PeerFlags { node: NodeId(1), ready: false, .. }));
    b.wait(true, "readiness lost", |e| not_ready(e).then_some(())).await;
    let after = hung.elapsed();
    assert!((Duration::from_millis(1800)..Duration::from_millis(3500)).contains(&after), "{after:?}");
    b.wait(true, "leave", |e| matches!(e, RingEvent::Event(totem::Event::PeerLeft { node: NodeId(1) })).then_some(()))
        .await;
    let after = hung.elapsed();
    assert!((Duration::from_millis(4800)..Duration::from_millis(7000)).contains(&after), "{after:?}");
    assert!(!a.permitted(), "and no lease is renewed any more");
    b.view_of(1).await;
}
