//! Another root key for Vault: what is to be wrapped, the wraps, and what is sealed anew. The only statements of the
//! migration role through which values pass, as arguments and results and never as text of a statement.

use secrecy::SecretString;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};
use uuid::Uuid;

use super::Answer;

const UNDER_WAY: &str = "
    select k.id, k.proof, k.finishing_at is not null, (select s.frozen_at is not null from app_secrets.settings s)
    from app_secrets.rekey k
    where k.ended_at is null";
const BEGIN: &str = "select app_secrets.begin_rekey($1, $2)";
const TO_WRAP: &str =
    "select v.vault_id, v.cell, v.value, v.fingerprint from app_secrets.values_to_wrap($1, $2) v";
const STORE: &str = "
    insert into app_secrets.rekey_wraps (vault_id, fingerprint, wrap)
    select u.vault_id, u.fingerprint, u.wrap
    from unnest($1::uuid[], $2::bytea[], $3::bytea[]) as u(vault_id, fingerprint, wrap)
    on conflict (vault_id) do update set fingerprint = excluded.fingerprint, wrap = excluded.wrap";
const STORED: &str = "
    select w.wrap
    from unnest($1::uuid[]) with ordinality as u(vault_id, ord)
    left join app_secrets.rekey_wraps w on w.vault_id = u.vault_id
    order by u.ord";
const TO_WRAP_IN_ALL: &str = "
    select (select pg_catalog.count(*) from app_secrets.rekey_wraps),
        (select pg_catalog.count(*) from app_secrets.vault_rows r where r.role <> 'former')";
const TO_SEAL_IN_ALL: &str = "
    select pg_catalog.count(w.sealed_id), pg_catalog.count(*) from app_secrets.rekey_wraps w where w.wrap is not null";
const FORGET_GONE: &str = "
    delete from app_secrets.rekey_wraps w
    where not exists (
        select from app_secrets.vault_rows r where r.vault_id in (w.vault_id, w.sealed_id) and r.role <> 'former')";
const COUNT: &str = "
    select pg_catalog.count(*) filter (where w.wrap is not null), pg_catalog.count(*) filter (where w.wrap is null)
    from app_secrets.rekey_wraps w";
const FREEZE: &str = "select app_secrets.freeze_for_rekey()";

/// The canary first: once it opens under the new key, that was the change.
const TO_SEAL: &str = "
    select w.vault_id, pg_catalog.concat_ws('/', r.business_id, r.name, r.role), w.wrap
    from app_secrets.rekey_wraps w
    join app_secrets.vault_rows r on r.vault_id = w.vault_id and r.role <> 'former'
    where w.sealed_id is null and w.wrap is not null and (r.role = 'canary') = $1 and ($2::uuid is null or w.vault_id > $2)
    order by w.vault_id
    limit $3";
const SEAL: &str = "select app_secrets.seal_anew($1, $2)";
const LOST: &str = "
    select l.business_id, l.name, l.role from app_secrets.lost_in_rekey() l limit 10";
const END: &str = "select app_secrets.end_rekey($1)";
const OPENS: &str = "select app_secrets.require_root_key()";

/// A rekey that is neither finished nor aborted.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pub(crate) id: Uuid,
    pub(crate) proof: Vec<u8>,
    pub(crate) is_finishing: bool,
    pub(crate) is_frozen: bool,
}

/// A value that is to be wrapped; `None` where it does not open.
pub(crate) struct Open {
    pub(crate) vault_id: Uuid,
    pub(crate) cell: String,
    pub(crate) value: Option<SecretString>,
    pub(crate) fingerprint: Vec<u8>,
}

/// A wrap whose value is to be sealed anew.
pub(crate) struct Wrapped {
    pub(crate) vault_id: Uuid,
    pub(crate) cell: String,
    pub(crate) wrap: Vec<u8>,
}

pub(crate) async fn under_way(connection: &mut PgConnection) -> Answer<Option<UnderWay>> {
    let row = connection.fetch_optional(UNDER_WAY).await?;
    let one = |row: PgRow| {
        Ok(UnderWay {
            id: row.try_get(0)?,
            proof: row.try_get(1)?,
            is_finishing: row.try_get(2)?,
            is_frozen: row.try_get(3)?,
        })
    };
    row.map(one).transpose()
}

pub(crate) async fn begin(connection: &mut PgConnection, id: Uuid, proof: &[u8]) -> Answer<()> {
    connection.execute(sqlx::query(BEGIN).bind(id).bind(proof)).await?;
    Ok(())
}

pub(crate) async fn to_wrap(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    limit: i32,
) -> Answer<Vec<Open>> {
    let rows = connection.fetch_all(sqlx::query(TO_WRAP).bind(after).bind(limit)).await?;
    let one = |row: &PgRow| {
        Ok(Open {
            vault_id: row.try_get(0)?,
            cell: row.try_get(1)?,
            value: row.try_get::<Option<String>, _>(2)?.map(SecretString::from),
            fingerprint: row.try_get(3)?,
        })
    };
    rows.iter().map(one).collect()
}

pub(crate) async fn store(
    connection: &mut PgConnection,
    ids: &[Uuid],
    fingerprints: &[Vec<u8>],
    wraps: &[Option<Vec<u8>>],
) -> Answer<()> {
    connection.execute(sqlx::query(STORE).bind(ids).bind(fingerprints).bind(wraps)).await?;
    Ok(())
}

/// These wraps as the database has them, in this order.
pub(crate) async fn stored(connection: &mut PgConnection, ids: &[Uuid]) -> Answer<Vec<Option<Vec<u8>>>> {
    let rows = connection.fetch_all(sqlx::query(STORED).bind(ids)).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Values that are wrapped, and values that there are.
pub(crate) async fn to_wrap_in_all(connection: &mut PgConnection) -> Answer<(i64, i64)> {
    let row = connection.fetch_one(TO_WRAP_IN_ALL).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Values that are sealed anew, and values that are wrapped.
pub(crate) async fn to_seal_in_all(connection: &mut PgConnection) -> Answer<(i64, i64)> {
    let row = connection.fetch_one(TO_SEAL_IN_ALL).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Wraps of values that are not there any more.
pub(crate) async fn forget_gone(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(FORGET_GONE).await?;
    Ok(())
}

/// How many values are wrapped, and how many did not open.
pub(crate) async fn count(connection: &mut PgConnection) -> Answer<(i64, i64)> {
    let row = connection.fetch_one(COUNT).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

pub(crate) async fn freeze(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(FREEZE).await?;
    Ok(())
}

pub(crate) async fn to_seal(
    connection: &mut PgConnection,
    canary: bool,
    after: Option<Uuid>,
    limit: i32,
) -> Answer<Vec<Wrapped>> {
    let rows =
        connection.fetch_all(sqlx::query(TO_SEAL).bind(canary).bind(after).bind(i64::from(limit))).await?;
    let one =
        |row: &PgRow| Ok(Wrapped { vault_id: row.try_get(0)?, cell: row.try_get(1)?, wrap: row.try_get(2)? });
    rows.iter().map(one).collect()
}

/// One transaction: all of them or none.
pub(crate) async fn seal(connection: &mut PgConnection, ids: &[Uuid], values: &[&str]) -> Answer<()> {
    connection.execute(sqlx::query(SEAL).bind(ids).bind(values)).await?;
    Ok(())
}

/// The first ten cells that do not open and did when they were wrapped.
pub(crate) async fn lost(connection: &mut PgConnection) -> Answer<Vec<String>> {
    let rows = connection.fetch_all(LOST).await?;
    let one = |row: &PgRow| {
        let (business, name, role): (Option<Uuid>, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let business = business.map_or_else(String::new, |id| format!(" of {id}"));
        Ok(format!("{name}{business}{}", if role == "previous" { " (the value before)" } else { "" }))
    };
    rows.iter().map(one).collect()
}

pub(crate) async fn end(connection: &mut PgConnection, outcome: &str) -> Answer<()> {
    connection.execute(sqlx::query(END).bind(outcome)).await?;
    Ok(())
}

/// Fails where Vault's present root key does not open what was sealed here.
pub(crate) async fn require_root_key(connection: &mut PgConnection) -> Answer<()> {
    connection.execute(OPENS).await?;
    Ok(())
}
