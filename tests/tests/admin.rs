//! What the log says of operators.

use durable::admin::{Classes, Delete, RunSql};
use durable::prelude::*;
use durable_tests::collector::Collector;
use durable_tests::{Bed, Form};
use tracing::Level;

/// Has a table.
#[derive(Default)]
struct Shelf;

#[durable_object]
impl Shelf {
    #[migration(1)]
    fn books(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABLE books (title TEXT)")
    }

    pub fn add(&mut self, ctx: &Context, title: String) -> Result<()> {
        ctx.sql().execute("INSERT INTO books VALUES (?)", [title]).map(drop)
    }
}

#[tokio::test]
async fn what_operators_change_is_logged_with_who_it_was() {
    let collector = Collector::install();
    let bed = Bed::new(Form::Moved);
    let runtime = bed.builder().register::<Shelf>().start().await.unwrap();
    runtime.get::<Shelf>("top").add("Moby-Dick".into()).await.unwrap();
    let (admin, object) = (runtime.admin(), "Shelf/top".to_owned());
    let sql = |query: &str, write| RunSql {
        object: object.clone(),
        query: query.into(),
        write,
        rows: 1,
        time_ms: None,
    };
    admin.perform(Classes {}, "a reader").await.unwrap();
    admin.perform(sql("SELECT * FROM books", false), "a reader").await.unwrap();
    admin.perform(sql("DELETE FROM books", true), "a writer").await.unwrap();
    admin.perform(sql("DELETE FROM nothing", true), "a bungler").await.unwrap_err();
    admin.perform(Delete { object: object.clone() }, "a cleaner").await.unwrap();
    let told = collector.collected().events;
    let mut told: Vec<_> = told.iter().filter(|event| event.text.contains("an operator")).collect();
    assert!(told.iter().all(|event| (event.level, event.target) == (Level::WARN, "durable")));
    let mut next = || {
        let event = told.remove(0);
        let field = |name: &str| event.fields[name].clone();
        (event.text.as_str(), field("who"), field("operation"), field("object"))
    };
    let by = |who: &str, operation: &str| (who.to_owned(), operation.to_owned());
    for (text, (who, operation)) in [
        ("an operator changes something", by("a writer", "sql")),
        ("an operator changes something", by("a bungler", "sql")),
        ("what an operator asked for has failed", by("a bungler", "sql")),
        ("an operator changes something", by("a cleaner", "delete")),
    ] {
        assert_eq!(next(), (text, who, operation, object.clone()));
    }
    assert!(told.is_empty(), "{told:?}");
}
