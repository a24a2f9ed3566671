//! An engine for tests, whose commits become durable when the test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;

use super::receipt::Watermark;
use super::{Configure, Database, Engine, ObjectKey, Receipt, Scratch};
use crate::{Error, ErrorKind, Result};

/// Keeps objects in memory for as long as they are open.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Commits are counted from 1.
    watermark: Arc<Watermark>,
    commits: AtomicU64,
    deletions: AtomicU64,
    opened: AtomicU64,
    fails_next: AtomicBool,
    /// Which open is refused; 0 for none.
    refuses: AtomicU64,
}

struct FakeDatabase {
    shared: Arc<Shared>,
    inner: Box<dyn Database>,
    is_stored: bool,
    is_failed: bool,
}

impl Fake {
    /// Makes everything durable that was committed.
    pub(crate) fn flush(&self) {
        self.shared.watermark.advance(self.commits());
    }

    /// Nothing more becomes durable.
    pub(crate) fn lose(&self) {
        self.shared.watermark.fail(lost());
    }

    /// Refuses the next commit.
    pub(crate) fn fail_next_commit(&self) {
        self.shared.fails_next.store(true, Ordering::SeqCst);
    }

    /// Refuses to open a database for the n-th time.
    pub(crate) fn refuse_open(&self, n: u64) {
        self.shared.refuses.store(n, Ordering::SeqCst);
    }

    /// Records that a journal would hold.
    pub(crate) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::SeqCst)
    }

    /// How many of them are deletions.
    pub(crate) fn deletions(&self) -> u64 {
        self.shared.deletions.load(Ordering::SeqCst)
    }

    /// How often a database was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::SeqCst)
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Storage, "the disk is lost")
}

impl Engine for Fake {
    fn open(&self, object: &ObjectKey, configure: Configure) -> Result<Box<dyn Database>> {
        let opened = self.shared.opened.fetch_add(1, Ordering::SeqCst) + 1;
        if self.shared.refuses.load(Ordering::SeqCst) == opened {
            return Err(lost());
        }
        Ok(Box::new(FakeDatabase {
            shared: Arc::clone(&self.shared),
            inner: Scratch.open(object, configure)?,
            is_stored: false,
            is_failed: false,
        }))
    }

    fn exists(&self, _: &ObjectKey) -> Result<bool> {
        Ok(false)
    }

    fn failed(&self) -> Receipt {
        Receipt::failure(&self.shared.watermark)
    }

    fn files_per_object(&self) -> usize {
        1
    }
}

impl FakeDatabase {
    fn append(&self) -> Receipt {
        let ticket = self.shared.commits.fetch_add(1, Ordering::SeqCst) + 1;
        Receipt::pending(&self.shared.watermark, ticket)
    }
}

impl Database for FakeDatabase {
    fn connection(&self) -> &Connection {
        self.inner.connection()
    }

    fn is_stored(&self) -> bool {
        self.is_stored
    }

    fn latest(&self) -> Receipt {
        Receipt::pending(&self.shared.watermark, self.shared.commits.load(Ordering::SeqCst))
    }

    fn is_failed(&self) -> bool {
        self.is_failed
    }

    fn begin(&self) -> Result<()> {
        self.inner.begin()
    }

    fn commit(&mut self) -> Result<Receipt> {
        if self.shared.fails_next.swap(false, Ordering::SeqCst) {
            self.is_failed = true;
            return Err(lost());
        }
        let _ = self.inner.commit()?;
        self.is_stored = true;
        Ok(self.append())
    }

    fn commit_provisional(&mut self) -> Result<()> {
        self.inner.commit_provisional()
    }

    fn delete(&mut self) -> Result<Receipt> {
        let _ = self.inner.delete()?;
        self.is_failed = true;
        self.shared.deletions.fetch_add(1, Ordering::SeqCst);
        Ok(self.append())
    }

    fn rollback(&mut self) -> Result<()> {
        self.inner.rollback()
    }
}
