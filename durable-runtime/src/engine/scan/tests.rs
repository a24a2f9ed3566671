use std::path::PathBuf;

use super::testing::{Model, Reading, object, read};
use super::*;
use crate::engine::files::simulated::SimulatedDisk;
use crate::engine::journal::segment::{self, path_of};
use crate::engine::journal::testing::ByHand;
use crate::{ErrorKind, Result as RuntimeResult};

const FOLDER: &str = "/journal";

/// A journal with some commits in batches, its disk and where each commit begins and ends.
struct Written {
    disk: SimulatedDisk,
    model: Model,
    places: Vec<(Position, Position)>,
}

/// Each inner list is a batch of (object, bytes).
fn write(batches: &[&[(u8, usize)]]) -> Written {
    let disk = SimulatedDisk::default();
    let journal = ByHand::open(&disk, Path::new(FOLDER));
    let mut model = Model::default();
    let mut places = Vec::new();
    for batch in batches {
        for (number, bytes) in *batch {
            let appended = journal.append(model.draft(*number, *bytes));
            places.push((appended.position, appended.end));
        }
        journal.flush();
    }
    Written { disk, model, places }
}

fn path(segment: u64) -> PathBuf {
    path_of(Path::new(FOLDER), segment)
}

impl Written {
    fn read(&self) -> Reading {
        read(&self.disk, Path::new(FOLDER))
    }

    /// Reads with a segment changed, and puts it back.
    fn read_changed(&self, segment: u64, change: impl FnOnce(&mut Vec<u8>)) -> Reading {
        let path = path(segment);
        let good = self.disk.content(&path).unwrap();
        let mut changed = good.clone();
        change(&mut changed);
        self.disk.overwrite(&path, &changed).unwrap();
        let reading = self.read();
        self.disk.overwrite(&path, &good).unwrap();
        reading
    }
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let reading = read(&SimulatedDisk::default(), Path::new(FOLDER));
    let expected = ScanReport { next_segment: 1, next_generation: 1, ..ScanReport::default() };
    assert_eq!(reading.report, expected);
}

#[test]
fn a_tail_cut_or_changed_at_any_byte_ends_before_that_commit() {
    let written = write(&[&[(1, 10), (2, 30)], &[(1, 20), (2, 5), (3, 9)]]);
    let last_batch = &written.places[2..];
    let (begin, end) = (last_batch[0].0, last_batch[2].1);
    for at in begin.offset..end.offset {
        let whole = 2 + last_batch.iter().filter(|place| place.1.offset <= at).count();
        let cut = written.read_changed(begin.segment, |bytes| bytes[at as usize..].fill(0));
        let flipped = written.read_changed(begin.segment, |bytes| bytes[at as usize] ^= 0x10);
        let shortened = written.read_changed(begin.segment, |bytes| bytes.truncate(at as usize));
        for reading in [cut, flipped, shortened] {
            assert!(reading.commits.starts_with(&written.model.commits[..whole.min(2)]));
            assert!(reading.report.is_sound(), "{at}: {:?}", reading.report);
            // Zeros at the end of a frame may be cut without a change.
            let found = reading.commits.len();
            assert!(found == whole || found == whole + 1, "{at}: {found}, not {whole}");
            assert_eq!(reading.commits, written.model.commits[..found]);
        }
    }
}

#[test]
fn damage_before_the_last_batch_is_reported_at_any_byte() {
    let written = write(&[&[(1, 10), (2, 30)], &[(1, 20)], &[(3, 9), (2, 8)]]);
    let (begin, end) = written.places[1];
    let mut attributed = 0;
    for at in begin.offset..end.offset {
        let reading = written.read_changed(begin.segment, |bytes| bytes[at as usize] ^= 0x10);
        let report = &reading.report;
        let is_attributed = report.is_attributed();
        assert_eq!(report.damage, [Damage { from: begin, to: end, is_attributed }], "{at}");
        // Object 2 lost its first commit.
        let mut expected = vec![written.model.commits[0], written.model.commits[2]];
        expected.push(written.model.commits[3]);
        if report.affected.is_empty() {
            // The head was hit, so the frame does not say whose it was.
            expected.push(written.model.commits[4]);
            assert!(!is_attributed, "{at}");
        } else {
            let affected = Affected { object: object(2), missing: None, found: None };
            assert_eq!(report.affected, [affected], "{at}");
        }
        assert_eq!(reading.commits, expected, "{at}");
        // Most of a frame is what nobody needs to know whose it was: here the body behind its head.
        let class_and_id = 24 + 1 + 4 + 32;
        assert!(is_attributed || at < begin.offset + class_and_id + 12, "{at}");
        attributed += u32::from(is_attributed);
    }
    assert!(attributed > 30);
}

#[test]
fn a_hole_of_several_frames_is_attributed_when_all_say_whose_they_were() {
    let written = write(&[&[(1, 10)], &[(2, 300), (3, 300), (1, 20)], &[(4, 9)], &[(4, 8)]]);
    let frames = &written.places[1..4];
    let hit = |bytes: &mut Vec<u8>, frame: usize, at: u32| {
        bytes[(frames[frame].0.offset + at) as usize] ^= 0x10;
    };
    let hit_all = |bytes: &mut Vec<u8>| (0..3).for_each(|frame| hit(bytes, frame, 100));
    let segment = frames[0].0.segment;
    let reading = written.read_changed(segment, hit_all);
    assert!(reading.report.is_attributed());
    let mut affected: Vec<_> =
        reading.report.affected.iter().map(|lost| (lost.object.id, lost.missing)).collect();
    affected.sort_unstable();
    let mut expected = vec![(object(1).id, Some(2)), (object(2).id, None), (object(3).id, None)];
    expected.sort_unstable();
    assert_eq!(affected, expected);
    // The mark, the length and the id of the one in the middle.
    for at in [1, 5, 40] {
        let reading = written.read_changed(segment, |bytes| {
            hit_all(bytes);
            hit(bytes, 1, at);
        });
        assert!(!reading.report.is_attributed(), "{at}");
    }
}

#[test]
fn a_frame_in_the_place_of_another_attributes_nothing() {
    // All of one length, as a disk that writes to the wrong place would mix them up.
    let written =
        write(&[&[(1, 300)], &[(2, 300)], &[(1, 300)], &[(3, 300)], &[(2, 300)], &[(1, 9)]]);
    let range = |commit: usize| {
        let (begin, end) = written.places[commit];
        begin.offset as usize..end.offset as usize
    };
    let lost = 2;
    for copied in [0, 1, 3, 4] {
        assert_eq!(range(lost).len(), range(copied).len());
        let reading = written.read_changed(written.places[lost].0.segment, |bytes| {
            let other = bytes[range(copied)].to_vec();
            bytes[range(lost)].copy_from_slice(&other);
        });
        assert_eq!(reading.report.damage.len(), 1);
        assert!(!reading.report.is_attributed(), "a copy of {copied}");
    }
}

#[test]
fn commits_behind_a_missing_one_are_not_given_out() {
    let written = write(&[&[(1, 10)], &[(1, 20)], &[(1, 9), (2, 8)], &[(1, 3)]]);
    let (begin, end) = written.places[1];
    let reading = written.read_changed(begin.segment, |bytes| {
        bytes[begin.offset as usize..end.offset as usize].fill(0);
    });
    assert_eq!(
        reading.report.affected,
        [Affected { object: object(1), missing: Some(2), found: Some(3) }]
    );
    assert_eq!(reading.commits, [written.model.commits[0], written.model.commits[3]]);
    assert!(!reading.report.is_attributed());
}

#[test]
fn a_lost_segment_is_damage_unless_it_was_never_durable() {
    let written = write(&[&[(1, 6_000)], &[(1, 6_000)], &[(2, 6_000)], &[(2, 6_000), (3, 8_000)]]);
    let segment = written.places[1].1.segment;
    assert!(written.places[0].0.segment < segment && segment < written.places[3].0.segment);
    let reading = written.read_changed(segment, |bytes| bytes[..4_096].fill(0xff));
    assert_eq!(reading.report.damage.len(), 1);
    assert!(reading.commits.contains(&written.model.commits[0]));
    assert!(reading.commits.contains(written.model.commits.last().unwrap()));
    let last = written.places.last().unwrap().1.segment;
    let reading = written.read_changed(last, |bytes| bytes[..4_096].fill(0xff));
    assert!(reading.report.damage.is_empty());
}

#[test]
fn a_torn_batch_is_no_damage() {
    let written = write(&[&[(1, 10)], &[(2, 30), (1, 20), (2, 5)]]);
    let (begin, _) = written.places[1];
    let reading = written.read_changed(begin.segment, |bytes| bytes[begin.offset as usize] ^= 1);
    assert!(reading.report.is_sound());
    assert_eq!((reading.report.end, reading.report.discarded_frames), (begin, 2));
    assert_eq!(reading.commits, written.model.commits[..1]);
}

#[test]
fn half_of_a_large_commit_is_none() {
    let written = write(&[&[(1, 10)], &[(2, 30_000)]]);
    let (_, end) = written.places[1];
    let reading =
        written.read_changed(end.segment, |bytes| bytes[end.offset as usize - 1_000] ^= 1);
    assert_eq!(reading.commits, written.model.commits[..1]);
    assert!(reading.report.is_sound());
    assert_eq!(written.read().commits, written.model.commits);
}

#[test]
fn a_large_commit_that_is_damaged_is_named() {
    let written = write(&[&[(1, 10)], &[(2, 30_000)], &[(1, 3)]]);
    let (_, end) = written.places[1];
    let reading =
        written.read_changed(end.segment, |bytes| bytes[end.offset as usize - 1_000] ^= 1);
    assert_eq!(
        reading.report.affected,
        [Affected { object: object(2), missing: Some(1), found: None }]
    );
    assert_eq!(reading.commits, [written.model.commits[0], written.model.commits[2]]);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let written = write(&[&[(1, 10)]]);
    let path = path(written.places[0].0.segment);
    let mut content = written.disk.content(&path).unwrap();
    content[8] = 2;
    let crc = crc32c::crc32c(&content[..40]);
    content[40..44].copy_from_slice(&crc.to_le_bytes());
    written.disk.overwrite(&path, &content).unwrap();
    let error = scan(&written.disk, Path::new(FOLDER), &mut Model::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("has format version 2"), "{error}");
    assert!(error.message().contains(&path.display().to_string()), "{error}");
}

#[test]
fn a_newer_record_is_refused_by_name() {
    let mut written = write(&[&[(1, 10)], &[(1, 10)]]);
    let (at, end) = written.places[1];
    let path = path(at.segment);
    let mut content = written.disk.content(&path).unwrap();
    let place = segment::SegmentHead::parse(&content, &path).unwrap().unwrap().place();
    let frame = written.model.draft(2, 10).finish(4_096).unwrap().remove(0);
    let frame = frame.with_version(3).close(place, at.offset, at);
    let range = at.offset as usize..end.offset as usize;
    content[range].copy_from_slice(&frame);
    written.disk.overwrite(&path, &content).unwrap();
    let error = scan(&written.disk, Path::new(FOLDER), &mut Model::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("has format version 3"), "{error}");
    assert!(error.message().contains(&path.display().to_string()), "{error}");
}

#[test]
fn a_lost_redo_position_is_reported() {
    let written = write(&[&[(1, 10)]]);
    let path = Path::new(FOLDER).join("CHECKPOINT");
    written.disk.overwrite(&path, &[7; 8_192]).unwrap();
    let reading = written.read();
    assert!(reading.report.is_checkpoint_damaged && !reading.report.is_sound());
    assert_eq!(reading.commits, written.model.commits);
}

#[test]
fn a_missing_redo_segment_is_damage() {
    let written = write(&[&[(1, 10)]]);
    written.disk.remove(&path(written.places[0].0.segment)).unwrap();
    assert_eq!(written.read().report.damage.len(), 1);
}

#[test]
fn progress_ends_with_everything() {
    let written = write(&[&[(1, 1_000_000)], &[(1, 1_000_000)], &[(1, 1_000_000)]]);
    let progress = written.read().progress;
    assert!(progress.len() > 2 && progress.is_sorted());
    let (done, total) = *progress.last().unwrap();
    assert_eq!(done, total);
}

#[test]
fn what_the_visitor_says_is_returned() {
    struct Refuses;
    impl Visitor for Refuses {
        fn commit(&mut self, _found: &Found<'_>) -> RuntimeResult<()> {
            Err(crate::Error::other("no"))
        }
    }
    let written = write(&[&[(1, 10)]]);
    let error = scan(&written.disk, Path::new(FOLDER), &mut Refuses).unwrap_err();
    assert_eq!(error.message(), "no");
}
