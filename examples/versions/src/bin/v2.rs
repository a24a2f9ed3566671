//! Version 2: names and addresses have columns of their own, and nobody wanted the diary.
//!
//! Migration 2 takes each line apart, which SQL alone could not do. It is strict: where a line has no address, it fails, that
//! book stays as it is, and whoever asks for it is told why. Everybody else's book works.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]

use std::process::ExitCode;

use durable::prelude::*;
use durable::{Builder, Error};
use versions::Version;

/// The address book of one person.
#[derive(Default)]
struct Contacts;

#[durable_object]
impl Contacts {
    #[migration(1)]
    fn create_entries(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE entries (id INTEGER PRIMARY KEY, line TEXT NOT NULL)")
    }

    #[migration(2)]
    fn take_lines_apart(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, address TEXT NOT NULL)",
        )?;
        let entries: Vec<(i64, String)> = db.query_all("SELECT id, line FROM entries", [])?;
        for (id, line) in entries {
            let (name, address) = take_apart(&line)?;
            db.execute("INSERT INTO people VALUES (?, ?, ?)", (id, name, address))?;
        }
        db.execute_batch("DROP TABLE entries")
    }

    pub fn add(&mut self, ctx: &Context, entry: &str) -> Result<()> {
        let (name, address) = take_apart(entry)?;
        let insert = "INSERT INTO people (name, address) VALUES (?, ?)";
        ctx.sql().execute(insert, (name, address)).map(drop)
    }

    /// Names and addresses.
    pub fn people(&self, ctx: &Context) -> Result<Vec<(String, String)>> {
        ctx.sql().query_all("SELECT name, address FROM people ORDER BY name, id", [])
    }
}

/// The name and the address in a line such as `Ada Lovelace <ada@example.org>`.
fn take_apart(line: &str) -> Result<(&str, &str)> {
    let parts = line.strip_suffix('>').and_then(|line| line.split_once(" <"));
    parts.ok_or_else(|| Error::other(format!("there is no address in {line:?}")))
}

impl Version for Contacts {
    fn register(builder: Builder) -> Builder {
        builder.register::<Contacts>()
    }

    async fn add(runtime: &Runtime, owner: &str, entry: &str) -> Result<()> {
        Ok(runtime.get::<Contacts>(owner).add(entry).await?)
    }

    async fn show(runtime: &Runtime, owner: &str) -> Result<Vec<String>> {
        let people = runtime.get::<Contacts>(owner).people().await?.into_iter();
        Ok(people.map(|(name, address)| format!("{name}: {address}")).collect())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    versions::main::<Contacts>().await
}
