//! The secret of those who may ask over TCP: 256 bits, in a file that only its owner can read.
//!
//! The guarantee: a file that others can read is not used, a new one is made with fresh randomness and is never readable by others, and a
//! comparison says nothing of how much of a token was right.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use durable_runtime::{Error, ErrorKind, Result};
use subtle::ConstantTimeEq;

/// Who has it may ask everything. In its file it is 64 hex digits.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Reads the token of a file.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when others than its owner may read the file, or it holds no token; [`ErrorKind::Storage`] when it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Token> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| failed("read", path, &error))?;
        Token::read(file, path)
    }

    /// Reads the token of a file, and makes the file with a new token if there is none.
    ///
    /// # Errors
    /// As [`load`](Token::load), and when the file cannot be made.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Token> {
        let path = path.as_ref();
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Token::load(path),
            Err(error) => Err(failed("create", path, &error)),
            Ok(mut file) => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).map_err(|error| {
                    let text = format!("the operating system has no random numbers: {error}");
                    Error::new(ErrorKind::Storage, text)
                })?;
                let token = Token(bytes);
                writeln!(file, "{}", token.text())
                    .map_err(|error| failed("write", path, &error))?;
                Ok(token)
            }
        }
    }

    fn read(mut file: File, path: &Path) -> Result<Token> {
        let found = file.metadata().map_err(|error| failed("read", path, &error))?;
        if !found.is_file() || found.mode() & 0o077 != 0 {
            let text = format!(
                "{} holds a secret and others than its owner may open it: `chmod 600` it",
                path.display()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let mut text = String::new();
        let mut file = (&mut file).take(1_024);
        file.read_to_string(&mut text).map_err(|error| failed("read", path, &error))?;
        Token::parse(text.trim()).ok_or_else(|| {
            let text = format!("{} holds no token, which is 64 hex digits", path.display());
            Error::new(ErrorKind::Invalid, text)
        })
    }

    fn parse(text: &str) -> Option<Token> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let digit =
            |ascii: u8| char::from(ascii).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Token(bytes))
    }

    /// The 64 hex digits.
    pub fn text(&self) -> String {
        use std::fmt::Write;
        self.0.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Whether a text is this token, in a time that does not tell how much of it is right.
    pub(crate) fn is(&self, text: &str) -> bool {
        Token::parse(text).is_some_and(|other| bool::from(self.0.ct_eq(&other.0)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_file_is_its_owners_alone_and_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = Token::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Token::load_or_create(&path).unwrap().is(&made.text()));
        let other = Token::load_or_create(folder.path().join("other")).unwrap();
        assert!(!other.is(&made.text()));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        Token::load_or_create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Token::load(&path).unwrap_err().kind(), ErrorKind::Invalid, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = Token::load_or_create(&path).unwrap();
        for text in ["", "secret", &made.text()[1..], &format!("{}0", made.text()), &"g".repeat(64)]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(Token::load(&path).unwrap_err().kind(), ErrorKind::Invalid, "{text:?}");
            assert!(!made.is(text));
        }
        assert!(!format!("{made:?}").contains(&made.text()));
    }
}
