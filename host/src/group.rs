//! The process group of a program that was started, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, Signal};

/// The process group of a process, once it has one.
#[derive(Clone, Default)]
pub(crate) struct Group(Arc<AtomicI32>);

impl Group {
    const NONE: i32 = 0;
    const KILLED: i32 = -1;

    /// The process runs. One that was to die before it lived dies now.
    pub(crate) fn begin(&self, id: Option<u32>) {
        let id = id.and_then(|id| i32::try_from(id).ok()).unwrap_or(Self::NONE);
        if self.0.compare_exchange(Self::NONE, id, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            kill_group(id);
        }
    }

    /// Kills whoever is left of the group, once: its number may be given to others afterwards.
    pub(crate) fn kill(&self) {
        kill_group(self.0.swap(Self::KILLED, Ordering::SeqCst));
    }
}

fn kill_group(id: i32) {
    if id > 0
        && let Some(group) = Pid::from_raw(id)
    {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

/// Kills the group when a task ends, whichever way.
pub(crate) struct Reaper(pub(crate) Group);

impl Drop for Reaper {
    fn drop(&mut self) {
        self.0.kill();
    }
}
