//! One call of an alert agent.

use super::child::{self, ChildError, Program};
use super::secrets::Secrets;
use super::{MAX_REASON_BYTES, Places, env, lsb};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Whom alert agents run as, as Pacemaker's do.
const USER: &str = "hacluster";
/// Where there is no such user: nobody's rights are better than all.
const OTHER: &str = "nobody";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct User {
    pub uid: u32,
    pub gid: u32,
}

/// The user of alert agents; `None` where this process cannot change users.
pub(crate) async fn user() -> Option<User> {
    if !nix::unistd::Uid::effective().is_root() {
        return None;
    }
    let look = || {
        let of = |name: &str| nix::unistd::User::from_name(name).ok().flatten();
        let user = of(USER).or_else(|| {
            tracing::warn!("there is no user {USER}: alert agents run as {OTHER}");
            of(OTHER)
        });
        user.map_or(User { uid: 65534, gid: 65534 }, |u| User { uid: u.uid.as_raw(), gid: u.gid.as_raw() })
    };
    // Asked beside everything else: a directory service may hang.
    tokio::task::spawn_blocking(look).await.ok().or(Some(User { uid: 65534, gid: 65534 }))
}

/// Runs the agent to its end or `limit`; the error says why nobody can count on the alert.
pub(crate) async fn run(
    places: &Places,
    node: &str,
    path: &str,
    variables: BTreeMap<String, String>,
    user: Option<&User>,
    limit: Duration,
) -> Result<(), String> {
    let secrets = Secrets::among(variables.iter());
    let mut env = env::common(places, Some(node));
    env.extend(variables.into_iter().filter(|(_, v)| !v.contains('\0')).map(|(name, value)| (name, value.into())));
    let program = Program { file: path.into(), args: Vec::new(), env };
    match child::run_as(&places.groups, &program, user, b"", Instant::now() + limit).await {
        Ok(output) if output.code == 0 => Ok(()),
        Ok(output) => {
            let said = format!("exit code {} {}", output.code, lsb::last_line(&output.stderr));
            Err(base::text::one_line(&secrets.hide(&said), MAX_REASON_BYTES))
        }
        Err(ChildError::Deadline) => Err(format!("did not end within {} ms and was killed", limit.as_millis())),
        Err(error) => Err(error.to_string()),
    }
}
