//! The history by itself: what is rebuilt before and after files are rewritten, damaged, erased or given up.

mod files;
mod mishaps;
mod rig;

use self::rig::{Outcome, Rig};
use super::*;
use crate::ErrorKind;
use crate::engine::files::simulated::Fault;

fn outcomes(rig: &Rig) -> Vec<Outcome> {
    rig.points.iter().map(|(object, point)| rig.rebuild(*object, *point)).collect()
}

fn sort_all(rig: &Rig) -> u64 {
    let mut files = 0;
    while rig.history.compact_next() {
        files += 1;
    }
    files
}

#[test]
fn what_is_rebuilt_is_the_same_before_and_after_files_are_sorted() {
    let (mut rebuilt, mut sorted, mut merged) = (0, 0, 0);
    for seed in 0..8 {
        let mut rig = Rig::new(seed);
        for _ in 0..100 {
            rig.step();
        }
        rig.finish();
        let before = outcomes(&rig);
        rig.check(&before, "appended");
        let files = rig.history.files.lock().len();
        sorted += sort_all(&rig);
        merged += files - rig.history.files.lock().len();
        assert!(rig.history.files.lock().iter().all(|file| file.state == State::Sorted));
        assert_eq!(outcomes(&rig), before, "seed {seed}");
        // Also as another process finds it.
        rig.reopen();
        assert_eq!(outcomes(&rig), before, "seed {seed}");
        rebuilt += before.iter().filter(|outcome| outcome.is_ok()).count();
    }
    println!("{rebuilt} states, {sorted} files sorted, {merged} merged");
    assert!(rebuilt > 100 && sorted > 30 && merged > 5);
}

#[test]
fn sorting_packs_and_leaves_out_what_is_said_twice() {
    let mut rig = Rig::new(1);
    for _ in 0..20 {
        rig.commit(0);
        rig.copy();
        rig.copy_again();
        rig.keep_twice(0);
    }
    rig.finish();
    let bytes = |rig: &Rig| rig.history.files.lock().iter().map(|file| file.bytes).sum::<u64>();
    let (before, states) = (bytes(&rig), outcomes(&rig));
    sort_all(&rig);
    assert!(bytes(&rig) * 2 < before, "{} of {before}", bytes(&rig));
    assert_eq!(outcomes(&rig), states);
    let found = rig.history.look_up(rig.keys[0].id).unwrap();
    let write_backs = found.places.iter().filter(|(_, place)| place.head.kind == Kind::Before);
    assert_eq!(write_backs.count(), 20);
    let on_disk: u64 =
        rig.history.files.lock().iter().map(|file| rig.content(&file.path).len() as u64).sum();
    assert_eq!(on_disk, bytes(&rig), "what is counted is what there is");
}

/// A damage anywhere makes states unreachable, and never others.
#[test]
fn a_flipped_bit_in_a_sorted_file_gives_no_wrong_state() {
    let mut rig = Rig::new(5);
    for _ in 0..40 {
        rig.step();
    }
    rig.finish();
    sort_all(&rig);
    let sound = outcomes(&rig);
    let (mut lost, mut told) = (0, 0);
    let paths: Vec<_> = rig.history.files.lock().iter().map(|file| file.path.clone()).collect();
    for path in paths {
        let content = rig.content(&path);
        for at in (0..content.len()).step_by(content.len() / 25 + 1) {
            let mut damaged = content.clone();
            damaged[at] ^= 1 << (at % 8);
            rig.disk.overwrite(&path, &damaged).unwrap();
            for (outcome, sound) in outcomes(&rig).into_iter().zip(&sound) {
                match outcome {
                    Ok(pages) => assert_eq!(Some(&pages), sound.as_ref().ok(), "{path:?} {at}"),
                    Err(kind) => {
                        assert!(
                            matches!(kind, ErrorKind::NotKept | ErrorKind::Storage),
                            "{kind:?}"
                        );
                        lost += u64::from(sound.is_ok());
                        told += 1;
                    }
                }
            }
        }
        rig.disk.overwrite(&path, &content).unwrap();
    }
    println!("{lost} states lost, {told} refused");
    assert!(lost > 50);
}

#[test]
fn what_is_erased_is_nowhere_and_the_others_stay() {
    for seed in 0..3 {
        let mut rig = Rig::new(seed);
        for _ in 0..100 {
            rig.step();
        }
        // Some files are sorted already.
        sort_all(&rig);
        for _ in 0..30 {
            rig.step();
        }
        rig.delete(0);
        rig.finish();
        let before = outcomes(&rig);
        let up_to = rig.history.reach();
        rig.history.mark(up_to, 0);
        rig.history.erase(&[rig.keys[0].id], up_to, 0);
        let is_gone = |rig: &Rig| {
            for ((object, point), before) in rig.points.iter().zip(&before) {
                let now = rig.rebuild(*object, *point);
                match object {
                    0 => assert_eq!(now, Err(ErrorKind::NotKept)),
                    _ => assert_eq!(now, *before),
                }
            }
        };
        is_gone(&rig);
        assert!(rig.is_anywhere(0), "its bytes are there until they are wiped out");
        rig.history.wipe(rig.keys[0].id).unwrap();
        assert!(!rig.is_anywhere(0), "seed {seed}");
        assert!(rig.is_anywhere(1));
        is_gone(&rig);
        rig.reopen();
        is_gone(&rig);
        // It goes on with what comes afterwards.
        rig.commit(0);
        rig.commit(0);
        rig.finish();
        let last = rig.points.last().unwrap();
        assert!(rig.rebuild(last.0, last.1).is_ok());
        rig.history.wipe(rig.keys[0].id).unwrap();
        assert!(rig.rebuild(last.0, last.1).is_ok(), "what is younger than the erasure stays");
    }
}

#[test]
fn a_history_that_was_given_up_says_so() {
    let mut rig = Rig::new(3);
    for time in 0..10 {
        rig.now_ms = time * 1_000;
        rig.commit(0);
    }
    rig.finish();
    let find = |rig: &Rig, time_ms| {
        let store = rig.store(0);
        rig.history.find(rig.keys[0].id, time_ms, &store)
    };
    assert_eq!(find(&rig, 4_500).unwrap().commit, 5);
    rig.disk.inject("write_at #.history", 1, Fault::Io);
    rig.now_ms = 20_000;
    rig.commit(0);
    rig.finish();
    rig.now_ms = 30_000;
    rig.commit(0);
    rig.finish();
    for _ in 0..2 {
        let gap = find(&rig, 4_500).unwrap_err();
        assert_eq!(gap.kind(), ErrorKind::NotKept);
        assert!(gap.message().contains("before 1970-01-01T00:00:20Z"), "{gap}");
        assert_eq!(find(&rig, 30_000).unwrap().commit, 12);
        sort_all(&rig);
        rig.reopen();
    }
}

/// Recovery cannot know which pages were about to be written when the history that knew it is gone.
#[test]
fn without_a_mark_nobody_knows_what_is_unmarked() {
    let mut rig = Rig::new(4);
    rig.commit(0);
    rig.finish();
    assert!(rig.history.unmarked().unwrap().is_some());
    rig.disk.inject("write_at #.history", 1, Fault::Io);
    rig.commit(0);
    rig.copy();
    rig.keep(0);
    assert!(rig.history.unmarked().unwrap().is_none());
    rig.finish();
    assert!(rig.history.unmarked().unwrap().is_some_and(|unmarked| unmarked.is_empty()));
}

#[test]
fn small_neighbours_are_taken_along_and_large_ones_left() {
    let mut number = 0;
    let mut file = |bytes, state| {
        number += 1;
        let path = path_of(Path::new("/"), number);
        Kept { first: number, number, path, bytes, begun_ms: 0, state }
    };
    let (large, small) = (FILE_BYTES, FILE_BYTES / 8);
    let mut files = vec![
        file(large, State::Sorted),
        file(small, State::Sorted),
        file(small, State::Sorted),
        file(2 * small, State::Finished),
        file(small, State::Finished),
        file(small, State::Open),
    ];
    let next = |files: &[Kept], age_max| {
        let next = compact::next_files(files, age_max);
        next.map(|files| files.iter().map(|file| file.number).collect::<Vec<_>>())
    };
    assert_eq!(next(&files, 10), Some(vec![2, 3, 4]));
    files[2].begun_ms = 5;
    files[3].begun_ms = 12;
    assert_eq!(next(&files, 10), Some(vec![3, 4]), "what is much older goes earlier");
    files[3].state = State::Left;
    assert_eq!(next(&files, 10), Some(vec![5]));
    files[4].state = State::Sorted;
    assert_eq!(next(&files, 10), None);
}
