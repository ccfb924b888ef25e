//! The tables' files: their size, rewriting them, and what their pages still hold.

use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::{AdminFault, Answer, session};
use crate::error::Error;

const SIZE: &str = "select pg_catalog.pg_total_relation_size(pg_catalog.to_regclass($1))";

const ROTATE: &str = "
    select v.name, pg_catalog.count(*)
    from app_secrets.secret_versions v
    where v.is_set and v.name not in ('google_token_expiry', 'google_drive_folder_id')
    group by v.name";

/// Whether we may read files of the server: by default nobody but superusers may.
const MAY_READ: &str = "
    select pg_catalog.has_function_privilege('pg_catalog.pg_read_binary_file(text, bigint, bigint)', 'execute')";

/// The main files of the tables and of their TOAST tables, segment by segment.
const FILES: &str = "
    with relations as (
        select r.oid from pg_catalog.unnest($1::text[]) as t(name)
        cross join lateral (select pg_catalog.to_regclass(t.name) as oid) r
        where r.oid is not null
        union
        select c.reltoastrelid from pg_catalog.unnest($1::text[]) as t(name)
        join pg_catalog.pg_class c on c.oid = pg_catalog.to_regclass(t.name) where c.reltoastrelid <> 0
    )
    select pg_catalog.pg_relation_filepath(r.oid) || case when s.n > 0 then '.' || s.n else '' end,
        least(pg_catalog.pg_relation_size(r.oid) - s.n * 1073741824, 1073741824)
    from relations r
    cross join lateral pg_catalog.generate_series(
        0, (pg_catalog.pg_relation_size(r.oid) - 1) / 1073741824) as s(n)
    where pg_catalog.pg_relation_size(r.oid) > 0
    order by 1";

/// Looks for sealed values, as many as `$1`, in files `$2` of sizes `$3`. Neither leaves the server. Chunks overlap by
/// the longest value that is looked for.
///
/// What a query sorts, hashes or keeps may be written to temporary files, so it sorts and keeps references alone: a
/// value is decrypted anew for each chunk, which costs little beside the search through it, and a chunk is read by the
/// row that it is searched in.
const SEARCH: &str = "
    with /* app-secrets */ cells as (
        select s.business_id, c.name, c.reference
        from public.business_secrets s
        cross join lateral (values
            ('gemini_api_key', s.gemini_api_key), ('grok_api_key', s.grok_api_key),
            ('claude_api_key', s.claude_api_key), ('youtube_api_key', s.youtube_api_key),
            ('kling_access_key', s.kling_access_key), ('kling_secret_key', s.kling_secret_key),
            ('global_sms_api_key', s.global_sms_api_key), ('whatsapp_api_key', s.whatsapp_api_key),
            ('google_access_token', s.google_access_token), ('google_refresh_token', s.google_refresh_token)
        ) as c(name, reference)
        where c.reference is not null
        order by pg_catalog.hashtext(c.reference)
        limit $1
    )
    select (
        select pg_catalog.count(*) from cells c
        where pg_catalog.length(app_secrets.reveal(c.business_id, c.name, c.reference)) between 8 and 8000
    ), (
        select pg_catalog.count(distinct found.reference)
        from (
            select pg_catalog.unnest((
                select pg_catalog.array_agg(c.reference)
                from cells c
                cross join lateral (
                    select app_secrets.reveal(c.business_id, c.name, c.reference) as value offset 0) r
                where pg_catalog.length(r.value) between 8 and 8000
                    and pg_catalog.position(chunk.bytes, pg_catalog.convert_to(r.value, 'UTF8')) > 0
            )) as reference
            from unnest($2::text[], $3::bigint[]) as f(path, size)
            cross join lateral pg_catalog.generate_series(0, f.size - 1, 1048576) as g(start)
            cross join lateral (
                select pg_catalog.pg_read_binary_file(f.path, g.start, 1048576 + 32000) as bytes offset 0) chunk
        ) found)";

/// How much comparing a look at the pages may cost: bytes times values.
const BUDGET: i64 = 1_000_000_000;

/// What a look at pages found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSearch {
    /// Bytes that were read.
    pub bytes: i64,
    /// Sealed values that were looked for.
    pub values: i64,
    /// How many of them stand there in clear.
    pub found: i64,
}

/// In bytes, with indexes and TOAST; `None` without such a table.
pub(crate) async fn size(connection: &mut PgConnection, table: &str) -> Answer<Option<i64>> {
    Ok(connection.fetch_one(sqlx::query(SIZE).bind(table)).await?.try_get(0)?)
}

/// Rewrites a table and takes the planner's samples anew. `table` is one of ours, never a caller's.
pub(crate) async fn rewrite(connection: &mut PgConnection, table: &'static str) -> Answer<()> {
    session::send_text(connection, format!("vacuum (full, analyze) {table}")).await
}

/// How many businesses have each secret.
pub(crate) async fn set_secrets(connection: &mut PgConnection) -> Answer<Vec<(String, i64)>> {
    let rows = connection.fetch_all(ROTATE).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Looks for plaintext in the tables' files; `None` where we may not read them.
pub(crate) async fn search(connection: &mut PgConnection, tables: &[&str]) -> Answer<Option<PageSearch>> {
    if !connection.fetch_one(MAY_READ).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let rows = connection.fetch_all(sqlx::query(FILES).bind(tables)).await?;
    let mut files: (Vec<String>, Vec<i64>) = (Vec::new(), Vec::new());
    for row in &rows {
        files.0.push(row.try_get(0)?);
        files.1.push(row.try_get(1)?);
    }
    let bytes: i64 = files.1.iter().sum();
    let most = (BUDGET / bytes.max(1)).max(20);
    let row = connection.fetch_one(sqlx::query(SEARCH).bind(most).bind(&files.0).bind(&files.1)).await;
    let row = match row.map_err(AdminFault::from) {
        Ok(row) => row,
        // Executable, and yet refused: some managed servers have a second fence.
        Err(AdminFault::Other(Error::PermissionDenied { .. })) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    Ok(Some(PageSearch { bytes, values: row.try_get(0)?, found: row.try_get(1)? }))
}
