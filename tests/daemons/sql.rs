//! mysql by mariadb, pgsql by postgresql.

use crate::fixture::{as_user, at, certificates, daemon, find, free_port, loopbacks};
use std::process::Command;

#[test]
fn postgresql() {
    let bin = "/usr/lib/postgresql/*/bin/postgres";
    let Some(mut d) = daemon("postgresql", bin) else { return };
    let port = free_port();
    let postgres = find(bin).expect("postgres");
    let initdb = postgres.with_file_name("initdb");
    d.mkdir("data");
    d.give("", "postgres");
    d.give("data", "postgres");
    let data = d.path("data").display().to_string();
    let mut command = as_user(&initdb, "postgres");
    command.args(["-D", &data, "--auth", "trust", "--no-sync", "-U", "postgres", "--no-locale", "-E", "UTF8"]);
    d.run(command);
    d.write(
        "setup.sql",
        "CREATE DATABASE shop;\n\nSET password_encryption = 'md5';\n\nCREATE ROLE md5user LOGIN PASSWORD 'good';\n\n\
         SET password_encryption = 'scram-sha-256';\n\nCREATE ROLE scramuser LOGIN PASSWORD 'good';\n\n\
         CREATE ROLE plainuser LOGIN PASSWORD 'good';\n\nCREATE ROLE trusted LOGIN;\n\n",
    );
    let mut single = as_user(std::path::Path::new("/bin/sh"), "postgres");
    // In single-user mode with -j a semicolon and an empty line end a command.
    let line = format!("{} --single -j -D {data} postgres <{}/setup.sql", postgres.display(), d.dir());
    single.args(["-c", &line]);
    d.run(single);
    let rules: String = ["127.0.0.1/32", "::1/128"]
        .iter()
        .map(|net| {
            format!(
                "host all md5user {net} md5\nhost all scramuser {net} scram-sha-256\nhost all plainuser {net} password\n\
                 host all trusted {net} trust\n"
            )
        })
        .collect();
    d.write("data/pg_hba.conf", rules);
    certificates(&d, &["localhost"]);
    ["localhost.pem", "localhost.key"].iter().for_each(|name| d.give(name, "postgres"));
    // The server takes no key that others may read.
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(d.path("localhost.key"), owner_only).expect("mode");
    d.give("data/pg_hba.conf", "postgres");
    let addresses = loopbacks().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut command = as_user(&postgres, "postgres");
    command.args(["-D", &data, "-p", &port.to_string(), "-k", "", "-c", &format!("listen_addresses={addresses}")]);
    command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "ssl=on"]);
    let dir = d.dir();
    command.args([
        "-c",
        &format!("ssl_cert_file={dir}/localhost.pem"),
        "-c",
        &format!("ssl_key_file={dir}/localhost.key"),
    ]);
    d.start(command, &at(port));

    let sql = |user: &str, passwd: &str, database: &str, request: &str| {
        format!("service=pgsql\nlogin=\"{user}\"\npasswd=\"{passwd}\"\ndatabase=\"{database}\"\nrequest=\"{request}\"")
    };
    d.eventually_up(port, &sql("trusted", "x", "shop", "SELECT 1"));
    for user in ["md5user", "scramuser", "plainuser"] {
        d.up(port, &sql(user, "good", "shop", "SELECT 1"));
        d.down(port, &sql(user, "bad", "shop", "SELECT 1"), "password authentication failed");
    }
    // Within TLS, as the server itself tells; then with its certificate verified, and not.
    let within = "SELECT 1 FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    let tls = |more: &str| format!("{}\nsqltls=yes\n{more}", sql("scramuser", "good", "shop", within));
    d.up(port, &tls(""));
    d.down(port, &sql("scramuser", "good", "shop", within), "no row");
    d.up(port, &tls(&format!("virtualhost=localhost\ntlscafile={dir}/ca.pem")));
    d.down(port, &tls(&format!("virtualhost=localhost\ntlscafile={dir}/other.pem")), "unknown issuer");
    d.down(port, &tls(&format!("virtualhost=elsewhere.example.test\ntlscafile={dir}/ca.pem")), "TLS");
    d.up(port, &sql("trusted", "x", "shop", "SELECT repeat('x', 1000000) FROM generate_series(1, 100)"));
    d.up(port, &sql("trusted", "x", "postgres", "SELECT * FROM pg_class"));
    d.down(port, &sql("trusted", "x", "shop", "SELECT 1 WHERE false"), "no row");
    d.down(port, &sql("trusted", "x", "shop", "SELECT * FROM nothing"), "does not exist");
    d.down(port, &sql("trusted", "x", "shop", "SELECT pg_sleep(30)\"\nnegotiatetimeout=1\ncomment=\""), "no answer");
    d.down(port, &sql("trusted", "x", "nowhere", "SELECT 1"), "does not exist");
    d.down(port, &sql("nobody", "x", "shop", "SELECT 1"), "pg_hba");
    d.down(port, "service=pgsql\nrequest=\"SELECT 1\"", "needs a login");
    d.down(port, "service=mysql\nlogin=\"trusted\"\nrequest=\"SELECT 1\"\nnegotiatetimeout=1", "");
}

#[test]
fn mariadb() {
    let Some(mut d) = daemon("mariadb-server", "mariadbd") else { return };
    let port = free_port();
    d.mkdir("data");
    d.give("", "mysql");
    d.give("data", "mysql");
    let data = d.path("data").display().to_string();
    let mut install = Command::new(find("mariadb-install-db").expect("mariadb-install-db comes with the server"));
    install.args([
        "--no-defaults",
        &format!("--datadir={data}"),
        "--skip-test-db",
        "--auth-root-authentication-method=normal",
    ]);
    if crate::fixture::is_root() {
        install.arg("--user=mysql");
    }
    d.run(install);
    let init = d.write(
        "init.sql",
        "CREATE DATABASE shop;\nCREATE TABLE shop.t (a LONGTEXT);\nINSERT INTO shop.t VALUES (REPEAT('x', 1000000));\n\
         CREATE USER bob@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('good');\nGRANT ALL ON shop.* TO bob@'%';\n\
         CREATE USER open@'%' IDENTIFIED VIA mysql_native_password USING '';\nGRANT ALL ON shop.* TO open@'%';\n\
         INSTALL SONAME 'auth_ed25519';\nCREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('good');\nFLUSH PRIVILEGES;\n",
    );
    d.give("init.sql", "mysql");
    let dir = d.dir();
    let addresses = loopbacks().iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut command = Command::new(find("mariadbd").expect("mariadbd"));
    command.args(["--no-defaults", &format!("--datadir={data}"), &format!("--port={port}")]);
    command.args([
        format!("--bind-address={addresses}"),
        format!("--socket={dir}/socket"),
        format!("--pid-file={dir}/pid"),
    ]);
    command.args([format!("--init-file={}", init.display()), "--skip-name-resolve".to_owned()]);
    command.args(["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"]);
    certificates(&d, &["localhost"]);
    ["localhost.pem", "localhost.key"].iter().for_each(|name| d.give(name, "mysql"));
    command.args([format!("--ssl-cert={dir}/localhost.pem"), format!("--ssl-key={dir}/localhost.key")]);
    if crate::fixture::is_root() {
        command.arg("--user=mysql");
    }
    d.start(command, &at(port));

    let sql = |user: &str, passwd: &str, database: &str, request: &str| {
        let passwd = if passwd.is_empty() { String::new() } else { format!("passwd=\"{passwd}\"\n") };
        format!("service=mysql\nlogin=\"{user}\"\n{passwd}database=\"{database}\"\nrequest=\"{request}\"")
    };
    d.eventually_up(port, &sql("bob", "good", "shop", "SELECT 1"));
    d.up(port, &sql("bob", "good", "shop", "SELECT a FROM t"));
    let within =
        "SELECT 1 FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER' AND VARIABLE_VALUE <> ''";
    let tls = |more: &str| format!("{}\nsqltls=yes\n{more}", sql("bob", "good", "shop", within));
    d.up(port, &tls(""));
    d.down(port, &sql("bob", "good", "shop", within), "no row");
    d.up(port, &tls(&format!("virtualhost=localhost\ntlscafile={dir}/ca.pem")));
    d.down(port, &tls(&format!("virtualhost=localhost\ntlscafile={dir}/other.pem")), "unknown issuer");
    d.up(port, &sql("open", "", "shop", "SHOW TABLES"));
    d.up(port, "service=mysql\nlogin=\"bob\"\npasswd=\"good\"\nrequest=\"SELECT 1\"");
    d.down(port, &sql("bob", "bad", "shop", "SELECT 1"), "Access denied");
    d.down(port, &sql("bob", "good", "nowhere", "SELECT 1"), "error 1044");
    d.down(port, &sql("nobody", "x", "shop", "SELECT 1"), "Access denied");
    d.down(port, &sql("bob", "good", "shop", "SELECT 1 FROM t WHERE false"), "no row");
    d.down(port, &sql("bob", "good", "shop", "DO 1"), "no rows");
    d.down(port, &sql("bob", "good", "shop", "SELECT * FROM nothing"), "doesn't exist");
    d.down(port, &sql("ed", "good", "shop", "SELECT 1"), "client_ed25519");
    d.down(port, "service=mysql\nlogin=\"bob\"", "needs a login and a request");
    d.down(port, "service=pgsql\nlogin=\"bob\"\nrequest=\"SELECT 1\"\nnegotiatetimeout=1", "");
}
