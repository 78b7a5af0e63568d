//! The `ipvsadm` commands as a program of their own, next to the one binary that has them as well.
//!
//! Scripts call `ipvsadm` by the hundred, and each start of the whole binary has tens of thousands of addresses in it to
//! relocate. This one holds what the three commands need and nothing else. `bascule links` points their names at it
//! where it is installed beside `bascule`.

use cli::ipvsadm::{APPLETS, IPVSADM};
use std::ffi::OsString;
use std::path::Path;

fn main() {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let called = if args.is_empty() { OsString::new() } else { args.remove(0) };
    let find = |name: &OsString| {
        let name = Path::new(name).file_name()?.to_owned();
        APPLETS.iter().find(|a| name == a.name)
    };
    let run = match (find(&called), args.first().and_then(find)) {
        (Some(applet), _) => applet.run,
        (None, Some(applet)) => {
            args.remove(0);
            applet.run
        }
        (None, None) => IPVSADM.run,
    };
    std::process::exit(kernel::output::finish(run(args)));
}
