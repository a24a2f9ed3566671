//! What must not hurt anybody: files of the history that are gone, damaged or somebody else's, and disks that fail.

use std::fs;

use super::rig::Rig;
use super::*;
use crate::engine::files::RealDisk;
use crate::engine::files::simulated::Fault;
use crate::engine::overlay::PAGE;

/// What has happened, and how.
type Mishap = (&'static str, fn(&Path));

fn open_real(data: &Path, limits: HistoryLimits) -> Result<Option<History>> {
    History::open(Arc::new(RealDisk), data, limits)
}

fn file(number: u64) -> String {
    format!("history/{number:020}.history")
}

#[test]
fn files_that_cannot_be_used_are_set_aside_and_keep_nobody_from_starting() {
    let makes: [Mishap; 4] = [
        ("the folder is a file", |data| fs::write(data.join("history"), "mine").unwrap()),
        ("a file is a folder", |data| fs::create_dir_all(data.join(file(1))).unwrap()),
        ("the head of a file is damaged", |data| {
            drop(open_real(data, HistoryLimits::default()).unwrap());
            fs::write(data.join(file(1)), [7; 200]).unwrap();
        }),
        ("something that is to be removed is a folder", |data| {
            fs::create_dir_all(data.join("history/1.history.new")).unwrap();
        }),
    ];
    for (what, make) in makes {
        for limits in [HistoryLimits::default(), HistoryLimits::OFF] {
            let data = tempfile::tempdir().unwrap();
            make(data.path());
            let is_damage = what.contains("damaged");
            assert!(open_real(data.path(), HistoryLimits::ALL).is_err(), "{what}");
            assert!(!data.path().join("history-unusable-1").exists(), "{what}");
            let history = open_real(data.path(), limits).unwrap();
            assert_eq!(history.is_some(), limits != HistoryLimits::OFF, "{what}");
            let is_removed = is_damage && limits == HistoryLimits::OFF;
            let aside = data.path().join("history-unusable-1");
            assert_eq!(aside.exists(), !is_removed, "{what}");
            let Some(history) = history else { continue };
            assert_eq!(history.unmarked().unwrap().map(|unmarked| unmarked.len()), None);
            history.mark(history.reach(), 0);
            assert!(history.unmarked().unwrap().is_some());
        }
    }
}

#[test]
fn a_file_that_somebody_has_removed_is_not_tried_again_for_ever() {
    let mut rig = Rig::new(2);
    for _ in 0..3 {
        rig.commit(0);
        rig.finish();
    }
    let path = rig.history.files.lock()[1].path.clone();
    rig.disk.remove(&path).unwrap();
    let tries = (0..10).take_while(|_| rig.history.compact_next()).count();
    assert!(tries < 10);
}

#[test]
fn what_was_given_up_does_not_come_back() {
    for removes in [true, false] {
        for loss in 0..8 {
            let mut rig = Rig::new(6);
            rig.commit(0);
            rig.finish();
            rig.commit(0);
            rig.finish();
            if !removes {
                rig.disk.inject("remove #.history", 1, Fault::Io);
            }
            rig.disk.inject("write_at #.history", 1, Fault::Io);
            rig.commit(0);
            rig.keep(0);
            assert_eq!(rig.disk.clear_faults(), 0);
            // And now the file is written, and torn.
            rig.disk.power_loss(loss);
            rig.reopen();
            assert!(rig.history.unmarked().unwrap().is_none(), "{removes} {loss}");
        }
    }
}

#[test]
fn who_wishes_for_an_erasure_while_one_is_made_gets_another_one() {
    let mut rig = Rig::new(2);
    rig.commit(0);
    rig.finish();
    let id = rig.keys[0].id;
    rig.history.wish_erasure(id);
    let wished = rig.history.wished_erasures();
    rig.history.wish_erasure(id);
    rig.history.erase(&wished, rig.history.reach(), 0);
    assert_eq!(rig.history.wished_erasures(), [id]);
}

#[test]
fn a_write_back_that_is_more_than_may_be_kept_takes_no_space() {
    let mut rig = Rig::new(2);
    rig.commit(0);
    rig.finish();
    let first = rig.points[0];
    let before = rig.rebuild(first.0, first.1);
    rig.history.limits.bytes = PAGE as u64 - 1;
    rig.commit(0);
    let reach = rig.history.reach();
    rig.keep(0);
    assert!(before.is_ok() && rig.history.reach().offset - reach.offset < 1_000);
    rig.history.limits.bytes = u64::MAX;
    rig.finish();
    let last = *rig.points.last().unwrap();
    assert!(rig.rebuild(last.0, last.1).is_ok());
}
