//! The alarm.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable::{After, At};
use serde_json::Value as Json;

use super::{Failure, Outcome, Turn};
use crate::case::{Action, Op};
use crate::differences::Rule;
use crate::object::Interpreter;
use crate::value::Value;
use crate::world::millis;

impl<T: Interpreter> Turn<'_, T> {
    pub(super) fn set_alarm(&mut self, op: &Op) -> Outcome {
        let Action::SetAlarm { at, in_ms, at_label, label } = &op.action else {
            return Ok(Json::Null);
        };
        let (id, now) = (self.ctx.id().to_string(), self.ctx.now());
        let when = if let Some(wait) = in_ms.filter(|wait| *wait >= 0.0) {
            After(since(wait))
        } else if let Some(wait) = in_ms {
            At(now.checked_sub(since(-wait)).unwrap_or(UNIX_EPOCH))
        } else {
            let named = at_label.as_ref().and_then(|label| self.world.time_of_label(&id, label));
            At(self.time(named.map(exact).or(at.as_ref().and_then(number)))?)
        };
        let time = match when {
            At(time) => Some(time),
            After(wait) => now.checked_add(wait),
        };
        // There, time has gone on since an alarm began to run.
        let is_past = matches!(when, At(time) if time <= now);
        let is_moved = is_past && self.emulates(Rule::AlarmsAreAsSet);
        let retries = self.alarm.is_none() && self.world.alarm_retries(&id);
        if retries && self.emulates(Rule::AlarmsAreAsSet) {
            self.world.alarm_changes(&id, time.map(millis));
        } else {
            self.ctx.set_alarm(if is_moved { At(now) } else { when })?;
            self.world.alarm_changes(&id, None);
        }
        if let (Some(label), Some(time)) = (label, time) {
            self.world.set_label(&id, label, millis(time));
        }
        if is_moved {
            self.world.forget_labels(&id, millis(now));
        }
        Ok(Json::Null)
    }

    /// The time of so many milliseconds since 1970.
    fn time(&self, time: Option<f64>) -> Result<SystemTime, Failure> {
        let no_time = || Failure::error("type_error", "this is no time for an alarm");
        let time = time.filter(|time| time.is_finite()).ok_or_else(no_time)?;
        if time <= 0.0 && self.emulates(Rule::AlarmsAreAsSet) {
            return Err(no_time());
        }
        let is_cut = time.fract() != 0.0 && self.emulates(Rule::AlarmsAreAsSet);
        let since = since(if is_cut { time.trunc() } else { time }.abs());
        let time =
            if time < 0.0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
        time.ok_or_else(no_time)
    }

    pub(super) fn alarm(&mut self) -> Outcome {
        let id = self.ctx.id().to_string();
        let pretended = self.world.pretended_alarm(&id);
        let time = match pretended {
            Some(time) => Some(time),
            None => self.ctx.alarm()?.map(millis),
        };
        let now = millis(self.ctx.now());
        Ok(time.map_or(Json::Null, |time| self.world.show_time(&id, time, now)))
    }

    pub(super) fn delete_alarm(&mut self) -> Outcome {
        self.ctx.delete_alarm()?;
        self.world.alarm_changes(&self.ctx.id().to_string(), None);
        Ok(Json::Null)
    }

    /// After a transaction was undone: there, the alarm that runs is set again if the transaction had set it anew.
    pub(super) fn bring_back_alarm(&mut self, undone: &[Op]) -> Result<(), Failure> {
        let had_set = undone.iter().any(|op| matches!(op.action, Action::SetAlarm { .. }));
        if let Some(time) = self.alarm.filter(|_| had_set)
            && self.ctx.alarm()?.is_none()
            && self.emulates(Rule::AlarmsAreAsSet)
        {
            self.world.alarm_changes(&self.ctx.id().to_string(), Some(time));
        }
        Ok(())
    }

    /// There, an alarm whose handler aborts the object runs again at once.
    pub(super) fn abort_alarm(&mut self) {
        if self.alarm.is_some() && self.emulates(Rule::AlarmsAreAsSet) {
            self.world.forget_last_run(&self.ctx.id().to_string());
        }
    }
}

fn number(json: &Json) -> Option<f64> {
    match Value::read(json) {
        Value::Number(number) => Some(number),
        _ => None,
    }
}

/// So many milliseconds. The fraction by itself: `f64` has not enough digits for nanoseconds since 1970.
fn since(millis: f64) -> Duration {
    let fraction = Duration::try_from_secs_f64(millis.fract() / 1_000.0).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the largest then")]
    let whole = Duration::from_millis(millis as u64);
    whole.saturating_add(fraction)
}

#[expect(clippy::cast_precision_loss, reason = "as there")]
fn exact(millis: i64) -> f64 {
    millis as f64
}
