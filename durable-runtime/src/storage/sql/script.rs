//! What must be known of SQL text without SQLite: where statements begin, and of what sort they are.

use crate::{Error, ErrorKind};

/// Whether the text can only be one statement: it has no `;` before its end.
pub(super) fn is_single(sql: &str) -> bool {
    let sql = sql.trim_ascii_end();
    !sql.strip_suffix(';').unwrap_or(sql).contains(';')
}

/// Where a statement should be, there is none.
pub(super) fn missing(after_another: bool) -> Error {
    if !after_another {
        return empty();
    }
    Error::new(
        ErrorKind::Sql,
        "the SQL holds no statement after its last `;`: take out what follows, or use `execute_batch`",
    )
}

pub(super) fn empty() -> Error {
    Error::new(ErrorKind::Sql, "the SQL holds no statement")
}

pub(super) fn parameters_before_the_last() -> Error {
    Error::new(
        ErrorKind::Sql,
        "only the last statement can have parameters: use one call for each statement that has some",
    )
}

/// `PRAGMA optimize` writes statistics although SQLite calls it read-only.
pub(super) fn is_optimize(sql: &str) -> bool {
    starts_with_word(sql.trim_ascii_start(), "pragma")
        && sql.to_ascii_lowercase().contains("optimize")
}

/// Whether the statement changes nothing but rows, which SQLite counts. Not so an `INSERT`: one that inserts
/// nothing may still use up a number of `AUTOINCREMENT`.
pub(super) fn changes_only_rows(sql: &str) -> bool {
    let sql = after_blanks(sql);
    starts_with_word(sql, "update") || starts_with_word(sql, "delete")
}

fn starts_with_word(sql: &str, word: &str) -> bool {
    sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// The text after leading blanks and comments.
fn after_blanks(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches([' ', '\t', '\n', '\x0c', '\r']);
        sql = if let Some(comment) = sql.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = sql.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return sql;
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_or_maybe_more() {
        for single in ["", "SELECT 1", "SELECT 1;", "SELECT 1 ;\n", "SELECT 1 -- end"] {
            assert!(is_single(single), "{single:?}");
        }
        for more in ["SELECT 1;;", "SELECT 1; -- end", "SELECT ';'", ";SELECT 1"] {
            assert!(!is_single(more), "{more:?}");
        }
    }

    #[test]
    fn blanks_and_comments() {
        for (sql, rest) in [
            (" \t\r\n\x0cSELECT", "SELECT"),
            ("-- a\n--b\nSELECT", "SELECT"),
            ("/**/ /* -- ; */SELECT", "SELECT"),
            ("-- to the end", ""),
            ("/* to the end", ""),
            ("/ 2", "/ 2"),
        ] {
            assert_eq!(after_blanks(sql), rest, "{sql:?}");
        }
    }

    #[test]
    fn sorts_of_statements() {
        assert!(changes_only_rows(" /* c */ Delete FROM t"));
        assert!(changes_only_rows("UPDATE t SET x = 1"));
        assert!(!changes_only_rows("INSERT OR IGNORE INTO t VALUES (1)"));
        assert!(!changes_only_rows("CREATE TABLE delete_me (x)"));
        assert!(is_optimize("  Pragma OPTIMIZE"));
        assert!(!is_optimize("SELECT 'optimize'"));
    }
}
