//! Databases that are never stored: to try migrations on, and for tests.
//!
//! The guarantee: nothing touches the disk, and all is gone when the database is dropped.

use rusqlite::Connection;

use super::{Configure, Database, Engine, ObjectKey, Receipt, sqlite};
use crate::Result;

/// Keeps nothing: each `open` gives an empty database in memory.
#[derive(Debug)]
pub(crate) struct Scratch;

struct ScratchDatabase {
    connection: Connection,
    is_deleted: bool,
}

impl Engine for Scratch {
    fn failed(&self) -> Receipt {
        Receipt::never()
    }

    fn files_per_object(&self) -> usize {
        0
    }

    fn open(&self, _object: &ObjectKey, configure: Configure) -> Result<Box<dyn Database>> {
        Ok(Box::new(ScratchDatabase {
            connection: sqlite::open_memory(&configure)?,
            is_deleted: false,
        }))
    }

    fn exists(&self, _object: &ObjectKey) -> Result<bool> {
        Ok(false)
    }
}

impl Database for ScratchDatabase {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn is_stored(&self) -> bool {
        false
    }

    fn is_failed(&self) -> bool {
        self.is_deleted
    }

    fn begin(&self) -> Result<()> {
        sqlite::run(&self.connection, "/*durable*/BEGIN")
    }

    fn commit(&mut self) -> Result<Receipt> {
        self.commit_provisional()?;
        Ok(Receipt::durable())
    }

    fn commit_provisional(&mut self) -> Result<()> {
        sqlite::run(&self.connection, "/*durable*/COMMIT")
    }

    fn delete(&mut self) -> Result<Receipt> {
        self.rollback()?;
        self.is_deleted = true;
        Ok(Receipt::durable())
    }

    fn rollback(&mut self) -> Result<()> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        sqlite::run(&self.connection, "/*durable*/ROLLBACK")
    }
}
