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
