//! The unix socket: made so that only its owner can open it from its first moment on, and gone when the program is.
//!
//! The guarantee: at no time is it open to others; one that a dead process has left is replaced, one of a living process and a file that
//! is no socket are not.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use durable_runtime::{Error, ErrorKind, Result};

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "admin.sock";

/// The longest path of a socket, in bytes: what `sockaddr_un` has room for, without the 0 at its end.
const PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// A socket that is listened on, and removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    /// Which file it is: somebody may have put another one there.
    inode: Option<u64>,
}

impl Socket {
    pub(crate) fn bind(path: &Path) -> Result<(Socket, UnixListener)> {
        let bytes = path.as_os_str().len();
        if bytes > PATH_BYTES_MAX {
            let text = format!(
                "the path of a unix socket has at most {PATH_BYTES_MAX} bytes, and {} has {bytes}: name another one \
                 with `Serve::at`",
                path.display()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        check_free(path)?;
        let listener = bind_privately(path).map_err(|error| {
            Error::new(ErrorKind::Storage, format!("cannot listen on {}: {error}", path.display()))
        })?;
        Ok((Socket { path: path.to_owned(), inode: inode(path) }, listener))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.inode.is_some() && self.inode == inode(&self.path) {
            // If it stays, the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).ok().map(|file| file.ino())
}

/// Whether a new socket may take the place of what is there.
fn check_free(path: &Path) -> Result<()> {
    let refused = |why: &str| {
        Err(Error::new(ErrorKind::Locked, format!("cannot listen on {}: {why}", path.display())))
    };
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(file) if !file.file_type().is_socket() => refused("there is a file that is no socket"),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            // It may have ended in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(_) => refused("somebody listens there already"),
            Err(error) => refused(&format!(
                "there is a socket, and whether somebody listens is not known: {error}"
            )),
        },
    }
}

/// In a folder that nobody else can look into, and from there to its place: its permissions are right before anybody can
/// find it.
fn bind_privately(path: &Path) -> io::Result<UnixListener> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut random = [0; 3];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let [a, b, c] = random;
    // With its socket as long as the name that the socket is to have.
    let folder = parent.join(format!(".s{a:02x}{b:02x}{c:02x}"));
    DirBuilder::new().mode(0o700).create(&folder)?;
    let bind = || {
        let private = folder.join("s");
        let listener = UnixListener::bind(&private)?;
        fs::set_permissions(&private, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        fs::rename(&private, path)?;
        Ok(listener)
    };
    let bound = bind();
    // It may be there still if something failed.
    let _ = fs::remove_file(folder.join("s"));
    let _ = fs::remove_dir(&folder);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_its_owners_alone_and_goes_with_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        let (socket, _listener) = Socket::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the private folder is gone");
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_a_dead_process_has_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        // A listener that is closed leaves its file, as a process that is killed does.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_socket, _listener) = Socket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_living_one_and_a_file_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        let (socket, _listener) = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(error.message().contains("somebody listens there"), "{error}");
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        fs::write(&path, "mine").unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(error.message().contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn one_that_does_not_say_whether_somebody_listens_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        // One for datagrams takes no connection although it lives.
        let _living = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let inode = inode(&path);
        let error = Socket::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert_eq!(super::inode(&path), inode);
    }

    #[test]
    fn one_whose_place_another_has_taken_does_not_remove_that() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        let (socket, listener) = Socket::bind(&path).unwrap();
        drop(listener);
        let (_other, _listener) = Socket::bind(&path).unwrap();
        drop(socket);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_path_that_is_too_long_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x".repeat(120));
        let error = Socket::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("at most"), "{error}");
    }
}
