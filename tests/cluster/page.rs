//! The web page in a real browser: log in, look, act, and what becomes of it on the nodes.

use crate::fixture::{BASCULE, Cluster, PATIENCE};
use crate::root::root;
use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that is gone with the test, with all that it has started: a driver that is killed leaves its browser.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Starts it and reads on until a line has the words; the rest of that line.
fn started(command: &mut Command, words: &str) -> (Kept, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a handle")).stderr(writer);
    std::os::unix::process::CommandExt::process_group(command, 0);
    let child = Kept(command.spawn().expect("it starts"));
    // What it goes on to say must not stop it.
    *command = Command::new("true");
    let mut lines = std::io::BufReader::new(reader).lines();
    let mut told = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once(words) {
            let rest = rest.to_owned();
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return (child, rest);
        }
        told += &(line + "\n");
    }
    panic!("it ended before it said '{words}':\n{told}");
}

struct Browser {
    client: Client,
    _driver: Kept,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn open(width: u32) -> Browser {
        let (driver, rest) = started(Command::new("chromedriver").arg("--port=0"), "started successfully on port ");
        let port: u16 = rest.trim_end_matches('.').parse().expect("a port");
        let profile = tempfile::tempdir().expect("a directory");
        let data = format!("--user-data-dir={}", profile.path().display());
        let size = format!("--window-size={width},1000");
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &data, &size];
        let mut wanted = Capabilities::new();
        wanted.insert("acceptInsecureCerts".to_owned(), json!(true));
        wanted.insert("goog:chromeOptions".to_owned(), json!({ "args": args }));
        wanted.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        let client =
            builder.capabilities(wanted).connect(&format!("http://127.0.0.1:{port}")).await.expect("a session");
        Browser { client, _driver: driver, _profile: profile }
    }

    async fn text(&self, selector: &str) -> String {
        let Ok(found) = self.client.find(Locator::Css(selector)).await else { return String::new() };
        found.text().await.unwrap_or_default()
    }

    async fn shows(&self, selector: &str, words: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let text = self.text(selector).await;
            if text.contains(words) {
                return;
            }
            assert!(Instant::now() < end, "{selector} does not show '{words}' but '{text}'");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn click(&self, selector: &str) {
        let found = self.client.find(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        found.click().await.unwrap_or_else(|e| panic!("{selector}: {e}"));
    }

    async fn log_in(&self, secret: &str) {
        let field =
            self.client.wait().for_element(Locator::Css("#login:not([hidden]) #password")).await.expect("a form");
        field.send_keys(secret).await.expect("typed");
        self.click("#login button").await;
    }

    async fn picture(&self, name: &str) {
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&dir).expect("a directory");
        let picture = self.client.screenshot().await.expect("a picture");
        std::fs::write(dir.join(format!("{name}.png")), picture).expect("written");
    }
}

fn token(cluster: &Cluster) -> String {
    let mut command = Command::new(BASCULE);
    command.args(["pcsd", "token"]).env("BASCULE_STATE_DIR", cluster.state_dir("n1"));
    let said = command.output().expect("it starts");
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_and_acts() {
    let Some(()) = root() else { return };
    if Command::new("chromedriver").arg("--version").output().is_err() {
        return println!("SKIPPED: needs Debian's chromium and chromium-driver");
    }
    let mut cluster = Cluster::start(&["n1", "n2"]).await;
    let ok = |words: &[&str]| {
        let (code, out, err) = cluster.command("n1", words);
        assert_eq!(code, 0, "{words:?}: {out}{err}");
        out
    };
    ok(&["pcs", "property", "set", "stonith-enabled=false"]);
    ok(&["pcs", "resource", "create", "d", "ocf:pacemaker:Dummy"]);
    ok(&["pcs", "resource", "meta", "d", &format!("description={HOSTILE}")]);
    ok(&["crm_attribute", "--node", "n1", "--name", "note", "--update", HOSTILE]);

    let mut command = Command::new(BASCULE);
    command.args(["pcsd", "--listen", "127.0.0.1", "--port", "0"]);
    command.env("BASCULE_STATE_DIR", cluster.state_dir("n1")).env("BASCULE_RUN_DIR", cluster.run_dir("n1"));
    let (_pcsd, address) = started(&mut command, "listening on ");
    let page = format!("https://{}/", address.trim());

    let browser = Browser::open(1280).await;
    browser.client.goto(&page).await.expect("the page");
    browser.log_in("wrong").await;
    browser.shows("#login-error", "incorrect").await;
    browser.client.refresh().await.expect("again");
    browser.log_in(&token(&cluster)).await;
    browser.shows("#nodes", "n2").await;
    browser.shows("#resources", "ocf:pacemaker:Dummy").await;
    browser.shows("#summary", "all is well").await;
    browser.shows("#timeline", "ring").await;
    browser.picture("overview").await;

    browser.click("button[aria-label='Standby: n2']").await;
    browser.click("#dialog-do").await;
    browser.shows("#dialog-text", "pcs node standby n2: done").await;
    browser.click("#dialog-close").await;
    browser.shows("#nodes", "standby").await;
    assert!(cluster.command("n1", &["crm_mon", "-1"]).1.contains("Node n2: standby"), "it is so");
    browser.click("button[aria-label='Explain: d']").await;
    browser.shows("#dialog-output", "d").await;
    browser.click("#dialog-close").await;

    cluster.kill("n2").await;
    browser.shows("#nodes", "offline").await;
    browser.shows("#timeline details", "n2").await;
    browser.picture("fail-over").await;
    browser.client.set_window_size(390, 844).await.expect("a telephone");
    browser.picture("telephone").await;
    let wide = "return document.documentElement.scrollWidth - window.innerWidth";
    let over = browser.client.execute(wide, Vec::new()).await.expect("a number");
    assert!(over.as_i64().is_some_and(|n| n <= 0), "wider than the telephone by {over}");

    // Nothing from the cluster became part of the page, and the browser has nothing to complain of.
    let images = browser.client.find_all(Locator::Css("main img")).await.expect("a list");
    assert!(images.is_empty());
    browser.click("#logout").await;
    browser.shows("#login", "Log in").await;
    let _: Vec<WindowHandle> = browser.client.windows().await.expect("still there");
    browser.client.clone().close().await.expect("closed");
}
