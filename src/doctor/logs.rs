//! Which settings make the server write secrets into its log.
//!
//! What each one prints was measured with planted values on PostgreSQL 15, 17 and 18; a test repeats that. pgaudit is
//! judged by its documentation.

use super::{Examined, Report, Verdict, some};
use crate::error::Result;
use crate::queries::server::{self, LogSettings, Login};

/// The first version whose `auto_explain` prints parameters at all.
const EXPLAINS_PARAMETERS: i32 = 16;

pub(super) async fn logs(report: &mut Report, examined: &mut Examined) {
    report.add(
        "logs",
        "Values travel as bind parameters; a log that has them is a copy of the secrets that nobody guards.",
        look(examined).await,
    );
}

async fn look(examined: &mut Examined) -> Result<Verdict> {
    let settings = server::log_settings(&mut examined.connection).await?;
    let logins = server::logins(&mut examined.connection, &examined.catalogue.owner_table).await?;
    Ok(judge(&settings, &logins))
}

/// A setting that prints values.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leak {
    /// As it is set.
    setting: String,
    /// Of every statement, and not only of slow or sampled ones.
    is_always: bool,
    /// What stops it.
    cure: &'static str,
}

/// Judges the settings of each login that can write secrets.
fn judge(server: &LogSettings, logins: &[Login]) -> Verdict {
    let mut by_login: Vec<(&Login, Vec<Leak>)> = Vec::new();
    for login in logins {
        let own =
            |name: &str| login.settings.iter().rev().find(|(set, _)| set == name).map(|(_, v)| v.as_str());
        let general =
            |name: &str| server.values.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        let leaks = leaks(server.major, |name| own(name).or_else(|| general(name)).unwrap_or_default());
        if !leaks.is_empty() {
            by_login.push((login, leaks));
        }
    }
    let is_always = by_login.iter().any(|(_, leaks)| leaks.iter().any(|leak| leak.is_always));
    // Whoever is only slow-logged is not named beside those whose every statement is printed.
    by_login.retain(|(_, leaks)| !is_always || leaks.iter().any(|leak| leak.is_always));
    if by_login.is_empty() {
        return Verdict::ok(
            "no setting prints bind parameters (a COPY that fails prints its line: load secrets through the RPC)",
        );
    }
    let whose = if by_login.len() == logins.len() {
        String::new()
    } else {
        let names: Vec<String> = by_login.iter().map(|(login, _)| login.name.clone()).collect();
        format!("for {}: ", some(&names))
    };
    let mut settings: Vec<String> = Vec::new();
    let mut cures: Vec<&'static str> = Vec::new();
    for leak in by_login.iter().flat_map(|(_, leaks)| leaks).filter(|leak| leak.is_always == is_always) {
        if !settings.contains(&leak.setting) {
            settings.push(leak.setting.clone());
        }
        if !cures.contains(&leak.cure) {
            cures.push(leak.cure);
        }
    }
    let fix = fix(server, &by_login, &cures, whose.is_empty());
    if is_always {
        Verdict::fail(format!("{whose}values are printed: {}", some(&settings)), fix)
    } else {
        Verdict::warn(
            format!("{whose}values of slow or sampled statements are printed: {}", some(&settings)),
            fix,
        )
    }
}

fn fix(server: &LogSettings, by_login: &[(&Login, Vec<Leak>)], cures: &[&str], for_all: bool) -> String {
    const MOST: usize = 3;
    let mut statements: Vec<String> = by_login
        .iter()
        .take(MOST)
        .flat_map(|(login, _)| {
            let role = format!("alter role {} in database {}", login.quoted, server.database);
            cures.iter().map(move |cure| format!("{role} set {cure}"))
        })
        .collect();
    if by_login.len() > MOST {
        statements.push(format!("the same for {} more logins", by_login.len() - MOST));
    }
    let each = statements.join("; ");
    // pgaudit.log_parameter is not among what Supabase lets `postgres` set.
    let is_supabases = !cures.iter().any(|cure| cure.starts_with("pgaudit."));
    let on_supabase = if is_supabases { " (on Supabase `postgres` may)" } else { "" };
    if !for_all {
        return format!("as a superuser{on_supabase}: {each}");
    }
    let all: Vec<String> = cures.iter().map(|cure| format!("alter system set {cure}")).collect();
    format!(
        "as a superuser: {}; select pg_reload_conf(). Or for each login{on_supabase}: {each}",
        all.join("; ")
    )
}

fn leaks<'a>(major: i32, setting: impl Fn(&str) -> &'a str) -> Vec<Leak> {
    let mut found = Vec::new();
    let mut leak = |name: &str, is_always: bool, cure: &'static str| {
        found.push(Leak { setting: format!("{name} = {}", setting(name)), is_always, cure });
    };
    let number = |name: &str| number(setting(name));
    // A limit of -1 is none; of 0, every statement.
    let limit = |name: &str| number(name).filter(|limit| *limit >= 0.0);
    let rate = |name: &str, default: f64| number(name).unwrap_or(default);

    if setting("log_parameter_max_length") != "0" {
        let cure = "log_parameter_max_length = 0";
        if matches!(setting("log_statement").to_ascii_lowercase().as_str(), "all" | "mod") {
            leak("log_statement", true, cure);
        }
        if let Some(limit) = limit("log_min_duration_statement") {
            leak("log_min_duration_statement", limit == 0.0, cure);
        }
        if limit("log_min_duration_sample").is_some() && rate("log_statement_sample_rate", 1.0) > 0.0 {
            leak("log_min_duration_sample", false, cure);
        }
        let sampled = rate("log_transaction_sample_rate", 0.0);
        if sampled > 0.0 {
            leak("log_transaction_sample_rate", sampled >= 1.0, cure);
        }
    }
    if number("log_parameter_max_length_on_error").is_some_and(|length| length != 0.0) {
        leak("log_parameter_max_length_on_error", true, "log_parameter_max_length_on_error = 0");
    }
    // As a list of bytes, which is the value to whoever wants it.
    if is_on(setting("debug_print_plan")) {
        leak("debug_print_plan", true, "debug_print_plan = off");
    }
    if !matches!(setting("pgaudit.log").to_ascii_lowercase().as_str(), "" | "none")
        && is_on(setting("pgaudit.log_parameter"))
    {
        leak("pgaudit.log_parameter", true, "pgaudit.log_parameter = off");
    }
    let Some(limit) = limit("auto_explain.log_min_duration") else { return found };
    if rate("auto_explain.sample_rate", 1.0) <= 0.0 {
        return found;
    }
    let is_always = limit == 0.0;
    if major >= EXPLAINS_PARAMETERS && number("auto_explain.log_parameter_max_length") != Some(0.0) {
        leak("auto_explain.log_min_duration", is_always, "auto_explain.log_parameter_max_length = 0");
    }
    // Constants of the plans: no length cuts those.
    if is_on(setting("auto_explain.log_verbose")) {
        leak("auto_explain.log_verbose", is_always, "auto_explain.log_verbose = off");
    }
    if is_on(setting("auto_explain.log_nested_statements")) {
        leak("auto_explain.log_nested_statements", is_always, "auto_explain.log_nested_statements = off");
    }
    found
}

/// The server takes any unambiguous beginning of a word for a boolean.
fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value == "1"
        || value == "on"
        || (!value.is_empty() && ("true".starts_with(&value) || "yes".starts_with(&value)))
}

/// The number in front of a unit.
fn number(value: &str) -> Option<f64> {
    let value = value.trim();
    let end =
        value.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(value.len());
    value[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn server(major: i32, changed: &[(&str, &str)]) -> LogSettings {
        let mut values = vec![
            ("log_statement", "ddl"),
            ("log_min_duration_statement", "-1"),
            ("log_min_duration_sample", "-1"),
            ("log_statement_sample_rate", "1"),
            ("log_transaction_sample_rate", "0"),
            ("log_parameter_max_length", "-1"),
            ("log_parameter_max_length_on_error", "0"),
        ];
        values.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
        values.extend(changed);
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        LogSettings { major, database: "app".into(), values }
    }

    fn login(name: &str, settings: &[(&str, &str)]) -> Login {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Login { name: name.into(), quoted: name.into(), settings }
    }

    #[test]
    fn a_login_s_own_settings_are_judged_with_those_that_go_for_all() {
        let of = |logins: &[Login]| judge(&server(17, &[]), logins);
        assert_eq!(of(&[login("ada", &[("work_mem", "1GB")])]).level, Level::Ok);
        let logins = [
            login("ada", &[("log_statement", "none")]),
            login("maya", &[("log_statement", "none"), ("log_statement", "ALL")]),
            login("zoe", &[("log_min_duration_statement", "10000")]),
        ];
        let worst = of(&logins);
        assert_eq!(
            (worst.level, worst.found.as_str()),
            (Level::Fail, "for maya: values are printed: log_statement = ALL")
        );
        let fix = worst.fix.unwrap();
        assert!(fix.contains("alter role maya in database app set log_parameter_max_length = 0"), "{fix}");
        assert_eq!(of(&logins[2..]).level, Level::Warn);
        assert_eq!(
            of(&[login("maya", &[("log_statement", "all"), ("log_parameter_max_length", "0")])]).level,
            Level::Ok
        );
    }

    #[test]
    fn what_goes_for_all_is_cleared_by_what_every_login_is_given() {
        let all = server(17, &[("log_min_duration_statement", "0")]);
        let cured = |name| login(name, &[("log_parameter_max_length", "0")]);
        assert_eq!(judge(&all, &[cured("ada"), cured("maya")]).level, Level::Ok);
        let one_left = judge(&all, &[cured("ada"), login("maya", &[])]);
        assert_eq!(one_left.found, "for maya: values are printed: log_min_duration_statement = 0");
        let none = judge(&all, &[login("ada", &[]), login("maya", &[])]);
        assert_eq!(none.found, "values are printed: log_min_duration_statement = 0");
        assert!(
            none.fix.unwrap().starts_with("as a superuser: alter system set log_parameter_max_length = 0;")
        );
    }

    #[test]
    fn each_setting_is_judged_by_what_it_prints() {
        let judged =
            |major, changed: &[(&str, &str)]| judge(&server(major, changed), &[login("ada", &[])]).level;
        let cut = ("log_parameter_max_length", "0");
        assert_eq!(judged(17, &[]), Level::Ok);
        assert_eq!(judged(17, &[("log_statement", "all")]), Level::Fail);
        assert_eq!(judged(17, &[("log_statement", "all"), cut]), Level::Ok);
        assert_eq!(judged(17, &[("log_min_duration_statement", "0s")]), Level::Fail);
        assert_eq!(judged(17, &[("log_min_duration_statement", "10s")]), Level::Warn);
        assert_eq!(judged(17, &[("log_min_duration_statement", "0"), cut]), Level::Ok);
        let sampled = ("log_min_duration_sample", "100ms");
        assert_eq!(judged(17, &[sampled]), Level::Warn);
        assert_eq!(judged(17, &[sampled, ("log_statement_sample_rate", "0")]), Level::Ok);
        assert_eq!(judged(17, &[("log_transaction_sample_rate", "0.5")]), Level::Warn);
        assert_eq!(judged(17, &[("log_parameter_max_length_on_error", "-1")]), Level::Fail);
        assert_eq!(judged(17, &[("debug_print_plan", "on")]), Level::Fail);
        assert_eq!(judged(17, &[("pgaudit.log", "write"), ("pgaudit.log_parameter", "on")]), Level::Fail);
        assert_eq!(judged(17, &[("pgaudit.log", "none"), ("pgaudit.log_parameter", "on")]), Level::Ok);
    }

    #[test]
    fn auto_explain_is_judged_by_the_server_s_version() {
        let judged =
            |major, changed: &[(&str, &str)]| judge(&server(major, changed), &[login("ada", &[])]).level;
        let slow = ("auto_explain.log_min_duration", "10s");
        let every = ("auto_explain.log_min_duration", "0");
        let cut = ("auto_explain.log_parameter_max_length", "0");
        assert_eq!(judged(15, &[every]), Level::Ok);
        assert_eq!(judged(17, &[slow]), Level::Warn);
        assert_eq!(judged(17, &[every]), Level::Fail);
        assert_eq!(judged(17, &[every, cut]), Level::Ok);
        for name in ["auto_explain.log_verbose", "auto_explain.log_nested_statements"] {
            assert_eq!(judged(15, &[every, (name, "true")]), Level::Fail, "{name}");
            assert_eq!(judged(17, &[every, cut, (name, "on")]), Level::Fail, "{name}");
            assert_eq!(judged(17, &[slow, cut, (name, "on")]), Level::Warn, "{name}");
            assert_eq!(judged(17, &[(name, "on")]), Level::Ok, "{name}");
            assert_eq!(
                judged(17, &[every, (name, "on"), ("auto_explain.sample_rate", "0")]),
                Level::Ok,
                "{name}"
            );
        }
    }
}
