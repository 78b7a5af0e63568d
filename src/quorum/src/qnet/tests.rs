use super::*;

fn full() -> Message {
    Message {
        seq: Some(7),
        cluster_name: Some("web".to_owned()),
        tls: Some(Tls::Required),
        client_cert_required: Some(true),
        supported_messages: vec![0, 17],
        supported_options: vec![0, 23],
        error: Some(Err(Refusal::DuplicateNodeId)),
        max_request_bytes: Some(32768),
        max_reply_bytes: Some(1),
        node_id: Some(3),
        supported_algorithms: vec![1, 3],
        algorithm: Some(Algorithm::Lms),
        heartbeat_ms: Some(8000),
        ring: Some(RingId { node: 1, seq: u64::MAX }),
        config_version: Some(9),
        list: Some(ListKind::Membership),
        nodes: vec![Node::new(1), Node { id: 2, data_centre: 5, state: Some(NodeState::Leaving) }],
        vote: Some(Vote::NoChange),
        quorate: Some(true),
        tie_breaker: Some(TieBreaker::Node(2)),
        heuristics: Heuristics::Fail,
        keep_active_partition: Some(false),
        ..Message::new(Kind::NodeList)
    }
}

fn one(bytes: &[u8]) -> Frame {
    let mut frames = Frames::new(MAX_BODY_BYTES);
    frames.push(bytes);
    let frame = frames.cut().expect("sound").expect("whole");
    assert!(frames.is_empty());
    frame
}

#[test]
fn a_message_comes_back_as_it_went() {
    let message = full();
    assert_eq!(Message::decode(&one(&message.encode())), Ok(message));
    for kind in Kind::ALL {
        let bare = Message::new(*kind);
        assert_eq!(Message::decode(&one(&bare.encode())), Ok(bare));
    }
}

/// Bytes as Debian's corosync-qdevice 3.0.3 sends them.
#[test]
fn the_bytes_are_those_of_the_original() {
    let preinit = Message { cluster_name: Some("web".to_owned()), ..Message::numbered(Kind::Preinit, Some(1)) };
    assert_eq!(preinit.encode(), b"\0\0\0\0\0\x0f\0\0\0\x04\0\0\0\x01\0\x01\0\x03web");
    let vote = Message {
        vote: Some(Vote::Ack),
        ring: Some(RingId { node: 1, seq: 8 }),
        ..Message::numbered(Kind::VoteInfo, Some(2))
    };
    let original = b"\0\x0e\0\0\0\x1d\0\0\0\x04\0\0\0\x02\0\x13\0\x01\x01\0\x0d\0\x0c\0\0\0\x01\0\0\0\0\0\0\0\x08";
    assert_eq!(Message::decode(&one(original)), Ok(vote));
}

#[test]
fn a_stream_is_cut_wherever_it_was_torn() {
    let (a, b) = (full(), Message::numbered(Kind::EchoRequest, Some(1)));
    let bytes: Vec<u8> = a.encode().into_iter().chain(b.encode()).collect();
    for cut in 0..bytes.len() {
        let mut frames = Frames::new(MAX_BODY_BYTES);
        let mut got = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            frames.push(part);
            while let Some(frame) = frames.cut().expect("sound") {
                got.push(Message::decode(&frame).expect("sound"));
            }
        }
        assert_eq!(got, [a.clone(), b.clone()], "cut at {cut}");
    }
}

#[test]
fn whoever_reads_what_is_missing_stops_at_the_end_of_a_message() {
    let bytes = [full().encode(), b"handshake".to_vec()].concat();
    let mut frames = Frames::new(MAX_BODY_BYTES);
    let mut at = 0;
    let frame = loop {
        let want = frames.missing();
        assert!(want > 0 && want <= bytes.len() - at);
        frames.push(&bytes[at..at + want]);
        at += want;
        if let Some(frame) = frames.cut().expect("sound") {
            break frame;
        }
    };
    assert_eq!((Message::decode(&frame), &bytes[at..]), (Ok(full()), &b"handshake"[..]));
}

#[test]
fn what_cannot_be_read_is_told_with_its_number() {
    let mut frames = Frames::new(100);
    frames.push(b"\0\0\0\0\0\x65");
    assert_eq!(frames.cut(), Err(FrameError { limit: 100, got: 101 }));
    let kind = |kind, body: &[u8]| Message::decode(&Frame { kind, body: body.to_vec() });
    assert_eq!(kind(18, b""), Err(DecodeError::UnknownKind(18)));
    let malformed = |why| Err(DecodeError::Malformed { kind: Kind::Init, seq: Some(5), why });
    let seq = b"\0\0\0\x04\0\0\0\x05";
    let with = |more: &[u8]| kind(3, &[seq, more].concat());
    assert_eq!(with(b"\0\x01\0"), malformed(Malformed::Truncated { option: 0 }));
    assert_eq!(with(b"\0\x09\0\x05\0\0\0\x01"), malformed(Malformed::Truncated { option: 9 }));
    assert_eq!(with(b"\0\x09\0\x02\0\x01"), malformed(Malformed::Length { option: 9, got: 2 }));
    assert_eq!(with(b"\0\x0b\0\x02\0\x09"), malformed(Malformed::Value { option: 11 }));
    assert_eq!(with(b"\0\x04\0\x01\0"), malformed(Malformed::Length { option: 4, got: 1 }));
    assert_eq!(with(b"\0\x15\0\x05\x04\0\0\0\0"), malformed(Malformed::Value { option: 21 }));
    assert_eq!(with(b"\0\x01\0\x01\n"), malformed(Malformed::Value { option: 1 }));
    assert_eq!(with(b"\0\x11\0\0"), malformed(Malformed::Value { option: 17 }), "a node without an id");
    let nodes: Vec<u8> = b"\0\x11\0\x08\0\x09\0\x04\0\0\0\x01".repeat(MAX_NODES + 1);
    assert_eq!(with(&nodes), malformed(Malformed::TooManyNodes));
    // Of a later version.
    assert_eq!(with(b"\x01\0\0\x02\xff\xff"), Ok(Message::numbered(Kind::Init, Some(5))));
}
