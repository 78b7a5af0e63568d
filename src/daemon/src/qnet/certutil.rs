//! `corosync-qnetd-certutil` and `corosync-qdevice-net-certutil`: the originals' options, on stores of PEM files.
//!
//! What is exchanged is theirs: requests (CRQ), certificates (CRT) and PKCS#12 can come from the originals' NSS stores and go there.

use super::issue::{self, Pair};
use clap::Parser;
use openssl::pkey::PKey;
use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const MAX_BYTES: u64 = 1024 * 1024;
const CA_FILE: &str = "qnetd-cacert.crt";
const CRQ_FILE: &str = "qdevice-net-node.crq";
const P12_FILE: &str = "qdevice-net-node.p12";

/// Make and sign the certificates of this host's arbitrator
#[derive(Parser, Debug)]
#[command(
    name = "corosync-qnetd-certutil",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-qnetd-certutil -i                      authority and server certificate; then copy qnetd-cacert.crt to the nodes\n  corosync-qnetd-certutil -s -c FILE.crq -n web   sign what cluster web asks for: writes cluster-web.crt"
)]
struct Server {
    /// Make the authority and the server's certificate
    #[arg(short = 'i')]
    init: bool,
    /// Sign a cluster's request
    #[arg(short = 's', requires = "certificate", requires = "cluster")]
    sign: bool,
    /// The request (CRQ)
    #[arg(short = 'c', value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Accepted: files are never writable for a group
    #[arg(short = 'G')]
    no_group: bool,
    /// Which cluster: the name in its corosync.conf
    #[arg(short = 'n', value_name = "CLUSTER")]
    cluster: Option<String>,
    /// The store
    #[arg(short = 'd', value_name = "DIR", default_value = "/etc/corosync/qnetd/tls")]
    dir: PathBuf,
}

/// Ask for, import and hand on the certificate of this cluster
#[derive(Parser, Debug)]
#[command(
    name = "corosync-qdevice-net-certutil",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-qdevice-net-certutil -Q -n web ARBITRATOR NODE...   all of it, by ssh\nor by hand:\n  corosync-qdevice-net-certutil -i -c qnetd-cacert.crt         on every node: trust the arbitrator\n  corosync-qdevice-net-certutil -r -n web                      on one: ask (FILE.crq, sign it on the arbitrator)\n  corosync-qdevice-net-certutil -M -c cluster-web.crt          there: import what was signed, write the PKCS#12\n  corosync-qdevice-net-certutil -m -c qdevice-net-node.p12     on the other nodes"
)]
struct Client {
    /// Trust the arbitrator whose authority's certificate -c names
    #[arg(short = 'i')]
    init: bool,
    /// Import key and certificate from a PKCS#12 file
    #[arg(short = 'm')]
    import: bool,
    /// Ask for a certificate
    #[arg(short = 'r')]
    request: bool,
    /// Import the signed certificate, and write both as PKCS#12
    #[arg(short = 'M')]
    signed: bool,
    /// All of it, by ssh: ARBITRATOR NODE...
    #[arg(short = 'Q')]
    quick: bool,
    /// CA, CRT or PKCS#12, as the operation asks
    #[arg(short = 'c', value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// In place of ssh
    #[arg(short = 'S', value_name = "COMMAND", default_value = "ssh")]
    shell: String,
    /// In place of scp
    #[arg(short = 'C', value_name = "COMMAND", default_value = "scp")]
    copy: String,
    /// Name of the cluster, as in corosync.conf
    #[arg(short = 'n', value_name = "CLUSTER")]
    cluster: Option<String>,
    /// The store
    #[arg(short = 'd', value_name = "DIR", default_value = "/etc/corosync/qdevice/net/tls")]
    dir: PathBuf,
    hosts: Vec<String>,
}

type Outcome = Result<(), String>;

pub fn run_server(args: Vec<OsString>) -> i32 {
    run::<Server>("corosync-qnetd-certutil", args, server)
}

pub fn run_client(args: Vec<OsString>) -> i32 {
    run::<Client>("corosync-qdevice-net-certutil", args, client)
}

fn run<T: Parser>(name: &'static str, args: Vec<OsString>, work: fn(&T) -> Outcome) -> i32 {
    let line = std::iter::once(OsString::from(name)).chain(args);
    let matches = T::command().args_override_self(true).try_get_matches_from(line);
    let args = match matches.and_then(|m| T::from_arg_matches(&m)) {
        Ok(args) => args,
        Err(error) => {
            kernel::output::say(error.render().ansi(), error.render(), error.use_stderr());
            return i32::from(error.use_stderr());
        }
    };
    match work(&args) {
        Ok(()) => 0,
        Err(why) => {
            kernel::errln!("{name}: {why}");
            1
        }
    }
}

fn server(args: &Server) -> Outcome {
    let dir = &args.dir;
    match (args.init, args.sign, &args.certificate, &args.cluster) {
        (true, false, ..) => {
            fresh(dir, "ca-key.pem")?;
            let authority = issue::authority().map_err(|e| e.to_string())?;
            let own = issue::server(&authority).map_err(|e| e.to_string())?;
            private_dir(dir)?;
            write_key(dir, "ca-key.pem", &authority)?;
            write_key(dir, "key.pem", &own)?;
            let pem = |pair: &Pair| pair.certificate.to_pem().map_err(|e| e.to_string());
            write(dir, "ca.pem", &pem(&authority)?, 0o644)?;
            write(dir, "cert.pem", &pem(&own)?, 0o644)?;
            write(dir, CA_FILE, &pem(&authority)?, 0o644)?;
            kernel::outln!("QNetd CA certificate is exported as {}", dir.join(CA_FILE).display());
            Ok(())
        }
        (false, true, Some(file), Some(cluster)) => {
            let name = plain(cluster)?;
            let authority = read_pair(dir, "ca-key.pem", "ca.pem")?;
            let request = issue::read_request(&read(file)?).map_err(|e| format!("{}: {e}", file.display()))?;
            let granted = issue::grant(&authority, &request, cluster).map_err(|e| e.to_string())?;
            let granted = granted.ok_or_else(|| format!("{}: it is not signed by its own key", file.display()))?;
            let file = format!("cluster-{name}.crt");
            write(dir, &file, &granted.to_der().map_err(|e| e.to_string())?, 0o644)?;
            kernel::outln!("Certificate stored in {}", dir.join(file).display());
            Ok(())
        }
        _ => Err("expected -i, or -s -c FILE -n CLUSTER; see --help".to_owned()),
    }
}

fn client(args: &Client) -> Outcome {
    let dir = &args.dir;
    match (args, &args.certificate, &args.cluster) {
        (Client { quick: true, .. }, _, Some(cluster)) => quick(args, cluster),
        (Client { init: true, .. }, Some(file), _) => {
            fresh(dir, "ca.pem")?;
            let ca = issue::certificate(&read(file)?).map_err(|e| format!("{}: {e}", file.display()))?;
            private_dir(dir)?;
            write(dir, "ca.pem", &ca.to_pem().map_err(|e| e.to_string())?, 0o644)
        }
        (Client { request: true, .. }, _, Some(cluster)) => {
            plain(cluster)?;
            let key = issue::key().map_err(|e| e.to_string())?;
            let request = issue::request(&key, cluster).and_then(|r| r.to_der()).map_err(|e| e.to_string())?;
            private_dir(dir)?;
            // Beside the one in use, until what is signed fits it.
            write(dir, "asked-key.pem", &key.private_key_to_pem_pkcs8().map_err(|e| e.to_string())?, 0o600)?;
            write(dir, CRQ_FILE, &request, 0o644)?;
            kernel::outln!("Certificate request stored in {}", dir.join(CRQ_FILE).display());
            Ok(())
        }
        (Client { signed: true, .. }, Some(file), _) => {
            let key_pem = zeroize::Zeroizing::new(read(&dir.join("asked-key.pem"))?);
            let key = PKey::private_key_from_pem(&key_pem).map_err(|e| format!("asked-key.pem: {e}"))?;
            let certificate = issue::certificate(&read(file)?).map_err(|e| format!("{}: {e}", file.display()))?;
            let pair = Pair { key, certificate };
            take(dir, &pair, file)?;
            write(dir, P12_FILE, &issue::pack(&pair).map_err(|e| e.to_string())?, 0o600)?;
            let _ = std::fs::remove_file(dir.join("asked-key.pem"));
            kernel::outln!("PK12 certificate stored in {}", dir.join(P12_FILE).display());
            Ok(())
        }
        (Client { import: true, .. }, Some(file), _) => {
            let pair = issue::unpack(&read(file)?).map_err(|e| format!("{}: {e}", file.display()))?;
            take(dir, &pair.ok_or_else(|| format!("{}: no key and certificate in it", file.display()))?, file)
        }
        _ => Err("expected -Q, -i, -r, -M or -m with what it needs; see --help".to_owned()),
    }
}

/// Into use, if it is what it should be: nothing that is there is lost to a wrong file.
fn take(dir: &Path, pair: &Pair, file: &Path) -> Outcome {
    let ca = issue::certificate(&read(&dir.join("ca.pem"))?).map_err(|e| format!("ca.pem: {e}"))?;
    let trusted = ca.public_key().and_then(|k| pair.certificate.verify(&k)).unwrap_or(false);
    let own = pair.certificate.public_key().is_ok_and(|k| k.public_eq(&pair.key));
    if !trusted || !own {
        let why = match trusted {
            true => "not made out to the key of this store".to_owned(),
            false => format!(
                "not signed by the authority in ca.pem (where the arbitrator is another one now, remove {} on all nodes)",
                dir.display()
            ),
        };
        return Err(format!("{}: {why}", file.display()));
    }
    write_key(dir, "key.pem", pair)?;
    write(dir, "cert.pem", &pair.certificate.to_pem().map_err(|e| e.to_string())?, 0o644)
}

/// The steps of `-Q`, as the help lists them, each on its host.
fn quick(args: &Client, cluster: &str) -> Outcome {
    plain(cluster)?;
    let [arbitrator, nodes @ ..] = args.hosts.as_slice() else {
        return Err("-Q expected ARBITRATOR NODE...".to_owned());
    };
    let Some((first, others)) = nodes.split_first() else { return Err("-Q expected at least one node".to_owned()) };
    let (server, client) = ("/etc/corosync/qnetd/tls", "/etc/corosync/qdevice/net/tls");
    let temp = tempdir()?;
    let here = |name: &str| temp.join(name).display().to_string();
    let on = |host: &str, line: &str| remote(&args.shell, &[host, line]);
    let copy = |from: &str, to: &str| remote(&args.copy, &[from, to]);
    let made = format!("test -e {server}/ca-key.pem || bascule corosync-qnetd-certutil -i");
    // Into the stores, where nobody but root can put another file in its place meanwhile.
    let ready = format!("mkdir -p -m 0750 {client}");
    let trust = format!("test -e {client}/ca.pem || bascule corosync-qdevice-net-certutil -i -c {client}/{CA_FILE}");
    let asked = format!("{server}/cluster-{cluster}.crq");
    let steps = || -> Outcome {
        on(arbitrator, &made)?;
        copy(&format!("{arbitrator}:{server}/{CA_FILE}"), &here(CA_FILE))?;
        for node in nodes {
            on(node, &ready)?;
            copy(&here(CA_FILE), &format!("{node}:{client}/{CA_FILE}"))?;
            on(node, &trust)?;
        }
        on(first, &format!("bascule corosync-qdevice-net-certutil -r -n '{cluster}'"))?;
        copy(&format!("{first}:{client}/{CRQ_FILE}"), &here(CRQ_FILE))?;
        copy(&here(CRQ_FILE), &format!("{arbitrator}:{asked}"))?;
        on(arbitrator, &format!("bascule corosync-qnetd-certutil -s -c {asked} -n '{cluster}'"))?;
        let signed = format!("cluster-{cluster}.crt");
        copy(&format!("{arbitrator}:{server}/{signed}"), &here("signed.crt"))?;
        copy(&here("signed.crt"), &format!("{first}:{client}/signed.crt"))?;
        on(first, &format!("bascule corosync-qdevice-net-certutil -M -c {client}/signed.crt"))?;
        copy(&format!("{first}:{client}/{P12_FILE}"), &here(P12_FILE))?;
        for node in others {
            copy(&here(P12_FILE), &format!("{node}:{client}/{P12_FILE}"))?;
            on(node, &format!("bascule corosync-qdevice-net-certutil -m -c {client}/{P12_FILE}"))?;
        }
        Ok(())
    };
    let outcome = steps();
    // A key was in it.
    let _ = std::fs::remove_dir_all(&temp);
    outcome
}

fn remote(command: &str, arguments: &[&str]) -> Outcome {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or("an empty command")?;
    let status = Command::new(program).args(words).args(arguments).status();
    let line = format!("{command} {}", arguments.join(" "));
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{line}: {status}")),
        Err(error) => Err(format!("{line}: {error}")),
    }
}

fn tempdir() -> Result<PathBuf, String> {
    let mark: [u8; 8] = crate::node::random().map_err(|e| e.to_string())?;
    let name = mark.iter().fold("bascule-certutil-".to_owned(), |name, byte| format!("{name}{byte:02x}"));
    let dir = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(dir)
}

/// A cluster's name becomes part of a file's and of a remote command's.
fn plain(cluster: &str) -> Result<&str, String> {
    let sound = |c: char| c.is_alphanumeric() || "._-".contains(c);
    if cluster.is_empty() || cluster.starts_with('.') || !cluster.chars().all(sound) {
        return Err(format!("-n expected letters, digits, dots and dashes, found `{cluster}`"));
    }
    Ok(cluster)
}

fn fresh(dir: &Path, file: &str) -> Outcome {
    match dir.join(file).exists() {
        true => {
            Err(format!("{} is there already: remove {} first, if all of it is to be made anew", file, dir.display()))
        }
        false => Ok(()),
    }
}

fn private_dir(dir: &Path) -> Outcome {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir);
    made.map_err(|e| format!("{}: {e}", dir.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    kernel::files::read_regular(file, MAX_BYTES).map_err(|e| format!("{}: {e}", file.display()))
}

fn read_pair(dir: &Path, key: &str, certificate: &str) -> Result<Pair, String> {
    let pem = zeroize::Zeroizing::new(read(&dir.join(key))?);
    let key = PKey::private_key_from_pem(&pem).map_err(|e| format!("{key}: {e}"))?;
    let certificate = issue::certificate(&read(&dir.join(certificate))?).map_err(|e| format!("{certificate}: {e}"))?;
    Ok(Pair { key, certificate })
}

fn write_key(dir: &Path, name: &str, pair: &Pair) -> Outcome {
    let pem = zeroize::Zeroizing::new(pair.key.private_key_to_pem_pkcs8().map_err(|e| e.to_string())?);
    write(dir, name, &pem, 0o600)
}

fn write(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> Outcome {
    let file = dir.join(name);
    let failed = |e: std::io::Error| format!("{}: {e}", file.display());
    kernel::files::replace(&file, bytes, mode).map_err(failed)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).map_err(failed)
}
