use super::*;
use std::collections::BTreeSet;

fn tree(files: &[(&str, &str)]) -> (tempdir::Dir, Tree) {
    let dir = tempdir::Dir::new();
    for (path, value) in files {
        let path = dir.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value).unwrap();
    }
    let tree = Tree::at(&dir.0);
    (dir, tree)
}

mod tempdir {
    pub struct Dir(pub std::path::PathBuf);

    impl Dir {
        pub fn new() -> Dir {
            static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let dir = std::env::temp_dir().join(format!("bascule-settings-{}-{n}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Dir(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[test]
fn every_line_accepts_the_value_that_it_sets_and_says_why() {
    let mut seen = BTreeSet::new();
    for s in SETTINGS {
        assert!(s.wanted.accepts(&s.wanted.value()), "{}", s.name);
        assert!(s.reason.len() > 20 && s.name.starts_with("net."), "{}", s.name);
        assert!(seen.insert((s.host, s.name)), "{} is there twice", s.name);
    }
}

#[test]
fn values_are_compared_as_numbers_are_shown() {
    assert!(Wanted::Exactly("3 0").accepts("3\t0\n"));
    assert!(!Wanted::Exactly("3 0").accepts("3 50"));
    assert!(Wanted::OneOf(&["0", "2"]).accepts("2"));
    assert!(Wanted::AtLeast(5).accepts("7") && !Wanted::AtLeast(5).accepts("4") && !Wanted::AtLeast(5).accepts("x"));
}

#[test]
fn an_audit_names_what_deviates_interface_by_interface() {
    let (_dir, tree) = tree(&[
        ("net/ipv4/vs/expire_nodest_conn", "0\n"),
        ("net/ipv4/vs/sync_threshold", "3\t0\n"),
        ("net/ipv4/ip_forward", "0\n"),
        ("net/ipv4/conf/all/send_redirects", "0\n"),
        ("net/ipv4/conf/br0.10/send_redirects", "1\n"),
    ]);
    let shown: Vec<String> =
        audit(&tree, Host::Director, &[Topology::Direct]).iter().map(ToString::to_string).collect();
    assert!(shown.contains(&"net.ipv4.vs.expire_nodest_conn=0 (wanted 1)".to_owned()), "{shown:?}");
    assert!(shown.contains(&"net.ipv4.conf.br0/10.send_redirects=1 (wanted 0)".to_owned()), "{shown:?}");
    assert!(shown.contains(&"net.ipv4.vs.sloppy_tcp is missing".to_owned()), "{shown:?}");
    assert!(!shown.iter().any(|s| s.contains("sync_threshold") || s.contains("ip_forward")), "{shown:?}");
    let nat = audit(&tree, Host::Director, &[Topology::Nat]);
    assert!(nat.iter().any(|d| d.setting.name == "net.ipv4.ip_forward"));
}

#[test]
fn writes_only_what_is_there() {
    let (_dir, tree) = tree(&[("net/ipv4/conf/br0.10/send_redirects", "1\n")]);
    let key = Key::new("net.ipv4.conf.br0/10.send_redirects");
    tree.write(&key, "0").unwrap();
    assert_eq!(tree.read(&key).unwrap(), "0");
    assert!(tree.write(&Key::new("net.ipv4.no_such"), "1").is_err());
    assert!(tree.write(&Key::new("net.../../x"), "1").is_err());
    assert_eq!(tree.expand("net.ipv4.conf.*.send_redirects"), [key]);
}
