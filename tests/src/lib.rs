//! What the tests of the workspace share: a bed to run a runtime on, in every form that must behave alike.
#![allow(missing_docs, reason = "tests only")]

pub mod broken;
pub mod clockwork;
pub mod collector;
pub mod guide;
pub mod ledger;
pub mod purse;
pub mod random;

pub use guide::{in_a_turn, with_runtime};

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context as Task, Poll, Waker};

use durable::{Builder, Runtime};

/// Whether arguments are moved to the object or pass through their wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Moved,
    Wire,
}

/// A data directory of a test's own, and the form in which its calls are made.
#[derive(Debug)]
pub struct Bed {
    directory: tempfile::TempDir,
    pub form: Form,
}

impl Bed {
    pub fn new(form: Form) -> Self {
        Bed { directory: tempfile::tempdir().unwrap(), form }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn builder(&self) -> Builder {
        let builder = Runtime::builder(self.path());
        match self.form {
            Form::Moved => builder,
            Form::Wire => builder.always_serialize(),
        }
    }

    /// The files under the data directory that hold objects.
    pub fn object_files(&self) -> Vec<std::path::PathBuf> {
        let mut folders = vec![self.path().join("objects")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

/// Copies a folder with all that is in it. Of a data directory in use this is what a kill would leave, as
/// long as nobody writes.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_directory(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Runs a test's future on a current-thread runtime.
pub fn on_one_thread(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Runs a test's future on a multi-thread runtime.
pub fn on_many_threads(test: impl Future<Output = ()> + Send + 'static) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    // Spawned, so that the test itself runs on a worker.
    runtime.block_on(async { tokio::spawn(test).await.unwrap() });
}

/// Polls a future once.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Task::from_waker(Waker::noop()))
}

/// The output of a future that was polled once: what that poll gave, or what it gives later.
pub async fn finish<F: Future>(first: Poll<F::Output>, future: F) -> F::Output {
    match first {
        Poll::Ready(output) => output,
        Poll::Pending => future.await,
    }
}

/// Polls a future that must be ready at once, such as a call that fails before it waits.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready at once"),
    }
}

/// Lets every task that can run do so, on a current-thread runtime.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Writes each test four times: with moved arguments and in wire form, on one thread and on many.
#[macro_export]
macro_rules! matrix {
    ($($(#[$attribute:meta])* async fn $name:ident($bed:ident) $body:block)+) => {
        $(
            $(#[$attribute])*
            mod $name {
                use super::*;

                async fn test($bed: $crate::Bed) $body

                #[test]
                fn moved_on_one_thread() {
                    $crate::on_one_thread(test($crate::Bed::new($crate::Form::Moved)));
                }

                #[test]
                fn moved_on_many_threads() {
                    $crate::on_many_threads(test($crate::Bed::new($crate::Form::Moved)));
                }

                #[test]
                fn wire_on_one_thread() {
                    $crate::on_one_thread(test($crate::Bed::new($crate::Form::Wire)));
                }

                #[test]
                fn wire_on_many_threads() {
                    $crate::on_many_threads(test($crate::Bed::new($crate::Form::Wire)));
                }
            }
        )+
    };
}
