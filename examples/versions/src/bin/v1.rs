//! Version 1: an address book is a list of lines, and a diary has what was added by whom.
#![allow(
    unreachable_pub,
    reason = "a program has no outside, but the methods of objects are `pub`"
)]

use std::process::ExitCode;

use durable::Builder;
use durable::prelude::*;
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

    pub fn add(&mut self, ctx: &Context, entry: &str) -> Result<()> {
        ctx.sql().execute("INSERT INTO entries (line) VALUES (?)", [entry]).map(drop)
    }

    pub fn entries(&self, ctx: &Context) -> Result<Vec<String>> {
        ctx.sql().query_all("SELECT line FROM entries ORDER BY id", [])
    }
}

/// Counts what one person has added.
#[derive(Default)]
struct Diary;

#[durable_object]
impl Diary {
    pub fn note(&mut self, ctx: &Context) -> Result<()> {
        let added: u64 = ctx.kv().get("added")?.unwrap_or(0);
        ctx.kv().put("added", &(added + 1))
    }
}

impl Version for Contacts {
    fn register(builder: Builder) -> Builder {
        builder.register::<Contacts>().register::<Diary>()
    }

    async fn add(runtime: &Runtime, owner: &str, entry: &str) -> Result<()> {
        runtime.get::<Contacts>(owner).add(entry).await?;
        Ok(runtime.get::<Diary>(owner).note().await?)
    }

    async fn show(runtime: &Runtime, owner: &str) -> Result<Vec<String>> {
        Ok(runtime.get::<Contacts>(owner).entries().await?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    versions::main::<Contacts>().await
}
