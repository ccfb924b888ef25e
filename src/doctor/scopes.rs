//! Least privilege and dates: what logins may read, what they did, and what is due.

use super::{Examined, Report, Verdict, some};
use crate::error::Result;
use crate::queries::{access, dependents, scopes};

pub(super) async fn all(report: &mut Report, examined: &mut Examined) {
    report.add(
        "access.executed",
        "Every read of a signed-in user runs this function: where it fails, nobody reads; where it is too generous, \
         strangers do.",
        executed(examined).await,
    );
    report.add(
        "access.scopes",
        "A service's login should read what it needs: a thief of its password gets no more.",
        logins(examined).await,
    );
    report.add(
        "access.unusual",
        "A login that reads ten times as much as on other days may be somebody else's by now.",
        unusual(examined).await,
    );
    report.add(
        "secrets.dates",
        "A secret past its date fails when it is needed, and an earlier value past its time is one that nobody expects \
         to be there.",
        dates(examined).await,
    );
}

async fn executed(examined: &mut Examined) -> Result<Verdict> {
    const NAME: &str = "app_secrets.accessible_business_ids()";
    Ok(match access::accessible_to_nobody(&mut examined.connection).await {
        Ok(0) => Verdict::ok(format!("{NAME} runs, and gives a user whom nobody knows nothing")),
        Ok(count) => Verdict::warn(
            format!("{NAME} gives a user whom nobody knows access to businesses: {count}"),
            "see whether these are meant for everybody who signs in; if not, replace the function's body",
        ),
        Err(fault) => Verdict::fail(
            format!("{NAME} fails for signed-in users: {}", fault.into_error()),
            "replace its body by one that runs: it has to give the ids of the businesses that auth.uid() may access",
        ),
    })
}

async fn logins(examined: &mut Examined) -> Result<Verdict> {
    let found = scopes::scopes(&mut examined.connection).await?;
    let mut wrong = Vec::new();
    let mut fixes = Vec::new();
    let mut note = |logins: &[String], what: &str, fix: String| {
        if !logins.is_empty() {
            wrong.push(format!("{what}: {}", some(logins)));
            fixes.push(fix);
        }
    };
    let first = |logins: &[String]| logins.first().cloned().unwrap_or_default();
    note(
        &found.without,
        "in app_secrets_service without a scope, so that they read nothing",
        format!("app-secrets login add {} --read NAME,…", first(&found.without)),
    );
    note(
        &found.gone,
        "scopes of logins that are not there",
        format!("select app_secrets.revoke_scope('{}')", first(&found.gone).replace('\'', "''")),
    );
    note(
        &found.of_nothing,
        "scopes for secrets that are not there",
        "app-secrets names list; then app-secrets login add with the right names".into(),
    );
    note(
        &found.idle,
        "logins that may read, and have not for 30 days",
        format!("app-secrets login remove {}, if nobody needs it", first(&found.idle)),
    );
    let all: Vec<String> = found.read_all.iter().filter(|login| *login != "service_role").cloned().collect();
    note(
        &all,
        "logins that may read every secret",
        format!("app-secrets login add {} --read NAME,…, with the names that it needs", first(&all)),
    );
    if wrong.is_empty() {
        return Ok(Verdict::ok("each login has a scope of its own"));
    }
    Ok(Verdict::warn(wrong.join("; "), fixes.join("; ")))
}

async fn unusual(examined: &mut Examined) -> Result<Verdict> {
    let found = scopes::unusual(&mut examined.connection).await?;
    Ok(if found.is_empty() {
        Verdict::ok("no login reads much more than usual")
    } else {
        Verdict::warn(some(&found), "app-secrets access BUSINESS shows what was read; a new password ends it")
    })
}

async fn dates(examined: &mut Examined) -> Result<Verdict> {
    let (due, kept) = scopes::dates(&mut examined.connection).await?;
    Ok(match (due, kept) {
        (0, 0) => Verdict::ok("no secret is past its date, and no earlier value past its time"),
        (0, kept) => Verdict::warn(
            format!("earlier values kept past their time: {kept}"),
            "select * from app_secrets.trim(interval '365 days'), from time to time",
        ),
        (due, _) => Verdict::warn(
            format!(
                "secrets that have expired or are to be rotated: {due}; earlier values past their time: {kept}"
            ),
            "select * from public.due_business_secrets(interval '0') says which; set each anew",
        ),
    })
}

/// What hangs on the plaintext columns, before they go.
pub(super) async fn dependents(report: &mut Report, examined: &mut Examined) {
    report.add(
        "plaintext.dependents",
        "What names the columns goes with them, keeps them from going, or fails once they are gone.",
        hanging(examined).await,
    );
}

async fn hanging(examined: &mut Examined) -> Result<Verdict> {
    let found = dependents::read(&mut examined.connection).await?;
    let of = |weight: &str| -> Vec<String> {
        found.iter().filter(|it| it.weight == weight).map(ToString::to_string).collect()
    };
    let (blocks, shared, own) = (of("blocks"), of("shared"), of("own"));
    let mut parts = Vec::new();
    for (what, list) in [
        ("these keep the columns from going", &blocks),
        ("these concern others too, and go with the columns or still name them", &shared),
        ("these go with the columns, and a rollback brings them back", &own),
    ] {
        if !list.is_empty() {
            parts.push(format!("{what}: {}", list.join(", ")));
        }
    }
    Ok(if parts.is_empty() {
        Verdict::ok("nothing hangs on the plaintext columns")
    } else if blocks.is_empty() && shared.is_empty() {
        Verdict::ok(parts.join("; "))
    } else {
        Verdict::warn(
            parts.join("; "),
            "replace or drop each of the first before `migrate --drop-legacy`; --also-drop NAME consents to the loss of \
             one that concerns others too",
        )
    })
}
