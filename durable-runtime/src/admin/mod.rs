//! What operators do: look into objects and repair them, whatever their class, in a running program or in a data directory that
//! nobody uses.
//!
//! The guarantee: no operation runs code of an object's, but where it says so. Of an object in memory it is a turn, in its queue
//! and with the limits of turns; one that is not in memory, or whose class fails to start it, is opened without being migrated
//! or constructed. What is changed is durable when there is an answer. A data directory that is opened offline wakes nobody, and
//! nothing of the history that it has is taken away.
//!
//! Each operation is a plain value, an [`Operation`], with a plain answer: [`Admin::perform`] is all that a server or a command line
//! has to call. Objects are named as operators write them: `Class/name`, or `Class/` and the 64 hex digits of an id.

mod check;
mod classes;
mod copies;
mod history;
mod lifecycle;
mod show;
mod sql;
mod stats;
mod time;
mod value;
mod work;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::engine::{Engine, ObjectKey};
use crate::id::{RawId, check_name};
use crate::instance::operate::{Aftermath, Visit};
use crate::node::Node;
use crate::observe::events::note;
use crate::rpc::Access;
use crate::storage::Store;
use crate::storage::visit::Permit;
use crate::{Builder, Error, ErrorKind, Result};

pub use check::{CheckObjects, Checked, Finding, MigrationTrials, Trial, TryMigrations};
pub use classes::{Class, Classes, List, Listed, Summary};
pub use copies::{Exported, Fork, Forked, Imported, Spool, StateAt, Taken};
pub use history::{Bookmarks, Commit, Past, Restore, Restored};
pub use lifecycle::{Delete, Deleted, Evict, Evicted};
pub use show::{
    AlarmShown, DeadLetterShown, Entry, FailureShown, Part, Show, Shown, Table, TimerShown,
};
pub use sql::{ROWS_MAX, Rows, RunSql};
pub use stats::{Busy, ClassStats, Statistics, Stats, Top, TopShown};
pub use time::Moment;
pub use value::Cell;
pub use work::{Alarms, Due, Fire, Fired, GivenUp, Retried, Retry, Waiting};

/// How long the SQL of one look at an object may take, unless a request allows more.
pub const LOOK_TIME: Duration = Duration::from_secs(10);

/// Something that an operator asks for.
pub trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// Its name, as in a path of the admin API.
    const NAME: &'static str;
    /// The answer.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Whether it changes anything, which is logged.
    fn changes(&self) -> bool {
        false
    }

    /// What it is about, for the log: an object, as the operator wrote it.
    #[expect(clippy::unnecessary_literal_bound, reason = "most operations give a text of theirs")]
    fn subject(&self) -> &str {
        ""
    }

    /// Does it. See [`Admin::perform`].
    #[doc(hidden)]
    fn run(self, admin: &Admin) -> impl Future<Output = Result<Self::Reply>> + Send;
}

/// Does what operators ask for. From [`Runtime::admin`](crate::Runtime::admin), or of a data directory that nobody uses, from
/// [`open`](Admin::open). Cloning is cheap.
///
/// It does not keep the runtime alive: operations fail with [`ErrorKind::ShutDown`] once that has ended.
#[derive(Clone)]
pub struct Admin {
    node: Arc<Node>,
    path: PathBuf,
    is_live: bool,
}

/// An object that somebody has named.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The name of its class.
    class: String,
    key: ObjectKey,
    name: Option<Arc<str>>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&address(&self.class, &self.key, self.name.as_deref()))
    }
}

impl Found {
    fn missing(&self) -> Error {
        Error::new(ErrorKind::NotFound, format!("{self} does not exist: nothing of it is stored"))
    }

    /// An error in the words of who has named the object.
    fn explain(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::NotFound { self.missing() } else { error }
    }
}

/// How an object is named so that it is found again: by its name, unless that is a name in a jurisdiction, or is read as the id of
/// another object.
fn address(class: &str, key: &ObjectKey, name: Option<&str>) -> String {
    let leads_here = |name: &&str| {
        RawId::from_name(&key.class, None, name) == key.id && read_id(&key.class, name).is_none()
    };
    match name.filter(leads_here) {
        Some(name) => format!("{class}/{name}"),
        None => format!("{class}/{}", key.id),
    }
}

impl Admin {
    pub(crate) fn of(node: &Arc<Node>, path: &Path) -> Admin {
        Admin { node: Arc::clone(node), path: path.to_owned(), is_live: true }
    }

    /// Opens a data directory that nobody uses, without any class: nothing that is due in it happens, and its history stays as it
    /// is. It stays locked until [`close`](Admin::close).
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] while a runtime uses the directory, [`ErrorKind::Invalid`] when it is no data directory or of a
    /// newer version, and when it is damaged so that a start would refuse it.
    pub async fn open(directory: impl Into<PathBuf>) -> Result<Admin> {
        let (node, path) = Builder::new(directory.into()).open_offline().await?;
        Ok(Admin { node: Arc::new(node), path, is_live: false })
    }

    /// Ends what [`open`](Admin::open) has begun: writes what is to be written, and unlocks the directory. Does nothing to a running program.
    pub async fn close(&self) {
        if !self.is_live {
            self.node.shut_down().await;
        }
    }

    /// Whether a program runs the objects.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// Ready when the runtime begins to shut down, or is dropped. For servers.
    pub fn ends(&self) -> impl Future<Output = ()> + Send + use<> {
        let ends: WaitForCancellationFutureOwned = self.node.ends();
        ends
    }

    /// Does what somebody asks for. What changes anything is logged, with `who` it was, and so is its failure.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such class or object, [`ErrorKind::Invalid`] when a name, an id or an option means nothing,
    /// and [`ErrorKind::Refused`] when it needs the program's code and nobody runs that. Others are those of the operation.
    pub async fn perform<O: Operation>(&self, operation: O, who: &str) -> Result<O::Reply> {
        if !operation.changes() {
            return operation.run(self).await;
        }
        let (name, object) = (O::NAME, operation.subject().to_owned());
        note!(warn, who, operation = name, object, "an operator changes something");
        let done = operation.run(self).await;
        if let Err(error) = &done {
            note!(warn, who, operation = name, object, reason = %error, "what an operator asked for has failed");
        }
        done
    }

    /// The object that somebody names.
    async fn find(&self, object: &str) -> Result<Found> {
        let object = object.to_owned();
        self.node.with_engine(move |engine| find(&**engine, &object)).await
    }

    /// The class that somebody names.
    async fn class(&self, name: &str) -> Result<crate::engine::StoredClass> {
        let name = name.to_owned();
        self.node
            .with_engine(move |engine| {
                let classes = engine.classes()?;
                let known = classes.iter().map(|class| class.name.clone()).collect::<Vec<_>>();
                let found =
                    classes.into_iter().find(|class| class.name == name || class.key == name);
                found.ok_or_else(|| no_class(&name, &known))
            })
            .await
    }

    fn permit(&self, access: Access, time: Duration) -> Permit {
        Permit { access, time, now: self.node.settings.time.now_or_system() }
    }

    /// Looks at an object that is stored.
    async fn look<R: Send + 'static>(
        &self,
        found: &Found,
        look: impl FnOnce(&Store) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        self.look_for(found, LOOK_TIME, look).await
    }

    /// The same, for no longer than this.
    async fn look_for<R: Send + 'static>(
        &self,
        found: &Found,
        time: Duration,
        look: impl FnOnce(&Store) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let permit = self.permit(Access::ReadOnly, time);
        let look = move |store: &mut Store| (store.visit(permit, look), Aftermath::Nothing);
        self.visit(&found.key, look).await.map_err(|error| found.explain(error))
    }

    /// Changes an object that is stored.
    async fn change<R: Send + 'static>(
        &self,
        found: &Found,
        time: Duration,
        change: impl FnOnce(&Store) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let permit = self.permit(Access::Write, time);
        let change = move |store: &mut Store| {
            let changed = store.visit(permit, change);
            let aftermath = if changed.is_ok() { Aftermath::Changed } else { Aftermath::Nothing };
            (changed, aftermath)
        };
        self.visit(&found.key, change).await.map_err(|error| found.explain(error))
    }

    /// Does something with the storage of an object, and waits until what it wrote or may have seen is durable.
    async fn visit<R: Send + 'static>(
        &self,
        key: &ObjectKey,
        visit: impl FnOnce(&mut Store) -> (Result<R>, Aftermath) + Send + 'static,
    ) -> Result<R> {
        let (sender, visited) = oneshot::channel();
        let visit: Visit = Box::new(move |store| {
            let (result, aftermath) = visit(store);
            let _ = sender.send((result, store.receipt()));
            aftermath
        });
        if let Some(class) = self.node.class_of(&key.class) {
            let visited = class.visit(&self.node, key.id, visit).await;
            visited.map_err(|failure| Error::from(failure.widen::<Error>()))?;
        } else {
            let (node, key) = (Arc::clone(&self.node), key.clone());
            let as_stranger = move |engine: &Arc<dyn Engine>| {
                let _alone = node.keep_strangers();
                let limits = Arc::clone(&node.settings.limits);
                visit(&mut Store::of_stranger(Arc::clone(engine), &key, limits));
                Ok(())
            };
            self.node.with_engine(as_stranger).await?;
        }
        let ended = || Error::new(ErrorKind::ShutDown, "the runtime is shut down");
        let (result, receipt) = visited.await.map_err(|_| ended())?;
        receipt.wait().await?;
        result
    }

    /// What needs the code of a class.
    fn check_runs(&self, class: &str, key: &str, what: &str) -> Result<()> {
        if self.node.class_of(key).is_some() {
            return Ok(());
        }
        let text = if self.is_live {
            format!("{what} needs the code of class `{class}`, and this program does not have it")
        } else {
            format!(
                "{what} needs the program's code: start the program with the admin API, and ask it"
            )
        };
        Err(Error::new(ErrorKind::Refused, text))
    }
}

/// The id that a text is, if it is one of this class.
fn read_id(class: &str, text: &str) -> Option<RawId> {
    text.parse::<RawId>().ok().filter(|id| id.belongs_to(class))
}

fn no_class(name: &str, known: &[String]) -> Error {
    let known = if known.is_empty() {
        "nothing is stored yet".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    };
    Error::new(ErrorKind::NotFound, format!("there is no stored class `{name}`: {known}"))
}

/// Reads `Class/name` or `Class/<id>`. Of several classes that the text begins with it is the one with the longest name.
fn find(engine: &dyn Engine, object: &str) -> Result<Found> {
    let classes = engine.classes()?;
    let name_of = |class: &crate::engine::StoredClass| {
        let rest = [&class.name, &class.key]
            .into_iter()
            .find_map(|name| object.strip_prefix(name.as_str())?.strip_prefix('/'));
        rest.map(str::len)
    };
    let found = classes
        .iter()
        .filter_map(|class| Some((name_of(class)?, class)))
        .min_by_key(|(rest, _)| *rest);
    let Some((rest, class)) = found else {
        let Some((name, _)) = object.split_once('/') else {
            let text = format!(
                "an object is named `Class/name` or `Class/<64 hex digits>`, not {object:?}"
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        };
        let known = classes.iter().map(|class| class.name.clone()).collect::<Vec<_>>();
        return Err(no_class(name, &known));
    };
    let name = &object[object.len() - rest..];
    let (id, name) = if let Some(id) = read_id(&class.key, name) {
        let known = engine.find(&ObjectKey { class: class.key.as_str().into(), id })?;
        (id, known.and_then(|known| known.row.about.name))
    } else {
        check_name(name)?;
        (RawId::from_name(&class.key, None, name), Some(Arc::from(name)))
    };
    let key = ObjectKey { class: class.key.as_str().into(), id };
    Ok(Found { class: class.name.clone(), key, name })
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.path.display())
    }
}
