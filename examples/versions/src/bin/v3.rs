//! Version 3: the class has a better name, addresses are written small, and an entry needs no address.
//!
//! A migration that objects have had is never edited: that would be refused by each of them. But migration 2 calls a
//! function, and that may learn: the books on which version 2 has failed are brought up by this one. Everybody else has had
//! it, and is not concerned.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]

use std::process::ExitCode;

use durable::prelude::*;
use durable::{Builder, Error};
use versions::Version;

/// The address book of one person. `Contacts` was its name up to version 2, and under that its objects are stored.
#[derive(Default)]
struct AddressBook;

#[durable_object(renamed_from = "Contacts")]
impl AddressBook {
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

    #[migration(3)]
    fn write_addresses_small(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("UPDATE people SET address = lower(address)")
    }

    pub fn add(&mut self, ctx: &Context, entry: &str) -> Result<()> {
        let (name, address) = take_apart(entry)?;
        let insert = "INSERT INTO people (name, address) VALUES (?, ?)";
        ctx.sql().execute(insert, (name, address.to_lowercase())).map(drop)
    }

    /// Names and addresses.
    pub fn people(&self, ctx: &Context) -> Result<Vec<(String, String)>> {
        ctx.sql().query_all("SELECT name, address FROM people ORDER BY name, id", [])
    }
}

/// The name and the address in a line such as `Ada Lovelace <ada@example.org>`; where there is no address, all of it is the name.
fn take_apart(line: &str) -> Result<(&str, &str)> {
    let parts = line.strip_suffix('>').and_then(|line| line.split_once(" <"));
    match parts.unwrap_or((line, "")) {
        ("", _) => Err(Error::other(format!("there is no name in {line:?}"))),
        parts => Ok(parts),
    }
}

impl Version for AddressBook {
    fn register(builder: Builder) -> Builder {
        builder.register::<AddressBook>()
    }

    async fn add(runtime: &Runtime, owner: &str, entry: &str) -> Result<()> {
        Ok(runtime.get::<AddressBook>(owner).add(entry).await?)
    }

    async fn show(runtime: &Runtime, owner: &str) -> Result<Vec<String>> {
        let people = runtime.get::<AddressBook>(owner).people().await?.into_iter();
        Ok(people.map(|(name, address)| format!("{name}: {address}")).collect())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    versions::main::<AddressBook>().await
}
