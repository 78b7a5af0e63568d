//! Calls one after the other, within their bounds, and time stamps as asked for.

use super::*;
use jiff::tz::TimeZone;

const AT_US: i64 = 1_786_000_000_012_345;

#[test]
fn formats_are_those_of_date_with_a_fraction() {
    let write = |format: &str| stamp::write(format, AT_US, &TimeZone::UTC);
    for (format, wanted) in [
        ("%H:%M:%S.%06N", "07:06:40.012345"),
        ("%Y-%m-%d,%H:%M:%S.%01N", "2026-08-06,07:06:40.0"),
        ("%2N|%3N|%6N|%9N|%N", "01|012|012345|012345|"),
        ("%D %H:%M", "08/06/26 07:06"),
        ("plain", "plain"),
        ("100%", "100%"),
        ("%%N %5", "%N %5"),
        ("", ""),
    ] {
        assert_eq!(write(format).as_deref(), Some(wanted), "{format}");
    }
    assert_eq!(write(&"%Y".repeat(300)), None, "too long");
}

/// Agents and what they write, where another user can write it.
struct Bench {
    alerts: Alerts,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().expect("a directory");
        open(dir.path(), 0o777);
        // Nothing that happens later is told of the time zero.
        clock::now();
        let places = Places::standard(dir.path().join("run"));
        Bench { alerts: Alerts::new(Arc::new(places), Timeline::new("d1"), "d1"), dir }
    }

    fn agent(&self, name: &str, body: &str) -> String {
        let file = self.dir.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\ncd {}\n{body}\n", self.dir.path().display())).expect("written");
        open(&file, 0o755);
        file.display().to_string()
    }

    fn send(&self, path: &str, recipient: &str, number: usize, timeout_ms: u64) {
        let call = Call {
            alert: "a".into(),
            recipient: Some(recipient.into()),
            path: path.into(),
            timeout_ms,
            timestamp_format: "%H".into(),
            environment: BTreeMap::from([("n".into(), number.to_string()), ("to".into(), recipient.into())]),
        };
        self.alerts.send(Calls { calls: vec![call], left_out: 0 });
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn counter(&self, name: &str) -> u64 {
        self.alerts.counters().into_iter().find(|(n, _)| *n == name).expect("a counter").1
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(std::time::Instant::now() < end, "did not happen: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn told(&self) -> Vec<String> {
        let all = self.alerts.inner.timeline.since(base::Time::ZERO).events;
        all.into_iter().filter(|e| e.kind == "alert_agent").map(|e| e.text).collect()
    }
}

fn open(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("set");
}

#[tokio::test]
async fn each_recipient_is_told_in_order_and_one_that_hangs_holds_up_nobody() {
    let bench = Bench::new();
    let writes = bench.agent("writes", "echo \"$n $CRM_alert_node_sequence $CRM_alert_timestamp_usec\" >> \"$to\"");
    let hangs = bench.agent("hangs", "sleep 300 & echo $! > child; wait");
    bench.send(&hangs, "deaf", 0, 700);
    for n in 0..20 {
        bench.send(&writes, ["one", "two"][n % 2], n, 30_000);
    }
    bench.until("both are told of all", || bench.lines("one").len() == 10 && bench.lines("two").len() == 10).await;
    for to in ["one", "two"] {
        let field = |line: &String, at: usize| line.split(' ').nth(at).and_then(|f| f.parse::<usize>().ok());
        let numbers: Vec<_> = bench.lines(to).iter().map(|l| field(l, 0).expect("a number")).collect();
        assert!(numbers.is_sorted(), "{to}: {numbers:?}");
        let sequences: Vec<_> = bench.lines(to).iter().map(|l| field(l, 1).expect("a number")).collect();
        assert!(sequences.is_sorted() && sequences[0] > 1, "{to}: {sequences:?}");
    }
    bench.until("the one that hangs is ended", || bench.counter("failed") == 1).await;
    let child = bench.lines("child").remove(0);
    bench.until("its child, too", || !std::path::Path::new("/proc").join(&child).exists()).await;
    assert!(bench.told().iter().any(|t| t.contains("alert a to deaf") && t.contains("700 ms")), "{:?}", bench.told());
}

#[tokio::test]
async fn more_than_an_agent_can_take_is_dropped_counted_and_told() {
    let bench = Bench::new();
    let slow =
        bench.agent("slow", "echo \"$n ${BASCULE_alert_dropped:-0}\" >> got; while [ ! -e go ]; do sleep 0.05; done");
    bench.send(&slow, "x", 0, 60_000);
    bench.until("the first runs", || bench.lines("got").len() == 1).await;
    let begun = std::time::Instant::now();
    for n in 1..=10 * MAX_WAITING {
        bench.send(&slow, "x", n, 60_000);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for an agent: {:?}", begun.elapsed());
    let dropped = 9 * MAX_WAITING;
    assert_eq!((bench.counter("dropped"), bench.counter("waiting")), (dropped as u64, MAX_WAITING as u64));
    assert_eq!(bench.alerts.troubles(), [format!("alert a to x: {dropped} calls were dropped, {MAX_WAITING} wait")]);
    std::fs::write(bench.dir.path().join("go"), "").expect("written");
    bench.until("the rest is sent", || bench.lines("got").len() == 1 + MAX_WAITING).await;
    let got = bench.lines("got");
    assert_eq!(got[1], format!("{} {dropped}", dropped + 1), "the oldest gave way, and the agent is told how many");
    assert_eq!(got[MAX_WAITING], format!("{} 0", 10 * MAX_WAITING), "the newest came");
    assert_eq!(bench.told().len(), 2, "{:?}", bench.told());
    bench.until("nothing is wrong any more", || bench.alerts.troubles().is_empty()).await;
}

#[tokio::test]
async fn output_without_end_and_agents_that_are_not_there_are_failures_of_their_own() {
    let bench = Bench::new();
    let floods =
        bench.agent("floods", "head -c 50000000 /dev/zero; head -c 50000000 /dev/zero >&2; echo done > flooded");
    bench.send(&floods, "x", 0, 60_000);
    bench.send("/nowhere/agent", "y", 0, 60_000);
    bench.until("the flood is over", || bench.lines("flooded").len() == 1).await;
    bench.until("both are accounted for", || bench.counter("sent") == 1 && bench.counter("failed") == 1).await;
    bench.alerts.drain().await;
    assert!(bench.alerts.inner.state().queues.is_empty());
}

/// As the original's agents, which are given what a user of their own may do.
#[tokio::test]
async fn agents_do_not_run_as_root() {
    let Some(user) = alert::user().await else {
        println!("SKIPPED: needs root");
        return;
    };
    let bench = Bench::new();
    let who = bench.agent("who", "id -u > me; id -G >> me");
    bench.send(&who, "x", 0, 30_000);
    bench.until("it says who it is", || bench.lines("me").len() == 2).await;
    assert_eq!(bench.lines("me"), [user.uid.to_string(), user.gid.to_string()]);
    assert_ne!(user.uid, 0);
}
