//! Whether objects are sound, and whether their migrations would succeed.

use serde::{Deserialize, Serialize};

use super::{Admin, Found, LOOK_TIME, Operation};
use crate::engine::{Engine, ObjectKey};
use crate::instance::operate::Aftermath;
use crate::instance::turn::guarded;
use crate::rpc::Access;
use crate::runtime::classes::for_each;
use crate::storage::Store;
use crate::{Error, ErrorKind, Result};

/// Checks the databases of objects, each as a turn of its own. The journal and the files are looked at by
/// [`check`](crate::check()), which needs a directory that nobody uses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CheckObjects {
    /// Only objects of this class, or this one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checked {
    /// Objects that were looked at.
    pub objects: u64,
    /// What is wrong.
    pub problems: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The object, as it can be named, or the file.
    pub place: String,
    /// What is wrong.
    pub text: String,
}

impl Finding {
    /// A finding of one's own.
    pub fn new(place: String, text: String) -> Finding {
        Finding { place, text }
    }
}

impl Operation for CheckObjects {
    const NAME: &'static str = "check";
    type Reply = Checked;

    async fn run(self, admin: &Admin) -> Result<Checked> {
        let objects = match &self.only {
            Some(object) if object.contains('/') => vec![admin.find(object).await?],
            only => admin.all(only.as_deref()).await?,
        };
        let mut checked = Checked::default();
        for found in objects {
            let problems = match admin.look(&found, integrity).await {
                Ok(problems) => problems,
                // It was deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => vec![error.to_string()],
            };
            checked.objects += 1;
            let finding = |text| Finding { place: found.to_string(), text };
            checked.problems.extend(problems.into_iter().map(finding));
        }
        Ok(checked)
    }
}

/// What SQLite finds wrong, and rows that refer to what is not there.
fn integrity(store: &Store) -> Result<Vec<String>> {
    store.read_own(Vec::new(), |connection| {
        let mut statement = connection.prepare("PRAGMA integrity_check(10)")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut texts = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        texts.retain(|text| text != "ok");
        let sql = "SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 10";
        let mut statement = connection.prepare(sql)?;
        let orphans = statement.query_map([], |row| {
            let (table, parent): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(format!("a row of {table:?} refers to a row of {parent:?} that is not there"))
        })?;
        texts.extend(orphans.collect::<rusqlite::Result<Vec<_>>>()?);
        Ok(texts)
    })
}

impl Admin {
    /// All objects of a class, or of all classes.
    async fn all(&self, class: Option<&str>) -> Result<Vec<Found>> {
        let only = match class {
            Some(class) => Some(self.class(class).await?.key),
            None => None,
        };
        let list = move |engine: &dyn Engine| {
            let mut all = Vec::new();
            for class in engine.classes()? {
                if only.as_ref().is_some_and(|only| *only != class.key) {
                    continue;
                }
                for_each(engine, &class.key, &mut |object: &ObjectKey, known| {
                    let (key, name) = (object.clone(), known.row.about.name.clone());
                    all.push(Found { class: class.name.clone(), key, name });
                    Ok(())
                })?;
            }
            Ok(all)
        };
        self.node.read(list).await
    }
}

/// Tries the migrations that objects have not had, on each of them as it is, and undoes them. This runs the program's migrations,
/// and nothing else of its code.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TryMigrations {
    /// Only objects of this class, or this one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

/// What became of objects whose migrations were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MigrationTrials {
    /// Objects that were looked at.
    pub objects: u64,
    /// Those that have not had all migrations.
    pub trials: Vec<Trial>,
}

/// An object on which migrations were tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Trial {
    /// The object, as it can be named.
    pub object: String,
    /// The schema version that it has.
    pub from: u32,
    /// The schema version that the program would bring it to.
    pub to: u32,
    /// Why it cannot be brought there, if so.
    pub error: Option<String>,
}

impl Operation for TryMigrations {
    const NAME: &'static str = "migrate";
    type Reply = MigrationTrials;

    async fn run(self, admin: &Admin) -> Result<MigrationTrials> {
        let objects = match &self.only {
            Some(object) if object.contains('/') => vec![admin.find(object).await?],
            only => admin.all(only.as_deref()).await?,
        };
        if !admin.is_live {
            admin.check_runs("", "", "trying migrations")?;
        }
        let mut trials = MigrationTrials::default();
        for found in objects {
            let Some(class) = admin.node.class_of(&found.key.class) else {
                if self.only.is_some() {
                    admin.check_runs(&found.class, &found.key.class, "trying migrations")?;
                }
                continue;
            };
            let to = u32::try_from(class.migrations().len()).unwrap_or(u32::MAX);
            trials.objects += 1;
            let known = admin.known(&found.key).await?;
            let version =
                known.and_then(|known| known.row.header).map(|header| header.schema_version);
            if version == Some(to) {
                continue;
            }
            let (from, error) = match admin.rehearse(&found).await {
                Ok((from, Ok(()))) if from == to => continue,
                Ok((from, tried)) => (from, tried.err().map(|error| error.to_string())),
                Err(error) => (version.unwrap_or_default(), Some(error.to_string())),
            };
            trials.trials.push(Trial { object: found.to_string(), from, to, error });
        }
        Ok(trials)
    }
}

impl Admin {
    async fn rehearse(&self, found: &Found) -> Result<(u32, Result<()>)> {
        let permit = self.permit(Access::ReadOnly, LOOK_TIME);
        let try_all = move |run: &mut dyn FnMut() -> Result<()>| {
            guarded(run).unwrap_or_else(|message| {
                let text = format!("a migration panicked: {message}");
                Err(Error::new(ErrorKind::Panicked, text))
            })
        };
        let rehearse =
            move |store: &mut Store| (store.rehearse(permit, try_all), Aftermath::Nothing);
        self.visit(&found.key, rehearse).await
    }
}
