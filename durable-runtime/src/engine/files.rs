//! The files that durability rests on: the one place where the journal and the write-back touch a disk.
//!
//! The guarantee: what [`DiskFile::sync_data`] and [`Disk::sync_directory`] returned `Ok` for survives a
//! loss of power; nothing else does, and what was not synced may reach the disk in any order or in pieces.
//! Everything goes through these two traits, so that a test can put a disk in their place that
//! loses power or fails at any call.
//!
//! The errors are those of the operating system; who calls knows the path and what it was doing.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory;

#[cfg(test)]
pub(crate) mod held;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod lossy;
#[cfg(test)]
pub(crate) mod simulated;
pub(crate) mod sparing;

/// What became of an attempt to sync a whole file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilesystemSync {
    /// Everything written to it before is durable.
    Done,
    /// This system cannot do that: each file and each folder is to be synced by itself.
    Unsupported,
}

/// A disk: files by absolute path.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Opens a file for reading and writing, which is made if there is none.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing, which must exist.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a folder and those above it. One that exists is left as it is.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// What is in a folder: full paths, in the order of their names.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Whether there is a file or a folder.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Lets a file that is there, and empty, share the bytes of another one until either changes. `false` if this disk
    /// cannot do that.
    fn share(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let _ = (from, to);
        Ok(false)
    }

    /// Makes the entries of a folder durable: new, renamed and removed files.
    fn sync_directory(&self, folder: &Path) -> io::Result<()>;

    /// Makes everything durable that was written to the file system of this folder.
    fn sync_filesystem(&self, folder: &Path) -> io::Result<FilesystemSync>;
}

/// An open file. Positions are absolute, so that threads may share it.
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads as many bytes as there are, up to the whole buffer; says how many.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file or fills it up with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Makes the content and the length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// Whether the disk, or our share of it, has no space left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The disk of the operating system. Files and folders are made for their owner only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealDisk;

/// The disk of the operating system for those who only look: files are opened for reading, and whatever would
/// change something fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOnlyDisk;

#[derive(Debug)]
struct RealFile(File);

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = directory::private_file().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        directory::make_private(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<bool> {
        share(from, to)
    }

    fn sync_directory(&self, folder: &Path) -> io::Result<()> {
        directory::sync(folder)
    }

    fn sync_filesystem(&self, folder: &Path) -> io::Result<FilesystemSync> {
        sync_filesystem(folder)
    }
}

impl Disk for ReadOnlyDisk {
    fn create(&self, _path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(File::open(path)?)))
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(folder)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }

    fn sync_directory(&self, _folder: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_filesystem(&self, _folder: &Path) -> io::Result<FilesystemSync> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// Why it cannot be done does not matter: the bytes are copied then.
#[cfg(target_os = "linux")]
fn share(from: &Path, to: &Path) -> io::Result<bool> {
    let (from, to) = (File::open(from)?, fs::OpenOptions::new().write(true).open(to)?);
    Ok(rustix::fs::ioctl_ficlone(to, from).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn share(_from: &Path, _to: &Path) -> io::Result<bool> {
    Ok(false)
}

#[cfg(target_os = "linux")]
fn sync_filesystem(folder: &Path) -> io::Result<FilesystemSync> {
    // The folder of the objects may not be there: when the only one was deleted before it had a file.
    let is_there = |opened: &io::Result<File>| {
        !opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let mut opened = folder.ancestors().map(File::open);
    let opened = opened.find(is_there).unwrap_or_else(|| File::open(folder));
    match rustix::fs::syncfs(opened?) {
        Ok(()) => Ok(FilesystemSync::Done),
        Err(rustix::io::Errno::NOSYS) => Ok(FilesystemSync::Unsupported),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn sync_filesystem(_folder: &Path) -> io::Result<FilesystemSync> {
    Ok(FilesystemSync::Unsupported)
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match read_some(&self.0, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(unix)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        RealDisk.create_dir_all(&path).unwrap();
        let file = RealDisk.create(&path.join("1")).unwrap();
        file.write_at(b"hello", 3).unwrap();
        file.sync_data().unwrap();
        assert_eq!(RealDisk.create(&path.join("1")).unwrap().len().unwrap(), 8);
        let mut buffer = [9; 10];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
        assert_eq!(&buffer[..8], b"\0\0\0hello");
        file.set_len(4).unwrap();
        assert_eq!(file.len().unwrap(), 4);
        RealDisk.rename(&path.join("1"), &path.join("2")).unwrap();
        RealDisk.sync_directory(&path).unwrap();
        assert_eq!(RealDisk.list(&path).unwrap(), [path.join("2")]);
        assert!(!RealDisk.exists(&path.join("1")).unwrap());
        assert_eq!(RealDisk.open(&path.join("1")).unwrap_err().kind(), io::ErrorKind::NotFound);
        RealDisk.remove(&path.join("2")).unwrap();
        let synced = RealDisk.sync_filesystem(&path).unwrap();
        assert_eq!(synced == FilesystemSync::Done, cfg!(target_os = "linux"));
    }

    #[test]
    fn the_disk_of_those_who_only_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        fs::write(&path, "hello").unwrap();
        let file = ReadOnlyDisk.open(&path).unwrap();
        let mut buffer = [0; 5];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 5);
        assert!(file.write_at(b"x", 0).is_err() && file.set_len(0).is_err());
        assert!(ReadOnlyDisk.create(&path).is_err() && ReadOnlyDisk.remove(&path).is_err());
        assert_eq!(ReadOnlyDisk.list(folder.path()).unwrap(), std::slice::from_ref(&path));
        assert_eq!(fs::read(&path).unwrap(), b"hello");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_look_into_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        RealDisk.create_dir_all(&path).unwrap();
        RealDisk.create(&path.join("1")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("1"))), (0o700, 0o600));
    }
}
