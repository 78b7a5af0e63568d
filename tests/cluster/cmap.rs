//! `corosync-cmapctl`: keys that scripts set on a node, beside those of the node; followed while they change.

use crate::fixture::{BASCULE, Cluster};
use crate::root::root;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

fn cmapctl(cluster: &Cluster, words: &[&str]) -> (i32, String, String) {
    cluster.command("n1", &[&["corosync-cmapctl"], words].concat())
}

/// Lines of a `-t` or `-T` that runs.
fn follow(cluster: &Cluster, words: &[&str]) -> (Child, mpsc::Receiver<String>) {
    let mut command = Command::new(BASCULE);
    command.arg("corosync-cmapctl").args(words).env("BASCULE_RUN_DIR", cluster.run_dir("n1"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let (out, (tell, told)) = (BufReader::new(child.stdout.take().expect("a pipe")), mpsc::channel());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    assert_eq!(next(&told), "Type \"q\" to finish");
    (child, told)
}

fn next(lines: &mpsc::Receiver<String>) -> String {
    lines.recv_timeout(crate::fixture::PATIENCE).expect("a line")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_set_loaded_followed_and_deleted() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&["n1", "n2"]).await;
    cluster.wait_for_ring(&["n1", "n2"]).await;
    let done = (0, String::new(), String::new());
    let (mut child, lines) = follow(&cluster, &["-T", "my."]);
    let (mut members, states) = follow(&cluster, &["-T", "runtime.members.2."]);
    let file = cluster.path("value");
    std::fs::write(&file, b"a\x01bc").expect("written");
    let file = file.display().to_string();
    for words in [
        ["-s", "my.str", "str", "two words"],
        ["-s", "my.new", "u16", "5"],
        ["-s", "my.new", "u16", "5"],
        ["-s", "my.new", "u16", "6"],
        ["-s", "my.less", "i8", "-5"],
        ["-s", "my.flt", "flt", "1.5"],
        ["-s", "my.bin", "bin", &file],
    ] {
        assert_eq!(cmapctl(&cluster, &words), done, "{words:?}");
    }
    assert_eq!(cmapctl(&cluster, &["-d", "my.new", "my.less"]), done);
    let told = [
        "create> my.str (str) = two words",
        "create> my.new (u16) = 5",
        "modify> my.new (u16) = 6",
        "create> my.less (i8) = -5",
        "create> my.flt (flt) = 1.500000",
        "create> my.bin (bin)",
        "delete> my.new (u16) = 6",
        "delete> my.less (i8) = -5",
    ];
    told.iter().for_each(|line| assert_eq!(next(&lines), *line));
    let shown = "my.bin (bin)\nmy.flt (flt) = 1.500000\nmy.str (str) = two words\n";
    assert_eq!(cmapctl(&cluster, &["my."]).1, shown);
    assert_eq!(cmapctl(&cluster, &["-b", "my.bin"]).1, "my.bin (bin) = a\\x01bc\n");
    assert_eq!(cmapctl(&cluster, &["-q", "-g", "my.str"]).1, "two words\n");
    assert_eq!(cmapctl(&cluster, &["none."]), (1, String::new(), String::new()));
    refusals(&cluster);
    assert_eq!(cmapctl(&cluster, &["my."]).1, shown, "nothing of what was refused");
    // What the node says of itself is followed as well.
    cluster.kill("n2").await;
    assert_eq!(next(&states), "modify> runtime.members.2.status (str) = left");
    child.stdin.as_mut().expect("a pipe").write_all(b"q\n").expect("typed");
    assert_eq!(child.wait().expect("it ended").code(), Some(0));
    drop(members.stdin.take());
    assert_eq!(members.wait().expect("it ended").code(), Some(0), "the input has ended");
}

fn refusals(cluster: &Cluster) {
    let load = cluster.path("load");
    std::fs::write(&load, "my.more u8 1\n^^my.\n^my.none\n").expect("written");
    let load = load.display().to_string();
    let bad = cluster.path("bad");
    std::fs::write(&bad, "my.more u8 1\nmy.less u8 300\n").expect("written");
    let bad = bad.display().to_string();
    for (words, expected) in [
        (vec!["-g", "my.none"], "Can't get key my.none. Error CS_ERR_NOT_EXIST"),
        (vec!["-s", "totem.token", "u32", "500"], "Failed to set key totem.token. Error CS_ERR_ACCESS"),
        (vec!["-s", "a b c", "u32", "500"], "Failed to set key a b c. Error CS_ERR_NAME_TOO_LONG"),
        (vec!["-s", "my.key", "u8", "500"], "500 is not valid u8 integer"),
        (vec!["-s", "my.key", "foo", "5"], "Unknown type foo"),
        (vec!["-s", "my.key", "str", "a\x1bb"], "value"),
        (vec!["-s", "my.key", "bin", "/dev/zero"], "at most 8192 bytes"),
        (vec!["-d", "totem.token"], "Can't delete key totem.token. Error CS_ERR_ACCESS"),
        (vec!["-D", "runtime."], "Can't delete key runtime.. Error CS_ERR_ACCESS"),
        (vec!["-p", &load], "Can't delete key my.none. Error CS_ERR_NOT_EXIST"),
        (vec!["-p", &bad], "bad:2: 300 is not valid u8 integer"),
        (vec!["-C", "all"], "compare two readings"),
    ] {
        let (code, out, errors) = cmapctl(cluster, &words);
        assert!(code == 1 && out.is_empty() && errors.contains(expected), "{words:?}: {code} {out} {errors}");
    }
}
