//! What objects were.

use std::time::SystemTime;

use durable_runtime::Bookmark;
use durable_runtime::admin::{Bookmarks, Commit, Moment, Restore, StateAt};
use jiff::{SignedDuration, Timestamp};

use crate::connect::{Objects, arguments, quoted};
use crate::failure::{Done, Failure};
use crate::options::{BookmarksOptions, PlaceOptions, RestoreOptions};
use crate::output::{Output, escaped, none, remark, time};

pub(super) async fn bookmarks(
    objects: &Objects,
    out: &Output,
    options: BookmarksOptions,
) -> Result<Done, Failure> {
    let BookmarksOptions { object, at, last } = options;
    let moment = at.as_deref().map(|text| moment(text, SystemTime::now())).transpose()?;
    let past = objects.perform(Bookmarks { object, time: moment, commits: last }).await?;
    if out.json {
        Output::document(&past)?;
        return Ok(Done::Well);
    }
    let mut rows = vec![vec![
        "now".to_owned(),
        past.current.map_or_else(none, |bookmark| bookmark.to_string()),
    ]];
    if let Some(bookmark) = past.at {
        rows.push(vec![time(moment), bookmark.to_string()]);
    }
    let commit = |commit: &Commit| vec![precise(commit.time), commit.bookmark.to_string()];
    rows.extend(past.commits.iter().map(commit));
    if let Some(oldest) = past
        .oldest
        .filter(|oldest| past.commits.iter().all(|commit| commit.bookmark != oldest.bookmark))
    {
        rows.push(vec![
            format!("{} (the first)", precise(oldest.time)),
            oldest.bookmark.to_string(),
        ]);
    }
    Output::table(&["TIME", "BOOKMARK"], &[], rows)?;
    if let Some(why) = past.lacks {
        remark(&why);
    }
    Ok(Done::Well)
}

/// Commits may follow one another soon.
fn precise(time: Moment) -> String {
    time.to_string()
}

pub(super) async fn restore(
    objects: &Objects,
    out: &Output,
    place: &PlaceOptions,
    options: RestoreOptions,
) -> Result<Done, Failure> {
    let RestoreOptions { object, to } = options;
    let StateAt { bookmark, time } = state_at(&to)?;
    let restored = objects.perform(Restore { object: object.clone(), bookmark, time }).await?;
    if out.json {
        Output::document(&restored)?;
        return Ok(Done::Well);
    }
    Output::line(&format!("{object} is what it was at {}", restored.to))?;
    match restored.undo {
        Some(undo) => {
            let command = format!("durable{} restore {} {undo}", arguments(place), quoted(&object));
            Output::raw(&format!("to undo this: {}", escaped(&command)))?;
        }
        None => Output::line("it did not exist before: deleting it undoes this")?,
    }
    Ok(Done::Well)
}

/// A bookmark or a time, as people write them.
pub(super) fn state_at(text: &str) -> Result<StateAt, Failure> {
    Ok(match text.parse::<Bookmark>() {
        Ok(bookmark) => StateAt { bookmark: Some(bookmark), time: None },
        Err(_) => StateAt { bookmark: None, time: Some(moment(text, SystemTime::now())?) },
    })
}

/// A time as people write it: with its offset, or how long ago.
fn moment(text: &str, now: SystemTime) -> Result<Moment, Failure> {
    if let Ok(moment) = text.parse::<Moment>() {
        return Ok(moment);
    }
    let ago = text.strip_suffix("ago").and_then(|span| span.trim().parse::<SignedDuration>().ok());
    let then = ago.and_then(|ago| Timestamp::try_from(now).ok()?.checked_sub(ago).ok());
    then.map(|then| Moment::from_millis(then.as_millisecond())).ok_or_else(|| {
        Failure::Usage(format!(
            "{text:?} is no bookmark and no time: write 2026-11-21T16:05:00Z, or '10m ago'"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_in_two_ways() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let read = |text: &str| moment(text, now).map(Moment::as_millis).ok();
        assert_eq!(read("1970-01-01T00:00:01Z"), Some(1_000));
        assert_eq!(read("1970-01-01T01:00:00.5+01:00"), Some(500));
        assert_eq!(read("10m ago"), Some(9_400_000));
        assert_eq!(read("1h 30m ago"), Some(4_600_000));
        for text in ["", "yesterday", "10m", "1970-01-01"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
