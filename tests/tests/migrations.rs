//! Schema history: what runs, what is refused, and what stays as it was.

use durable::prelude::*;
use durable::{Error, ErrorKind};
use durable_tests::{broken, matrix};

/// Versions of one class, as a program has them over the years.
mod v1 {
    use super::*;

    #[derive(Default)]
    pub(super) struct Shop;

    #[durable_object]
    impl Shop {
        #[migration(1)]
        fn items(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        }

        pub fn add(&mut self, ctx: &Context, name: &str) -> Result<i64> {
            ctx.sql().query_one("INSERT INTO items (name) VALUES (?) RETURNING id", [name])
        }

        pub fn version(&self, ctx: &Context) -> Result<i64> {
            ctx.sql().query_one("PRAGMA user_version", [])
        }
    }
}

mod v2 {
    use super::*;

    #[derive(Default)]
    pub(super) struct Shop;

    #[durable_object]
    impl Shop {
        #[migration(1)]
        fn items(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        }

        #[migration(2)]
        fn price_items(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("ALTER TABLE items ADD COLUMN price INTEGER NOT NULL DEFAULT 0")?;
            // In Rust, row by row: what SQL alone cannot do.
            let items: Vec<(i64, String)> = db.query_all("SELECT id, name FROM items", [])?;
            for (id, name) in items {
                if name == "poison" {
                    return Err(Error::other("cannot price poison"));
                }
                let price = i64::try_from(name.len()).map_err(Error::other)?;
                db.execute("UPDATE items SET price = ? WHERE id = ?", (price, id))?;
            }
            Ok(())
        }

        pub fn prices(&self, ctx: &Context) -> Result<Vec<(String, i64)>> {
            ctx.sql().query_all("SELECT name, price FROM items ORDER BY id", [])
        }

        pub fn version(&self, ctx: &Context) -> Result<i64> {
            ctx.sql().query_one("PRAGMA user_version", [])
        }
    }
}

/// Version 1 with another text: an edit of a migration that has shipped.
mod edited {
    use super::*;

    #[derive(Default)]
    pub(super) struct Shop;

    #[durable_object]
    impl Shop {
        #[migration(1)]
        fn items(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
        }

        pub fn ping(&self) {}
    }
}

const ITEMS: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";

/// The SQL stands in a constant: its text counts for the checksum all the same.
mod constant {
    use super::*;

    #[derive(Default)]
    pub(super) struct Shelf;

    #[durable_object]
    impl Shelf {
        #[migration(1)]
        fn items(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch(ITEMS)
        }

        pub fn add(&mut self, ctx: &Context) -> Result<usize> {
            ctx.sql().execute("INSERT INTO items (name) VALUES ('x')", [])
        }
    }
}

mod other_constant {
    use super::*;

    const ITEMS: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)";

    #[derive(Default)]
    pub(super) struct Shelf;

    #[durable_object]
    impl Shelf {
        #[migration(1)]
        fn items(db: &mut Migration<'_>) -> Result<()> {
            db.execute_batch(ITEMS)
        }

        pub fn add(&mut self, ctx: &Context) -> Result<usize> {
            ctx.sql().execute("INSERT INTO items (name) VALUES ('x')", [])
        }
    }
}

fn activation(error: CallError<impl std::fmt::Debug>) -> Error {
    match error {
        CallError::Activation(error) => error,
        other => panic!("{other:?}"),
    }
}

matrix! {
    async fn missing_migrations_run_in_order_and_keep_the_data(bed) {
        let runtime = bed.builder().register::<v1::Shop>().start().await.unwrap();
        let shop = runtime.get::<v1::Shop>("corner");
        assert_eq!(shop.add("tea").await.unwrap(), 1);
        assert_eq!(shop.version().await.unwrap(), 1);
        runtime.shutdown().await.unwrap();

        let runtime = bed.builder().register::<v2::Shop>().start().await.unwrap();
        let shop = runtime.get::<v2::Shop>("corner");
        assert_eq!(shop.prices().await.unwrap(), [("tea".to_owned(), 3)]);
        assert_eq!(shop.version().await.unwrap(), 2);
        // An object made now has both at once.
        assert_eq!(runtime.get::<v2::Shop>("new").version().await.unwrap(), 2);
    }

    async fn a_failing_migration_leaves_the_object_as_it_was_and_the_others_alone(bed) {
        let runtime = bed.builder().register::<v1::Shop>().start().await.unwrap();
        runtime.get::<v1::Shop>("good").add("tea").await.unwrap();
        runtime.get::<v1::Shop>("bad").add("tea").await.unwrap();
        runtime.get::<v1::Shop>("bad").add("poison").await.unwrap();
        runtime.shutdown().await.unwrap();

        let runtime = bed.builder().register::<v2::Shop>().start().await.unwrap();
        for _ in 0..2 {
            let error = activation(runtime.get::<v2::Shop>("bad").prices().await.unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Migration);
            for part in ["2", "price_items", "cannot price poison"] {
                assert!(error.message().contains(part), "{error}");
            }
        }
        assert_eq!(runtime.get::<v2::Shop>("good").version().await.unwrap(), 2);
        runtime.shutdown().await.unwrap();

        // The old program still reads it.
        let runtime = bed.builder().register::<v1::Shop>().start().await.unwrap();
        assert_eq!(runtime.get::<v1::Shop>("bad").version().await.unwrap(), 1);
        assert_eq!(runtime.get::<v1::Shop>("bad").add("milk").await.unwrap(), 3);
    }

    async fn a_database_of_a_newer_program_is_refused_unchanged(bed) {
        let runtime = bed.builder().register::<v1::Shop>().start().await.unwrap();
        runtime.get::<v1::Shop>("corner").add("tea").await.unwrap();
        runtime.shutdown().await.unwrap();
        let runtime = bed.builder().register::<v2::Shop>().start().await.unwrap();
        runtime.get::<v2::Shop>("corner").prices().await.unwrap();
        runtime.shutdown().await.unwrap();

        let runtime = bed.builder().register::<v1::Shop>().start().await.unwrap();
        let error = activation(runtime.get::<v1::Shop>("corner").version().await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Migration);
        assert!(error.message().contains('2') && error.message().contains('1'), "{error}");
        runtime.shutdown().await.unwrap();

        let runtime = bed.builder().register::<v2::Shop>().start().await.unwrap();
        assert_eq!(runtime.get::<v2::Shop>("corner").prices().await.unwrap().len(), 1);
    }

    async fn an_edited_migration_is_refused_and_named(bed) {
        let runtime = bed.builder().register::<v1::Shop>().start().await.unwrap();
        runtime.get::<v1::Shop>("corner").add("tea").await.unwrap();
        runtime.shutdown().await.unwrap();

        let runtime = bed.builder().register::<edited::Shop>().start().await.unwrap();
        let error = activation(runtime.get::<edited::Shop>("corner").ping().await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Migration);
        assert!(error.message().contains("items"), "{error}");
        runtime.get::<edited::Shop>("new").ping().await.unwrap();
    }

    async fn sql_in_a_constant_counts_for_the_checksum(bed) {
        let runtime = bed.builder().register::<constant::Shelf>().start().await.unwrap();
        runtime.get::<constant::Shelf>("top").add().await.unwrap();
        runtime.shutdown().await.unwrap();

        let runtime = bed.builder().register::<other_constant::Shelf>().start().await.unwrap();
        let refused = runtime.get::<other_constant::Shelf>("top").add().await.unwrap_err();
        assert_eq!(activation(refused).kind(), ErrorKind::Migration);
    }

    async fn a_migration_that_breaks_foreign_keys_or_syntax_is_refused(bed) {
        let builder = bed.builder().register::<broken::Family>().register::<broken::Broken>();
        let runtime = builder.start().await.unwrap();
        let error = activation(runtime.get::<broken::Family>("a").ping().await.unwrap_err());
        assert!(error.message().contains("children"), "{error}");
        let error = activation(runtime.get::<broken::Broken>("a").ping().await.unwrap_err());
        assert!(error.message().contains("typo"), "{error}");
        assert!(bed.object_files().is_empty());
    }
}

#[test]
fn migrations_can_be_checked_on_an_empty_database() {
    v2::Shop::check_migrations().unwrap();
    let error = broken::Broken::check_migrations().unwrap_err();
    assert!(error.message().contains("typo"), "{error}");
    broken::Family::check_migrations().unwrap_err();
}
