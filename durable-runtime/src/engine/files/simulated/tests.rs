use super::*;

fn with_file() -> (SimulatedDisk, Arc<dyn DiskFile>) {
    let disk = SimulatedDisk::default();
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    let file = disk.create(Path::new("/d/7.x")).unwrap();
    (disk, file)
}

#[test]
fn what_was_synced_survives_and_the_rest_may_not() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (disk, file) = with_file();
        file.write_at(&[1; 600], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_directory(Path::new("/d")).unwrap();
        file.write_at(&[2; 1_024], 0).unwrap();
        disk.power_loss(seed);
        let content = disk.content(Path::new("/d/7.x")).unwrap();
        assert!(content.len() >= 600 && content.iter().all(|byte| *byte <= 2));
        assert!(content[..512].iter().all(|byte| *byte == content[0]), "a torn sector");
        seen.insert((content[0], content[599], content.len()));
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn entries_that_were_not_synced_may_be_lost() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (disk, _file) = with_file();
        disk.rename(Path::new("/d/7.x"), Path::new("/d/8.x")).unwrap();
        disk.power_loss(seed);
        seen.insert(disk.list(Path::new("/d")).unwrap());
    }
    assert_eq!(seen.len(), 3, "none, the old and the new name: {seen:?}");
}

#[test]
fn faults_hit_the_call_they_are_meant_for() {
    let (disk, file) = with_file();
    disk.inject("write_at #.x", 2, Fault::Short);
    file.write_at(b"ab", 0).unwrap();
    file.write_at(b"cd", 0).unwrap_err();
    assert_eq!(disk.content(Path::new("/d/7.x")).unwrap(), b"cb");
    disk.inject_any(1, Fault::Crash);
    file.sync_data().unwrap_err();
    file.write_at(b"ef", 0).unwrap_err();
    assert_eq!(disk.calls()["write_at #.x"], 2);
    assert_eq!(disk.clear_faults(), 0);
}
