//! The data directory: whose it is, what form it has, and who may use it.
//!
//! The guarantee: while a [`Directory`] lives, no other one exists for the same path, in this process or
//! another. A directory of another form, or of other files, is refused and not touched.
//! On Unix only the owner can look into it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, ErrorKind, Result};

/// The form of the data directory that this program writes.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_TEMPORARY: &str = "FORMAT.tmp";
const LOCK_FILE: &str = "LOCK";

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Drop for Directory {
    /// Closing the file would do, but for a process that is being started just now by another thread: until it runs its own
    /// program it has a copy of every open file, and with it the lock.
    fn drop(&mut self) {
        // What fails here is done by closing it.
        let _ = self.lock.unlock();
    }
}

impl Directory {
    /// Opens a data directory, or makes one where there is none or an empty one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when another runtime uses it, when its form is not the one of this program,
    /// and when it holds other files; [`ErrorKind::Storage`] when the disk fails.
    pub(crate) fn open(path: &Path) -> Result<Directory> {
        Directory::open_syncing(path, &mut sync)
    }

    fn open_syncing(
        path: &Path,
        sync: &mut dyn FnMut(&Path) -> io::Result<()>,
    ) -> Result<Directory> {
        let found = nearest_existing(path).map_err(|error| io_error("find", path, &error))?;
        make_private(path).map_err(|error| io_error("create", path, &error))?;
        // SQLite takes a path that starts with `file:` for a URI; an absolute one cannot.
        let path = fs::canonicalize(path).map_err(|error| io_error("open", path, &error))?;
        check_format(&path)?;
        let lock = lock(&path)?;
        // Whoever held the lock before may have changed the form since we looked.
        if !check_format(&path)? {
            sync_names(&path, &found, sync)
                .and_then(|()| write_format(&path))
                .map_err(|error| io_error("write", &path.join(FORMAT_FILE), &error))?;
        }
        Ok(Directory { path, lock })
    }

    /// Opens a data directory that exists, and changes nothing in it; a lock file that is missing is made.
    ///
    /// # Errors
    /// As [`open`](Directory::open), and [`ErrorKind::Invalid`] when there is no data directory.
    pub(crate) fn open_existing(path: &Path) -> Result<Directory> {
        let missing = || {
            let text = format!("there is no data directory in {}", path.display());
            Error::new(ErrorKind::Invalid, text)
        };
        let absolute = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            other => other.map_err(|error| io_error("open", path, &error))?,
        };
        if !check_format(&absolute)? {
            return Err(missing());
        }
        let lock = lock(&absolute)?;
        Ok(Directory { path: absolute, lock })
    }

    /// The absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The folder itself, or the nearest above it that is there.
fn nearest_existing(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let found = path.ancestors().find(|folder| folder.exists());
    found.map_or(Ok(path.clone()), fs::canonicalize)
}

/// Makes the name of a new data directory durable, and those of the folders that were made for it: each
/// stands in the one above, up to the one that was `found`.
fn sync_names(
    path: &Path,
    found: &Path,
    sync: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    // Also when the directory was there: whoever made it may have died before this.
    for folder in path.ancestors().skip(1) {
        match sync(folder) {
            // Somebody else's folder, into which we may not look, has not changed through us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
        if !folder.starts_with(found) || folder == found {
            break;
        }
    }
    Ok(())
}

/// The version of a data directory that this program is too old for.
pub(super) fn newer_format(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path.join(FORMAT_FILE)).ok()?;
    parse_format(&text).filter(|version| *version > FORMAT)
}

/// The path of the file that says which form a data directory has.
pub(super) fn format_path(path: &Path) -> PathBuf {
    path.join(FORMAT_FILE)
}

fn lock(path: &Path) -> Result<File> {
    let path = path.join(LOCK_FILE);
    let file =
        private_file().write(true).open(&path).map_err(|error| io_error("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Locked,
            format!(
                "the data directory is in use by another `Runtime`, of this process or another \
                 ({} is locked): one directory, one runtime",
                path.display()
            ),
        )),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path, &error)),
    }
}

/// Whether the directory has a `FORMAT` that this program can use; `false` if it is empty.
fn check_format(path: &Path) -> Result<bool> {
    let file = path.join(FORMAT_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => match parse_format(&text) {
            Some(FORMAT) => Ok(true),
            Some(version) => Err(refused(
                &file,
                format_args!("has version {version} and this program knows version {FORMAT}"),
            )),
            None => Err(refused(&file, format_args!("is not one of durable's"))),
        },
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(refused(&file, format_args!("is not one of durable's")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match foreign_entry(path) {
            Ok(None) => Ok(false),
            Ok(Some(entry)) => Err(refused(
                path,
                format_args!(
                    "holds other files, such as {entry:?}, and no {FORMAT_FILE}: name a new or an \
                     empty directory"
                ),
            )),
            Err(error) => Err(io_error("list", path, &error)),
        },
        Err(error) => Err(io_error("read", &file, &error)),
    }
}

fn refused(path: &Path, why: fmt::Arguments<'_>) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("the data directory cannot be used: {} {why}", path.display()),
    )
}

fn parse_format(text: &str) -> Option<u32> {
    text.trim_end().strip_prefix("durable ")?.parse().ok()
}

/// A file that does not belong to a directory whose making was interrupted.
fn foreign_entry(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != FORMAT_TEMPORARY {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn write_format(path: &Path) -> io::Result<()> {
    let temporary = path.join(FORMAT_TEMPORARY);
    let mut file = private_file().write(true).truncate(true).open(&temporary)?;
    writeln!(file, "durable {FORMAT}")?;
    file.sync_all()?;
    fs::rename(&temporary, path.join(FORMAT_FILE))?;
    sync(path)
}

/// Makes a folder, and those above it, for the owner only. One that exists is left as it is.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// How files are opened: made if need be, for the owner only.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the entries of a folder durable.
#[cfg(unix)]
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the entries of a folder durable: elsewhere than on Unix the file system does that by itself.
#[cfg(not(unix))]
pub(super) fn sync(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(super) fn io_error(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("cannot {verb} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_gets_a_format() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        drop(Directory::open(&path).unwrap());
        assert_eq!(fs::read_to_string(path.join("FORMAT")).unwrap(), "durable 1\n");
        let again = Directory::open(&path).unwrap();
        assert!(again.path().is_absolute());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o700);
            assert_eq!(mode(&path.join("FORMAT")), 0o600);
            assert_eq!(mode(&path.join("LOCK")), 0o600);
        }
    }

    #[test]
    fn a_copy_of_the_open_file_does_not_keep_the_lock() {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open(parent.path()).unwrap();
        // As a child has one between its fork and its program.
        let _copy = directory.lock.try_clone().unwrap();
        drop(directory);
        drop(Directory::open(parent.path()).unwrap());
    }

    #[test]
    fn the_names_of_new_folders_are_durable_before_the_format_says_so() {
        let parent = tempfile::tempdir().unwrap();
        let parent = fs::canonicalize(parent.path()).unwrap();
        let path = parent.join("a/b");
        let mut synced = Vec::new();
        let mut note = |folder: &Path| {
            assert!(!path.join("FORMAT").exists());
            synced.push(folder.to_owned());
            Ok(())
        };
        drop(Directory::open_syncing(&path, &mut note).unwrap());
        assert_eq!(synced, [parent.join("a"), parent.clone()]);
        // The second time there is nothing to do.
        drop(Directory::open_syncing(&path, &mut |_| panic!("synced again")).unwrap());
        // One that was there, and empty.
        fs::create_dir(parent.join("c")).unwrap();
        let mut failing = |_: &Path| Err(io::Error::other("injected"));
        let error = Directory::open_syncing(&parent.join("c"), &mut failing).unwrap_err();
        assert!(error.message().contains("injected"), "{error}");
        assert!(!parent.join("c/FORMAT").exists());
    }

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let data = tempfile::tempdir().unwrap();
        let first = Directory::open(data.path()).unwrap();
        let error = Directory::open(data.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(error.message().contains("in use by another `Runtime`"), "{error}");
        drop(first);
        Directory::open(data.path()).unwrap();
    }

    #[test]
    fn whoever_only_looks_makes_no_directory() {
        let parent = tempfile::tempdir().unwrap();
        for path in [parent.path().join("missing"), parent.path().to_owned()] {
            let error = Directory::open_existing(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("there is no data directory"), "{error}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        let data = parent.path().join("data");
        let open = Directory::open(&data).unwrap();
        assert_eq!(Directory::open_existing(&data).unwrap_err().kind(), ErrorKind::Locked);
        drop(open);
        Directory::open_existing(&data).unwrap();
    }

    #[test]
    fn what_an_interrupted_start_leaves_is_no_foreign_file() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("LOCK"), "").unwrap();
        fs::write(data.path().join("FORMAT.tmp"), "dur").unwrap();
        Directory::open(data.path()).unwrap();
    }

    #[test]
    fn other_forms_and_other_files_are_refused_and_not_touched() {
        let cases: [(&str, &[u8], &str); 4] = [
            ("FORMAT", b"durable 2\n", "version 2 and this program knows version 1"),
            ("FORMAT", b"something else", "is not one of durable's"),
            ("FORMAT", b"\xff\xfe", "is not one of durable's"),
            ("thesis.txt", b"", "such as \"thesis.txt\""),
        ];
        for (name, content, expected) in cases {
            let data = tempfile::tempdir().unwrap();
            fs::write(data.path().join(name), content).unwrap();
            let error = Directory::open(data.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains(expected), "{error}");
            assert!(error.message().contains(data.path().file_name().unwrap().to_str().unwrap()));
            assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
            assert_eq!(fs::read(data.path().join(name)).unwrap(), content);
        }
    }
}
