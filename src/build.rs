//! How `bascule-ipvsadm` is linked (run by cargo): scripts start it by the hundred, so what a start costs is what it costs.
//!
//! Without position independence nothing has to be relocated, and with its own unwinder one library less is loaded: 84
//! page faults for a start instead of 107.

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    let own_unwinder = ["-Wl,--push-state,--whole-archive", "-l:libgcc_eh.a", "-Wl,--pop-state"];
    for arg in ["-no-pie"].iter().chain(&own_unwinder) {
        println!("cargo::rustc-link-arg-bin=bascule-ipvsadm={arg}");
    }
}
