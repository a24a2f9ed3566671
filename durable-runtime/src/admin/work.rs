//! What objects do by themselves: what is due next, what was given up, and having it done.

use std::collections::BinaryHeap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::show::Work;
use super::{Admin, Found, LOOK_TIME, Moment, Operation};
use crate::engine::{Engine, ObjectKey};
use crate::runtime::classes::for_each;
use crate::storage::{Store, millis};
use crate::{Error, ErrorKind, Result};

/// Objects in each list of an answer, at most.
const LIMIT_MAX: usize = 1_000;

/// Asks which objects wake next, and which have given something up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Alarms {
    /// Only objects of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How many of each, at most: 1 to 1,000.
    pub limit: usize,
}

/// What is due, and what was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Waiting {
    /// The objects that wake next, the first one first.
    pub due: Vec<Due>,
    /// The objects that have given something up.
    pub given_up: Vec<GivenUp>,
}

/// An object that wakes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Due {
    /// The object, as it can be named.
    pub object: String,
    /// When it wakes.
    pub due: Moment,
    /// For what: `alarm`, `timer <key>`, `messages`, or `expiry`.
    pub why: String,
    /// How many runs of it have failed.
    pub failed: u32,
}

/// An object that has given something up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GivenUp {
    /// The object, as it can be named.
    pub object: String,
    /// What: `alarm`, `timer <key>`, or `message to <object>`.
    pub what: String,
    /// When.
    pub time: Moment,
    /// Why.
    pub reason: String,
}

/// An object that wakes, the last one the greatest.
type Wake = (i64, ObjectKey, Option<Arc<str>>);

impl Operation for Alarms {
    const NAME: &'static str = "alarms";
    type Reply = Waiting;

    async fn run(self, admin: &Admin) -> Result<Waiting> {
        let limit = self.limit.clamp(1, LIMIT_MAX);
        let only = match &self.class {
            Some(class) => Some(admin.class(class).await?.key),
            None => None,
        };
        let find = move |engine: &dyn Engine| {
            let (mut wakes, mut given_up) = (BinaryHeap::new(), Vec::new());
            let mut names = Vec::new();
            for class in engine.classes()? {
                if only.as_ref().is_some_and(|only| *only != class.key) {
                    continue;
                }
                for_each(engine, &class.key, &mut |object, known| {
                    if let Some(time) = known.wake_ms {
                        wakes.push((time, object.clone(), known.row.about.name.clone()));
                        if wakes.len() > limit {
                            wakes.pop();
                        }
                    }
                    Ok(())
                })?;
                for object in engine.given_up(&class.key)? {
                    if given_up.len() < limit {
                        let known = engine.find(&object)?;
                        given_up.push((object, known.and_then(|known| known.row.about.name)));
                    }
                }
                names.push((class.key, class.name));
            }
            Ok((wakes.into_sorted_vec(), given_up, names))
        };
        let (wakes, given_up, names): (Vec<Wake>, Vec<_>, Vec<(String, String)>) =
            admin.node.read(find).await?;
        let found = |key: ObjectKey, name| {
            let class = names.iter().find(|(known, _)| **known == *key.class);
            let class = class.map_or_else(|| key.class.to_string(), |(_, name)| name.clone());
            Found { class, key, name }
        };
        let mut waiting = Waiting::default();
        for (time, key, name) in wakes {
            let found = found(key, name);
            waiting.due.push(admin.due(&found, time).await?);
        }
        for (key, name) in given_up {
            let found = found(key, name);
            waiting.given_up.extend(admin.given_up(&found).await?);
        }
        Ok(waiting)
    }
}

impl Admin {
    async fn due(&self, found: &Found, time: i64) -> Result<Due> {
        let due = |why: String, failed| Due {
            object: found.to_string(),
            due: Moment::from_millis(time),
            why,
            failed,
        };
        let work = match self.look(found, |store| Work::read(store, 0)).await {
            Ok(work) => work,
            // It was deleted meanwhile, or cannot be opened: the list of objects says that it is due all the same.
            Err(error) => return Ok(due(format!("unknown: {error}"), 0)),
        };
        let is_this = |time_of: Option<Moment>| time_of.is_some_and(|of| of.as_millis() <= time);
        if let Some(alarm) = work.alarm.filter(|alarm| is_this(Some(alarm.due))) {
            return Ok(due("alarm".to_owned(), alarm.failed));
        }
        if let Some(timer) = work.timers.into_iter().find(|timer| is_this(timer.due)) {
            let failed = timer.failed.map_or(0, |failed| failed.runs);
            return Ok(due(format!("timer {}", timer.key), failed));
        }
        Ok(due(if work.outbox > 0 { "messages" } else { "expiry" }.to_owned(), 0))
    }

    async fn given_up(&self, found: &Found) -> Result<Vec<GivenUp>> {
        let given_up =
            |what: String, time, reason| GivenUp { object: found.to_string(), what, time, reason };
        let work = match self.look(found, |store| Work::read(store, LIMIT_MAX)).await {
            Ok(work) => work,
            Err(error) => {
                let now = self.node.settings.time.now_or_system();
                return Ok(vec![given_up("unknown".to_owned(), now.into(), error.to_string())]);
            }
        };
        let alarm = work
            .failed_alarm
            .map(|failed| given_up("alarm".to_owned(), failed.time, failed.reason));
        let timers =
            work.timers.into_iter().filter(|timer| timer.due.is_none()).filter_map(|timer| {
                let failed = timer.failed?;
                Some(given_up(format!("timer {}", timer.key), failed.time, failed.reason))
            });
        let letters = work.dead_letters.into_iter().map(|letter| {
            given_up(format!("message to {}", letter.receiver), letter.given_up, letter.reason)
        });
        Ok(alarm.into_iter().chain(timers).chain(letters).collect())
    }
}

/// Has the alarm of an object run now, in the program.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fire {
    /// The object.
    pub object: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fired {
    /// Whether there is an alarm that does not run already. It runs soon.
    pub is_due: bool,
}

impl Operation for Fire {
    const NAME: &'static str = "fire";
    type Reply = Fired;

    fn changes(&self) -> bool {
        true
    }

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Fired> {
        let found = admin.find(&self.object).await?;
        admin.check_runs(&found.class, &found.key.class, "running an alarm")?;
        let now = millis(admin.node.settings.time.now_or_system());
        let is_due = admin.change(&found, LOOK_TIME, move |store| store.hasten_alarm(now)).await?;
        if is_due {
            return Ok(Fired { is_due });
        }
        let text = format!("{found} has no alarm, or it runs already");
        Err(Error::new(ErrorKind::NotFound, text))
    }
}

/// Has all tried again that an object has given up: see [`Namespace::retry`](crate::Namespace::retry).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Retry {
    /// The object.
    pub object: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Retried {
    /// How many alarms, timers and messages are tried again.
    pub count: usize,
}

impl Operation for Retry {
    const NAME: &'static str = "retry";
    type Reply = Retried;

    fn changes(&self) -> bool {
        true
    }

    fn subject(&self) -> &str {
        &self.object
    }

    async fn run(self, admin: &Admin) -> Result<Retried> {
        let found = admin.find(&self.object).await?;
        admin.check_runs(&found.class, &found.key.class, "trying again what was given up")?;
        let now = millis(admin.node.settings.time.now_or_system());
        let begin = move |store: &Store| {
            let alarms = usize::from(store.retry_failed_alarm(now)?);
            let timers = store.retry_given_up_timers(now)?;
            Ok((alarms + timers, store.last_dead_letter()?))
        };
        let (mut count, last) = admin.change(&found, LOOK_TIME, begin).await?;
        let Some(last) = last else { return Ok(Retried { count }) };
        // Turn by turn, since they may be more than one turn can change; not those that are refused meanwhile.
        loop {
            let resend = move |store: &Store| store.resend_dead_letters(last, now);
            match admin.change(&found, LOOK_TIME, resend).await? {
                0 => return Ok(Retried { count }),
                letters => count += letters,
            }
        }
    }
}
