//! Drain and maintenance by command, the control socket, agents.

use super::*;
use tokio::net::UnixStream;

async fn ask(path: &Path, request: &[u8]) -> serde_json::Value {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

fn options(dir: &Path) -> Options {
    Options { control: Some(dir.join("c.sock")), state: Some(dir.join("state")), ..Options::default() }
}

#[tokio::test]
async fn marks_by_command_outlive_a_restart() {
    let (one, two) = (web().await, web().await);
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let text = text(&[&one, &two], "");
    let director = start(&text, &table, options(dir.path())).await;
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let handle = director.handle();
    let first = format!("127.0.0.1:{}", one.port);
    let marked = handle.drain(&first, true).await.unwrap();
    assert_eq!((marked.len(), marked[0].changed, marked[0].takers), (1, true, 1));
    let mut drained = [w(&one, 0), w(&two, 5)];
    drained.sort();
    assert_eq!(table.weights(), drained, "in the table when the answer comes");
    assert!(!handle.drain(&first, true).await.unwrap()[0].changed);
    let second = format!("127.0.0.1:{}", two.port);
    handle.maintenance(&second, true).await.unwrap();
    assert_eq!(table.weights(), [w(&one, 0)]);
    director.stop("TERM").await;
    assert!(handle.status().await.is_none() && !dir.path().join("c.sock").exists());

    let director = start(&text, &table, options(dir.path())).await;
    weights(&table, &[w(&one, 0)]).await;
    let status = director.status().await.unwrap();
    let by_port =
        |port: u16| status.virtuals[0].reals.iter().find(|r| r.server.ends_with(&format!(":{port}"))).unwrap();
    assert!(by_port(one.port).drained && !by_port(one.port).maintenance);
    assert_eq!(by_port(two.port).maintenance_by, ["command"]);
    // In an address without a port all its servers are meant.
    let handle = director.handle();
    assert_eq!(handle.maintenance("127.0.0.1", false).await.unwrap().len(), 2);
    assert_eq!(handle.drain("127.0.0.1", false).await.unwrap().len(), 2);
    weights(&table, &[w(&one, 5), w(&two, 5)]).await;
    let kept = std::fs::read_to_string(dir.path().join("state")).unwrap();
    let kept: Vec<MarkEntry> = serde_json::from_str(&kept).unwrap();
    assert!(kept.len() == 2 && kept.iter().all(|k| k.mark.is_clear() && k.version == 2), "{kept:?}");
    let unknown = handle.drain("10.9.9.9", true).await.unwrap_err().to_string();
    assert!(unknown.contains(&first), "{unknown}");
    let request = MarkRequest { wish: Wish::Drain, on: true, real: first, virtual_service: Some("5".to_owned()) };
    assert!(matches!(handle.mark(request).await, Err(MarkError::NoSuchVirtual { .. })));
    director.stop("TERM").await;
}

#[tokio::test]
async fn a_state_file_that_cannot_be_written_is_said() {
    let one = web().await;
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let options = Options { state: Some(file.join("state")), ..Options::default() };
    let director = start(&text(&[&one], ""), &table, options).await;
    weights(&table, &[w(&one, 5)]).await;
    let error = director.handle().drain("127.0.0.1", true).await.unwrap_err();
    assert!(matches!(error, MarkError::NotSaved { .. }), "{error}");
    weights(&table, &[w(&one, 0)]).await;
}

#[tokio::test]
async fn the_control_socket_is_bounded_and_private() {
    let one = web().await;
    let table = Shared::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.sock");
    std::fs::write(&path, "left by a dead one").unwrap();
    let director = start(&text(&[&one], ""), &table, options(dir.path())).await;
    weights(&table, &[w(&one, 5)]).await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // As many silent clients as there may be, and one too many: they are thrown out, and others are served after them.
    let mut silent = Vec::new();
    for _ in 0..17 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    let begin = Instant::now();
    let status = ask(&path, b"{\"op\":\"status\"}\n").await;
    assert_eq!(status["virtuals"][0]["reals"][0]["last_answer"], "200 OK");
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    one.set(503);
    weights(&table, &[]).await;
    drop(silent);
    for bad in [&b"nonsense\n"[..], b"{\"op\":\"explode\"}\n", b"\n", &vec![b'x'; MAX_REQUEST_BYTES]] {
        assert!(ask(&path, bad).await["error"].is_string());
    }
    let drained = ask(&path, b"{\"op\":\"mark\",\"wish\":\"drain\",\"on\":true,\"real\":\"127.0.0.1\"}\n").await;
    assert_eq!(drained["marked"][0]["changed"], true);
    director.stop("TERM").await;
    assert!(!path.exists());
}

#[tokio::test]
async fn an_agent_sets_the_weight_and_its_silence_changes_nothing() {
    let one = web().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = Arc::new(Mutex::new("40%\n"));
    let said = line.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let text = *said.lock().unwrap();
            let _ = stream.write_all(text.as_bytes()).await;
        }
    });
    let table = Shared::default();
    let director = start(&text(&[&one], &format!("agentport={port}")), &table, Options::default()).await;
    weights(&table, &[w(&one, 2)]).await;
    *line.lock().unwrap() = "drain\n";
    weights(&table, &[w(&one, 0)]).await;
    *line.lock().unwrap() = "down # disk full\n";
    weights(&table, &[]).await;
    *line.lock().unwrap() = "";
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    assert_eq!(table.weights(), Vec::<String>::new());
    *line.lock().unwrap() = "up ready 100%\n";
    weights(&table, &[w(&one, 5)]).await;
    let status = director.status().await.unwrap();
    assert_eq!(status.virtuals[0].reals[0].agent, Some(policy::AgentState::default()));
    assert!(status.virtuals[0].reals[0].check.starts_with("GET "), "the server's own check, not its agent's");
    drop(director);
}
