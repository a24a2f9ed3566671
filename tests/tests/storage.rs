//! SQL and KV as a turn sees them.

use durable::prelude::*;
use durable::{Error, ErrorKind};
use durable_tests::matrix;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Book {
    id: i64,
    title: String,
    price: Option<f64>,
    cover: Option<Vec<u8>>,
    sold: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tag {
    name: String,
    #[serde(default)]
    weight: u8,
}

#[derive(Serialize, Deserialize)]
struct OldTag {
    name: String,
}

#[derive(Default)]
struct Library;

#[durable_object]
impl Library {
    #[migration(1)]
    fn create_books(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE books (
                 id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, price REAL, cover BLOB,
                 sold INTEGER NOT NULL DEFAULT 0
             )",
        )
    }

    pub fn add(
        &mut self,
        ctx: &Context,
        title: &str,
        price: Option<f64>,
        cover: Option<Vec<u8>>,
    ) -> Result<usize> {
        let query = "INSERT INTO books (title, price, cover) VALUES (?, ?, ?)";
        ctx.sql().execute(query, (title, price, cover))
    }

    pub fn books(&self, ctx: &Context) -> Result<Vec<Book>> {
        ctx.sql().query_all("SELECT sold, title, id, price, cover FROM books ORDER BY id", ())
    }

    pub fn titles(&self, ctx: &Context) -> Result<Vec<(i64, String)>> {
        ctx.sql().query_all("SELECT id, title FROM books ORDER BY id", [])
    }

    pub fn find(&self, ctx: &Context, title: &str) -> Result<Option<Book>> {
        ctx.sql().query_optional("SELECT * FROM books WHERE title = ?", [title])
    }

    pub fn one(&self, ctx: &Context, id: i64) -> Result<String> {
        ctx.sql().query_one("SELECT title FROM books WHERE id >= ?", [id])
    }

    pub fn wrong_type(&self, ctx: &Context) -> Result<i64> {
        ctx.sql().query_one("SELECT title FROM books LIMIT 1", [])
    }

    /// A failed statement undoes only itself, if the method goes on.
    pub fn add_unless_there(&mut self, ctx: &Context, title: &str) -> Result<bool> {
        self.add(ctx, "always", None, None)?;
        match self.add(ctx, title, None, None) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Constraint => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub fn exact(&self, ctx: &Context, number: i64) -> Result<i64> {
        ctx.sql().query_one("SELECT ?", [number])
    }

    pub fn put_old_tag(&mut self, ctx: &Context, name: String) -> Result<()> {
        ctx.kv().put("tag", &OldTag { name })
    }

    pub fn tag(&self, ctx: &Context) -> Result<Option<Tag>> {
        ctx.kv().get("tag")
    }

    pub fn tag_as_number(&self, ctx: &Context) -> Result<Option<i64>> {
        ctx.kv().get("tag")
    }

    pub fn delete_tag(&mut self, ctx: &Context) -> Result<bool> {
        ctx.kv().delete("tag")
    }

    pub fn put_large(&mut self, ctx: &Context, key_bytes: usize, value_bytes: usize) -> Result<()> {
        ctx.kv().put(&"k".repeat(key_bytes), &"v".repeat(value_bytes))
    }
}

fn application<R: std::fmt::Debug>(answer: Result<R, CallError<Error>>) -> Error {
    match answer.unwrap_err() {
        CallError::Application(error) => error,
        other => panic!("{other:?}"),
    }
}

matrix! {
    async fn rows_become_values_tuples_and_structs(bed) {
        let runtime = bed.builder().register::<Library>().start().await.unwrap();
        let library = runtime.get::<Library>("city");
        assert_eq!(library.add("Dune", Some(9.5), None).await.unwrap(), 1);
        library.add("Emma", None, Some(vec![1, 2])).await.unwrap();
        let books = [
            Book { id: 1, title: "Dune".into(), price: Some(9.5), cover: None, sold: false },
            Book { id: 2, title: "Emma".into(), price: None, cover: Some(vec![1, 2]), sold: false },
        ];
        assert_eq!(library.books().await.unwrap(), books);
        assert_eq!(library.titles().await.unwrap(), [(1, "Dune".to_owned()), (2, "Emma".to_owned())]);
        assert_eq!(library.find("Emma").await.unwrap().as_ref(), Some(&books[1]));
        assert_eq!(library.find("Ulysses").await.unwrap(), None);
        for exact in [i64::MAX, i64::MIN, (1 << 53) + 1] {
            assert_eq!(library.exact(exact).await.unwrap(), exact);
        }
    }

    async fn one_row_means_one(bed) {
        let runtime = bed.builder().register::<Library>().start().await.unwrap();
        let library = runtime.get::<Library>("city");
        assert_eq!(application(library.one(1).await).kind(), ErrorKind::NoRows);
        library.add("Dune", None, None).await.unwrap();
        assert_eq!(library.one(1).await.unwrap(), "Dune");
        library.add("Emma", None, None).await.unwrap();
        assert_eq!(application(library.one(1).await).kind(), ErrorKind::ManyRows);
        let error = application(library.wrong_type().await);
        assert_eq!(error.kind(), ErrorKind::Conversion);
        assert!(error.message().contains("title") && error.message().contains("TEXT"), "{error}");
    }

    async fn a_failed_statement_undoes_only_itself(bed) {
        let runtime = bed.builder().register::<Library>().start().await.unwrap();
        let library = runtime.get::<Library>("city");
        library.add("Dune", None, None).await.unwrap();
        assert!(!library.add_unless_there("Dune").await.unwrap());
        let titles: Vec<_> = library.titles().await.unwrap().into_iter().map(|(_, title)| title).collect();
        assert_eq!(titles, ["Dune", "always"]);
    }

    async fn stored_values_survive_a_new_field_and_refuse_another_type(bed) {
        let runtime = bed.builder().register::<Library>().start().await.unwrap();
        let library = runtime.get::<Library>("city");
        assert_eq!(library.tag().await.unwrap(), None);
        library.put_old_tag("sf".into()).await.unwrap();
        assert_eq!(library.tag().await.unwrap(), Some(Tag { name: "sf".into(), weight: 0 }));
        let error = application(library.tag_as_number().await);
        assert_eq!(error.kind(), ErrorKind::Conversion);
        assert!(error.message().contains("\"tag\"") && error.message().contains("i64"), "{error}");
        assert!(library.delete_tag().await.unwrap());
        assert!(!library.delete_tag().await.unwrap());
        assert_eq!(library.tag().await.unwrap(), None);
    }

    async fn keys_and_values_have_limits(bed) {
        let runtime = bed.builder().register::<Library>().start().await.unwrap();
        let library = runtime.get::<Library>("city");
        library.put_large(2048, 1).await.unwrap();
        for (key, value) in [(2049, 1), (1, 2 * 1024 * 1024)] {
            let error = application(library.put_large(key, value).await);
            assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        }
    }
}
