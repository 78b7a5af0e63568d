//! Each check against the real daemon of its protocol: a good answer is up, a wrong expectation, password, name or database is down,
//! on IPv4 and IPv6.
//!
//! `tests/run daemons` installs what the chosen set needs. CI runs light ones (nginx, slapd, postgresql, unbound, dovecot),
//! `BASCULE_LONG=1` all; `BASCULE_DAEMONS=squid,inn2` these. A chosen daemon that is missing or does not start is a failure in CI
//! and in long runs.
mod alerts;
mod directory;
mod fixture;
mod mail;
mod sql;
mod web;
