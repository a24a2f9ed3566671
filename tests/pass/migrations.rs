//! Migrations: pinned, from constants, with helpers. The macro makes a test that runs them.

use durable::prelude::*;

const POSTS: &str = "CREATE TABLE posts (text TEXT NOT NULL)";

#[derive(Default)]
pub struct Forum;

#[durable_object]
impl Forum {
    const TAGS: &'static str = "CREATE TABLE tags (name TEXT NOT NULL)";

    #[migration(1)]
    fn create_posts(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(POSTS)
    }

    #[migration(2, checksum = "f37c63b43088c20d")]
    fn create_tags(db: &mut durable::Migration<'_>) -> durable::Result<()> {
        const INDEX: &str = "CREATE INDEX by_name ON tags (name)";
        // Neither comments nor layout count.
        db.execute_batch(Self::TAGS)?;
        db.execute_batch(INDEX)
    }

    #[migration(3)]
    fn from_files(db: &mut Migration<'_>) -> Result<(), durable::Error> {
        db.execute_batch(concat!("CREATE TABLE likes (post", " INTEGER NOT NULL)"))
    }
}

#[test]
fn sql_from_elsewhere_is_part_of_the_description() {
    use durable::DurableObject;
    let sql: Vec<_> = Forum::MIGRATIONS.iter().map(|migration| migration.sql).collect();
    assert_eq!(sql[0], [POSTS]);
    assert_eq!(sql[1], [Forum::TAGS]);
    assert_eq!(sql[2], ["CREATE TABLE likes (post INTEGER NOT NULL)"]);
}
