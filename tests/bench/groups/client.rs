//! The load client for ours: the same work as `load.c`, over the socket of the process groups.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire::groups::{FromNode, Members, SOCKET_NAME, ToNode, length};

/// What came back.
enum Back {
    Own,
    Other,
    Members(Members),
}

struct Client {
    stream: UnixStream,
    input: BufReader<UnixStream>,
    frame: Vec<u8>,
    me: u32,
}

impl Client {
    fn start(run_dir: &str) -> Client {
        let stream = UnixStream::connect(Path::new(run_dir).join(SOCKET_NAME)).expect("the node listens");
        let input = BufReader::with_capacity(1 << 20, stream.try_clone().expect("a handle"));
        Client { stream, input, frame: Vec::new(), me: std::process::id() }
    }

    /// The next; `None` when nothing comes any more.
    fn next(&mut self) -> Option<Back> {
        let mut prefix = [0; 4];
        self.input.read_exact(&mut prefix).ok()?;
        self.frame.resize(length(prefix).expect("a frame"), 0);
        // One that ends may do so in the middle.
        self.input.read_exact(&mut self.frame).ok()?;
        Some(match FromNode::decode(&self.frame).expect("a frame") {
            FromNode::Message { pid, .. } if pid == self.me => Back::Own,
            FromNode::Message { .. } => Back::Other,
            FromNode::Members(members) => Back::Members(members),
            FromNode::Refused(why) => panic!("refused: {why}"),
        })
    }
}

/// `RUN_DIR GROUP flood SIZE SECONDS`, `… trip GAP_MS SECONDS`, `… watch`.
pub fn run(words: &[String]) {
    let [run_dir, group, mode, numbers @ ..] = words else { panic!("too few words: {words:?}") };
    let number = |n: usize| numbers.get(n).and_then(|w| w.parse::<f64>().ok()).unwrap_or_default();
    let mut client = Client::start(run_dir);
    client.stream.write_all(&ToNode::Join(group.clone()).encode()).expect("sent");
    loop {
        match client.next() {
            Some(Back::Members(members)) if mode == "watch" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros();
                println!("{} {now}", members.members.len());
            }
            Some(Back::Members(members)) if members.members.iter().any(|m| m.pid == client.me) => break,
            Some(_) => {}
            // The node that is killed is watched as well.
            None if mode == "watch" => return,
            None => panic!("the node does not answer"),
        }
    }
    match mode.as_str() {
        "flood" => flood(client, number(0) as usize, number(1)),
        _ => trip(client, number(0) as u64, number(1)),
    }
}

fn flood(mut client: Client, size: usize, seconds: f64) {
    let frame = ToNode::Send(vec![0; size]).encode();
    // As many at once as make a good write.
    let many = frame.repeat((64 * 1024 / frame.len()).clamp(1, 64));
    let mut out = client.stream.try_clone().expect("a handle");
    std::thread::spawn(move || while out.write_all(&many).is_ok() {});
    let began = Instant::now();
    let span = Duration::from_secs_f64(seconds);
    // Where nothing comes at all, the end must come.
    client.stream.set_read_timeout(Some(span)).expect("set");
    let mut count = 0u64;
    while began.elapsed() < span
        && let Some(what) = client.next()
    {
        count += u64::from(matches!(what, Back::Own));
    }
    println!("{:.1}", count as f64 / began.elapsed().as_secs_f64());
    std::process::exit(0);
}

fn trip(mut client: Client, gap_ms: u64, seconds: f64) {
    let frame = ToNode::Send(vec![0; 64]).encode();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut took = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        client.stream.write_all(&frame).expect("sent");
        while !matches!(client.next().expect("it comes back"), Back::Own) {}
        took.push(began.elapsed().as_micros());
        std::thread::sleep(Duration::from_millis(gap_ms));
    }
    took.sort_unstable();
    println!("{} {}", took[took.len() / 2], took[took.len() * 99 / 100]);
}
