//! Servers added, removed and weighted by command, over restarts and reloads, and on the way to another director.

use super::*;

fn options(dir: &Path) -> Options {
    Options { state: Some(dir.join("state")), ..Options::default() }
}

fn asks(wish: RealWish, real: impl Into<String>) -> RealRequest {
    RealRequest { wish, real: real.into(), virtual_service: None, force: false }
}

fn at(web: &Web) -> String {
    format!("127.0.0.1:{}", web.port)
}

const ADD: RealWish = RealWish::Add { method: None, weight: Some(3) };

async fn told(director: &Director) -> Vec<String> {
    director.status().await.unwrap().differences.iter().map(|d| d.to_string()).collect()
}

#[tokio::test]
async fn edits_by_command_outlive_a_restart_and_go_back() {
    let (one, two, more) = (web().await, web().await, web().await);
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let text = text(&[&one, &two], "");
    let director = start(&text, &table, options(dir.path())).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let handle = director.handle();
    assert!(handle.real(asks(ADD, at(&more))).await.unwrap()[0].changed);
    assert!(!handle.real(asks(ADD, at(&more))).await.unwrap()[0].changed, "asked twice");
    weights(&table, &[w(&one, 5), w(&two, 5), w(&more, 3)]).await;
    handle.real(asks(RealWish::Weight { weight: 9 }, at(&one))).await.unwrap();
    assert!(table.weights().contains(&w(&one, 9)), "in the table when the answer comes");
    handle.real(asks(RealWish::Remove, at(&two))).await.unwrap();
    weights(&table, &[w(&one, 9), w(&more, 3)]).await;
    // Checked as the others are.
    more.set(503);
    weights(&table, &[w(&one, 9)]).await;
    more.set(200);
    director.stop("TERM").await;

    let director = start(&text, &table, options(dir.path())).await;
    weights(&table, &[w(&one, 9), w(&more, 3)]).await;
    let mut differences = told(&director).await;
    differences.sort();
    let mut expected = vec![
        format!("{} (tcp:10.0.0.1:80) added, weight 3", at(&more)),
        format!("{} (tcp:10.0.0.1:80) removed (line 5)", at(&two)),
        format!("{} (tcp:10.0.0.1:80) weight 9, the file says 5 (line 4)", at(&one)),
    ];
    expected.sort();
    assert_eq!(differences, expected);
    // The file's server comes back as it was; what was added goes; and all the rest.
    let handle = director.handle();
    handle.real(asks(RealWish::Add { method: None, weight: None }, at(&two))).await.unwrap();
    handle.real(asks(RealWish::Remove, at(&more))).await.unwrap();
    weights(&table, &[w(&one, 9), w(&two, 5)]).await;
    assert_eq!(handle.real(asks(RealWish::Reset, "all")).await.unwrap().len(), 1);
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    assert!(told(&director).await.is_empty());
    director.stop("TERM").await;
}

#[tokio::test]
async fn what_would_not_work_is_refused_and_changes_nothing() {
    let (one, two) = (web().await, web().await);
    let table = Shared::default();
    let director = start(&text(&[&one, &two], ""), &table, Options::default()).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let handle = director.handle();
    let refused = async |request: RealRequest| handle.real(request).await.unwrap_err();
    assert!(matches!(refused(asks(ADD, "web1")).await, RealError::NotAnAddress { .. }));
    assert!(matches!(refused(asks(ADD, "[2001:db8::1]:80")).await, RealError::Family { .. }));
    assert!(matches!(refused(asks(ADD, "10.0.0.1:80")).await, RealError::Itself { .. }));
    assert!(matches!(refused(asks(ADD, "224.0.0.1:80")).await, RealError::Table { .. }));
    assert!(matches!(refused(asks(ADD, at(&one))).await, RealError::IsThere { weight: 5, .. }));
    assert!(matches!(refused(asks(RealWish::Weight { weight: 65_536 }, at(&one))).await, RealError::Weight { .. }));
    assert!(matches!(refused(asks(RealWish::Remove, "10.9.9.9")).await, RealError::Mark(MarkError::NoSuchReal { .. })));
    assert!(matches!(refused(asks(RealWish::Reset, at(&one))).await, RealError::NothingToReset { .. }));
    let elsewhere = RealRequest { virtual_service: Some("10.0.0.2:80".to_owned()), ..asks(ADD, "10.0.1.1:80") };
    assert!(matches!(refused(elsewhere).await, RealError::NoService { .. }));
    // All at once by the address without a port: nothing would be left.
    assert!(matches!(refused(asks(RealWish::Remove, "127.0.0.1")).await, RealError::LastOne { .. }));
    assert_eq!(told(&director).await, Vec::<String>::new());
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    handle.real(RealRequest { force: true, ..asks(RealWish::Remove, "127.0.0.1") }).await.unwrap();
    weights(&table, &[]).await;
    drop(director);
}

#[tokio::test]
async fn a_reload_keeps_them_where_they_apply_and_tells_where_not() {
    let (one, two, more) = (web().await, web().await, web().await);
    let table = Shared::default();
    let director = start(&text(&[&one, &two], ""), &table, Options::default()).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let handle = director.handle();
    handle.real(asks(ADD, at(&more))).await.unwrap();
    handle.real(asks(RealWish::Weight { weight: 9 }, at(&one))).await.unwrap();
    handle.real(asks(RealWish::Weight { weight: 7 }, at(&two))).await.unwrap();
    // The file now has what was added, and no longer what was weighted.
    director.reload(config(&text(&[&one, &more], ""))).await.unwrap();
    weights(&table, &[w(&one, 9), w(&more, 5)]).await;
    let idle: Vec<_> = director.status().await.unwrap().differences.into_iter().filter(|d| d.idle.is_some()).collect();
    assert_eq!(idle.len(), 2, "{idle:?}");
    handle.real(asks(RealWish::Reset, at(&two))).await.unwrap();
    director.reload(config(&text(&[&one, &two], ""))).await.unwrap();
    weights(&table, &[w(&one, 9), w(&two, 5), w(&more, 3)]).await;
    drop(director);
}

#[tokio::test]
async fn another_director_of_the_group_takes_them() {
    let (one, more) = (web().await, web().await);
    let (table, other) = (Shared::default(), Shared::default());
    let text = text(&[&one], "");
    let (first, second) =
        (start(&text, &table, Options::default()).await, start(&text, &other, Options::default()).await);
    weights(&other, &[w(&one, 5)]).await;
    first.handle().real(asks(ADD, at(&more))).await.unwrap();
    assert_eq!(second.import_marks(first.export_marks().await).await, 1);
    weights(&other, &[w(&one, 5), w(&more, 3)]).await;
    second.handle().real(asks(RealWish::Remove, at(&more))).await.unwrap();
    assert_eq!(first.import_marks(second.export_marks().await).await, 1);
    weights(&table, &[w(&one, 5)]).await;
    assert_eq!(first.import_marks(second.export_marks().await).await, 0, "told twice");
    // Who comes later knows it before its first pass.
    second.handle().real(asks(RealWish::Weight { weight: 2 }, at(&one))).await.unwrap();
    let late = Shared::default();
    let options = Options { marks: second.export_marks().await, ..Options::default() };
    let third = start(&text, &late, options).await;
    weights(&late, &[w(&one, 2)]).await;
    drop((first, second, third));
}
