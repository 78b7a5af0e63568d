//! Texts for people.

/// The same line as the original's, since scripts compare it.
pub const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n";

pub const TEXT: &str = "\
Shows and changes the kernel's table of virtual services and their real servers.

  ipvsadm COMMAND [SERVICE] [-r SERVER] [OPTIONS]       the command comes first; none means -L

Commands, long or short:
  -A --add-service      -E --edit-service      -D --delete-service      a virtual service
  -a --add-server       -e --edit-server       -d --delete-server       a real server of a service
  -L -l --list          show services and real servers
  -C --clear            remove everything
  -Z --zero             set counters to zero, of one service or all
  -S --save             print the table as rules
  -R --restore          read rules from standard input
  --set TCP FIN UDP     session timeouts in seconds; 0 leaves one as it is
  --start-daemon master|backup     --stop-daemon master|backup     connection synchronisation
  top                   live view with rates
  -h --help             -v --version

SERVICE is one of
  -t --tcp-service ADDR[:PORT]     -u --udp-service ADDR[:PORT]     --sctp-service ADDR[:PORT]
  -f --fwmark-service MARK [-6]    packets with a firewall mark; -6 behind it for IPv6
  (IPv6 addresses with a port in brackets: [2001:db8::1]:80)

With -A and -E:
  -s --scheduler NAME   rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos (default wlc)
  -p --persistent [S]   a client stays with its server for S seconds (default 360)
  -M --netmask MASK     what counts as one client: dotted mask, or prefix length for IPv6
  --pe NAME             persistence engine, e.g. sip
  -o --ops              one-packet scheduling (UDP or mark)
  -b --sched-flags LIST flag-1 flag-2 flag-3, sh-fallback sh-port, mh-fallback mh-port
  --keep                (-E, -e) settings that are not given stay as they are; without it they return to
                        their defaults

With -a and -e:
  -r --real-server ADDR[:PORT]     port as of the service unless given
  -g --gatewaying (default)        -i --ipip tunnel        -m --masquerading (NAT)
  --tun-type ipip|gue|gre          --tun-port PORT         --tun-nocsum --tun-csum --tun-remcsum
  -w --weight N         0 takes no new connections (default 1)
  -x --u-threshold N    -y --l-threshold N                 limits of connections; 0 for none

With -L:
  -n --numeric          -c --connection      --timeout       --daemon
  --stats               --rate               --thresholds    --persistent-conn    --tun-info
  -X --exact            --nosort             --sort          --json

With -S: -n, --json, --full (also timeouts and synchronisation), --classic (without thresholds, as ipvsadm 1.31)
With -R: --check      only try all lines and say what is wrong
         --replace    make the table equal to the rules (or to a table in JSON) by the fewest changes, all or nothing

Synchronisation:
  --syncid 0-255 (default 0)       --mcast-interface IF (default eth0)     --sync-maxlen BYTES
  --mcast-group ADDR (224.0.0.81)  --mcast-port PORT (8848)                --mcast-ttl N (1)

Before the command: --table FILE.json works on the table in a file instead of the kernel's.

Examples:
  ipvsadm -A -t 192.0.2.1:80 -s wlc -p 300
  ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.11 -g -w 100
  ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.11 --keep -w 0
  ipvsadm -Ln --stats
  ipvsadm -Sn --full > rules && ipvsadm -R --replace < rules

Exit codes: 0 done; 1 listing refused; 2 wrong arguments or no IPVS; 255 the kernel refused, or unknown option.
";

pub const SAVE_TEXT: &str = "\
ipvsadm-save: prints the IPVS table as rules for ipvsadm-restore.
   -n numbers instead of names; --json as a table for programs; --full with timeouts and synchronisation;
   --classic as ipvsadm 1.31 does (without thresholds)
   Examples: ipvsadm-save -n > /etc/ipvsadm.rules
";

pub const RESTORE_TEXT: &str = "\
ipvsadm-restore: clears the IPVS table and reads rules from standard input; lines that begin with # are comments.
   --check only tries the rules; --replace changes what differs, all or nothing, without clearing
   Examples: ipvsadm-restore --replace < /etc/ipvsadm.rules
";

/// The tree for completion and man page. The command line itself is read by the original's rules, not by this.
pub fn tree() -> clap::Command {
    tree_of("ipvsadm", TEXT)
        .args(super::options::arguments())
        .arg(clap::Arg::new("table").long("table").value_name("FILE.json").value_hint(clap::ValueHint::FilePath))
        .subcommand(clap::Command::new("top").about("Live view with rates").disable_help_flag(true))
}

pub fn save_tree() -> clap::Command {
    tree_of("ipvsadm-save", SAVE_TEXT).args(["json", "full", "classic"].map(flag)).arg(flag("numeric").short('n'))
}

pub fn restore_tree() -> clap::Command {
    tree_of("ipvsadm-restore", RESTORE_TEXT).args(["check", "replace"].map(flag))
}

fn tree_of(name: &'static str, text: &'static str) -> clap::Command {
    clap::Command::new(name).after_help(text).disable_help_flag(true).disable_version_flag(true)
}

fn flag(name: &'static str) -> clap::Arg {
    clap::Arg::new(name).long(name).action(clap::ArgAction::SetTrue)
}
