//! The exchange with a made-up kernel at the other end of a socket pair: lost, late, split and interrupted answers.
//! The real one is met in the VM.

use super::*;
use base::ipvs::{Protocol, Service};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

const FAMILY: u16 = 0x20;

/// A kernel object whose socket leads to `answer`, which gets each request's bytes and returns datagrams.
#[allow(unsafe_code)]
fn with_peer(deadline_ms: u64, mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Kernel {
    let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    std::thread::spawn(move || peer(&there, &mut answer));
    // SAFETY: the descriptor is open and handed over; nobody else closes it.
    let socket = unsafe { NlSocket::from_raw_fd(here.into_raw_fd()) };
    let mut kernel = Kernel::with_deadline_ms(deadline_ms);
    kernel.set_load_module(false);
    kernel.connection = Some(Connection { socket, family: FAMILY, seq: 1, buffer: vec![0; RECEIVE_BYTES] });
    kernel
}

fn peer(socket: &OwnedFd, answer: &mut impl FnMut(&[u8]) -> Vec<Vec<u8>>) {
    let mut buffer = vec![0u8; RECEIVE_BYTES];
    while let Ok(len) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        if len == 0 {
            return;
        }
        for datagram in answer(&buffer[..len]) {
            let _ = send(socket.as_raw_fd(), &datagram, MsgFlags::MSG_NOSIGNAL);
        }
    }
}

fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((16 + payload.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&seq.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

fn status(kind: u16, seq: u32, errno: i32) -> Vec<u8> {
    message(kind, 0, seq, &(-errno).to_ne_bytes())
}

/// The numbers of the requests in a train.
fn numbers(train: &[u8]) -> Vec<u32> {
    Messages(train).map(|m| m.seq).collect()
}

fn key(last: u8) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, addr: [10, 0, 0, last].into(), port: 80 }
}

/// A service as a dump sends it: what a request to add it has, with the family's number as kind.
fn listed(seq: u32, flags: u16, last: u8) -> Vec<u8> {
    let request = codec::change(&Change::AddService(Service::new(key(last), "rr"))).unwrap();
    let bytes = codec::encode(request, FAMILY, seq).unwrap();
    message(FAMILY, flags, seq, &bytes[16..])
}

#[test]
fn silence_ends_at_the_deadline_as_unknown() {
    let mut kernel = with_peer(50, |_| Vec::new());
    let began = Instant::now();
    let result = kernel.add_service(&Service::new(key(1), "rr"));
    assert_eq!(result, Err(Error::Unknown { waited_ms: 50 }));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(kernel.connection.is_none(), "a late answer must not be taken for another's");
}

#[test]
fn answers_to_others_are_passed_over() {
    let mut kernel = with_peer(2000, |request| {
        let seq = numbers(request)[0];
        vec![status(NLMSG_ERROR, seq.wrapping_sub(1), libc::EEXIST), status(NLMSG_ERROR, seq, 0)]
    });
    assert_eq!(kernel.add_service(&Service::new(key(1), "rr")), Ok(()));
}

/// What the kernel answers to a train: refusals, and what asked to be acknowledged.
fn answers(train: &[u8], errno: impl Fn(usize) -> i32) -> Vec<Vec<u8>> {
    let asked = |flags: u16| flags & libc::NLM_F_ACK as u16 != 0;
    let numbered = Messages(train).enumerate().map(|(i, m)| (errno(i), m));
    numbered.filter(|(e, m)| *e != 0 || asked(m.flags)).map(|(e, m)| status(NLMSG_ERROR, m.seq, e)).collect()
}

#[test]
fn a_train_gives_each_change_its_own_result() {
    let mut kernel =
        with_peer(2000, |train| vec![answers(train, |i| if i % 3 == 0 { libc::ESRCH } else { 0 }).concat()]);
    let changes: Vec<Change> = (0..BATCH as u8).map(|n| Change::DeleteService(key(n))).collect();
    let results = kernel.apply_all(&changes);
    assert_eq!(results.len(), changes.len());
    for (i, result) in results.iter().enumerate() {
        let expected = if i % 3 == 0 { Err(Error::NoSuchService) } else { Ok(()) };
        assert_eq!(*result, expected, "change {i}");
    }
}

#[test]
fn trains_follow_each_other() {
    let mut sizes = Vec::new();
    let mut kernel = with_peer(2000, move |train| {
        sizes.push(numbers(train).len());
        // The third train is the rest.
        answers(train, |_| if sizes == [BATCH, BATCH, 10] { libc::ENOMEM } else { 0 })
    });
    let changes = vec![Change::Flush; 2 * BATCH + 10];
    let results = kernel.apply_all(&changes);
    assert!(results[..2 * BATCH].iter().all(Result::is_ok));
    assert!(results[2 * BATCH..].iter().all(|r| *r == Err(Error::OutOfMemory)));
}

#[test]
fn without_the_last_acknowledgement_only_refusals_are_known() {
    let mut kernel = with_peer(60, |train| {
        let mut answers = answers(train, |i| if i == 1 { libc::ESRCH } else { 0 });
        answers.pop();
        answers
    });
    let changes: Vec<Change> = (0..4).map(|n| Change::DeleteService(key(n))).collect();
    let unknown = || Err(Error::Unknown { waited_ms: 60 });
    assert_eq!(kernel.apply_all(&changes), [unknown(), Err(Error::NoSuchService), unknown(), unknown()]);
}

#[test]
fn a_dump_in_pieces_is_read_to_its_end_and_again_when_interrupted() {
    let mut round = 0;
    let mut kernel = with_peer(2000, move |request| {
        let (seq, command) = (numbers(request)[0], request[16]);
        if command == codec::cmd::GET_DEST {
            return vec![status(NLMSG_DONE, seq, 0)];
        }
        round += 1;
        let flags = if round == 1 { DUMP_INTERRUPTED } else { 0 };
        let first = [listed(seq, 0, 1), listed(seq, flags, 2)].concat();
        vec![first, listed(seq, 0, 3), status(NLMSG_DONE, seq, 0)]
    });
    let services = kernel.services().unwrap();
    let keys: Vec<ServiceKey> = services.iter().map(|s| s.service.key).collect();
    assert_eq!(keys, [key(1), key(2), key(3)]);
}

#[test]
fn a_table_that_never_holds_still_is_given_up() {
    let mut kernel = with_peer(2000, |request| {
        let seq = numbers(request)[0];
        vec![listed(seq, DUMP_INTERRUPTED, 1), status(NLMSG_DONE, seq, 0)]
    });
    assert!(matches!(kernel.services(), Err(Error::Malformed { .. })));
}

#[test]
fn a_garbled_answer_is_told_and_the_connection_dropped() {
    let mut kernel = with_peer(2000, |request| {
        let seq = numbers(request)[0];
        vec![message(FAMILY, 0, seq, &[1, 1, 0, 0, 9, 9]), status(NLMSG_ERROR, seq, 0)]
    });
    assert!(matches!(kernel.service(&key(1)), Err(Error::Malformed { .. })));
    assert!(kernel.connection.is_none());
}

/// With or without IPVS in the running kernel: an answer, or words that say what to do.
#[test]
fn a_kernel_without_ipvs_is_told_in_words() {
    let mut kernel = Kernel::new();
    kernel.set_load_module(false);
    match kernel.info() {
        Ok(info) => assert_eq!(info.version.0, 1),
        Err(error @ Error::NoIpvs { .. }) => assert!(error.to_string().contains("modprobe ip_vs"), "{error}"),
        Err(error) => assert_eq!(error, Error::PermissionDenied),
    }
}
