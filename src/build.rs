//! How the programs are linked (run by cargo).
//!
//! `bascule`: its 70,000 relocations in the packed table that glibc reads since 2.36 (Debian 12's), 1.6 MB less to read at every
//! start of every command, and to keep. `bascule-ipvsadm`: scripts start it by the hundred, so what a start costs is what it costs;
//! without position independence nothing has to be relocated, and with its own unwinder one library less is loaded: 84 page faults
//! for a start instead of 107.

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rustc-link-arg-bin=bascule=-Wl,-z,pack-relative-relocs");
    let own_unwinder = ["-Wl,--push-state,--whole-archive", "-l:libgcc_eh.a", "-Wl,--pop-state"];
    for arg in ["-no-pie"].iter().chain(&own_unwinder) {
        println!("cargo::rustc-link-arg-bin=bascule-ipvsadm={arg}");
    }
}
