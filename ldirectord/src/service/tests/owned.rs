//! What was placed is owned until it is certain that it is gone: over failed passes, reloads, restarts, and beside other directors.

use super::*;

fn two_services(one: &Web, two: &Web) -> String {
    format!("{}virtual=10.0.0.2:80\n    real=127.0.0.1:{} masq 6\n", text(&[one], ""), two.port)
}

fn services(table: &Shared) -> usize {
    table.with(|t| t.entries().len())
}

#[tokio::test]
async fn a_service_that_was_removed_while_the_table_failed_goes_when_it_works_again() {
    let (one, two) = (web().await, web().await);
    let table = Shared::default();
    let director = start(&two_services(&one, &two), &table, Options::default()).await;
    weights(&table, &[w(&one, 5), w(&two, 6)]).await;
    table.with(|t| t.refuse(Some(Error::PermissionDenied)));
    director.reload(config(&text(&[&one], ""))).await.unwrap();
    // Several passes fail.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(services(&table), 2);
    table.with(|t| t.refuse(None));
    weights(&table, &[w(&one, 5)]).await;
    wait_for("the other service is gone", || services(&table) == 1).await;
    drop(director);
}

#[tokio::test]
async fn many_reloads_leave_no_orphan() {
    let one = web().await;
    let table = Shared::default();
    let of = |n: u32| {
        let own = (0..40).map(|i| format!("virtual=10.9.{n}.{i}:80\n    real=127.0.0.1:{} masq 6\n", one.port));
        config(&format!("{}{}", text(&[&one], ""), own.collect::<String>()))
    };
    let director = Director::start(of(0), Box::new(table.clone()), Options::default()).await;
    for n in 1..=25 {
        director.reload(of(n)).await.unwrap();
    }
    director.reload(config(&text(&[&one], ""))).await.unwrap();
    wait_for("only one service is left", || services(&table) == 1).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(services(&table), 1);
    drop(director);
}

/// Services of which every reload changes half, while the table fails now and then; and files that are still being written.
#[tokio::test]
async fn reloads_of_thousands_of_services_lose_nothing_and_leave_nothing() {
    let count: u32 = if std::env::var_os("BASCULE_LONG").is_some() { 8_000 } else { 400 };
    let text = |round: u32| {
        let service = |n: u32| {
            let addr = std::net::Ipv4Addr::from(0x0a10_0000 + if n.is_multiple_of(2) { n } else { n + round * count });
            format!("virtual={addr}:80\n    real=127.0.0.1:{} masq 6\n    checktype=on\n", 1_000 + n % 60_000)
        };
        format!("autoreload=yes\n{}", (0..count).map(service).collect::<String>())
    };
    let expected = |round: u32| {
        let mut keys: Vec<ServiceKey> = config(&text(round)).virtuals.iter().map(|v| v.key).collect();
        keys.sort();
        keys
    };
    let placed = |table: &Shared| {
        let mut keys: Vec<ServiceKey> = table.with(|t| t.entries().iter().map(|e| e.service.key).collect());
        keys.sort();
        keys
    };
    let patience = Duration::from_secs(if count > 1_000 { 300 } else { 60 });
    let reached = async |table: &Shared, round: u32| {
        let (begin, expected) = (Instant::now(), expected(round));
        while placed(table) != expected {
            assert!(begin.elapsed() < patience, "round {round}: {} of {count} services", placed(table).len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let path = dir.path().join("t.cf");
    std::fs::write(&path, text(0)).unwrap();
    let options = Options { config_path: Some(path.clone()), ..Options::default() };
    let director = Director::start(config(&text(0)), Box::new(table.clone()), options).await;
    reached(&table, 0).await;
    for round in 1..=25 {
        table.with(|t| t.refuse((round % 3 == 0).then_some(Error::PermissionDenied)));
        director.reload(config(&text(round))).await.unwrap();
        // Not every one has its pass before the next comes.
        if round % 5 == 0 {
            table.with(|t| t.refuse(None));
            reached(&table, round).await;
        }
    }
    // A copy that takes its time: what is there so far is never taken, however it ends.
    let whole = text(26);
    for part in 1..=20 {
        std::fs::write(&path, &whole[..whole.len() * part / 21]).unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(placed(&table).len(), count as usize, "part {part}");
    }
    assert_eq!(placed(&table), expected(25));
    std::fs::write(&path, &whole).unwrap();
    reached(&table, 26).await;
    drop(director);
}

#[tokio::test]
async fn a_restart_takes_away_what_the_last_run_could_not() {
    let (one, two) = (web().await, web().await);
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let options = || Options { state: Some(dir.path().join("ldirectord.a.json")), ..Options::default() };
    // Of somebody else: it stays, whatever happens.
    let foreign = config("virtual=10.0.0.77:80\n    real=127.0.0.1:1 masq\n    checktype=on\n");
    *table.0.lock().unwrap() = Memory::with_services(crate::plan::assumed(&foreign, true));
    let director = start(&two_services(&one, &two), &table, options()).await;
    wait_for("all are placed", || services(&table) == 3).await;
    let record = dir.path().join("ldirectord.a.owned");
    wait_for("they are written down", || record.exists()).await;
    // It dies, and starts again with another file.
    drop(director);
    let director = start(&text(&[&one], ""), &table, options()).await;
    wait_for("the removed service goes", || services(&table) == 2).await;
    // A stop that fails leaves a record, too.
    table.with(|t| t.refuse(Some(Error::PermissionDenied)));
    director.stop("TERM").await;
    table.with(|t| t.refuse(None));
    assert!(record.exists());
    let director = start("virtual=10.0.0.3:80\n    real=127.0.0.1:1 masq\n    checktype=on\n", &table, options()).await;
    let keys = || -> Vec<String> {
        let entries = table.with(|t| t.services().unwrap());
        let mut keys: Vec<String> = entries.iter().map(|e| crate::config::service_label(&e.service.key)).collect();
        keys.sort();
        keys
    };
    wait_for("only the new one and the stranger's are there", || keys() == ["10.0.0.3:80", "10.0.0.77:80"]).await;
    director.stop("TERM").await;
    assert_eq!(keys(), ["10.0.0.77:80"]);
    assert!(!record.exists(), "nothing is left");
}

#[tokio::test]
async fn what_another_director_keeps_as_well_is_not_taken_away() {
    let (one, two) = (web().await, web().await);
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let options = |name: &str| Options { state: Some(dir.path().join(format!("{name}.json"))), ..Options::default() };
    let first = start(&two_services(&one, &two), &table, options("a")).await;
    let second = start(&text(&[&one], ""), &table, options("b")).await;
    weights(&table, &[w(&one, 5), w(&two, 6)]).await;
    wait_for("both are written down", || dir.path().join("a.owned").exists() && dir.path().join("b.owned").exists())
        .await;
    assert!(first.stop("TERM").await.is_empty());
    assert_eq!(services(&table), 1, "the second goes on with its own");
    second.stop("TERM").await;
    assert_eq!(services(&table), 0);
}

/// Two files with the same service: each keeps its own servers, and of what both have, the first one's word counts.
#[tokio::test]
async fn two_directors_that_share_a_service_leave_each_others_servers() {
    let (one, two, both) = (web().await, web().await, web().await);
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    let options = |name: &str| Options { state: Some(dir.path().join(format!("{name}.json"))), ..Options::default() };
    let of = |own: &Web, weight: u32, scheduler: &str| {
        let real = |port: u16, weight: u32| format!("    real=127.0.0.1:{port} masq {weight}\n");
        let reals = real(own.port, 5) + &real(both.port, weight);
        format!("checkinterval=1\nvirtual=10.0.0.1:80\n{reals}    scheduler={scheduler}\n")
    };
    let first = start(&of(&one, 3, "wrr"), &table, options("a")).await;
    weights(&table, &[w(&one, 5), w(&both, 3)]).await;
    wait_for("it is written down", || dir.path().join("a.owned").exists()).await;
    let second = start(&of(&two, 4, "wlc"), &table, options("b")).await;
    let together = [w(&one, 5), w(&two, 5), w(&both, 3)];
    weights(&table, &together).await;
    wait_for("it is written down", || dir.path().join("b.owned").exists()).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    table.with(Memory::record);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(table.with(Memory::take_log), [], "they do not fight");
    weights(&table, &together).await;
    assert_eq!(table.with(|t| t.services().unwrap())[0].service.scheduler, "wrr");
    // Their own come and go as ever; and what is left of the first goes with it.
    two.set(503);
    weights(&table, &[w(&one, 5), w(&both, 3)]).await;
    two.set(200);
    weights(&table, &together).await;
    first.stop("TERM").await;
    weights(&table, &[w(&two, 5), w(&both, 4)]).await;
    second.stop("TERM").await;
    assert_eq!(services(&table), 0);
}

#[tokio::test]
async fn a_record_that_the_disk_did_not_take_is_written_when_it_does() {
    let one = web().await;
    let (table, dir) = (Shared::default(), tempfile::tempdir().unwrap());
    // A file where its directory should be: what is written there fails, for root too.
    let state = dir.path().join("state");
    std::fs::write(&state, "").unwrap();
    let options = Options { state: Some(state.join("a.json")), ..Options::default() };
    let director = start(&text(&[&one], ""), &table, options).await;
    weights(&table, &[w(&one, 5)]).await;
    std::fs::remove_file(&state).unwrap();
    wait_for("it is written down after all", || state.join("a.owned").exists()).await;
    director.stop("TERM").await;
}
