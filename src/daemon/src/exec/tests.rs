use super::child::{Output, Program};
use super::*;
use base::Instance;
use controller::fencing::device::Device;
use controller::fencing::executor::{AgentCall, AgentEnd, AgentKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

struct Host {
    dir: PathBuf,
    runner: Runner,
}

impl Host {
    /// Calls have control groups if this machine has.
    fn new(name: &str) -> Host {
        Host::with(name, Groups::here())
    }

    fn with(name: &str, groups: Groups) -> Host {
        let dir = std::env::temp_dir().join(format!("bascule-exec-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("ocf/resource.d/test")).unwrap();
        std::fs::create_dir_all(dir.join("init.d")).unwrap();
        let places = Places {
            ocf_root: dir.join("ocf"),
            init_d: dir.join("init.d"),
            systemctl: dir.join("systemctl"),
            systemd: dir.join("systemd"),
            fence_agents: dir.clone(),
            helpers: Some(dir.join("helpers")),
            secrets: dir.join("secrets"),
            run_dir: dir.join("run"),
            groups,
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

    async fn ocf(&self, action: &str, timeout_ms: u64) -> ExecResult {
        self.runner.run(&operation("ocf", action, timeout_ms)).await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn operation(class: &str, action: &str, timeout_ms: u64) -> Operation {
    let pairs = |all: &[(&str, &str)]| all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Operation {
        instance: Instance {
            id: "res".into(),
            class: class.into(),
            provider: (class == "ocf").then(|| "test".into()),
            agent: "A".into(),
            params: pairs(&[
                ("ip", "192.0.2.1"),
                ("OCF_CHECK_LEVEL", "10"),
                ("bad=name", "x"),
                ("", "x"),
                ("nul", "a\0b"),
            ]),
        },
        action: action.into(),
        interval_ms: 0,
        timeout_ms,
        meta: pairs(&[("timeout", "20000"), ("on_node", "n1"), ("notify-start-uname", "n1 n2"), ("clone", "0")]),
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
    let helpers = host.dir.join("helpers").display().to_string();
    for line in [
        "OCF_RESKEY_ip=192.0.2.1",
        &format!("OCF_RESKEY_crm_feature_set={}", scheduler::FEATURE_SET),
        "OCF_RESKEY_CRM_meta_timeout=20000",
        "OCF_RESKEY_CRM_meta_on_node=n1",
        "OCF_RESKEY_CRM_meta_notify_start_uname=n1 n2",
        "OCF_RESKEY_CRM_meta_clone=0",
        "OCF_CHECK_LEVEL=10",
        "OCF_RESOURCE_INSTANCE=res",
        "OCF_RESOURCE_TYPE=A",
        "OCF_RESOURCE_PROVIDER=test",
        "OCF_RA_VERSION_MAJOR=1",
        "OCF_RA_VERSION_MINOR=1",
        "OCF_EXIT_REASON_PREFIX=ocf-exit-reason:",
        "LC_ALL=C",
        "HA_debug=0",
        "HA_logfacility=daemon",
        "PCMK_logfacility=daemon",
        "PCMK_cluster_type=corosync",
        "PCMK_service=pacemaker-execd",
        "PCMK_node_name=n1",
        &format!("HA_SBIN_DIR={helpers}"),
        "op=start",
    ] {
        assert!(seen.lines().any(|l| l == line), "{line} is not in:\n{seen}");
    }
    assert!(seen.lines().any(|l| l.starts_with(&format!("PATH={helpers}:"))));
    assert!(!seen.contains("bad=name") && !seen.contains("OCF_RESKEY_=") && !seen.contains("RESKEY_nul"));
    // cargo gives its tests plenty of variables; none is an agent's business.
    assert!(!seen.contains("CARGO"), "{seen}");
    let expected = |name: &str| {
        let ours = ["OCF_", "HA_", "PCMK_", "BASCULE_RUN_DIR", "BASCULE_CALL", "PATH", "LC_ALL"];
        // What the shell itself sets, and what is passed on.
        let others = ["PWD", "OLDPWD", "SHLVL", "_", "HOME", "SHELL", "TZ", "TMPDIR"];
        ours.iter().any(|p| name.starts_with(p)) || others.contains(&name)
    };
    let names = seen.lines().filter_map(|l| l.split_once('=')).map(|(name, _)| name).filter(|n| *n != "op");
    assert_eq!(names.filter(|n| !expected(n)).collect::<Vec<_>>(), Vec::<&str>::new());
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
        async move { runner.run(&operation("ocf", "monitor", 60_000)).await }
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

/// Deaf to TERM, and so is its child in a session of its own.
const DEAF: &str = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 61 & echo $! > \"$OCF_ROOT/pid\"; wait' & \
                    while [ ! -s \"$OCF_ROOT/pid\" ]; do sleep 0.05; done; sleep 62; sleep 63";

#[tokio::test]
async fn deaf_children_in_sessions_of_their_own_end_with_the_call() {
    for (name, groups) in [("deaf", Groups::here()), ("deaf-alone", Groups::at(None))] {
        let host = Host::with(name, groups);
        host.agent(DEAF);
        let result = host.ocf("start", 1500).await;
        assert_eq!(result.status, OpStatus::Timeout, "{name}");
        assert!(gone(&host.dir.join("ocf/pid")).await, "{name}");
        // Cancelled while it runs.
        std::fs::remove_file(host.dir.join("ocf/pid")).unwrap();
        let runner = host.runner.clone();
        let call = tokio::spawn(async move { runner.run(&operation("ocf", "monitor", 60_000)).await });
        while std::fs::read_to_string(host.dir.join("ocf/pid")).unwrap_or_default().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        call.abort();
        assert!(gone(&host.dir.join("ocf/pid")).await, "{name} cancelled");
    }
}

/// A child that took the mark off and left the group: the control group has it, where there is one.
#[tokio::test]
async fn a_child_without_environment_ends_with_its_control_group() {
    let groups = Groups::here();
    if !groups.has_directory() {
        println!("SKIPPED: no writable cgroup v2");
        return;
    }
    let host = Host::with("bare", groups);
    host.agent("sleep 0.5; env -i setsid /bin/sh -c \"sleep 60 & echo \\$! > $OCF_ROOT/pid; wait\" & sleep 64");
    assert_eq!(host.ocf("start", 2500).await.status, OpStatus::Timeout);
    assert!(gone(&host.dir.join("ocf/pid")).await);
}

#[tokio::test]
async fn who_is_asked_to_end_may_clean_up() {
    let host = Host::new("polite");
    host.agent("trap 'echo cleaned > \"$OCF_ROOT/cleaned\"; exit 1' TERM; sleep 30 & wait");
    assert_eq!(host.ocf("start", 500).await.status, OpStatus::Timeout);
    assert!(host.dir.join("ocf/cleaned").exists());
}

#[tokio::test]
async fn megabytes_are_bounded_and_never_block_the_agent() {
    let host = Host::new("output");
    host.agent(
        "echo first; yes 'a line of sixty-four characters, more or less, again and again and again' | head -c 3000000; echo last; \
         yes noise | head -c 3000000 >&2; echo 'ocf-exit-reason:found at the end' >&2; exit 1",
    );
    let file = host.dir.join("ocf/resource.d/test/A");
    let program = Program { file, args: vec!["monitor".into()], env: env::common(&host.runner.places(), None) };
    let Output { stdout, stderr, .. } =
        child::run(&host.runner.places().groups, &program, b"", Instant::now() + Duration::from_secs(60))
            .await
            .unwrap();
    for (stream, most) in [(&stdout, MAX_OUTPUT_BYTES), (&stderr, MAX_OUTPUT_BYTES)] {
        assert!(stream.len() <= most && stream.len() > most / 2, "{} bytes", stream.len());
    }
    assert!(stdout.starts_with("first\n") && stdout.ends_with("last\n"));
    assert_eq!(host.ocf("monitor", 60_000).await.reason.as_str(), "found at the end");
}

#[tokio::test]
async fn reasons_are_one_clean_line_of_some_length() {
    let host = Host::new("reason");
    host.agent("printf 'ocf-exit-reason:\\033[31mred\\033[0m\\001 and\\ttab \\377\\n' >&2; exit 1");
    assert_eq!(host.ocf("start", 20_000).await.reason.as_str(), "red and tab \u{fffd}");
    host.agent("printf 'ocf-exit-reason:%30000s\\n' x | tr ' ' y >&2; exit 1");
    let long = host.ocf("start", 20_000).await.reason;
    assert!(long.len() <= MAX_REASON_BYTES && long.starts_with("yyy") && long.ends_with('…'), "{long}");
    host.script("init.d/A", "printf 'a\\033]0;title\\007b%30000s' x >&2; exit 1");
    let lsb = host.runner.run(&operation("lsb", "start", 20_000)).await.reason;
    assert!(lsb.starts_with("a ]0;title b x") && lsb.chars().all(|c| !c.is_control()), "{lsb}");
}

#[tokio::test]
async fn scripts_without_an_interpreter_run_as_execvp_would() {
    let host = Host::new("bare-script");
    let write = |path: &str, text: &str| {
        let file = host.dir.join(path);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let code = async |class: &str| {
        let result = host.runner.run(&operation(class, "monitor", 20_000)).await;
        (result.code, result.reason.to_string())
    };
    write("ocf/resource.d/test/A", "[ \"$1\" = monitor ] && [ \"$OCF_RESKEY_ip\" = 192.0.2.1 ] && exit 7\n");
    write("init.d/A", "[ \"$1\" = status ] && exit 3\n");
    write("fence_a", "cat > \"$0.in\"; grep -q action=reboot \"$0.in\"\n");
    assert_eq!(code("ocf").await, (OcfCode::NOT_RUNNING, String::new()));
    assert_eq!(code("lsb").await, (OcfCode::NOT_RUNNING, String::new()));
    assert!(fence::run(&host.runner.places(), &reboot("fence_a", &[], "n2")).await.is_ok());
    for text in ["#!/bin/sh\r\nexit 0\r\n", "exit 0\r\n"] {
        write("ocf/resource.d/test/A", text);
        write("init.d/A", text);
        for class in ["ocf", "lsb"] {
            let (code, reason) = code(class).await;
            assert!(code == OcfCode::NOT_INSTALLED && reason.contains("CR LF"), "{class}: {reason}");
        }
    }
    write("init.d/A", "#!/usr/bin/nobody-has-this -x\n");
    let (code, reason) = code("lsb").await;
    assert!(
        code == OcfCode::NOT_INSTALLED && reason.contains("`/usr/bin/nobody-has-this -x` is not there"),
        "{reason}"
    );
}

#[tokio::test]
async fn lsb_scripts_answer_status() {
    let host = Host::new("lsb");
    host.script("init.d/A", "[ \"$1\" = status ] && exit 3; [ \"$1\" = stop ] && exit 7; exit 0");
    let code = async |op: &str| host.runner.run(&operation("lsb", op, 5000)).await.code;
    assert_eq!(code("monitor").await, OcfCode::NOT_RUNNING);
    assert_eq!(code("start").await, OcfCode::OK);
    assert_eq!(code("stop").await, OcfCode::OK);
    assert_eq!(host.runner.run(&operation("service", "monitor", 5000)).await.code, OcfCode::NOT_RUNNING);
}

#[tokio::test]
async fn systemd_units_answer_their_state() {
    let host = Host::new("systemd");
    let code = async |op: &str| {
        let result = host.runner.run(&operation("systemd", op, 5000)).await;
        (result.code, result.status)
    };
    // A container: systemctl is there and finds no bus. Nothing can run, and a stop that failed would block the resource.
    host.script("systemctl", "echo Failed to connect to bus: Host is down >&2; exit 1");
    assert_eq!(code("monitor").await, (OcfCode::NOT_INSTALLED, OpStatus::NotInstalled));
    assert_eq!(code("start").await, (OcfCode::NOT_INSTALLED, OpStatus::NotInstalled));
    assert_eq!(code("stop").await, (OcfCode::OK, OpStatus::Done));
    std::fs::create_dir(host.dir.join("systemd")).expect("made");
    std::fs::remove_file(host.dir.join("systemctl")).expect("gone");
    assert_eq!(code("monitor").await, (OcfCode::NOT_INSTALLED, OpStatus::NotInstalled));
    assert_eq!(code("stop").await, (OcfCode::OK, OpStatus::Done));
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
    fn knows(&self, provider: &str, agent: &str) -> bool {
        (provider, agent) == ("heartbeat", "A")
    }

    fn run(&self, operation: Operation) -> Pin<Box<dyn Future<Output = (OcfCode, String)> + Send>> {
        Box::pin(async move {
            match operation.action.as_str() {
                "start" => panic!("agent bug {}", operation.instance.id),
                "stop" => std::future::pending().await,
                _ => (OcfCode::NOT_RUNNING, "quiet".to_owned()),
            }
        })
    }
}

#[tokio::test]
async fn a_native_agents_panic_and_delay_are_its_own() {
    let runner = Runner::new(Some(Arc::new(Double)), Places::standard("/nonexistent".into()));
    let run = async |action: &str| {
        let mut operation = operation("ocf", action, 200);
        operation.instance.provider = None;
        runner.run(&operation).await
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

/// The run of an agent that reboots `target`, its device with these parameters.
fn reboot(agent: &str, params: &[(&str, &str)], target: &str) -> AgentCall {
    let params = params.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let device = Device::new("d", agent, params);
    let kind = AgentKind::of(&device, "reboot", Some(target), None);
    AgentCall { agent: agent.to_owned(), kind, timeout_ms: 20_000 }
}

#[tokio::test]
async fn fence_agents_get_their_parameters_on_standard_input() {
    let host = Host::new("fence");
    host.script("fence_a", "cat > \"$0.in\"; grep -q action=reboot \"$0.in\"");
    host.script("fence_b", "echo 'no route to the device' >&2; exit 1");
    let params = [("ip", "10.0.0.9"), ("pcmk_host_map", "n1:7;n2:9"), ("action", "off")];
    let result = fence::run(&host.runner.places(), &reboot("fence_a", &params, "n2")).await;
    assert!(result.is_ok(), "{result:?}");
    let input = std::fs::read_to_string(host.dir.join("fence_a.in")).unwrap();
    for line in ["ip=10.0.0.9", "action=reboot", "port=9", "plug=9", "nodename=n2"] {
        assert!(input.lines().any(|l| l == line), "{line} is not in:\n{input}");
    }
    assert!(!input.contains("pcmk_") && !input.contains("action=off"), "{input}");
    let result = fence::run(&host.runner.places(), &reboot("fence_b", &[], "n2")).await;
    assert_eq!((result.end, result.reason.as_str()), (AgentEnd::Code(1), "no route to the device"));
    let result = fence::run(&host.runner.places(), &reboot("fence_c", &[], "n2")).await;
    assert_eq!(result.end, AgentEnd::NotInstalled);
    // A secret that stands in a file of this node: the agent has it, its words and the call do not tell it.
    kernel::secrets::keep(&host.dir.join("secrets"), "d", "passwd", "k3pt-elsewhere").unwrap();
    host.script("fence_s", "cat > \"$0.in\"; echo \"cannot log in with k3pt-elsewhere\" >&2; exit 1");
    let call = reboot("fence_s", &[("passwd", "lrm://")], "n2");
    let result = fence::run(&host.runner.places(), &call).await;
    let input = std::fs::read_to_string(host.dir.join("fence_s.in")).unwrap();
    assert!(input.lines().any(|l| l == "passwd=k3pt-elsewhere"), "{input}");
    assert_eq!(result.reason.as_str(), "cannot log in with (hidden)");
    let call = reboot("fence_s", &[("passwd", "told-in-the-CIB"), ("passwd_script", "lrm://")], "n2");
    assert!(!format!("{call:?}").contains("told-in"), "{call:?}");
    let result = fence::run(&host.runner.places(), &call).await;
    assert_eq!(result.end, AgentEnd::NotStarted, "a node without the file is no place for this device: {result:?}");
    assert!(result.reason.as_str().contains("parameter passwd_script is kept elsewhere"), "{}", result.reason);
    host.script("fence_h", "sleep 60");
    let hanging = AgentCall { timeout_ms: 100, ..reboot("fence_h", &[], "n2") };
    assert_eq!(fence::run(&host.runner.places(), &hanging).await.end, AgentEnd::Timeout);
}

/// Stock agents are of two kinds: of those that look at arguments or input alone, and fence if they find no action there, none may be
/// made to by a question.
#[tokio::test]
async fn a_question_never_runs_the_default_action() {
    let host = Host::new("metadata");
    let said = "echo '<resource-agent name=\"x\"/>'";
    let fences = "touch \"$0.fenced\"; echo Success";
    host.script("fence_args", &format!("case \"$*\" in *metadata*) {said} ;; *) {fences} ;; esac"));
    host.script("fence_input", &format!("if grep -q action=metadata; then {said}; else {fences}; fi"));
    for agent in ["fence_args", "fence_input"] {
        let call = AgentCall { agent: agent.to_owned(), kind: AgentKind::Metadata, timeout_ms: 20_000 };
        let result = fence::run(&host.runner.places(), &call).await;
        assert!(result.is_ok() && result.output.contains("<resource-agent"), "{agent}: {result:?}");
        assert!(!host.dir.join(format!("{agent}.fenced")).exists(), "{agent} was made to fence");
    }
}
