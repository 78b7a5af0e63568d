#![allow(clippy::unwrap_used)]

use super::*;

fn set(ids: &[u32]) -> BTreeSet<NodeId> {
    ids.iter().map(|i| NodeId(*i)).collect()
}

fn samples() -> Vec<Frame> {
    let ring = ViewId { rep: 1, seq: 44 };
    let entry = |node, held: Vec<u8>, high| {
        let (node, obligation) = (NodeId(node), set(&[1, 2]));
        CommitEntry { node, filled: true, old: ring, aru: 7, high, held, obligation }
    };
    vec![
        Frame::Heartbeat(Heartbeat {
            incarnation: 9,
            seq: 3,
            view: ring,
            state: State::Operational,
            flags: FLAG_READY,
            ring_seq: 44,
            your_links: 3,
            sent_us: 55,
            echo_us: 0,
            members: vec![NodeId(1), NodeId(2)],
            hears: vec![NodeId(1), NodeId(2), NodeId(3)],
        }),
        Frame::Join(Join { incarnation: 1, join_seq: 2, ring_seq: 40, proc: set(&[1, 2, 3]), fail: set(&[3]) }),
        Frame::Leave { incarnation: 77 },
        Frame::Commit(Commit { ring, hop: 1, entries: vec![entry(1, vec![5, 1], 17), entry(2, vec![], 7)] }),
        Frame::Token(Token {
            ring,
            token_seq: 100,
            seq: 50,
            fcc: 1,
            backlog: 2,
            done: 3,
            arus: vec![50, 49],
            rtr: vec![48, 50],
        }),
        Frame::Ack(Ack { ring, commit: true, seq: 4 }),
        Frame::HoldCancel { ring },
        Frame::Piece(Piece { incarnation: 9, number: 7, length: 10, index: 2, count: 3, bytes: b"ab".to_vec().into() }),
        Frame::Probe(Probe { number: 3, size: 40 }),
        Frame::ProbeReply(Probe { number: 3, size: 1188 }),
        Frame::Data(Data {
            ring,
            seq: 5,
            sender: NodeId(2),
            recovery: false,
            msg: 8,
            index: 1,
            count: 3,
            payload: b"abc".to_vec().into(),
        }),
    ]
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    for frame in samples() {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
}

#[test]
fn data_overhead_is_what_it_says() {
    let Some(Frame::Data(d)) = samples().pop() else { panic!() };
    assert_eq!(d.encode().len(), DATA_OVERHEAD + d.payload.len());
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for frame in samples() {
        let bytes = frame.encode();
        for length in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..length]).is_err(), "{frame:?} cut to {length}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Frame::decode(&longer), Err(DecodeError::Long));
    }
}

#[test]
fn whatever_decodes_encodes_to_the_same_bytes() {
    // Canonical: two different byte strings never mean the same frame. Runs over all one-byte changes and random junk.
    let mut decoded = 0;
    for frame in samples() {
        let bytes = frame.encode();
        for at in 0..bytes.len() {
            for value in 0..=255u8 {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(frame) = Frame::decode(&changed) {
                    assert_eq!(frame.encode(), changed);
                    decoded += 1;
                }
            }
        }
    }
    assert!(decoded > 1000);
    let mut x = 99u64;
    for round in 0..20_000usize {
        let mut junk = vec![VERSION, (round % 12) as u8];
        for _ in 0..round % 150 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            junk.push(if x >> 63 == 0 { 0 } else { (x >> 40) as u8 });
        }
        if let Ok(frame) = Frame::decode(&junk) {
            assert_eq!(frame.encode(), junk);
        }
    }
}
