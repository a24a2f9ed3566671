//! The forms of files, byte by byte.

use std::path::Path;

use crate::engine::files::Disk;
use crate::engine::files::simulated::SimulatedDisk;
use crate::engine::history::file::{
    Archive, FILE_HEAD_BYTES, FileHead, Form, Head, Kind, Notes, Reach, Writer,
};
use crate::engine::history::sorted::Packer;
use crate::engine::pagestore::Stamp;
use crate::id::RawId;

const PATH: &str = "/file";

fn id(number: u16) -> RawId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    RawId::from_bytes(bytes)
}

fn stamp(commit: u64) -> Stamp {
    Stamp { commit, epoch: 2, time_ms: 1_000 + i64::try_from(commit).unwrap() }
}

fn head(form: Form) -> FileHead {
    FileHead { form, begun_ms: 77, first: 6 }
}

fn archive(disk: &SimulatedDisk) -> Archive {
    Archive::open(disk, Path::new(PATH), 7).unwrap().unwrap()
}

/// Whoever changes the layout gives it another version.
#[test]
fn both_forms_are_laid_out_as_they_always_were() {
    let before = Head { to: stamp(4), size: 3, ..Head::before(id(1), stamp(3)) };
    let disk = SimulatedDisk::default();
    let mut writer = Writer::create(&disk, Path::new(PATH), head(Form::Appended)).unwrap();
    writer.push(&before, b"a body").unwrap();
    writer.push(&Head::mark(Reach { file: 7, offset: 32 }), &[]).unwrap();
    writer.sync().unwrap();
    let content = disk.content(Path::new(PATH)).unwrap();
    assert_eq!(content.len(), 32 + 96 + 6 + 96);
    assert_eq!(content[..12], *b"durHist\n\x01\0\0\0");
    assert_eq!(crc32c::crc32c(&content), 5_144_612);

    let mut packer = Packer::create(&disk, Path::new(PATH), head(Form::Sorted)).unwrap();
    packer.push(before, Reach { file: 7, offset: 32 }, &[9; 1_000]).unwrap();
    packer.note(&Notes { marks: vec![Reach { file: 7, offset: 32 }], anew_ms: Some(5) });
    let length = packer.finish().unwrap();
    let content = disk.content(Path::new(PATH)).unwrap();
    assert_eq!(content.len() as u64, length);
    assert_eq!(content[..12], *b"durHist\n\x02\0\0\0");
    // From the end on: end, notes, one block of the index.
    let index_at = content.len() - 24 - 2 * 96 - 4_096;
    assert!(index_at < 32 + 100, "the body is packed: {index_at}");
    assert_eq!(content[content.len() - 24..][..8], (index_at as u64).to_le_bytes());
    assert_eq!(content[index_at..][..4], 1_u32.to_le_bytes());
    assert_eq!(crc32c::crc32c(&content[index_at..]), 600_205_871);
}

#[test]
fn an_object_is_found_in_a_few_reads_however_many_there_are() {
    let disk = SimulatedDisk::default();
    let mut packer = Packer::create(&disk, Path::new(PATH), head(Form::Sorted)).unwrap();
    let body = |number: u16, entry: u64| format!("{number} {entry}").repeat(30).into_bytes();
    for number in (0..2_000).map(|number| number * 2) {
        // Of one there are many.
        let entries = if number == 1_000 { 100 } else { 1 };
        for entry in 0..entries {
            let reach = Reach { file: 7, offset: entry };
            let head = Head::commits(id(number), stamp(entry), stamp(entry));
            packer.push(head, reach, &body(number, entry)).unwrap();
        }
    }
    packer.finish().unwrap();
    let archive = archive(&disk);
    for (number, expected) in [(0, 1), (1_000, 100), (3_998, 1), (1_001, 0), (9_999, 0), (1, 0)] {
        let reads = || disk.calls().get("read_at file").copied().unwrap_or(0);
        let before = reads();
        let entries = archive.entries(Some(id(number))).unwrap();
        assert!(reads() - before <= 2 + 7 + 2 + expected / 32 + 1, "{number}");
        assert_eq!(entries.places.len() as u64, expected, "{number}");
        for (entry, place) in entries.places.iter().enumerate() {
            assert_eq!((place.head.kind, place.head.id), (Kind::Commits, id(number)));
            assert_eq!(place.reach, Reach { file: 7, offset: entry as u64 });
            let found = archive.body(place).unwrap().unwrap();
            assert_eq!(found, body(number, entry as u64));
        }
    }
    assert_eq!(archive.entries(None).unwrap().places.len(), 2_099);
}

#[test]
fn a_write_back_of_which_a_part_is_missing_does_not_count() {
    let disk = SimulatedDisk::default();
    let mut writer = Writer::create(&disk, Path::new(PATH), head(Form::Appended)).unwrap();
    let part = |has_more| Head { to: stamp(4), has_more, ..Head::before(id(1), stamp(3)) };
    writer.push(&part(true), b"a").unwrap();
    writer.push(&part(false), b"b").unwrap();
    writer
        .push(&Head { to: stamp(5), has_more: true, ..Head::before(id(1), stamp(4)) }, b"c")
        .unwrap();
    writer.push(&Head { to: stamp(5), ..Head::before(id(2), stamp(4)) }, b"d").unwrap();
    writer.sync().unwrap();
    let archive = archive(&disk);
    let found = archive.entries(None).unwrap().places;
    let bodies: Vec<_> = found.iter().map(|place| archive.body(place).unwrap().unwrap()).collect();
    assert_eq!(bodies, [b"a", b"b", b"d"]);
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_one_without_a_head_is_none() {
    let disk = SimulatedDisk::default();
    Writer::create(&disk, Path::new(PATH), head(Form::Appended)).unwrap().sync().unwrap();
    let content = disk.content(Path::new(PATH)).unwrap();
    assert_eq!(content.len() as u64, FILE_HEAD_BYTES);
    let open = |content: &[u8]| {
        disk.overwrite(Path::new(PATH), content).unwrap();
        Archive::open(&disk, Path::new(PATH), 7)
    };
    let mut newer = content.clone();
    newer[8] = 3;
    let error = open(&newer).unwrap_err();
    assert!(error.to_string().contains("version 3"), "{error}");
    for at in [0, 12, 20] {
        let mut damaged = content.clone();
        damaged[at] ^= 1;
        assert!(open(&damaged).unwrap().is_none(), "{at}");
    }
    assert!(open(&content[..31]).unwrap().is_none());
    assert!(disk.exists(Path::new(PATH)).unwrap());
}
