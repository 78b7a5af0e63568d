//! `pcs qdevice` on the arbitrator's host: what the original says was recorded from pcs 0.11.5.

use crate::fixture::BASCULE;
use crate::root::root;

/// Places and network of its own, where systemd runs nothing.
const SCRIPT: &str = r#"
mount -t tmpfs none /etc/corosync && mount -t tmpfs none /run && ip link set lo up || exit 90
qdevice() { "$0" pcs qdevice "$@" 2>&1; echo "[$?]"; }
qdevice status net
qdevice setup model foo
qdevice setup model net
qdevice setup model net
ls /etc/corosync/qnetd/tls/qnetd-cacert.crt
"$0" qnetd 2>/dev/null & first=$!
for i in $(seq 300); do test -S /run/corosync-qnetd/corosync-qnetd.sock && break; sleep 0.1; done
qdevice status net --full
qdevice status net web
qdevice stop net
wait $first; echo "ended with $?"
"$0" qnetd 2>/dev/null & second=$!
disown
for i in $(seq 300); do test -S /run/corosync-qnetd/corosync-qnetd.sock && break; sleep 0.1; done
qdevice kill net
for i in $(seq 100); do kill -0 $second 2>/dev/null || break; sleep 0.1; done; kill -0 $second 2>/dev/null && echo "still there"
qdevice kill net
qdevice destroy net | grep -v 'disable'
ls /etc/corosync/qnetd
qdevice net-client setup | head -1
"#;

const EXPECTED: &str = "Error: Quorum device 'net' is not running
[1]
Error: 'foo' is not a valid model value, use 'net'
[1]
Quorum device 'net' initialized
[0]
Error: Quorum device 'net' has been already initialized
[1]
/etc/corosync/qnetd/tls/qnetd-cacert.crt
QNetd address:\t\t\t*:5403
TLS:\t\t\t\tSupported (client certificate required)
Connected clients:\t\t0
Connected clusters:\t\t0
Maximum send/receive size:\t32768/32768 bytes

[0]
QNetd address:\t\t\t*:5403
TLS:\t\t\t\tSupported (client certificate required)
Connected clients:\t\t0
Connected clusters:\t\t0

[0]
Stopping quorum device...
quorum device stopped
[0]
ended with 0
quorum device killed
[0]
quorum device killed
[0]
Stopping quorum device...
quorum device stopped
Quorum device 'net' configuration files removed
[0]
Error: 'pcs qdevice' is not part of Bascule: what pcsd does with it is done by hand: corosync-qdevice-net-certutil --help (-Q does all of it by ssh)
";

#[test]
fn pcs_qdevice_on_the_arbitrators_host() {
    let Some(()) = root() else { return };
    if std::path::Path::new("/run/systemd/system").exists() {
        eprintln!("SKIPPED: systemd runs here: units would be started and stopped");
        return;
    }
    std::fs::create_dir_all("/etc/corosync").expect("a directory");
    let out = std::process::Command::new("unshare").args(["-m", "-n", "bash", "-c", SCRIPT, BASCULE]).output();
    let out = out.expect("it starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(text, EXPECTED, "{}", String::from_utf8_lossy(&out.stderr));
}
