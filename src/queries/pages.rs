//! The tables' files: their size, rewriting them, and what their pages still hold.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor, Row};

use super::catalogue::Catalogue;
use super::{AdminFault, Answer, session};
use crate::error::Error;

const SIZE: &str = "select pg_catalog.pg_total_relation_size(pg_catalog.to_regclass($1))";

/// What stood in clear somewhere: beside the owner, or in place.
const ROTATE: &str = "
    select /* app-secrets */ c.name, c.label, pg_catalog.count(*)
    from app_secrets.secret_versions v
    join app_secrets.catalogue c on c.name = v.name and c.sealed
        and (c.legacy_state = 'dropped' or c.in_place = 'sealed')
    where v.is_set
    group by c.name, c.label, c.position
    order by c.position";

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
        cross join lateral (values CELLS) as c(name, reference)
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
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

/// Rewrites a table and takes the planner's samples anew. `table` is as the database prints it, never a caller's.
pub(crate) async fn rewrite(connection: &mut PgConnection, table: &str) -> Answer<()> {
    session::send_text(connection, format!("vacuum (full, analyze) {table}")).await
}

/// Name, label and how many businesses have it, of each secret that stood in clear.
pub(crate) async fn set_secrets(connection: &mut PgConnection) -> Answer<Vec<(String, String, i64)>> {
    let rows = connection.fetch_all(ROTATE).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}

/// Looks for plaintext in the tables' files; `None` where we may not read them.
pub(crate) async fn search(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    tables: &[String],
) -> Answer<Option<PageSearch>> {
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
    let Some(cells) = catalogue.cells() else {
        return Ok(Some(PageSearch { bytes, values: 0, found: 0 }));
    };
    let sql = AssertSqlSafe(SEARCH.replace("CELLS", &cells));
    let row = connection.fetch_one(sqlx::query(sql).bind(most).bind(&files.0).bind(&files.1)).await;
    let row = match row.map_err(AdminFault::from) {
        Ok(row) => row,
        // Executable, and yet refused: some managed servers have a second fence.
        Err(AdminFault::Other(Error::PermissionDenied { .. })) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    Ok(Some(PageSearch { bytes, values: row.try_get(0)?, found: row.try_get(1)? }))
}
