//! Each check against the real daemon of its protocol: a good answer is up, a wrong expectation, password, name or database is down,
//! on IPv4 and IPv6.
//!
//! `tests/run daemons` installs what the chosen set needs. CI runs light ones (openssl, nginx, slapd, postgresql, unbound, dovecot),
//! `BASCULE_LONG=1` all; `BASCULE_DAEMONS=squid,inn2` these. A chosen daemon that is missing or does not start is a failure in CI
//! and in long runs. A check counts as passed only if a real daemon said so; each run prints `CONFIRMED by` with the version.
//!
//! | service | confirmed by (Debian 12, IPv4 and IPv6) |
//! |---|---|
//! | http, https (SNI, verification), simpletcp over TCP, connect | nginx-light 1.22.1 |
//! | TLS of all checks: versions, suites, groups, certificates | openssl 3.0.19 (s_server) |
//! | every kind of check over odd answers | Debian's Perl ldirectord 1.186, which judges beside it |
//! | http_proxy | squid 5.7 |
//! | smtp, submission, e-mail alerts | postfix 3.7.11 |
//! | pop, pops, imap, imaps | dovecot 2.3.19.1 |
//! | ftp | vsftpd 3.0.3 |
//! | nntp | inn2 2.7.1 (nnrpd) |
//! | ldap, ldaps | slapd 2.5.13 |
//! | dns over UDP and TCP | unbound 1.17.1 |
//! | radius | freeradius 3.2.1 |
//! | mysql by mysql_native_password | mariadb-server 10.11.19 |
//! | pgsql by trust, password, md5, SCRAM-SHA-256 | postgresql 15.18 |
//! | sip over UDP and TCP | kamailio 5.6.3 |
//!
//! Only a server that a test plays has answered: mysql by caching_sha2_password (Debian has no MySQL), simpletcp over UDP. ping is
//! answered by the kernel, external by scripts; oracle has no check.
mod alerts;
mod beside;
mod directory;
mod fixture;
mod mail;
mod oddities;
mod sql;
mod tls;
mod web;
