//! What the driver and the objects of a case share, outside the objects: what is asked of them, what they
//! have done, and what the recorder kept of them.
//!
//! The guarantee: it outlives the instances of objects, as the recorder's memory outlived those of the
//! reference, and is forgotten with the process.

mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable::AlarmInfo;
use serde_json::{Value as Json, json};

use crate::case::{Constructor, Ops, Script};
use crate::differences::Rule;
use sockets::Sockets;

/// From this time on, in milliseconds, the recordings show times as they are: no recording can have
/// reached it. It is in 2096.
const SHOWN_TIME_MIN: i64 = 4_000_000_000_000;

/// What one run of a case is about.
#[derive(Debug, Default)]
pub(crate) struct World {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    case: String,
    /// The differences in which the interpreter behaves like the reference this time.
    emulated: BTreeSet<Rule>,
    /// The differences that came into play.
    met: BTreeSet<Rule>,
    calls: Vec<Asked>,
    sockets: Sockets,
    /// By their ids; lost when the process ends.
    objects: BTreeMap<String, Object>,
}

#[derive(Debug, Default)]
struct Object {
    instances: u64,
    script: Script,
    log: Vec<Event>,
    /// Times of its alarm, in milliseconds, that the case has given a name.
    labels: BTreeMap<String, i64>,
    runs: usize,
    last_run: Option<SystemTime>,
    /// Whether its alarm has failed and is to be tried again.
    retries: bool,
    /// The time that the reference would show as that of the alarm, where ours is another one.
    pretended: Option<i64>,
    /// Which text it has answered by itself, and with what.
    auto_response: Option<(String, String)>,
    /// How long a handler of a socket may take there, in milliseconds.
    event_timeout: Option<f64>,
}

/// A call that was made, for the object to look up.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) ops: Ops,
    pub(crate) progress: Progress,
}

/// Something that happened in an object: it goes on to show what the operations give that it began.
#[derive(Debug)]
struct Event {
    fields: Json,
    progress: Option<Progress>,
}

/// What operations have done so far. Kept outside the objects, since a reset leaves nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Mutex<Reply>>);

/// What operations did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// The result of each operation, up to the one that ended them.
    pub(crate) results: Vec<Json>,
    /// The error with which they ended.
    pub(crate) threw: Option<Json>,
    /// Whether that is the answer, although the object is reset with them.
    pub(crate) is_answered: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Begins a run of a case.
    pub(crate) fn begin(&self, case: &str, emulated: &BTreeSet<Rule>) {
        let (case, emulated) = (case.to_owned(), emulated.clone());
        *self.state() = State { case, emulated, ..State::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The full name of an object of the case.
    pub(crate) fn object_name(&self, alias: &str) -> String {
        format!("{}#{alias}", self.state().case)
    }

    /// Whether to do as the reference does; notes that the difference came into play.
    pub(crate) fn emulates(&self, rule: Rule) -> bool {
        let mut state = self.state();
        state.met.insert(rule);
        state.emulated.contains(&rule)
    }

    /// Whether to do as the reference does in something that has come into play before.
    pub(crate) fn is_emulated(&self, rule: Rule) -> bool {
        self.state().emulated.contains(&rule)
    }

    /// The differences that came into play.
    pub(crate) fn met(&self) -> BTreeSet<Rule> {
        self.state().met.clone()
    }

    /// Makes a call known under a number.
    pub(crate) fn ask(&self, ops: &Ops) -> (usize, Progress) {
        let asked = Asked { ops: Arc::clone(ops), progress: Progress::default() };
        let (mut state, progress) = (self.state(), asked.progress.clone());
        state.calls.push(asked);
        (state.calls.len() - 1, progress)
    }

    pub(crate) fn asked(&self, number: usize) -> Option<Asked> {
        self.state().calls.get(number).cloned()
    }

    /// The process ends.
    pub(crate) fn forget_the_process(&self) {
        self.state().objects.clear();
    }

    /// The ids of the objects that have been there.
    pub(crate) fn objects(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    pub(crate) fn set_script(&self, id: &str, script: &Script) {
        self.with(id, |object| object.script = script.clone());
    }

    /// A new instance: its number, and what its constructor is to do.
    pub(crate) fn construct(&self, id: &str) -> (u64, Option<Constructor>) {
        self.with(id, |object| {
            object.instances += 1;
            let is_once = object.script.constructor.as_ref().is_some_and(|script| script.once);
            let constructor = if is_once {
                object.script.constructor.take()
            } else {
                object.script.constructor.clone()
            };
            (object.instances, constructor)
        })
    }

    /// An alarm runs, at this time and in this instance: what it is to do.
    pub(crate) fn alarm_runs(
        &self,
        id: &str,
        instance: u64,
        now: SystemTime,
        info: &AlarmInfo,
        progress: &Progress,
    ) -> Ops {
        self.with(id, |object| {
            let (number, last) = (object.runs, object.last_run.replace(now));
            let scheduled = object.label(millis(info.scheduled_time));
            object.runs += 1;
            object.retries = false;
            object.pretended = None;
            let fields = json!({
                "ev": "alarm",
                "n": number,
                "isRetry": info.is_retry,
                "retryCount": info.retry_count,
                // Those of `AlarmInfo`, as they are called there.
                "infoKeys": ["isRetry", "retryCount", "scheduledTime"],
                "inst": instance,
                "gap_s": last.map_or(0, |last| rounded_gap(last, now)),
                "scheduled": scheduled.unwrap_or_else(|| "(unlabelled)".to_owned()),
            });
            object.log.push(Event { fields, progress: Some(progress.clone()) });
            let script = &object.script.alarm;
            script.get(number).or(script.last()).cloned().unwrap_or_default()
        })
    }

    /// The alarm that runs has failed.
    pub(crate) fn alarm_failed(&self, id: &str) {
        self.with(id, |object| object.retries = true);
    }

    pub(crate) fn alarm_retries(&self, id: &str) -> bool {
        self.with(id, |object| object.retries)
    }

    /// The alarm is set or deleted.
    pub(crate) fn alarm_changes(&self, id: &str, pretended: Option<i64>) {
        self.with(id, |object| {
            object.retries = false;
            object.pretended = pretended;
        });
    }

    pub(crate) fn pretended_alarm(&self, id: &str) -> Option<i64> {
        self.with(id, |object| object.pretended)
    }

    /// As if the last run had been only now.
    pub(crate) fn forget_last_run(&self, id: &str) {
        self.with(id, |object| object.last_run = None);
    }

    /// Gives a time a name.
    pub(crate) fn set_label(&self, id: &str, label: &str, time: i64) {
        self.with(id, |object| object.labels.insert(label.to_owned(), time));
    }

    pub(crate) fn time_of_label(&self, id: &str, label: &str) -> Option<i64> {
        self.with(id, |object| object.labels.get(label).copied())
    }

    /// Takes a time the names that it has.
    pub(crate) fn forget_labels(&self, id: &str, time: i64) {
        self.with(id, |object| object.labels.retain(|_, other| *other != time));
    }

    /// A time of an alarm as the recordings show it.
    pub(crate) fn show_time(&self, id: &str, time: i64, now: i64) -> Json {
        match self.with(id, |object| object.label(time)) {
            Some(label) => json!({ "label": label }),
            None if time >= SHOWN_TIME_MIN => json!({ "at": time }),
            None if time > now => json!({ "at": "(unlabelled time)" }),
            None => json!({ "at": "(unlabelled time)", "past": true }),
        }
    }

    /// Adds an event to an object's log.
    pub(crate) fn log(&self, id: &str, fields: Json, progress: Option<&Progress>) {
        let event = Event { fields, progress: progress.cloned() };
        self.with(id, |object| object.log.push(event));
    }

    /// An object's log, from its first event on.
    pub(crate) fn events(&self, id: &str) -> Vec<Json> {
        self.with(id, |object| object.log.iter().map(Event::record).collect())
    }

    pub(crate) fn clear_log(&self, id: &str) {
        self.with(id, |object| object.log.clear());
    }

    fn with<R>(&self, id: &str, look: impl FnOnce(&mut Object) -> R) -> R {
        look(self.state().objects.entry(id.to_owned()).or_default())
    }
}

impl Object {
    fn label(&self, time: i64) -> Option<String> {
        let mut labels = self.labels.iter().filter(|(_, other)| **other == time);
        labels.next().map(|(label, _)| label.clone())
    }
}

impl Event {
    fn record(&self) -> Json {
        let mut fields = self.fields.clone();
        if let Some(progress) = &self.progress {
            let reply = lock(&progress.0);
            fields["results"] = reply.results.clone().into();
            // What ends a message's operations is not shown by itself.
            if let Some(threw) = reply.threw.as_ref().filter(|_| fields["ev"] != "message") {
                fields["threw"] = threw.clone();
            }
        }
        fields
    }
}

impl Progress {
    pub(crate) fn push(&self, result: Json) {
        lock(&self.0).results.push(result);
    }

    /// What a turn has done.
    pub(crate) fn add(&self, mut results: Vec<Json>, threw: Option<Json>) {
        let mut reply = lock(&self.0);
        reply.results.append(&mut results);
        reply.threw = threw;
    }

    /// The last turn has failed after all: none of its results from here on are there.
    pub(crate) fn fail(&self, kept: usize, threw: Json) {
        let mut reply = lock(&self.0);
        reply.results.truncate(kept);
        reply.threw = Some(threw);
    }

    /// What the operations gave is the answer, whatever becomes of the object.
    pub(crate) fn answer(&self) {
        lock(&self.0).is_answered = true;
    }

    /// How many results there are.
    pub(crate) fn len(&self) -> usize {
        lock(&self.0).results.len()
    }

    pub(crate) fn threw(&self) -> Option<Json> {
        lock(&self.0).threw.clone()
    }

    pub(crate) fn reply(&self) -> Reply {
        lock(&self.0).clone()
    }
}

impl Reply {
    /// As the recordings show it.
    pub(crate) fn record(self) -> Json {
        match self.threw {
            None => json!({ "results": self.results }),
            Some(threw) => json!({ "results": self.results, "threw": threw }),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The nearest power of two of seconds, as the recordings show how long it was from run to run; 0 below one.
fn rounded_gap(last: SystemTime, now: SystemTime) -> u64 {
    let gap = now.duration_since(last).unwrap_or_default();
    if gap < Duration::from_secs(1) {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of 1 at least")]
    let power = gap.as_secs_f64().log2().round() as u32;
    2_u64.saturating_pow(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_powers_of_two() {
        let gap = |millis| rounded_gap(UNIX_EPOCH, UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!([0, 999, 1_000, 2_600, 4_900].map(gap), [0, 0, 1, 2, 4]);
        assert_eq!([9_800, 17_500, 36_100, 76_800].map(gap), [8, 16, 32, 64]);
    }

    #[test]
    fn times_are_shown_as_the_recorder_did() {
        let world = World::default();
        world.set_label("a", "t", 5);
        let shown = [5, 6, 8, SHOWN_TIME_MIN].map(|time| world.show_time("a", time, 7));
        let unlabelled = "(unlabelled time)";
        let expected = json!([
            { "label": "t" },
            { "at": unlabelled, "past": true },
            { "at": unlabelled },
            { "at": SHOWN_TIME_MIN },
        ]);
        assert_eq!(json!(shown), expected);
    }
}
