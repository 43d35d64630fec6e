//! What a database holds: asked before a restore, and counted after one.

use super::client::Server;
use crate::args::Engine;
use crate::quantity::{count, number};

/// Numbers of what a database holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) tables: u64,
    pub(crate) views: u64,
    pub(crate) routines: u64,
    pub(crate) triggers: u64,
    pub(crate) events: u64,
}

const MARIADB: &str = "
SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type LIKE '%TABLE'),
       (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type NOT LIKE '%TABLE'),
       (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = DATABASE()),
       (SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()),
       (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = DATABASE());
";

/// Of what is neither the server's own nor an extension's.
const POSTGRESQL: &str = "
WITH own AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
  ext AS (SELECT objid FROM pg_depend WHERE deptype = 'e')
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace IN (SELECT oid FROM own) AND relkind IN ('r', 'p')
          AND oid NOT IN (SELECT objid FROM ext)),
       (SELECT count(*) FROM pg_class WHERE relnamespace IN (SELECT oid FROM own) AND relkind IN ('v', 'm')
          AND oid NOT IN (SELECT objid FROM ext)),
       (SELECT count(*) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM own)
          AND oid NOT IN (SELECT objid FROM ext)),
       (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal),
       0;
";

/// Statements, one a table: its name and its rows. Names are quoted by the server itself.
const COUNTING_MARIADB: &str = "
SELECT CONCAT('SELECT ', QUOTE(table_name), ', COUNT(*) FROM `', REPLACE(table_name, '`', '``'), '`;')
FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type LIKE '%TABLE' ORDER BY table_name;
";

/// A partitioned table's rows are its partitions'.
const COUNTING_POSTGRESQL: &str = "
SELECT format('SELECT %L, count(*) FROM %I.%I;',
              CASE nspname WHEN 'public' THEN relname ELSE nspname || '.' || relname END, nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND pg_class.oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e') ORDER BY 1;
";

impl Contents {
    pub(crate) async fn of(server: &Server, database: &str) -> anyhow::Result<Self> {
        let sql = match server.engine {
            Engine::Mariadb => MARIADB,
            Engine::Postgresql => POSTGRESQL,
        };
        let rows = server.ask(Some(database), sql).await?;
        let mut numbers = rows.first().into_iter().flatten().map(|column| column.parse().ok());
        let mut next = || {
            let number = numbers.next().flatten();
            number.ok_or_else(|| anyhow::anyhow!("the server's answer cannot be read: is --engine right?"))
        };
        Ok(Self { tables: next()?, views: next()?, routines: next()?, triggers: next()?, events: next()? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&count(self.tables, "table"))?;
        let others = [
            (self.views, "view"),
            (self.routines, "routine"),
            (self.triggers, "trigger"),
            (self.events, "event"),
        ];
        others
            .iter()
            .filter(|(many, _)| *many > 0)
            .try_for_each(|(many, noun)| write!(f, ", {}", count(*many, noun)))
    }
}

/// The rows of every table, by its name.
pub(crate) async fn rows(server: &Server, database: &str) -> anyhow::Result<Vec<(String, u64)>> {
    let statements = match server.engine {
        Engine::Mariadb => COUNTING_MARIADB,
        Engine::Postgresql => COUNTING_POSTGRESQL,
    };
    let statements = server.ask(Some(database), statements).await?;
    let statements: Vec<String> = statements.into_iter().map(|row| row.join("\t")).collect();
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let rows = server.ask(Some(database), &statements.join("\n")).await?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in rows {
        if let [name, rows] = &row[..] {
            let rows = rows.parse().map_err(|_| anyhow::anyhow!("the rows of `{name}` cannot be counted"))?;
            tables.push((name.clone(), rows));
        }
    }
    Ok(tables)
}

/// A line for each table, the largest first, and no more than a screen of them.
pub(crate) fn table_lines(mut tables: Vec<(String, u64)>) -> String {
    const SHOWN: usize = 40;
    tables.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let more = tables.len().saturating_sub(SHOWN);
    let mut text = String::new();
    for (name, rows) in tables.iter().take(SHOWN) {
        text.push_str(&format!("  {:>15}  {}\n", number(*rows), crate::escape::escape(name)));
    }
    if more > 0 {
        text.push_str(&format!("  and {} more\n", count(more as u64, "table")));
    }
    text
}
