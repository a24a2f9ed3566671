//! How much there is of everything, and who is busy.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Admin, Moment, Operation};
use crate::engine::sqlite::PAGE_BYTES;
use crate::engine::{Engine, ObjectKey};
use crate::runtime::classes::for_each;
use crate::{Error, ErrorKind, Result};

/// Objects of one answer, at most.
const BUSY_MAX: usize = 1_000;

/// Asks how much there is of everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stats {}

/// How much there is of everything. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// The data directory.
    pub directory: String,
    /// Whether a program runs the objects.
    pub is_live: bool,
    /// Each class.
    pub classes: Vec<ClassStats>,
    /// The journal on disk.
    pub journal_bytes: u64,
    /// The history on disk.
    pub history_bytes: u64,
    /// The list of classes and objects on disk.
    pub catalogue_bytes: u64,
}

/// How much there is of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassStats {
    /// Its name.
    pub name: String,
    /// Whether the program that was asked has it.
    pub is_registered: bool,
    /// Its objects.
    pub objects: u64,
    /// Those in memory.
    pub resident: u64,
    /// The databases of all of them.
    pub bytes: u64,
    /// Objects that wake by themselves.
    pub waking: u64,
    /// Objects that have given something up.
    pub given_up: u64,
}

impl Operation for Stats {
    const NAME: &'static str = "stats";
    type Reply = Statistics;

    async fn run(self, admin: &Admin) -> Result<Statistics> {
        let (node, path) = (std::sync::Arc::clone(&admin.node), admin.path.clone());
        let is_live = admin.is_live;
        let count = move |engine: &dyn Engine| {
            let mut classes = Vec::new();
            for class in engine.classes()? {
                let present =
                    node.class_of(&class.key).map_or_else(Vec::new, |class| class.present());
                let resident = present.iter().filter(|object| object.is_resident).count() as u64;
                let given_up = engine.given_up(&class.key)?.len() as u64;
                let (mut objects, mut bytes, mut waking) = (0, 0, 0);
                for_each(engine, &class.key, &mut |_, known| {
                    objects += 1;
                    bytes +=
                        known.row.header.map_or(0, |header| u64::from(header.pages)) * PAGE_BYTES;
                    waking += u64::from(known.wake_ms.is_some());
                    Ok(())
                })?;
                let (name, is_registered) = (class.name, class.is_registered);
                classes.push(ClassStats {
                    name,
                    is_registered,
                    objects,
                    resident,
                    bytes,
                    waking,
                    given_up,
                });
            }
            Ok(Statistics {
                directory: path.display().to_string(),
                is_live,
                classes,
                journal_bytes: bytes_in(&path.join("journal")),
                history_bytes: bytes_in(&path.join("history")),
                catalogue_bytes: path.join("catalogue.db").metadata().map_or(0, |file| file.len()),
            })
        };
        admin.node.read(count).await
    }
}

/// The bytes of the files in a folder; files that come and go meanwhile count or not.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

/// Asks which objects are in memory and how busy they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Top {}

/// The objects in memory, those that have run the most turns first: 1,000 at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TopShown {
    /// When that was so.
    pub time: Moment,
    /// How many objects are in memory.
    pub resident: u64,
    /// The busiest.
    pub objects: Vec<Busy>,
}

/// An object in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Busy {
    /// The object, as it can be named.
    pub object: String,
    /// Turns that it has run since it was last unknown in memory: of two looks the difference is what it ran in between.
    pub turns: u64,
    /// Calls that have no answer yet.
    pub waiting: usize,
    /// Memory of its database, in bytes, as of its last turn.
    pub bytes: usize,
    /// Its open WebSockets.
    pub sockets: usize,
}

impl Operation for Top {
    const NAME: &'static str = "top";
    type Reply = TopShown;

    async fn run(self, admin: &Admin) -> Result<TopShown> {
        if !admin.is_live {
            let text = "nobody runs the objects of this data directory: ask the program that does";
            return Err(Error::new(ErrorKind::Refused, text));
        }
        let names = admin.node.with_engine(|engine| engine.classes()).await?;
        let (mut objects, mut resident) = (Vec::new(), 0);
        for class in admin.node.classes() {
            let stored = names.iter().find(|stored| stored.key == class.key());
            let name = stored.map_or_else(|| class.key(), |stored| &stored.name);
            for object in class.present() {
                if !object.is_resident && object.waiting == 0 && object.sockets == 0 {
                    continue;
                }
                resident += u64::from(object.is_resident);
                let key = ObjectKey { class: class.key().into(), id: object.id };
                let object = Busy {
                    object: super::address(name, &key, object.name.as_deref()),
                    turns: object.turns,
                    waiting: object.waiting,
                    bytes: if object.is_resident { object.bytes } else { 0 },
                    sockets: object.sockets,
                };
                objects.push(object);
            }
        }
        objects.sort_by(|one, other| {
            (other.waiting, other.turns, &one.object).cmp(&(one.waiting, one.turns, &other.object))
        });
        objects.truncate(BUSY_MAX);
        Ok(TopShown { time: admin.node.settings.time.now_or_system().into(), resident, objects })
    }
}
