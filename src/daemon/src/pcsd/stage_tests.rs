use super::*;

fn places(dir: &Path) -> Places {
    std::fs::create_dir_all(dir.join("pcsd")).expect("made");
    std::fs::create_dir_all(dir.join("etc")).expect("made");
    Places {
        conf: dir.join("etc/corosync.conf"),
        authkey: dir.join("etc/authkey"),
        state_dir: dir.to_owned(),
        socket: dir.join("api.sock"),
        pcsd: dir.join("pcsd"),
        directors: dir.join("ha.d"),
    }
}

fn service(places: &Places) -> Service {
    super::super::node::service(places)
}

fn stage(id: &str, expect: Expect) -> Stage {
    let conf = "totem {\n    version: 2\n    cluster_name: web\n}\nnodelist {\n    node {\n        ring0_addr: 127.0.0.1\n        name: n1\n        nodeid: 1\n    }\n}\nquorum {\n    provider: corosync_votequorum\n}\n";
    let files = vec![FileBody::of(Kind::Authkey, &[7; 256]), FileBody::of(Kind::CorosyncConf, conf.as_bytes())];
    Stage { transaction: id.to_owned(), expect, files }
}

fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(dir.join("etc"))
        .expect("a directory")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

#[test]
fn what_is_staged_is_not_there_until_it_is_committed() {
    let dir = tempfile::tempdir().expect("a directory");
    let places = places(dir.path());
    let service = service(&places);
    let mut desk = Desk::open(places.clone());
    desk.stage(&stage("a", Expect::NoCluster), "n1", &service).expect("staged");
    assert!(configured(&places).is_empty());
    let why = desk.stage(&stage("b", Expect::NoCluster), "n2", &service).expect_err("one at a time");
    assert!(why.contains("another change (a) of n1"), "{why}");
    assert!(desk.commit("b").is_err());
    desk.commit("a").expect("committed");
    desk.commit("a").expect("once more is no fault");
    assert_eq!(names(dir.path()), ["authkey", "corosync.conf"]);
    let mode = std::fs::metadata(&places.authkey).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
    let why = desk.stage(&stage("c", Expect::NoCluster), "n1", &service).expect_err("there is one");
    assert!(why.contains("corosync.conf is there"), "{why}");
    desk.stage(&stage("c", Expect::Conf(conf_digest(&places).expect("one"))), "n1", &service).expect("staged");
    assert!(desk.stage(&stage("c", Expect::Conf("0".to_owned())), "n1", &service).is_err());
    desk.abort("c").expect("aborted");
    assert_eq!(names(dir.path()), ["authkey", "corosync.conf"]);
}

#[test]
fn a_file_that_the_node_would_refuse_is_not_staged() {
    let dir = tempfile::tempdir().expect("a directory");
    let places = places(dir.path());
    let service = service(&places);
    let mut desk = Desk::open(places.clone());
    let with = |body: FileBody| Stage { files: vec![body], ..stage("a", Expect::Anything) };
    for bad in [
        FileBody::of(Kind::CorosyncConf, b"totem {"),
        FileBody::of(
            Kind::CorosyncConf,
            b"totem {\n version: 2\n}\nnodelist {\n node {\n ring0_addr: 192.0.2.77\n name: other\n nodeid: 1\n }\n}\n",
        ),
        FileBody::of(Kind::Authkey, b"short"),
        FileBody::of(Kind::Hosts, b"[]"),
        FileBody { sha256: sha256(b"other"), ..FileBody::of(Kind::Authkey, &[7; 256]) },
    ] {
        let why = desk.stage(&with(bad.clone()), "n1", &service).expect_err("refused");
        assert!(!why.is_empty() && names(dir.path()).is_empty(), "{bad:?}");
    }
    for id in ["", "../x", "a b"] {
        assert!(
            desk.stage(&Stage { transaction: id.to_owned(), ..stage("a", Expect::Anything) }, "n1", &service).is_err()
        );
    }
}

#[test]
fn a_commit_that_had_begun_is_brought_to_its_end_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let places = places(dir.path());
    let service = service(&places);
    let mut desk = Desk::open(places.clone());
    desk.stage(&stage("a", Expect::NoCluster), "n1", &service).expect("staged");
    drop(Desk::open(places.clone()));
    assert!(names(dir.path()).is_empty(), "cleared away");
    desk.open = None;
    desk.stage(&stage("b", Expect::NoCluster), "n1", &service).expect("staged");
    // Killed after the first of two renames.
    let (mut record, _) = desk.open.clone().expect("open");
    record.committing = true;
    desk.write(&record).expect("written");
    std::fs::rename(&record.files[0].staged, &record.files[0].to).expect("renamed");
    drop(Desk::open(places.clone()));
    assert_eq!(names(dir.path()), ["authkey", "corosync.conf"]);
    assert!(!dir.path().join("pcsd/transaction").exists());
}

#[test]
fn a_back_up_comes_to_its_places_and_the_cib_that_was_there_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let places = places(dir.path());
    let service = service(&places);
    let mut desk = Desk::open(places.clone());
    std::fs::write(dir.path().join("cib.7.xml"), "older").expect("written");
    std::os::unix::fs::symlink("cib.7.xml", dir.path().join("cib.xml")).expect("a link");
    let cib = b"<cib validate-with=\"pacemaker-3.9\" admin_epoch=\"0\" epoch=\"5\" num_updates=\"0\"><configuration><crm_config/><nodes/><resources/><constraints/></configuration><status/></cib>";
    let director = FileBody { name: "web.cf".to_owned(), ..FileBody::of(Kind::Director, b"virtual=192.0.2.1:80\n") };
    let call = |files| Stage { files, ..stage("r", Expect::Stopped) };
    for bad in [
        FileBody::of(Kind::Cib, b"<cib"),
        FileBody { name: "../../etc/passwd".to_owned(), ..director.clone() },
        FileBody { name: String::new(), ..director.clone() },
    ] {
        desk.stage(&call(vec![bad]), "n1", &service).expect_err("refused");
        desk.open = None;
    }
    desk.stage(&call(vec![FileBody::of(Kind::Cib, cib), director]), "n1", &service).expect("staged");
    assert_eq!(std::fs::read(dir.path().join("cib.xml")).expect("read"), b"older");
    desk.commit("r").expect("committed");
    assert_eq!(std::fs::read(dir.path().join("cib.xml")).expect("read"), cib);
    assert_eq!(std::fs::read(dir.path().join("before-restore/cib.7.xml")).expect("kept"), b"older");
    assert!(dir.path().join("ha.d/web.cf").exists());
}
