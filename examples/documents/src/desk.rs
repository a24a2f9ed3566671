//! What one can do with documents. Undo, redo and copies are a few lines each: the runtime keeps what objects were.

use std::time::Duration;

use durable::prelude::*;
use durable::{Error, ObjectId};

use crate::document::Document;
use crate::draft::Draft;
use crate::versions::{Version, Versions};

/// How often somebody looks whether a message has arrived, and how many times.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS_MAX: usize = 10_000;

/// All documents of a data directory.
pub struct Desk<'a> {
    runtime: &'a Runtime,
}

impl<'a> Desk<'a> {
    pub fn new(runtime: &'a Runtime) -> Desk<'a> {
        Desk { runtime }
    }

    /// Writes the next version, and gives its number.
    pub async fn write(&self, name: &str, text: &str) -> Result<u32> {
        let version = self.runtime.get::<Document>(name).write(text).await?;
        self.noted(name).await?;
        Ok(version)
    }

    /// The number of the version that the document is at, and its text.
    pub async fn read(&self, name: &str) -> Result<(u32, String)> {
        match self.runtime.get::<Document>(name).read().await? {
            (0, _) => Err(Error::other(format!("there is no document `{name}`"))),
            read => Ok(read),
        }
    }

    /// Makes the document what it was before its last edit.
    pub async fn undo(&self, name: &str) -> Result<u32> {
        let (now, _) = self.read(name).await?;
        self.go_to(name, now - 1).await?.ok_or_else(|| Error::other("there is nothing to undo"))
    }

    /// Takes an undo back.
    pub async fn redo(&self, name: &str) -> Result<u32> {
        let (now, _) = self.read(name).await?;
        self.go_to(name, now + 1).await?.ok_or_else(|| Error::other("there is nothing to redo"))
    }

    async fn go_to(&self, name: &str, number: u32) -> Result<Option<u32>> {
        let Some(version) = self.version(name, number).await? else { return Ok(None) };
        let documents = self.runtime.namespace::<Document>();
        documents.restore(&documents.id_from_name(name)?, &version.bookmark).await?;
        Ok(Some(version.number))
    }

    /// All versions that can be gone to, and the one that the document is at.
    pub async fn versions(&self, name: &str) -> Result<(Vec<Version>, u32)> {
        self.noted(name).await?;
        let (now, _) = self.read(name).await?;
        Ok((self.runtime.get::<Versions>(name).all().await?, now))
    }

    async fn version(&self, name: &str, number: u32) -> Result<Option<Version>> {
        self.noted(name).await?;
        Ok(self.runtime.get::<Versions>(name).version(number).await?)
    }

    /// Makes another document of one, as it was at a version, or as it is. The copy goes its own way.
    pub async fn copy(&self, name: &str, to: &str, version: Option<u32>) -> Result<u32> {
        let number = match version {
            Some(number) => number,
            None => self.read(name).await?.0,
        };
        let version = self.version(name, number).await?;
        let version =
            version.ok_or_else(|| Error::other(format!("`{name}` has no version {number}")))?;
        let documents = self.runtime.namespace::<Document>();
        let [from, to_id] = [self.id(name)?, self.id(to)?];
        documents.fork(&from, &to_id).at(&version.bookmark).await?;
        documents.get(&to_id).begin().await?;
        self.noted(to).await?;
        Ok(number)
    }

    /// Writes a draft, in place of the one before.
    pub async fn draft(&self, name: &str, text: &str) -> Result<()> {
        Ok(self.runtime.get::<Draft>(name).write(text).await?)
    }

    /// Makes a draft the next version of the document with its name.
    pub async fn publish(&self, name: &str) -> Result<u32> {
        let drafts = self.runtime.namespace::<Draft>();
        let draft = drafts.get_by_name(name);
        draft.publish().await?;
        until(async || Ok(draft.is_sent().await?)).await?;
        // It would expire by itself.
        drafts.delete(&drafts.id_from_name(name)?).await?;
        Ok(self.read(name).await?.0)
    }

    /// The names of all documents, or all drafts.
    pub async fn names<T: DurableObject>(&self) -> Result<Vec<String>> {
        let objects = self.runtime.namespace::<T>();
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = objects.list().prefix("").after(after).page().await?;
            names.extend(
                page.objects.iter().filter_map(|object| object.id.name().map(str::to_owned)),
            );
            after = page.next;
            if after.is_none() {
                return Ok(names);
            }
        }
    }

    fn id(&self, name: &str) -> Result<ObjectId<Document>> {
        self.runtime.namespace::<Document>().id_from_name(name)
    }

    /// Waits until the list of versions knows the last edit. It is on its way for a moment; if the program was killed in that moment, until
    /// now.
    async fn noted(&self, name: &str) -> Result<()> {
        let document = self.runtime.get::<Document>(name);
        until(async || Ok(document.is_noted().await?)).await
    }
}

async fn until(is_done: impl AsyncFn() -> Result<bool>) -> Result<()> {
    for _ in 0..LOOKS_MAX {
        if is_done().await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Error::other("a message does not arrive: the log says why"))
}
