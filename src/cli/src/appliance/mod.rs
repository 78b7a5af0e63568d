//! What a pair of directors is made of, as the files that say so: `ldirectord.cf` ([`cf`]) and the CIB ([`cib`]). Whoever knows what is
//! wanted (`bascule setup` by asking, `bascule migrate` by reading) fills these, and they alone know how it is written.

pub mod cf;
pub mod cib;
