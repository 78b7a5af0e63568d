//! The one binary: picks the applet by the name it was called through, or by its first argument; and tells the commands which agents
//! the program has in itself.

use base::applet::Applet;
use std::ffi::OsString;
use std::path::Path;

fn main() {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    cli::know_natives(&agents::NATIVES);
    let called = Path::new(&args.remove(0)).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(applet) = find(&called) {
        end((applet.run)(args));
    }
    let chosen = args.first().map(|a| a.to_string_lossy().into_owned());
    match chosen.as_deref().and_then(find) {
        Some(applet) => end((applet.run)(args.split_off(1))),
        None => end(cli::overview(&applets(), chosen.as_deref(), args)),
    }
}

fn end(code: i32) -> ! {
    std::process::exit(kernel::output::finish(code))
}

fn applets() -> Vec<&'static Applet> {
    cli::APPLETS.iter().chain(daemon::APPLETS).chain(lab::APPLETS).chain(agents::APPLETS).collect()
}

fn find(name: &str) -> Option<&'static Applet> {
    applets().into_iter().find(|a| a.name == name)
}
