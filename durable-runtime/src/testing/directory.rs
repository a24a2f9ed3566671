//! A data directory that goes with its test.

use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub(super) struct TestDirectory {
    path: PathBuf,
}

impl TestDirectory {
    /// Gives it a name that no other test has.
    pub(super) fn new(in_memory: bool) -> Result<Self> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| {
            let text = format!("the operating system has no random numbers: {error}");
            Error::new(ErrorKind::Storage, text)
        })?;
        let name = format!("durable-test-{:032x}", u128::from_le_bytes(name));
        let memory = Path::new("/dev/shm");
        let place =
            if in_memory && memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Ok(TestDirectory { path: place.join(name) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, as all temporary files are.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
