#![allow(clippy::unwrap_used)]

use super::*;

const KEY: &[u8] = &[7; 256];
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn endpoint(me: NodeId, session: u8) -> Endpoint {
    let mut e = Endpoint::new(&Root::new(KEY), me, "web", [session; 16]);
    e.set_peers(Time::ZERO, [A, B, NodeId(3)]);
    e
}

/// Runs the exchange between the two; gives every packet that crossed.
fn shake(a: &mut Endpoint, b: &mut Endpoint, start_ms: u64) -> Vec<(NodeId, Vec<u8>)> {
    let mut wire = Vec::new();
    for ms in start_ms..start_ms + 2000 {
        let now = Time::from_millis(ms);
        while let Some((to, packet)) = a.poll_transmit(now) {
            if to == b.me {
                wire.push((to, packet.clone()));
                let _ = b.open(now, &packet);
            }
        }
        while let Some((to, packet)) = b.poll_transmit(now) {
            if to == a.me {
                wire.push((to, packet.clone()));
                let _ = a.open(now, &packet);
            }
        }
    }
    wire
}

fn pair() -> (Endpoint, Endpoint) {
    let (mut a, mut b) = (endpoint(A, 10), endpoint(B, 20));
    shake(&mut a, &mut b, 0);
    assert!(a.is_established(B) && b.is_established(A));
    (a, b)
}

const NOW: Time = Time(10_000_000);

#[test]
fn both_directions_after_three_hellos() {
    let (mut a, mut b) = (endpoint(A, 10), endpoint(B, 20));
    assert_eq!(a.seal(B, b"x"), Err(SealError::NoSession(B)));
    let hellos = shake(&mut a, &mut b, 0);
    assert!(hellos.len() <= 4, "{}", hellos.len());
    let packet = a.seal(B, b"hello").unwrap();
    assert!(!packet.windows(5).any(|w| w == b"hello"));
    assert_eq!(b.open(NOW, &packet), Ok(Opened::Data(A, b"hello".to_vec())));
    let packet = b.seal(A, b"").unwrap();
    assert_eq!(a.open(NOW, &packet), Ok(Opened::Data(B, Vec::new())));
    assert_eq!(a.dropped().total() + b.dropped().total(), 0);
}

#[test]
fn every_flipped_bit_of_data_is_dropped_and_counted() {
    let (mut a, mut b) = pair();
    let good = a.seal(B, b"some body of the packet").unwrap();
    let before = b.dropped().total();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(b.open(NOW, &bad).is_err(), "bit {bit}");
    }
    let d = b.dropped();
    assert_eq!(d.total() - before, good.len() as u64 * 8);
    assert!(d.altered > 0 && d.not_ours > 0 && d.bad_version == 8 && d.stale_session > 0);
    assert!(matches!(b.open(NOW, &good), Ok(Opened::Data(..))), "the good one still passes");
}

#[test]
fn every_flipped_bit_of_a_hello_is_dropped() {
    let (mut a, mut b) = (endpoint(A, 10), endpoint(B, 20));
    let good = loop {
        let (to, packet) = a.poll_transmit(Time::ZERO).unwrap();
        if to == B {
            break packet;
        }
    };
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(b.open(Time::ZERO, &bad).is_err(), "bit {bit}");
    }
    assert_eq!(b.open(Time::ZERO, &good), Ok(Opened::Hello(A, false)));
}

#[test]
fn a_peer_that_comes_back_with_another_key_hears_a_hello_that_it_cannot_open() {
    let (mut a, _) = pair();
    let mut odd = Endpoint::new(&Root::new(&[9; 256]), B, "web", [30; 16]);
    odd.set_peers(NOW, [A, B]);
    let (mut shown, mut sent) = (0, 0);
    for ms in 0..3000 {
        let now = NOW + Duration::from_millis(ms);
        while let Some((to, packet)) = odd.poll_transmit(now) {
            assert_eq!((to, a.open(now, &packet)), (A, Err(Dropped::Altered)));
        }
        // What an established side sends all the time tells the other nothing of the key.
        let data = a.seal(B, b"beat").unwrap();
        assert_eq!(odd.open(now, &data), Err(Dropped::StaleSession(A)));
        while let Some((to, packet)) = a.poll_transmit(now) {
            sent += 1;
            shown += u32::from(to == B && odd.open(now, &packet) == Err(Dropped::Altered));
        }
    }
    assert!(shown >= 3, "{shown} hellos of {sent}");
    assert!(sent <= 3000 / 100 + 10, "no more than to one who does not answer: {sent}");
}

#[test]
fn every_replay_is_dropped() {
    let (mut a, mut b) = pair();
    let sent: Vec<_> = (0u32..3000).map(|i| a.seal(B, &i.to_le_bytes()).unwrap()).collect();
    let mut order: Vec<usize> = (0..sent.len()).collect();
    for i in 0..order.len() {
        order.swap(i, (i * 7919) % 3000);
    }
    for i in &order {
        assert!(b.open(NOW, &sent[*i]).is_ok());
    }
    for packet in &sent {
        assert_eq!(b.open(NOW, packet), Err(Dropped::Replayed));
    }
    assert_eq!(b.dropped().replayed, 3000);
}

#[test]
fn truncated_and_random_packets_are_dropped() {
    let (mut a, mut b) = pair();
    let good = a.seal(B, &[1; 100]).unwrap();
    for length in 0..good.len() {
        assert!(b.open(NOW, &good[..length]).is_err());
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(b.open(NOW, &longer).is_err());
    let mut x = 1u64;
    for length in 0..500 {
        let mut junk = Vec::new();
        for _ in 0..length {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            junk.push((x >> 56) as u8);
        }
        assert!(b.open(NOW, &junk).is_err());
        for (at, byte) in junk.iter_mut().zip(&good[..12.min(length)]) {
            *at = *byte;
        }
        assert!(b.open(NOW, &junk).is_err(), "with a right beginning");
    }
    assert!(matches!(b.open(NOW, &good), Ok(Opened::Data(..))));
}

#[test]
fn nothing_recorded_opens_after_either_side_restarted() {
    let (mut a, mut b) = (endpoint(A, 10), endpoint(B, 20));
    let mut recorded: Vec<_> =
        shake(&mut a, &mut b, 0).into_iter().filter(|(to, _)| *to == B).map(|(_, p)| p).collect();
    recorded.extend((0..50).map(|_| a.seal(B, b"old").unwrap()));

    let mut a2 = endpoint(A, 11);
    shake(&mut a2, &mut b, 3000);
    let fresh = a2.seal(B, b"new").unwrap();
    assert!(matches!(b.open(NOW, &fresh), Ok(Opened::Data(..))));
    for packet in &recorded {
        assert!(!matches!(b.open(NOW, packet), Ok(Opened::Data(..) | Opened::Hello(_, true))));
    }
    let fresh = a2.seal(B, b"still").unwrap();
    assert!(matches!(b.open(NOW, &fresh), Ok(Opened::Data(..))), "the session has not been pushed out");

    let mut b2 = endpoint(B, 21);
    for packet in &recorded {
        assert!(!matches!(b2.open(NOW, packet), Ok(Opened::Data(..) | Opened::Hello(_, true))));
    }
    assert!(!b2.is_established(A));
    shake(&mut a2, &mut b2, 20_000);
    assert!(b2.is_established(A) && a2.is_established(B));
}

#[test]
fn a_hello_held_back_by_the_network_does_not_bring_an_old_session_back() {
    let (mut a, mut b) = (endpoint(A, 10), endpoint(B, 20));
    // Every hello of the first life that echoes b, also those that b never saw.
    let mut held = Vec::new();
    for ms in 0..2000 {
        let now = Time::from_millis(ms);
        while let Some((to, packet)) = a.poll_transmit(now) {
            if to == B {
                held.push(packet.clone());
                if ms < 500 {
                    let _ = b.open(now, &packet);
                }
            }
        }
        while let Some((to, packet)) = b.poll_transmit(now) {
            if to == A && ms < 600 {
                let _ = a.open(now, &packet);
            }
        }
    }
    let mut a2 = endpoint(A, 11);
    shake(&mut a2, &mut b, 3000);
    for packet in &held {
        assert!(!matches!(b.open(NOW, packet), Ok(Opened::Hello(_, true))));
    }
    let fresh = a2.seal(B, b"x").unwrap();
    assert!(b.open(NOW, &fresh).is_ok());
}

#[test]
fn other_keys_clusters_nodes_and_directions_do_not_open() {
    let (mut a, mut b) = pair();
    let mut other_key = Endpoint::new(&Root::new(&[8; 256]), B, "web", [20; 16]);
    let mut other_name = Endpoint::new(&Root::new(KEY), B, "web2", [20; 16]);
    for e in [&mut other_key, &mut other_name] {
        e.set_peers(Time::ZERO, [A]);
        let (mut a2, _) = (endpoint(A, 10), ());
        shake(&mut a2, e, 0);
        assert!(!e.is_established(A) && !a2.is_established(B));
        assert!(e.dropped().altered > 0);
    }
    let packet = a.seal(B, b"x").unwrap();
    assert!(a.open(NOW, &packet).is_err(), "reflected");
    let mut c = endpoint(NodeId(3), 30);
    assert_eq!(c.open(NOW, &packet), Err(Dropped::WrongReceiver(B)));
    b.set_peers(NOW, [NodeId(3)]);
    assert_eq!(b.open(NOW, &packet), Err(Dropped::UnknownSender(A)));
    assert_eq!(a.seal(NodeId(9), b""), Err(SealError::UnknownPeer(NodeId(9))));
}

#[test]
fn one_side_restarting_is_found_by_the_other_side_talking() {
    let (mut a, b) = pair();
    drop(b);
    let mut b2 = endpoint(B, 21);
    // b2's own first hellos are lost; a does not know of the restart and goes on talking.
    while b2.poll_transmit(NOW).is_some() {}
    let packet = a.seal(B, b"x").unwrap();
    assert_eq!(b2.open(NOW, &packet), Err(Dropped::StaleSession(A)));
    shake(&mut a, &mut b2, NOW.as_millis());
    let packet = a.seal(B, b"x").unwrap();
    assert!(b2.open(Time(NOW.0 + 3_000_000), &packet).is_ok());
}

#[test]
fn hellos_are_rate_limited_whatever_arrives() {
    let (mut a, mut b) = pair();
    let stale = {
        let mut old = endpoint(A, 12);
        let mut b2 = endpoint(B, 22);
        shake(&mut old, &mut b2, 0);
        old.seal(B, b"stale").unwrap()
    };
    let mut hellos = 0;
    for us in 0..100_000u64 {
        let now = Time(NOW.0 + us * 10);
        let _ = b.open(now, &stale);
        while b.poll_transmit(now).is_some_and(|(to, _)| to == A) {
            hellos += 1;
        }
    }
    assert!(hellos <= 51, "{hellos} in a second");
    let packet = a.seal(B, b"x").unwrap();
    assert!(b.open(NOW, &packet).is_ok());
}

#[test]
fn who_uses_a_taken_number_is_told_so_by_one_who_has_the_key() {
    let mut one = endpoint(A, 10);
    // Another host that calls itself B as well.
    let mut third = endpoint(B, 30);
    let hello = loop {
        let (to, packet) = third.poll_transmit(Time::ZERO).unwrap();
        if to == A {
            break packet;
        }
    };
    let refusal = one.refuse(&hello).unwrap();
    assert_eq!(third.open(NOW, &refusal), Ok(Opened::Refused(A)));
    // It is meant for that process alone, and cannot be made without the key.
    let mut real = endpoint(B, 20);
    assert_eq!(real.open(NOW, &refusal), Err(Dropped::Replayed));
    for bit in 0..refusal.len() * 8 {
        let mut bad = refusal.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(third.open(NOW, &bad).is_err(), "bit {bit}");
    }
    let mut stranger = Endpoint::new(&Root::new(&[9; 256]), B, "web", [40; 16]);
    stranger.set_peers(Time::ZERO, [A]);
    let (_, foreign) = stranger.poll_transmit(Time::ZERO).unwrap();
    assert_eq!(one.refuse(&foreign), None, "nothing is answered to who has no key");
    // The exchange with the real one goes on.
    shake(&mut one, &mut real, 100);
    assert!(one.is_established(B) && real.is_established(A) && !third.is_established(A));
}
