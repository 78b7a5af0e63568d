use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

struct Host {
    dir: PathBuf,
    runner: Runner,
}

impl Host {
    fn new(name: &str) -> Host {
        let dir = std::env::temp_dir().join(format!("bascule-exec-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("ocf/resource.d/test")).unwrap();
        std::fs::create_dir_all(dir.join("init.d")).unwrap();
        let places = Places {
            ocf_root: dir.join("ocf"),
            init_d: dir.join("init.d"),
            systemctl: dir.join("systemctl"),
            fence_agents: dir.clone(),
            helpers: Some(dir.join("helpers")),
            run_dir: dir.join("run"),
        };
        Host { runner: Runner::new(None, places), dir }
    }

    fn script(&self, path: &str, body: &str) {
        let file = self.dir.join(path);
        std::fs::write(&file, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn agent(&self, body: &str) {
        self.script("ocf/resource.d/test/A", body);
    }

    async fn ocf(&self, operation: &str, timeout_ms: u64) -> ExecResult {
        self.runner.run(&request("ocf", operation, timeout_ms)).await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn request(class: &str, operation: &str, timeout_ms: u64) -> ExecRequest {
    ExecRequest {
        call: 1,
        resource: "res".into(),
        class: class.into(),
        provider: (class == "ocf").then(|| "test".into()),
        agent: "A".into(),
        operation: operation.into(),
        params: BTreeMap::from([
            ("ip".into(), "192.0.2.1".into()),
            ("CRM_meta_timeout".into(), "20000".into()),
            ("OCF_CHECK_LEVEL".into(), "10".into()),
            ("bad=name".into(), "x".into()),
        ]),
        timeout_ms,
        interval_ms: 0,
        node: "n1".into(),
    }
}

fn alive(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    // a killed child of another process may linger as a zombie
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|s| !s.contains(") Z"))
}

/// A signal takes effect when its process is next scheduled, so a little later than it was sent.
async fn gone(pid_file: &Path) -> bool {
    for _ in 0..200 {
        if !alive(pid_file) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn ocf_agents_get_their_environment() {
    let host = Host::new("env");
    host.agent("env > \"$OCF_ROOT/seen\"; echo op=$1 >> \"$OCF_ROOT/seen\"; exit 0");
    let result = host.ocf("start", 5000).await;
    assert_eq!((result.code, result.status), (OcfCode::OK, OpStatus::Done));
    let seen = std::fs::read_to_string(host.dir.join("ocf/seen")).unwrap();
    for line in [
        "OCF_RESKEY_ip=192.0.2.1",
        "OCF_RESKEY_CRM_meta_timeout=20000",
        "OCF_CHECK_LEVEL=10",
        "OCF_RESOURCE_INSTANCE=res",
        "OCF_RESOURCE_TYPE=A",
        "OCF_RESOURCE_PROVIDER=test",
        "OCF_RA_VERSION_MAJOR=1",
        "OCF_EXIT_REASON_PREFIX=ocf-exit-reason:",
        "op=start",
    ] {
        assert!(seen.lines().any(|l| l == line), "{line} is not in:\n{seen}");
    }
    assert!(seen.lines().any(|l| l.starts_with("PATH=") && l.contains("/helpers:")));
    assert!(!seen.contains("bad=name"));
}

#[tokio::test]
async fn codes_and_reasons_are_passed_on() {
    let host = Host::new("codes");
    host.agent("echo noise >&2; echo 'ocf-exit-reason:first' >&2; echo 'ocf-exit-reason: no such address' >&2; exit 6");
    let result = host.ocf("start", 5000).await;
    assert_eq!(
        (result.code, result.status, result.reason.as_str()),
        (OcfCode::NOT_CONFIGURED, OpStatus::Done, "no such address")
    );
    host.agent("exit 7");
    assert_eq!(host.ocf("monitor", 5000).await.code, OcfCode::NOT_RUNNING);
    host.agent("kill -9 $$");
    let killed = host.ocf("monitor", 5000).await;
    assert_eq!((killed.code, killed.status), (OcfCode::ERROR, OpStatus::Error));
    std::fs::remove_file(host.dir.join("ocf/resource.d/test/A")).unwrap();
    let gone = host.ocf("monitor", 5000).await;
    assert_eq!((gone.code, gone.status), (OcfCode::NOT_INSTALLED, OpStatus::NotInstalled));
}

#[tokio::test]
async fn a_timeout_kills_the_whole_group_and_is_no_failure() {
    let host = Host::new("timeout");
    host.agent("sleep 60 & echo $! > \"$OCF_ROOT/pid\"; wait");
    let begun = Instant::now();
    let result = host.ocf("start", 300).await;
    assert_eq!(result.status, OpStatus::Timeout);
    assert!((300..3000).contains(&(begun.elapsed().as_millis() as u64)));
    assert!(gone(&host.dir.join("ocf/pid")).await);
}

#[tokio::test]
async fn dropping_a_call_kills_the_group() {
    let host = Host::new("cancel");
    host.agent("sleep 60 & echo $! > \"$OCF_ROOT/pid\"; wait");
    let call = tokio::spawn({
        let runner = host.runner.clone();
        async move { runner.run(&request("ocf", "monitor", 60_000)).await }
    });
    while !host.dir.join("ocf/pid").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    call.abort();
    let _ = call.await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(gone(&host.dir.join("ocf/pid")).await);
}

#[tokio::test]
async fn a_service_left_running_does_not_hold_the_call_and_lives_on() {
    let host = Host::new("linger");
    host.agent("sleep 30 & echo $! > \"$OCF_ROOT/pid\"; exit 0");
    let begun = Instant::now();
    assert_eq!(host.ocf("start", 20_000).await.code, OcfCode::OK);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(alive(&host.dir.join("ocf/pid")));
    let pid = std::fs::read_to_string(host.dir.join("ocf/pid")).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn output_is_bounded_and_never_blocks_the_agent() {
    let host = Host::new("output");
    host.agent("i=0; while [ $i -lt 4000 ]; do echo 'a line of output that is sixty-four characters long, more or less'; i=$((i+1)); done; exit 0");
    let mut command = tokio::process::Command::new(host.dir.join("ocf/resource.d/test/A"));
    command.arg("monitor");
    let output = child::run(command, b"", Instant::now() + Duration::from_secs(20)).await.unwrap();
    assert_eq!(output.stdout.len(), MAX_OUTPUT_BYTES);
}

#[tokio::test]
async fn lsb_scripts_answer_status() {
    let host = Host::new("lsb");
    host.script("init.d/A", "[ \"$1\" = status ] && exit 3; [ \"$1\" = stop ] && exit 7; exit 0");
    let code = async |op: &str| host.runner.run(&request("lsb", op, 5000)).await.code;
    assert_eq!(code("monitor").await, OcfCode::NOT_RUNNING);
    assert_eq!(code("start").await, OcfCode::OK);
    assert_eq!(code("stop").await, OcfCode::OK);
    assert_eq!(host.runner.run(&request("service", "monitor", 5000)).await.code, OcfCode::NOT_RUNNING);
}

#[tokio::test]
async fn systemd_units_answer_their_state() {
    let host = Host::new("systemd");
    let code = async |op: &str| {
        let result = host.runner.run(&request("systemd", op, 5000)).await;
        (result.code, result.status)
    };
    assert_eq!(code("monitor").await, (OcfCode::NOT_INSTALLED, OpStatus::NotInstalled));
    host.script(
        "systemctl",
        "case \"$1\" in show) echo LoadState=loaded; echo ActiveState=inactive;; *) exit 0;; esac",
    );
    assert_eq!(code("monitor").await, (OcfCode::NOT_RUNNING, OpStatus::Done));
    assert_eq!(code("start").await, (OcfCode::OK, OpStatus::Done));
    host.script("systemctl", "echo LoadState=not-found; echo ActiveState=inactive; [ \"$1\" = show ] || exit 5");
    assert_eq!(code("monitor").await.0, OcfCode::NOT_INSTALLED);
    assert_eq!(code("stop").await.0, OcfCode::OK);
    assert_eq!(code("promote").await, (OcfCode::UNIMPLEMENTED, OpStatus::NotSupported));
}

struct Double;

impl Native for Double {
    fn knows(&self, agent: &str) -> bool {
        agent == "A"
    }

    fn run(&self, call: NativeCall) -> Pin<Box<dyn Future<Output = (OcfCode, String)> + Send>> {
        assert!(call.params.keys().all(|k| !k.starts_with("CRM_meta_")));
        Box::pin(async move {
            match call.operation.as_str() {
                "start" => panic!("agent bug {}", call.resource),
                "stop" => std::future::pending().await,
                _ => (OcfCode::NOT_RUNNING, "quiet".to_owned()),
            }
        })
    }
}

#[tokio::test]
async fn a_native_agents_panic_and_delay_are_its_own() {
    let runner = Runner::new(Some(Arc::new(Double)), Places::standard("/nonexistent".into()));
    let run = async |op: &str| {
        runner.run(&ExecRequest { provider: Some("heartbeat".into()), ..request("ocf", op, 200) }).await
    };
    let panicked = run("start").await;
    assert_eq!((panicked.code, panicked.status), (OcfCode::ERROR, OpStatus::Error));
    assert!(panicked.reason.contains("agent bug res"), "{}", panicked.reason);
    assert_eq!(run("stop").await.status, OpStatus::Timeout);
    assert_eq!(
        (run("monitor").await.code, run("monitor").await.reason),
        (OcfCode::NOT_RUNNING, base::Reason::cleaned("quiet"))
    );
}

fn fencing_cib(nvpairs: &str) -> xml::Element {
    let text = format!(
        "<cib><configuration><resources><primitive id=\"d2\" class=\"stonith\" type=\"fence_b\"/><primitive id=\"d1\" class=\"stonith\" type=\"fence_a\">\
         <instance_attributes id=\"i\"><nvpair id=\"x\" name=\"ip\" value=\"10.0.0.9\"/>{nvpairs}</instance_attributes></primitive>\
         </resources></configuration></cib>"
    );
    xml::parse(&text).unwrap()
}

fn order(target: &str) -> fence::Order {
    fence::Order { target: target.into(), action: "reboot".into(), timeout: Duration::from_secs(5) }
}

#[tokio::test]
async fn fence_agents_get_their_parameters_on_standard_input() {
    let host = Host::new("fence");
    host.script("fence_a", "cat > \"$0.in\"; grep -q action=reboot \"$0.in\"");
    host.script("fence_b", "exit 1");
    let cib = fencing_cib("<nvpair id=\"y\" name=\"pcmk_host_map\" value=\"n1:7;n2:9\"/>");
    let devices = fence::devices(&cib, "n2");
    // One that names the target goes before one that may fence anybody.
    assert_eq!(devices.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["d1", "d2"]);
    assert_eq!(fence::run(&host.runner.places(), &order("n2"), &devices).await, Ok(()));
    let input = std::fs::read_to_string(host.dir.join("fence_a.in")).unwrap();
    for line in ["ip=10.0.0.9", "action=reboot", "port=9", "plug=9", "nodename=n2"] {
        assert!(input.lines().any(|l| l == line), "{line} is not in:\n{input}");
    }
    assert!(!input.contains("pcmk_"));
    let other = fence::devices(&cib, "n3");
    assert_eq!(other.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["d2"]);
    let failed = fence::run(&host.runner.places(), &order("n3"), &other).await.unwrap_err();
    assert!(failed.contains("d2"), "{failed}");
    assert!(fence::run(&host.runner.places(), &order("n3"), &[]).await.unwrap_err().contains("no fence device"));
}
