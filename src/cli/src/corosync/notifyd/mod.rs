//! `corosync-notifyd`: tells of members, quorum and links as they change: to the console, the log, a program, a web address, the
//! system bus, an SNMP manager.
//!
//! ```text
//!   node --/v1/changes, waits there--> this process --> a bounded queue and a thread for each place --> place
//! ```
//!
//! A place that hangs holds up nobody but itself; what its queue has no room for is counted and told with the next event. A node
//! that is started again is found again.

mod bus;
mod event;
mod places;
mod web;

use crate::args::{self, Command};
use crate::client::Client;
use crate::report::Common;
use crate::source::Failure;
use clap::Parser;
use event::Event;
use places::{Console, Place, Program, Snmp, Syslog};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use wire::api::{Change, Changes, MAX_CHANGES_WAIT_MS};

/// Events that wait for one place.
const QUEUE: usize = 1000;
/// Between two tries to reach the node.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// An answer may come this much later than the node waits for news.
const GRACE: Duration = Duration::from_secs(10);

/// Tell of members, quorum and links as they change
#[derive(Parser, Debug)]
#[command(
    name = "corosync-notifyd",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-notifyd -f -o                                    to the console\n  corosync-notifyd -f -l                                    to syslog and the journal\n  corosync-notifyd -f -d                                    signals on the system bus\n  corosync-notifyd -f --program /usr/local/bin/tell         a program, with CRM_notify_* as its environment\n  corosync-notifyd -f --webhook https://chat.example/hook   a web address, as JSON\n  corosync-notifyd -f -s -m 192.0.2.7 -c public             SNMP traps\n  corosync-notifyd -f -o --json\n\nOn the bus: org.corosync at /org/corosync with NodeStateChange and QuorumStateChange as the original's, and LinkStateChange (which\nthe original sends as QuorumStateChange). What resources do is told by alerts (`pcs alert create`)."
)]
pub struct Notifyd {
    /// Stay in the foreground
    #[arg(short = 'f')]
    foreground: bool,
    /// To syslog
    #[arg(short = 'l')]
    log: bool,
    /// To standard output
    #[arg(short = 'o')]
    stdout: bool,
    /// SNMP traps, by net-snmp's snmptrap
    #[arg(short = 's')]
    snmp: bool,
    /// SNMP manager
    #[arg(short = 'm', value_name = "ADDRESS", default_value = "localhost")]
    manager: String,
    /// SNMP community
    #[arg(short = 'c', value_name = "NAME", default_value = "public")]
    community: String,
    /// Addresses of nodes instead of their names
    #[arg(short = 'n')]
    addresses: bool,
    /// Signals on the system bus
    #[arg(short = 'd')]
    dbus: bool,
    /// Run a program for each event
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Send each event to a web address, http or https (SSL_CERT_FILE in the environment names another authority than the system's)
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Events of -o as JSON, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn notifyd(args: Vec<OsString>) -> i32 {
    args::run::<Notifyd>(args)
}

impl Command for Notifyd {
    const NAME: &'static str = "corosync-notifyd";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let wrong = |why: &str| Failure::new(1, why);
        if self.stdout && !self.foreground {
            return Err(wrong("configured to print to stdout and run in the background, exiting"));
        }
        let makers = self.places()?;
        if makers.is_empty() {
            return Err(wrong("no event type enabled, see corosync-notifyd -h, exiting."));
        }
        if !self.foreground {
            // Before any thread is there.
            nix::unistd::daemon(false, false).map_err(|e| wrong(&format!("daemon() failed: {e}")))?;
        }
        let queues: Vec<Queue> = makers.into_iter().map(Queue::start).collect();
        self.follow(&queues)
    }
}

impl Notifyd {
    /// What was asked for; refused where it cannot work.
    fn places(&self) -> Result<Vec<Box<dyn Place>>, Failure> {
        let refused = |why: String| Failure::new(1, why);
        let mut places: Vec<Box<dyn Place>> = Vec::new();
        if self.stdout {
            places.push(Box::new(Console { json: self.json }));
        }
        if self.log || self.stdout {
            places.push(Box::new(Syslog::default()));
        }
        if self.dbus {
            places.push(Box::new(bus::Bus::default()));
        }
        if self.snmp {
            places.push(Box::new(Snmp::new(&self.manager, &self.community).map_err(refused)?));
        }
        if let Some(file) = &self.program {
            places.push(Box::new(Program::new(file).map_err(refused)?));
        }
        if let Some(url) = &self.webhook {
            places.push(Box::new(web::Hook::new(url).map_err(refused)?));
        }
        Ok(places)
    }

    /// For ever; ends where no node has been reached at all.
    fn follow(&self, queues: &[Queue]) -> Result<i32, Failure> {
        let mut client = Client::from_env();
        let first: Changes = client.get("/v1/changes?after=0").map_err(super::error)?;
        client.timeout = Duration::from_millis(MAX_CHANGES_WAIT_MS) + GRACE;
        ready();
        if first.quorate {
            // As the original: a start with quorum tells it.
            let now = Event::now(&first, Change::Quorum { quorate: true }, self.addresses);
            queues.iter().for_each(|q| q.put(&now));
        }
        let mut last = first.last;
        let mut lost_node = false;
        loop {
            let path = format!("/v1/changes?after={last}&wait_ms={MAX_CHANGES_WAIT_MS}");
            let news: Changes = match client.get(&path) {
                Ok(news) => news,
                Err(error) => {
                    if !std::mem::replace(&mut lost_node, true) {
                        kernel::errln!("corosync-notifyd: {error}; trying again until it answers");
                    }
                    std::thread::sleep(TRY_AGAIN_AFTER);
                    continue;
                }
            };
            lost_node = false;
            if news.last < last {
                // The node was started again and counts anew.
                last = 0;
                continue;
            }
            last = news.last;
            queues.iter().for_each(|q| q.missed(news.lost));
            for told in &news.changes {
                let event = Event::of(&news, told, self.addresses);
                queues.iter().for_each(|q| q.put(&event));
            }
        }
    }
}

/// `Type=notify` of a unit.
fn ready() {
    use std::os::unix::net::UnixDatagram;
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|p| !p.as_encoded_bytes().starts_with(b"@")) else {
        return;
    };
    // A manager that does not hear it says so itself.
    let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", path));
}

/// One place's queue and thread.
struct Queue {
    to: SyncSender<Event>,
    missed: Arc<AtomicU64>,
}

impl Queue {
    fn start(place: Box<dyn Place>) -> Queue {
        let (to, events) = sync_channel(QUEUE);
        let missed = Arc::new(AtomicU64::new(0));
        let counted = missed.clone();
        std::thread::spawn(move || serve(place, &events, &counted));
        Queue { to, missed }
    }

    fn put(&self, event: &Event) {
        if self.to.try_send(event.clone()).is_err() {
            self.missed(1);
        }
    }

    fn missed(&self, count: u64) {
        self.missed.fetch_add(count, Ordering::Relaxed);
    }
}

fn serve(mut place: Box<dyn Place>, events: &Receiver<Event>, missed: &AtomicU64) {
    let mut failing = false;
    while let Ok(mut event) = events.recv() {
        event.missed = missed.swap(0, Ordering::Relaxed);
        match place.tell(&event) {
            Ok(()) => failing = false,
            Err(why) => {
                missed.fetch_add(event.missed + 1, Ordering::Relaxed);
                // Once, and again when it has worked meanwhile.
                if !std::mem::replace(&mut failing, true) {
                    kernel::errln!("corosync-notifyd: {}: {why}", place.name());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn refusal(words: &[&str]) -> String {
        let line = std::iter::once("corosync-notifyd").chain(words.iter().copied());
        let failure = Notifyd::try_parse_from(line).expect("options").execute().expect_err("refused");
        assert_eq!(failure.code, 1);
        failure.message
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_the_originals_words() {
        assert!(refusal(&[]).starts_with("no event type enabled"));
        assert!(refusal(&["-o"]).contains("print to stdout and run in the background"));
        assert!(refusal(&["-f", "--program", "/absent"]).contains("/absent"));
        assert!(refusal(&["-f", "--webhook", "ftp://x/"]).contains("http"));
    }

    struct Slow(mpsc::Receiver<Result<(), String>>, mpsc::Sender<u64>);

    impl Place for Slow {
        fn name(&self) -> String {
            "slow".to_owned()
        }

        fn tell(&mut self, event: &Event) -> Result<(), String> {
            self.1.send(event.missed).expect("somebody counts");
            self.0.recv().expect("somebody answers")
        }
    }

    #[test]
    fn what_a_place_did_not_get_is_counted_and_told_with_the_next() {
        let ((answer, answers), (told, counts)) = (mpsc::channel(), mpsc::channel());
        let queue = Queue::start(Box::new(Slow(answers, told)));
        let event = event::sample(Change::Quorum { quorate: true });
        queue.put(&event);
        assert_eq!(counts.recv(), Ok(0));
        (0..QUEUE + 5).for_each(|_| queue.put(&event));
        answer.send(Err("hung".to_owned())).expect("taken");
        // Five found no room, one failed.
        assert_eq!(counts.recv(), Ok(6));
        answer.send(Ok(())).expect("taken");
        assert_eq!(counts.recv(), Ok(0));
        (0..QUEUE).for_each(|_| drop(answer.send(Ok(()))));
    }
}
