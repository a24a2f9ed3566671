//! Whom to ask: a running program, or the data directory itself.

use std::path::Path;

use durable_runtime::admin::{Admin, Exported, Imported, Operation, StateAt};
use durable_runtime::{Error, ErrorKind};

use crate::client::Client;
use crate::failure::Failure;
use crate::options::PlaceOptions;
use crate::progress::Progress;

/// The name of a program's socket in its data directory.
const SOCKET_NAME: &str = "admin.sock";

/// Somebody who answers.
#[derive(Debug)]
pub(crate) enum Objects {
    /// Nobody uses the directory but this process.
    Offline(Admin),
    /// A program.
    Live(Client),
}

impl Objects {
    pub(crate) async fn find(place: &PlaceOptions) -> Result<Objects, Failure> {
        if let Some(client) = named(place)? {
            return Ok(Objects::Live(client));
        }
        let Some(directory) = &place.data else {
            let text = "say where the objects are: `--data DIR` (or set DURABLE_DATA), `--socket FILE`, or `--url URL --token-file FILE`";
            return Err(Failure::Usage(text.to_owned()));
        };
        match Admin::open(directory).await {
            Ok(admin) => Ok(Objects::Offline(admin)),
            Err(error) if error.kind() == ErrorKind::Locked => {
                Ok(Objects::Live(program_of(directory).await?))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Has something done.
    pub(crate) async fn perform<O: Operation>(&self, operation: O) -> Result<O::Reply, Failure> {
        Ok(match self {
            Objects::Offline(admin) => admin.perform(operation, &who()).await?,
            Objects::Live(client) => client.call(&operation).await?,
        })
    }

    /// Writes an object to a file that is not there yet.
    pub(crate) async fn export(
        &self,
        object: &str,
        at: StateAt,
        file: &Path,
        bar: Progress,
    ) -> Result<Exported, Failure> {
        Ok(match self {
            Objects::Offline(admin) => {
                let report = move |progress: durable_runtime::Progress| {
                    bar.show("bytes", progress.done, progress.total);
                };
                admin.export(object, at, file, report).await?
            }
            Objects::Live(client) => client.export(object, at, file, &bar).await?,
        })
    }

    /// Makes an object of a file.
    pub(crate) async fn import(
        &self,
        object: &str,
        file: &Path,
        bar: Progress,
    ) -> Result<Imported, Failure> {
        Ok(match self {
            Objects::Offline(admin) => admin.import(object, file, &who()).await?,
            Objects::Live(client) => client.import(object, file, bar).await?,
        })
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Objects::Live(_))
    }

    /// Closes a directory that was opened.
    pub(crate) async fn close(&self) {
        if let Objects::Offline(admin) = self {
            admin.close().await;
        }
    }
}

/// The program that was named, if one was.
pub(crate) fn named(place: &PlaceOptions) -> Result<Option<Client>, Failure> {
    if let Some(socket) = &place.socket {
        return Ok(Some(Client::Unix(socket.clone())));
    }
    match (&place.url, &place.token_file) {
        (Some(url), Some(token)) => Ok(Some(Client::tcp(url, token)?)),
        _ => Ok(None),
    }
}

/// The program that uses a directory.
pub(crate) async fn program_of(directory: &Path) -> Result<Client, Failure> {
    let socket = directory.join(SOCKET_NAME);
    let client = Client::Unix(socket.clone());
    if client.is_there().await {
        return Ok(client);
    }
    let text = format!(
        "a program uses {}, and does not answer on {}: switch that on with the feature `admin` of `durable` and \
         `durable::admin::serve(&runtime).start().await?`, or stop the program",
        directory.display(),
        socket.display()
    );
    Err(Error::new(ErrorKind::Locked, text).into())
}

/// Who this is, for the log.
fn who() -> String {
    format!("user {}, process {}", rustix::process::getuid().as_raw(), std::process::id())
}

/// The options that lead to the same place, for a command that is shown.
pub(crate) fn arguments(place: &PlaceOptions) -> String {
    let mut arguments = String::new();
    let mut add = |name: &str, value: &str| {
        arguments.extend([" ", name, " ", &quoted(value)]);
    };
    if let Some(socket) = &place.socket {
        add("--socket", &socket.to_string_lossy());
    } else if let (Some(url), Some(token)) = (&place.url, &place.token_file) {
        add("--url", url);
        add("--token-file", &token.to_string_lossy());
    } else if let Some(data) = &place.data {
        add("--data", &data.to_string_lossy());
    }
    arguments
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=,".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_a_shell_as_they_are() {
        assert_eq!(quoted("Counter/a-1"), "Counter/a-1");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's $HOME"), "'it'\\''s $HOME'");
    }
}
