//! Logins of services: made with a generated password and a scope of just what they need, listed, and removed.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use super::names::{require_applied, require_known};
use super::{Admin, scram};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::queries::logins::{self, Login};
use crate::queries::{Answer, names};

/// What a login may read and write; `*` stands for every secret.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The names that it may read.
    pub reads: Vec<String>,
    /// The names that it may write.
    pub writes: Vec<String>,
}

/// A login that is about to be made: its password exists, so that it can be stored before the login does.
#[derive(Debug)]
pub struct NewLogin {
    /// The role's name.
    pub login: String,
    /// How its service connects.
    pub url: SecretString,
    scope: Scope,
    verifier: String,
}

/// What removing a login came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Sessions that were ended.
    pub sessions: i64,
}

impl Admin {
    /// Checks what is asked for and makes the password; changes nothing.
    pub async fn prepare_login(&self, login: &str, scope: Scope) -> Result<NewLogin> {
        if !is_login(login) {
            return Err(Error::InvalidArgument(
                "a login's name is 1 to 63 letters, digits, `_` and `-`, beginning with a letter, and not with pg_".into(),
            ));
        }
        if scope.reads.is_empty() && scope.writes.is_empty() {
            return Err(Error::InvalidArgument(
                "a login without a scope may do nothing: say what it reads or writes, with --read, --write, --read-all or \
                 --write-all"
                    .into(),
            ));
        }
        let mut connection = self.look().await?;
        require_applied(&mut connection, 4).await?;
        let entries = names::entries(&mut connection).await?;
        let known: Vec<String> =
            entries.into_iter().filter(|entry| !entry.is_retired).map(|entry| entry.name).collect();
        let wanted = scope.reads.iter().chain(&scope.writes).map(String::as_str).filter(|name| *name != "*");
        require_known(&known, wanted)?;
        if logins::exists(&mut connection, login).await? {
            return Err(Error::Refused(
                "there is a login of that name already; nothing was changed. In SQL, app_secrets.grant_scope(login, names, \
                 may_read, may_write) changes its scope; `app-secrets login remove` removes it"
                    .into(),
            ));
        }
        let (database, own) = logins::endpoint(&mut connection).await?;
        let password = scram::password()?;
        Ok(NewLogin {
            login: login.to_owned(),
            url: url(self.config(), login, &own, &database, &password),
            verifier: scram::verifier(password.expose_secret())?,
            scope,
        })
    }

    /// Makes the login with its membership and scope, all or nothing.
    pub async fn add_login(&self, new: &NewLogin) -> Result<()> {
        let mut connection = self.look().await?;
        logins::transaction(&mut connection, "begin").await?;
        // Dropped with the connection where something fails.
        logins::create(&mut connection, &new.login, &new.verifier).await?;
        for (names, may_read, may_write) in new.scope.grants() {
            logins::grant(&mut connection, &new.login, &names, may_read, may_write).await?;
        }
        logins::transaction(&mut connection, "commit").await?;
        Ok(())
    }

    /// Every login that may use secrets, and every scope.
    pub async fn logins(&self) -> Result<Vec<Login>> {
        let mut connection = self.look().await?;
        require_applied(&mut connection, 4).await?;
        Ok(logins::all(&mut connection).await?)
    }

    /// Locks a login out, ends its sessions, takes its scope and drops its role. Of the group's members only, and only
    /// of such as have no rights and objects besides.
    pub async fn remove_login(&self, login: &str) -> Result<Removed> {
        let mut connection = self.look().await?;
        require_applied(&mut connection, 4).await?;
        let found = logins::removable(&mut connection, login).await?;
        if !found.is_member && (!found.has_scope || found.exists) {
            let others = logins::all(&mut connection).await?;
            let names: Vec<&str> =
                others.iter().filter(|one| one.exists).map(|one| one.login.as_str()).collect();
            let which = if names.is_empty() { "there is none".to_owned() } else { names.join(", ") };
            return Err(Error::InvalidArgument(format!(
                "there is no login of that name in app_secrets_service; those are: {which}. Nothing was changed"
            )));
        }
        if found.is_powerful || found.dependents > 0 {
            return Err(Error::Refused(format!(
                "{login} is more than a service's login: {}. Nothing was changed. In SQL: revoke app_secrets_service from \
                 \"{login}\", and select app_secrets.revoke_scope('{login}')",
                if found.is_powerful {
                    "it has attributes of an administrator".to_owned()
                } else {
                    format!("it owns objects or has rights of its own in {} places", found.dependents)
                }
            )));
        }
        if !found.exists {
            logins::revoke(&mut connection, login).await?;
            return Ok(Removed { sessions: 0 });
        }
        logins::lock_out(&mut connection, login).await?;
        let (ended, open) = logins::end_sessions(&mut connection, login).await?;
        let dropped: Answer<()> = async {
            logins::transaction(&mut connection, "begin").await?;
            logins::revoke(&mut connection, login).await?;
            logins::drop_role(&mut connection, login).await?;
            logins::transaction(&mut connection, "commit").await
        }
        .await;
        dropped?;
        if ended < open {
            return Err(Error::Refused(format!(
                "{login} is removed, but {} of its sessions did not end within 5 s each: look for them in pg_stat_activity",
                open - ended
            )));
        }
        Ok(Removed { sessions: ended })
    }
}

impl Scope {
    /// `(names, may_read, may_write)`, each name once.
    fn grants(&self) -> Vec<(Vec<String>, bool, bool)> {
        let both: Vec<String> =
            self.reads.iter().filter(|name| self.writes.contains(name)).cloned().collect();
        let only = |of: &[String]| of.iter().filter(|name| !both.contains(name)).cloned().collect::<Vec<_>>();
        let (reads, writes) = (only(&self.reads), only(&self.writes));
        [(both, true, true), (reads, true, false), (writes, false, true)]
            .into_iter()
            .filter(|(names, ..)| !names.is_empty())
            .collect()
    }
}

/// A connection string like ours, for another login. Poolers carry the project in the login's name: `postgres.abcdefgh`.
fn url(config: &Config, login: &str, own: &str, database: &str, password: &SecretString) -> SecretString {
    let endpoint = &config.endpoint;
    let project = endpoint.user.strip_prefix(own).filter(|rest| rest.starts_with('.')).unwrap_or_default();
    let escaped = |text: &str| utf8_percent_encode(text, &RESERVED).to_string();
    let (user, password) = (escaped(&format!("{login}{project}")), escaped(password.expose_secret()));
    let (place, query) = if endpoint.is_socket() {
        (format!("localhost:{}", endpoint.port), format!("?host={}", escaped(&endpoint.host)))
    } else if endpoint.is_ipv6() {
        (endpoint.place(), String::new())
    } else {
        (format!("{}:{}", escaped(&endpoint.host), endpoint.port), String::new())
    };
    format!("postgresql://{user}:{password}@{place}/{}{query}", escaped(database)).into()
}

/// What stands for itself nowhere in a URL, or not everywhere.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn is_login(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.to_ascii_lowercase().starts_with("pg_")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    fn made(admin: &str) -> String {
        let options = Options { url: Some(admin.to_owned().into()), ..Options::default() };
        let config = Config::new(options, |_| None).unwrap();
        let database = config.endpoint.database.clone();
        let made = url(&config, "klingRoutes", "postgres", &database, &SecretString::from("p-w_1"));
        made.expose_secret().to_owned()
    }

    #[test]
    fn the_connection_string_leads_where_ours_does() {
        assert_eq!(
            made("postgres://postgres:x@localhost:5433/app"),
            "postgresql://klingRoutes:p-w_1@localhost:5433/app"
        );
        assert_eq!(
            made("postgres://postgres.abcdefgh:x@aws-0-eu-west-1.pooler.supabase.com:5432/app"),
            "postgresql://klingRoutes.abcdefgh:p-w_1@aws-0-eu-west-1.pooler.supabase.com:5432/app"
        );
    }

    #[test]
    fn whatever_host_and_database_there_are_the_connection_string_leads_there() {
        for place in [
            "[::1]:5433/app",
            "[2001:db8::1]:5432/app",
            "%2Frun%2Fpostgresql:5432/app",
            "db_1.example.com:5432/app",
        ] {
            for database in ["app", "a%2541", "a%3Fb", "a%23b", "a%20b", "a%2Fb", "gr%C3%B6%C3%9Fe"] {
                let admin =
                    format!("postgres://postgres:x@{}", place.replace("/app", &format!("/{database}")));
                let endpoint = |url: String| {
                    let options =
                        Options { url: Some(url.into()), allow_insecure: true, ..Options::default() };
                    let found = Config::new(options, |_| None).unwrap().endpoint;
                    (found.host, found.port, found.database)
                };
                assert_eq!(endpoint(made(&admin)), endpoint(admin));
            }
        }
        assert_eq!(
            made("postgres://postgres:x@[::1]:5433/a%2541"),
            "postgresql://klingRoutes:p-w_1@[::1]:5433/a%2541"
        );
    }

    #[test]
    fn a_name_is_granted_once() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let scope = Scope { reads: list(&["a", "b"]), writes: list(&["b", "c"]) };
        assert_eq!(
            scope.grants(),
            [(list(&["b"]), true, true), (list(&["a"]), true, false), (list(&["c"]), false, true)]
        );
    }

    #[test]
    fn names_of_logins_need_no_quoting_of_their_own() {
        for good in ["klingRoutes", "maya-service", "a"] {
            assert!(is_login(good), "{good}");
        }
        for bad in ["", "pg_monitor", "a b", "a\"b", "1a", "-a", &"x".repeat(64)] {
            assert!(!is_login(bad), "{bad}");
        }
    }
}
