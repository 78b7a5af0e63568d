use super::*;
use crate::config::{System, parse};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn check(jitter_percent: u32) -> Check {
    let second = Duration::from_secs(1);
    Check { kind: crate::checks::Kind::None, deadline: second, interval: second * 10, jitter_percent, source: None }
}

#[test]
fn pauses() {
    let at = |jitter, first, noise| pause(&check(jitter), first, noise).as_millis();
    assert_eq!((at(0, false, 0), at(0, false, u32::MAX)), (10_000, 10_000));
    assert_eq!((at(20, false, 0), at(20, false, u32::MAX / 2), at(20, false, u32::MAX)), (8_000, 10_000, 12_000));
    assert_eq!((at(50, true, 0), at(50, true, u32::MAX)), (0, 10_000));
    // Checks that begin together are spread over the whole interval afterwards.
    let mut tenths = [0; 10];
    for _ in 0..1_000 {
        tenths[(pause(&check(0), true, noise()).as_millis() as usize / 1_000).min(9)] += 1;
    }
    assert!(tenths.iter().all(|n| (40..200).contains(n)), "{tenths:?}");
}

/// Answers at once, or accepts and never answers.
async fn server(answers: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 512]).await;
                if answers {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                } else {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            });
        }
    });
    port
}

/// With the original a healthy server's period is the interval and the time-outs of all hung ones: here 21 s.
#[tokio::test]
async fn four_hung_of_twenty_delay_no_other() {
    let mut text = "checkinterval=1\nnegotiatetimeout=5\nvirtual=192.0.2.1:80\n    service=http\n".to_owned();
    let mut hung = Vec::new();
    for n in 0..20 {
        let port = server(n % 5 != 0).await;
        text.push_str(&format!("    real=127.0.0.1:{port} masq\n"));
        hung.extend((n % 5 == 0).then_some(port));
    }
    let config = parse(&text, &mut System::default()).unwrap_or_else(|e| panic!("{e}")).config;
    let (findings, mut found) = mpsc::channel(100);
    let mut runner = Runner::new(findings);
    runner.follow(&Arc::new(config));
    let began = Instant::now();
    let mut passes: BTreeMap<u16, Vec<Duration>> = BTreeMap::new();
    while began.elapsed() < Duration::from_millis(3_600) {
        let Ok(Some(finding)) = tokio::time::timeout(Duration::from_millis(200), found.recv()).await else {
            continue;
        };
        let (_, reals) = runner.reals(finding.id).unwrap();
        assert!(finding.outcome.unwrap().up && !hung.contains(&reals[0].dest.port), "none of the hung is done yet");
        passes.entry(reals[0].dest.port).or_default().push(began.elapsed());
    }
    assert_eq!(passes.len(), 16);
    for (port, times) in passes {
        // Four in 3.6 s; one fewer is allowed to a machine that does other things as well.
        assert!(times.len() >= 3, "port {port}: {times:?}");
    }
}

fn config(text: &str) -> Arc<Config> {
    Arc::new(parse(text, &mut System::default()).unwrap_or_else(|e| panic!("{e}")).config)
}

/// What is asked once for all, and what stays as it is over a reload.
#[test]
fn a_reload_knows_its_checks_again() {
    let now = Instant::now().into();
    let both = "virtual=192.0.2.1:80\n    real=127.0.0.1:80 masq\n    real=127.0.0.2:80 masq\n    service=http\n\
                virtual=192.0.2.2:80\n    real=127.0.0.2:80 masq\n    service=http\n";
    let first = config(both);
    let mut entries = Entries::default();
    entries.follow(&first, entries::distinct(&first), now);
    assert_eq!(entries.all().len(), 3);
    assert_eq!(entries.reals(CheckId(0)).unwrap().1.len(), 1);
    assert_eq!(entries.reals(CheckId(1)).unwrap().1.len(), 2, "one check for the server of two services");
    // A line goes, one comes, one asks something else.
    let second = config(
        "virtual=192.0.2.2:80\n    real=127.0.0.3:80 masq\n    real=127.0.0.2:80 masq\n    service=http\n\
         virtual=192.0.2.1:80\n    real=127.0.0.1:80 masq\n    service=http\n    request=\"other\"\n",
    );
    entries.follow(&second, entries::distinct(&second), now);
    assert!(entries.reals(CheckId(0)).is_none());
    let (agent, reals) = entries.reals(CheckId(1)).unwrap();
    assert_eq!((agent, reals.len(), reals[0].dest.addr.to_string()), (false, 1, "127.0.0.2".to_owned()));
    let started: Vec<CheckId> = std::iter::from_fn(|| Some(entries.take(now)?.0)).collect();
    assert_eq!(started, [CheckId(1), CheckId(2), CheckId(3)], "each once, in the order in which they came");
    assert!(entries.next().is_none(), "what is under way is not due");
    assert!(entries.ended(CheckId(2), Default::default(), false, now));
    assert_eq!(entries.take(now).map(|(id, s)| (id, s.first)), Some((CheckId(2), false)));
    assert!(!entries.ended(CheckId(0), Default::default(), false, now), "one that a reload has taken out");
}

/// Ten thousand servers that wait: what each costs, and what one costs that is under way.
#[tokio::test]
async fn a_waiting_check_is_small() {
    assert!(std::mem::size_of::<crate::config::Real>() <= 104, "{}", std::mem::size_of::<crate::config::Real>());
    const { assert!(entries::ENTRY_BYTES <= 72) };
    let config = config("virtual=192.0.2.1:80\n    real=127.0.0.1:80 masq\n    service=http\n");
    let check = Check::of(&config.virtuals[0], &config.virtuals[0].reals[0]).unwrap();
    let mut progress = Default::default();
    let size = std::mem::size_of_val(&check.run(&mut progress));
    assert!(size <= 2_048, "{size} bytes for any check under way, besides those of its protocol");
}
