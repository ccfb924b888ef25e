//! Wire, clock and logins.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgConnection;

use super::{Examined, Report, Verdict, some};
use crate::config::Config;
use crate::error::Result;
use crate::queries::{access, server, session};

/// Half of what Google's shortest tokens and our caches would mind.
const SKEW_MS: i64 = 5_000;

pub(super) async fn wire(
    report: &mut Report,
    config: &Config,
    connection: &mut PgConnection,
    is_pooled: bool,
) {
    report.add(
        "connection.tls",
        "Everything that is read goes over this connection in clear unless it is encrypted.",
        tls(config, connection).await,
    );
    let pooler = if is_pooled {
        Verdict::fail(
            "a pooler in transaction mode stands before the database; no other check was made",
            "set ADMIN_DATABASE_URL to the database's own host (Supabase: db.PROJECT.supabase.co:5432, or port 5432 of \
             the pooler's host)",
        )
    } else {
        Verdict::ok("a session of its own")
    };
    report.add(
        "connection.pooler",
        "A migration holds a lock and settings for its session, which a transaction pooler hands to somebody else.",
        Ok(pooler),
    );
    if !is_pooled {
        report.add(
            "connection.clock",
            "Expiry of tokens and of cached values is judged by two clocks.",
            clock(connection).await,
        );
    }
}

async fn tls(config: &Config, connection: &mut PgConnection) -> Result<Verdict> {
    if let Some(version) = server::tls(connection).await? {
        return Ok(Verdict::ok(format!("encrypted ({version})")));
    }
    if config.endpoint.is_local() {
        return Ok(Verdict::ok("not encrypted, and on this machine"));
    }
    Ok(Verdict::fail(
        "not encrypted, to another machine",
        "remove allowInsecure (--allow-insecure), and give the server a certificate",
    ))
}

async fn clock(connection: &mut PgConnection) -> Result<Verdict> {
    let before = now();
    let server = server::clock(connection).await?;
    let after = now();
    Ok(skew(server - i64::midpoint(before, after), (after - before) / 2))
}

/// `error` is what the round trip leaves uncertain.
fn skew(offset: i64, error: i64) -> Verdict {
    if offset.abs() - error <= SKEW_MS {
        return Verdict::ok("the server's and this machine's agree");
    }
    let direction = if offset > 0 { "ahead of" } else { "behind" };
    Verdict::warn(
        format!("the server's is {} s {direction} this machine's", offset.abs() / 1000),
        "let both follow NTP",
    )
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

const ADMIN: &str = "The migrations change the table whose rows own secrets, which only its owner may; a superuser's \
                     mistakes have no fence.";

/// This login may not even read the catalogue, so that nothing else can be judged.
pub(super) fn may_not_look(report: &mut Report, login: &str) {
    let verdict = Verdict::fail(
        format!("{login} may not read the catalogue of secrets; no other check was made"),
        "connect as the owner of the table whose rows own secrets: `postgres` on Supabase",
    );
    report.add("login.admin", ADMIN, Ok(verdict));
}

/// Looks at this very login, and says whether it may look at the rest.
pub(super) async fn admin(report: &mut Report, connection: &mut PgConnection, owner_table: &str) -> bool {
    let login = access::login(connection, owner_table).await;
    let may_look = login.as_ref().is_ok_and(|login| login.may_migrate);
    report.add("login.admin", ADMIN, login.map(|login| judge_admin(&login, owner_table)).map_err(Into::into));
    may_look
}

pub(super) async fn service(report: &mut Report, examined: &Examined, config: Option<&Config>) {
    if examined.has(crate::admin::RPC) {
        report.add(
            "login.service",
            "A service's login is what a thief gets: it should be able to call the RPC, and nothing else.",
            judge_service(config).await,
        );
    }
}

fn judge_admin(login: &access::Login, owner_table: &str) -> Verdict {
    let name = &login.name;
    if !login.has_owner_table {
        Verdict::fail(
            format!("there is no table {owner_table}; no other check was made"),
            "name the table whose rows own secrets in app-secrets.json (`app-secrets init` proposes one), or check the \
             database's name",
        )
    } else if !login.may_migrate {
        Verdict::fail(
            format!("{name} does not own {owner_table}, or may not create schemas; no other check was made"),
            "connect as the owner: `postgres` on Supabase",
        )
    } else if login.is_superuser {
        Verdict::warn(
            format!("{name} is a superuser"),
            format!("connect as the owner of {owner_table} instead"),
        )
    } else {
        Verdict::ok(format!("{name} owns {owner_table}, and is no superuser"))
    }
}

async fn judge_service(config: Option<&Config>) -> Result<Verdict> {
    let Some(config) = config else {
        return Ok(Verdict::warn(
            "not looked at: APP_SECRETS_URL is not set",
            "run this where the service's APP_SECRETS_URL is set",
        ));
    };
    let mut connection = session::open(config, "app-secrets doctor").await?;
    let login = access::service(&mut connection).await?;
    let name = &login.name;
    let is_encrypted = server::tls(&mut connection).await?.is_some() || config.endpoint.is_local();
    let fix = "make a login of its own: create role maya login password '…' in role app_secrets_service";
    Ok(if !login.powers.is_empty() {
        Verdict::fail(format!("{name} {}", some(&login.powers)), fix)
    } else if !login.is_member {
        Verdict::fail(
            format!("{name} is not in app_secrets_service: it may call nothing"),
            format!("grant app_secrets_service to {name}"),
        )
    } else if !is_encrypted {
        Verdict::fail(
            format!("{name} connects to another machine without encryption"),
            "remove allowInsecure",
        )
    } else if !login.others.is_empty() {
        Verdict::warn(format!("{name} is in other roles too: {}", some(&login.others)), fix)
    } else if config.for_listening().is_none() {
        Verdict::warn(
            format!(
                "{name} goes through a transaction pooler, where nobody can LISTEN: changes are seen by TTL only"
            ),
            "pass listenUrl, a direct connection",
        )
    } else {
        Verdict::ok(format!("{name} is in app_secrets_service and nothing else"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn clocks_may_differ_by_what_the_round_trip_leaves_uncertain() {
        assert_eq!(skew(0, 0).level, Level::Ok);
        assert_eq!(skew(-5_000, 0).level, Level::Ok);
        assert_eq!(skew(8_000, 4_000).level, Level::Ok);
        let ahead = skew(60_000, 1);
        assert_eq!(ahead.level, Level::Warn);
        assert!(ahead.found.contains("60 s ahead"));
        assert!(skew(-60_000, 1).found.contains("60 s behind"));
    }
}
