//! Classes whose migrations fail. They stand here, in a library without tests, because the macro
//! gives every class with migrations a test that runs them.

use durable::prelude::*;

#[derive(Debug, Default)]
pub struct Family;

#[durable_object]
impl Family {
    #[migration(1)]
    fn people(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch(
            "CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TABLE children (id INTEGER PRIMARY KEY, parent REFERENCES parents);
             INSERT INTO children VALUES (1, 42)",
        )
    }

    pub fn ping(&self) {}
}

#[derive(Debug, Default)]
pub struct Broken;

#[durable_object]
impl Broken {
    #[migration(1)]
    fn typo(db: &mut Migration<'_>) -> Result<()> {
        db.execute_batch("CREATE TABEL items (id)")
    }

    pub fn ping(&self) {}
}
