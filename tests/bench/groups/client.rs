//! The load client for ours: the same work as `load.c`, over the socket of the process groups.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::groups::{FromNode, Members, SOCKET_NAME, ToNode, length};

/// What came back.
enum Back {
    Own,
    Members(Members),
}

/// `RUN_DIR GROUP flood SIZE SECONDS`, `… trip GAP_MS SECONDS`, `… watch`.
pub fn run(words: &[String]) {
    let [run_dir, group, mode, numbers @ ..] = words else { panic!("too few words: {words:?}") };
    let number = |n: usize| numbers.get(n).and_then(|w| w.parse::<f64>().ok()).unwrap_or_default();
    let mut stream = UnixStream::connect(Path::new(run_dir).join(SOCKET_NAME)).expect("the node listens");
    let back = listen(stream.try_clone().expect("a handle"));
    stream.write_all(&ToNode::Join(group.clone()).encode()).expect("sent");
    let me = std::process::id();
    let show = |members: &Members| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros();
        if mode == "watch" {
            println!("{} {now}", members.members.len());
        }
        members.members.iter().any(|m| m.pid == me)
    };
    loop {
        match back.recv() {
            Ok(Back::Members(members)) if show(&members) && mode != "watch" => break,
            Ok(_) => {}
            // The node that is killed is watched as well.
            Err(_) if mode == "watch" => return,
            Err(_) => panic!("the node does not answer"),
        }
    }
    match mode.as_str() {
        "flood" => flood(stream, &back, number(0) as usize, number(1)),
        _ => trip(stream, &back, number(0) as u64, number(1)),
    }
}

fn listen(stream: UnixStream) -> Receiver<Back> {
    let (to, back) = channel();
    let me = std::process::id();
    std::thread::spawn(move || {
        let mut input = BufReader::with_capacity(1 << 20, stream);
        let mut frame = Vec::new();
        loop {
            let mut prefix = [0; 4];
            if input.read_exact(&mut prefix).is_err() {
                return;
            }
            frame.resize(length(prefix).expect("a frame"), 0);
            // One that ends may do so in the middle.
            if input.read_exact(&mut frame).is_err() {
                return;
            }
            let back = match FromNode::decode(&frame).expect("a frame") {
                FromNode::Message { pid, .. } if pid == me => Back::Own,
                FromNode::Message { .. } => continue,
                FromNode::Members(members) => Back::Members(members),
                FromNode::Refused(why) => panic!("refused: {why}"),
            };
            if to.send(back).is_err() {
                return;
            }
        }
    });
    back
}

fn flood(mut stream: UnixStream, back: &Receiver<Back>, size: usize, seconds: f64) {
    let frame = ToNode::Send(vec![0; size]).encode();
    // As many at once as make a good write.
    let many = frame.repeat((64 * 1024 / frame.len()).clamp(1, 64));
    std::thread::spawn(move || while stream.write_all(&many).is_ok() {});
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds);
    let mut count = 0u64;
    while let Ok(what) = back.recv_timeout(end.saturating_duration_since(Instant::now())) {
        count += u64::from(matches!(what, Back::Own));
    }
    println!("{:.1}", count as f64 / began.elapsed().as_secs_f64());
    std::process::exit(0);
}

fn trip(mut stream: UnixStream, back: &Receiver<Back>, gap_ms: u64, seconds: f64) {
    let frame = ToNode::Send(vec![0; 64]).encode();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        stream.write_all(&frame).expect("sent");
        while !matches!(back.recv().expect("it comes back"), Back::Own) {}
        took.push(began.elapsed().as_micros());
        std::thread::sleep(Duration::from_millis(gap_ms));
    }
    took.sort_unstable();
    println!("{} {}", took[took.len() / 2], took[took.len() * 99 / 100]);
}
