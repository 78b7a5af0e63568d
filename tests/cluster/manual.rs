//! Every block of commands of the manual, typed in the order of the book on one host of a pair that its first chapter builds. A block that
//! is marked `may fail` is about something that this place has not (another host, a fence device): it must be a command with an answer of
//! its own, and no mistake in the line.

use crate::fixture::BASCULE;
use crate::pcsd::{PASSWORD, Said, Site};
use crate::root::root;
use std::path::Path;
use std::process::Stdio;

const RELAY: (&str, &str) = ("BASCULE_NODE_OPTIONS", "--data-plane relay");
/// What a command ends with whose words are wrong.
const USAGE: i32 = 64;

/// Blocks in order: chapter, whether it may fail, its lines.
fn blocks() -> Vec<(String, bool, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
    let summary = std::fs::read_to_string(dir.join("SUMMARY.md")).expect("a book");
    let chapters = summary.lines().filter_map(|l| l.split_once("](")?.1.strip_suffix(')').map(str::to_owned));
    let mut all = Vec::new();
    for chapter in chapters {
        let text = std::fs::read_to_string(dir.join(&chapter)).expect("a chapter");
        let mut parts = text.split("\n```");
        parts.next();
        while let (Some(block), rest) = (parts.next(), parts.next()) {
            let (kind, lines) = block.split_once('\n').expect("a block with lines");
            assert!(["sh", "sh may fail"].contains(&kind) && rest.is_some(), "{chapter}: a block of kind '{kind}'");
            all.push((chapter.clone(), kind == "sh may fail", lines.to_owned()));
        }
    }
    all
}

/// In a directory of the host's, as a shell runs it.
async fn shell(site: &Site, host: &str, lines: &str) -> Said {
    let command = site.command(host, &[]);
    // The host's own command line, with a shell in the program's place.
    let args: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
    let mut own = tokio::process::Command::new(command.as_std().get_program());
    own.args(args.iter().filter(|a| *a != BASCULE)).args(["sh", "-e", "-c"]);
    for (name, value) in command.as_std().get_envs() {
        if let Some(value) = value {
            own.env(name, value);
        }
    }
    own.arg(format!("cd {}; {lines}", site.path(host, "home").display()));
    own.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", site.path(host, "bin").display()));
    own.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = site.lab.host(host).expect("a host").spawn(&mut own).expect("a shell");
    let out = child.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: out.status.code().unwrap_or(-1), out: text(out.stdout), err: text(out.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_of_the_manual_works_as_typed() {
    let Some(()) = root() else { return };
    let site = Site::start_with(&["d1", "d2"], vec![RELAY]).await;
    let home = site.path("d1", "home");
    let samples = Path::new(env!("CARGO_MANIFEST_DIR"));
    let put = |name: &str, text: String| {
        let path = home.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let sample = |name: &str| std::fs::read_to_string(samples.join(name)).expect("a sample");
    put("hacluster.password", PASSWORD.to_owned());
    let keepalived = sample("tests/golden/migrate/dr-web-tcp.conf");
    put("keepalived-d2.conf", keepalived.replace("priority 100", "priority 50"));
    put("keepalived.conf", keepalived);
    put("old/etc/corosync/corosync.conf", sample("configs/corosync/two-directors.conf"));
    put("old/var/lib/pacemaker/cib/cib.xml", sample("configs/topologies/direct/cib.xml"));
    put("old/etc/ha.d/ldirectord.cf", sample("configs/topologies/direct/ldirectord.cf"));
    std::fs::create_dir_all(site.path("d1", "bin")).expect("made");
    std::os::unix::fs::symlink(BASCULE, site.path("d1", "bin").join("bascule")).expect("a link");
    // The name alone stands for the file in /etc/ha.d, which is this machine's own here.
    let director = format!("ldirectord {} ", site.path("d1", "etc").join("ldirectord.cf").display());

    let blocks = blocks();
    assert!(blocks.len() > 20, "{}", blocks.len());
    for (chapter, may_fail, lines) in blocks {
        let whole = lines.replace("\\\n", " ").replace("ldirectord ldirectord.cf ", &director);
        for line in whole.lines().filter(|l| !l.trim().is_empty()) {
            let said = shell(&site, "d1", line).await;
            let told = format!("{chapter}: {line}\nexit code {}\n{}{}", said.code, said.out, said.err);
            match may_fail {
                false => assert_eq!(said.code, 0, "{told}"),
                true => assert!(
                    said.code != USAGE && (said.code < 100 || said.code == 105) && said.code != 2
                        || !said.out.is_empty(),
                    "{told}"
                ),
            }
        }
    }
    let said = site.good("d2", "crm_mon -1").await;
    assert!(said.out.contains("Online: [ d1 d2 ]"), "{}", said.out);
}
