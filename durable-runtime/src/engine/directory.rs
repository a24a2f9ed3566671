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
    /// Holds the lock.
    _lock: File,
}

impl Directory {
    /// Opens a data directory, or makes one where there is none or an empty one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when another runtime uses it, when its form is not the one of this program,
    /// and when it holds other files; [`ErrorKind::Storage`] when the disk fails.
    pub(crate) fn open(path: &Path) -> Result<Directory> {
        make_private(path).map_err(|error| io_error("create", path, &error))?;
        // SQLite takes a path that starts with `file:` for a URI; an absolute one cannot.
        let path = fs::canonicalize(path).map_err(|error| io_error("open", path, &error))?;
        check_format(&path)?;
        let lock = lock(&path)?;
        // Whoever held the lock before may have changed the form since we looked.
        if !check_format(&path)? {
            write_format(&path)
                .map_err(|error| io_error("write", &path.join(FORMAT_FILE), &error))?;
        }
        Ok(Directory { path, _lock: lock })
    }

    /// The absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
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
