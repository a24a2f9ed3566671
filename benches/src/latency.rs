//! How long calls take, and how many checkpoints happened meanwhile.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

/// How often it is looked for a checkpoint.
const LOOK: Duration = Duration::from_millis(50);

/// Calls of all runs, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Arc<Mutex<Vec<f32>>>);

/// What is reported about them.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f32,
    pub(crate) p99_us: f32,
    pub(crate) worst_us: f32,
    pub(crate) calls: usize,
    /// Checkpoints that were completed meanwhile.
    pub(crate) checkpoints: usize,
}

impl Latencies {
    pub(crate) fn add(&self, calls: &[f32]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(calls);
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn summary(&self, checkpoints: Option<usize>) -> Latency {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.sort_by(f32::total_cmp);
        let at = |part: usize| {
            let last = calls.len().saturating_sub(1);
            calls.get(last * part / 100).copied().unwrap_or_default()
        };
        Latency {
            p50_us: at(50),
            p99_us: at(99),
            worst_us: at(100),
            calls: calls.len(),
            checkpoints: checkpoints.unwrap_or_default(),
        }
    }
}

/// Counts checkpoints by the file that notes them.
pub(crate) struct CheckpointWatch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl CheckpointWatch {
    pub(crate) fn start(directory: &Path) -> Self {
        let file = directory.join("journal/CHECKPOINT");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let (mut count, mut before) = (0, std::fs::read(&file).ok());
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                let now = std::fs::read(&file).ok();
                count += usize::from(now != before);
                before = now;
            }
            count
        });
        CheckpointWatch { is_over, thread }
    }

    pub(crate) fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
