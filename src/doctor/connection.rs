//! Wire, clock, logins and log.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::postgres::PgConnection;

use super::{Patient, Report, Verdict, some};
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

/// Looks at this very login, and says whether it may look at the rest.
pub(super) async fn admin(report: &mut Report, connection: &mut PgConnection) -> bool {
    let login = access::login(connection).await;
    let may_look = login.as_ref().is_ok_and(|login| login.may_migrate);
    report.add(
        "login.admin",
        "The migrations change public.businesses, which only its owner may; a superuser's mistakes have no fence.",
        login.map(|login| judge_admin(&login)).map_err(Into::into),
    );
    may_look
}

pub(super) async fn service(report: &mut Report, patient: &Patient, config: Option<&Config>) {
    if patient.has(crate::admin::LAST_BEFORE_CONTRACT) {
        report.add(
            "login.service",
            "A service's login is what a thief gets: it should be able to call the RPC, and nothing else.",
            judge_service(config).await,
        );
    }
}

fn judge_admin(login: &access::Login) -> Verdict {
    let name = &login.name;
    if !login.may_migrate {
        Verdict::fail(
            format!(
                "{name} does not own public.businesses, or may not create schemas; no other check was made"
            ),
            "connect as the owner: `postgres` on Supabase",
        )
    } else if login.is_superuser {
        Verdict::warn(format!("{name} is a superuser"), "connect as the owner of public.businesses instead")
    } else {
        Verdict::ok(format!("{name} owns public.businesses, and is no superuser"))
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

pub(super) async fn logs(report: &mut Report, patient: &mut Patient) {
    let verdict = match server::log_settings(&mut patient.connection).await {
        Ok(settings) => {
            let logins = server::login_settings(&mut patient.connection).await;
            logins.map(|logins| worst_logged(&settings, &logins))
        }
        Err(fault) => Err(fault),
    };
    report.add(
        "logs",
        "Values travel as bind parameters; a log that has them is a copy of the secrets that nobody guards.",
        verdict.map_err(Into::into),
    );
}

/// What goes for all, unless it is worse for a login that has settings of its own.
fn worst_logged(settings: &[(String, String)], logins: &[(String, String, String)]) -> Verdict {
    let mut worst = logged(settings);
    for own in logins.chunk_by(|(one, ..), (other, ..)| one == other) {
        let login = &own[0].0;
        // The last of a name is found first.
        let own = own.iter().rev().map(|(_, name, value)| (name.clone(), value.to_ascii_lowercase()));
        let effective: Vec<(String, String)> = own.chain(settings.iter().cloned()).collect();
        let found = logged(&effective);
        if found.level > worst.level {
            worst = Verdict {
                found: format!("for {login}: {}", found.found),
                fix: Some(format!(
                    "as a superuser: alter role {login} reset …, for what \\drds of psql shows of it"
                )),
                ..found
            };
        }
    }
    worst
}

fn logged(settings: &[(String, String)]) -> Verdict {
    let setting = |name: &str| {
        let found = settings.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let is_on = |name: &str| matches!(setting(name), "on" | "true" | "yes" | "1");
    let is_off = |name: &str| matches!(setting(name), "" | "none");
    let prints_parameters = setting("log_parameter_max_length") != "0";

    let mut always = Vec::new();
    let mut sometimes = Vec::new();
    if prints_parameters {
        match setting("log_statement") {
            "all" | "mod" => always.push(format!("log_statement = {}", setting("log_statement"))),
            _ => {}
        }
        match setting("log_min_duration_statement") {
            "" | "-1" => {}
            "0" | "0ms" | "0s" => always.push("log_min_duration_statement = 0".to_owned()),
            limit => sometimes.push(format!("log_min_duration_statement = {limit}")),
        }
        for name in ["log_min_duration_sample", "log_transaction_sample_rate"] {
            let is_off =
                matches!(setting(name), "" | "-1") || (name.ends_with("rate") && setting(name) == "0");
            if !is_off {
                sometimes.push(format!("{name} = {}", setting(name)));
            }
        }
    }
    if !matches!(setting("log_parameter_max_length_on_error"), "" | "0") {
        always.push(format!(
            "log_parameter_max_length_on_error = {}",
            setting("log_parameter_max_length_on_error")
        ));
    }
    if !is_off("pgaudit.log") && is_on("pgaudit.log_parameter") {
        always.push("pgaudit.log_parameter = on".to_owned());
    }
    let explains = !matches!(setting("auto_explain.log_min_duration"), "" | "-1")
        && setting("auto_explain.sample_rate") != "0";
    // The plans of the statements inside our functions hold values as constants, which no length cuts.
    let is_nested = explains && is_on("auto_explain.log_nested_statements");
    if is_nested {
        always.push("auto_explain.log_nested_statements = on".to_owned());
    }
    if explains && setting("auto_explain.log_parameter_max_length") != "0" {
        sometimes
            .push(format!("auto_explain.log_min_duration = {}", setting("auto_explain.log_min_duration")));
    }
    let lengths = "alter system set log_parameter_max_length = 0; the same with log_parameter_max_length_on_error and, \
                   where it is loaded, auto_explain.log_parameter_max_length; select pg_reload_conf()";
    let fix = if is_nested {
        format!("as a superuser: alter system set auto_explain.log_nested_statements = off; {lengths}")
    } else {
        format!("as a superuser: {lengths}")
    };
    if !always.is_empty() {
        Verdict::fail(format!("parameters are printed: {}", some(&always)), fix)
    } else if sometimes.is_empty() {
        Verdict::ok("no setting prints bind parameters")
    } else {
        Verdict::warn(format!("parameters of slow statements are printed: {}", some(&sometimes)), fix)
    }
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

    #[test]
    fn a_login_s_own_settings_are_judged_with_those_that_go_for_all() {
        let own = |settings: &[(&str, &str, &str)]| -> Vec<(String, String, String)> {
            settings
                .iter()
                .map(|(login, name, value)| ((*login).into(), (*name).into(), (*value).into()))
                .collect()
        };
        let all = [("log_statement".to_owned(), "none".to_owned())];
        assert_eq!(worst_logged(&all, &own(&[("ada", "work_mem", "1GB")])).level, Level::Ok);
        let logins = own(&[
            ("ada", "log_statement", "none"),
            ("maya", "log_statement", "none"),
            ("maya", "log_statement", "ALL"),
            ("zoe", "log_min_duration_statement", "10000"),
        ]);
        let worst = worst_logged(&all, &logins);
        assert_eq!(
            (worst.level, worst.found.as_str()),
            (Level::Fail, "for maya: parameters are printed: log_statement = all")
        );
        assert_eq!(worst_logged(&all, &logins[3..]).level, Level::Warn);
        let short = own(&[("maya", "log_statement", "all"), ("maya", "log_parameter_max_length", "0")]);
        assert_eq!(worst_logged(&all, &short).level, Level::Ok);
    }

    #[test]
    fn each_setting_that_prints_parameters_is_found() {
        let judge = |changed: &[(&str, &str)]| {
            let mut settings = vec![
                ("log_statement", "ddl"),
                ("log_min_duration_statement", "-1"),
                ("log_min_duration_sample", "-1"),
                ("log_transaction_sample_rate", "0"),
                ("log_parameter_max_length", "-1"),
                ("log_parameter_max_length_on_error", "0"),
            ];
            settings.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
            settings.extend(changed);
            let settings: Vec<(String, String)> =
                settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            logged(&settings).level
        };
        assert_eq!(judge(&[]), Level::Ok);
        assert_eq!(judge(&[("log_statement", "all")]), Level::Fail);
        assert_eq!(judge(&[("log_statement", "all"), ("log_parameter_max_length", "0")]), Level::Ok);
        assert_eq!(judge(&[("log_min_duration_statement", "0")]), Level::Fail);
        assert_eq!(judge(&[("log_min_duration_statement", "10s")]), Level::Warn);
        assert_eq!(judge(&[("log_min_duration_sample", "100ms")]), Level::Warn);
        assert_eq!(judge(&[("log_transaction_sample_rate", "0.5")]), Level::Warn);
        assert_eq!(judge(&[("log_parameter_max_length_on_error", "-1")]), Level::Fail);
        assert_eq!(judge(&[("pgaudit.log", "write"), ("pgaudit.log_parameter", "on")]), Level::Fail);
        assert_eq!(judge(&[("auto_explain.log_min_duration", "1s")]), Level::Warn);
        let short = ("auto_explain.log_parameter_max_length", "0");
        assert_eq!(judge(&[("auto_explain.log_min_duration", "1s"), short]), Level::Ok);
        let nested = ("auto_explain.log_nested_statements", "on");
        assert_eq!(judge(&[nested]), Level::Ok);
        assert_eq!(judge(&[("auto_explain.log_min_duration", "-1"), nested]), Level::Ok);
        assert_eq!(judge(&[("auto_explain.log_min_duration", "1s"), short, nested]), Level::Fail);
        assert_eq!(
            judge(&[("auto_explain.log_min_duration", "0"), ("auto_explain.log_nested_statements", "true")]),
            Level::Fail
        );
        let never = ("auto_explain.sample_rate", "0");
        assert_eq!(judge(&[("auto_explain.log_min_duration", "0"), nested, never]), Level::Ok);
    }
}
