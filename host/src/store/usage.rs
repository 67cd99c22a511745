//! The book of usage: lines added up by session, day and model.
//!
//! The database adds up by quarter of an hour, the finest grain of any time zone, and each quarter is put into
//! its day here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
use telson_core::SessionKey;
use telson_core::usage::{
    Book, Cost, Grain, Line, Sums, Tokens, UnknownZone, UsageQuery, UsageTable, Whose, Zone, point,
};

const QUARTER_MS: u64 = 900_000;
/// The longest name of a time zone that is looked up.
const MAX_ZONE_NAME: usize = 64;

macro_rules! lines {
    ($slot:literal, $from:literal, $where:literal) => {
        concat!(
            "SELECT ", $slot, ", u.provider, u.model, min(u.at), max(u.at), count(u.total),
                coalesce(sum(u.input), 0), coalesce(sum(u.output), 0), coalesce(sum(u.cache_read), 0),
                coalesce(sum(u.cache_write), 0), coalesce(sum(u.total), 0),
                u.cost IS NULL AND u.input + u.output + u.cache_read + u.cache_write + u.total > 0 AS unpriced,
                coalesce(sum(u.cost), 0.0), coalesce(sum(u.cost_input), 0.0), coalesce(sum(u.cost_output), 0.0),
                coalesce(sum(u.cost_cache_read), 0.0), coalesce(sum(u.cost_cache_write), 0.0),
                sum(u.speaker = 0), sum(u.speaker = 1), sum(u.speaker = 2), sum(u.failed),
                group_concat(u.tools, char(10))
             FROM ", $from, " WHERE ", $where, " GROUP BY 1, 2, 3, unpriced"
        )
    };
}

const EVERYONE: &str = lines!("u.at / 900000", "usage u", "u.total IS NOT NULL AND u.at BETWEEN ?1 AND ?2");
const AGENT: &str = lines!(
    "u.at / 900000",
    "usage u JOIN shelves s ON s.number = u.shelf",
    "u.total IS NOT NULL AND u.at BETWEEN ?1 AND ?2
        AND ((s.key >= ?3 AND s.key < ?3 || char(1114111)) OR (?4 AND s.key NOT LIKE 'agent:%'))"
);
const SHELF: &str = lines!("u.at / 900000", "usage u", "u.shelf = ?3 AND u.at BETWEEN ?1 AND ?2");
const POINTS: &str =
    lines!("u.seq", "usage u", "u.shelf = ?3 AND u.total IS NOT NULL AND u.at BETWEEN ?1 AND ?2");

pub(super) fn usage(
    connection: &Connection,
    query: &UsageQuery,
) -> rusqlite::Result<Result<UsageTable, UnknownZone>> {
    let zone = match zone(&query.zone) {
        Ok(zone) => zone,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let day_of = |ms: u64| day(&zone, ms);
    let window = query.window(&day_of);
    let (from, to) = (window.from_ms, window.to_ms);
    let nobody = SessionKey::new("");
    let mut book = Filling { book: Book::new(window), days: BTreeMap::new(), zone: &zone };
    match &query.whose {
        Whose::Everyone => book.fill(connection, EVERYONE, params![from, to], &nobody)?,
        Whose::Agent { prefix, default } => {
            book.fill(connection, AGENT, params![from, to, prefix, default], &nobody)?;
        }
        Whose::Sessions { sessions, history } => {
            for (key, session) in sessions {
                for shelf in shelves(connection, key, session.as_str(), *history)? {
                    match query.grain {
                        Grain::Day => book.fill(connection, SHELF, params![from, to, shelf], key)?,
                        Grain::Points(most) => {
                            book.points(connection, params![from, to, shelf], key, most, shelf)?;
                        }
                    }
                }
            }
        }
    }
    Ok(Ok(book.book.close()))
}

/// The transcripts of a session: the current one, or all that it has had.
fn shelves(
    connection: &Connection,
    key: &SessionKey,
    session: &str,
    history: bool,
) -> rusqlite::Result<Vec<i64>> {
    if history {
        let mut statement = connection.prepare_cached("SELECT number FROM shelves WHERE key = ?1")?;
        return statement.query_map([key.as_str()], |row| row.get(0))?.collect();
    }
    let number = connection
        .prepare_cached("SELECT number FROM shelves WHERE session = ?1")?
        .query_row([session], |row| row.get(0))
        .optional()?;
    Ok(number.into_iter().collect())
}

/// A table that is being filled.
struct Filling<'a> {
    book: Book,
    /// The day of each quarter that was seen.
    days: BTreeMap<u64, i64>,
    zone: &'a TimeZone,
}

impl Filling<'_> {
    fn fill(
        &mut self,
        connection: &Connection,
        sql: &str,
        params: impl Params,
        key: &SessionKey,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            let quarter: u64 = row.get(0)?;
            let zone = self.zone;
            let day = *self.days.entry(quarter).or_insert_with(|| day(zone, quarter * QUARTER_MS));
            self.book.add_day(day, line(row, key)?);
        }
        Ok(())
    }

    fn points(
        &mut self,
        connection: &Connection,
        params: impl Params,
        key: &SessionKey,
        most: usize,
        shelf: i64,
    ) -> rusqlite::Result<()> {
        let count: usize = connection
            .prepare_cached("SELECT count(*) FROM usage WHERE shelf = ?1 AND total IS NOT NULL")?
            .query_row([shelf], |row| row.get(0))?;
        let mut statement = connection.prepare_cached(POINTS)?;
        let mut rows = statement.query(params)?;
        let mut n = 0;
        while let Some(row) = rows.next()? {
            self.book.add(point(n, count, most), line(row, key)?);
            n += 1;
        }
        Ok(())
    }
}

fn line(row: &Row<'_>, key: &SessionKey) -> rusqlite::Result<Line> {
    let calls = row.get(5)?;
    let tokens = Tokens {
        input: row.get(6)?,
        output: row.get(7)?,
        cache_read: row.get(8)?,
        cache_write: row.get(9)?,
        total: row.get(10)?,
    };
    let unpriced = row.get::<_, Option<bool>>(11)?.unwrap_or(false);
    let cost = Cost {
        total: row.get(12)?,
        input: row.get(13)?,
        output: row.get(14)?,
        cache_read: row.get(15)?,
        cache_write: row.get(16)?,
    };
    let mut tools = BTreeMap::new();
    if let Some(names) = row.get::<_, Option<String>>(21)? {
        for name in names.split('\n') {
            *tools.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(Line {
        key: key.clone(),
        provider: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        model: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
        sums: Sums {
            first_at: row.get(3)?,
            last_at: row.get(4)?,
            calls,
            tokens,
            unpriced: if unpriced { calls } else { 0 },
            unpriced_tokens: if unpriced { tokens } else { Tokens::default() },
            cost,
            user: row.get(17)?,
            assistant: row.get(18)?,
            tool_results: row.get(19)?,
            errors: row.get(20)?,
            tools,
        },
    })
}

fn zone(zone: &Zone) -> Result<TimeZone, UnknownZone> {
    match zone {
        Zone::Utc => Ok(TimeZone::UTC),
        Zone::Gateway => Ok(TimeZone::system()),
        Zone::Offset(minutes) => jiff::tz::Offset::from_seconds(minutes.saturating_mul(60))
            .map(TimeZone::fixed)
            .map_err(|_| UnknownZone(format!("UTC{minutes:+}"))),
        Zone::Named(name) if name.len() > MAX_ZONE_NAME => Err(UnknownZone(name.clone())),
        Zone::Named(name) => TimeZone::get(name).map_err(|_| UnknownZone(name.clone())),
    }
}

/// The local calendar day of a moment, in days since 1970-01-01.
fn day(zone: &TimeZone, ms: u64) -> i64 {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    let offset = Timestamp::from_second(seconds).map_or(0, |at| zone.to_offset(at).seconds());
    seconds.saturating_add(i64::from(offset)).div_euclid(86_400)
}
