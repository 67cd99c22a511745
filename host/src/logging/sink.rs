//! A queue and the thread that empties it.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Level;

/// Records that may wait. One more is left out.
const QUEUE: usize = 8_192;

/// Records of `debug` and `trace` are left out from here on, so that the others find a place.
const CROWDED: usize = QUEUE / 4 * 3;

/// How long the end of the process waits for what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where lines go in the end.
pub(super) trait Writer: Send + 'static {
    /// Writes one line. A line that cannot be written is lost.
    fn write(&mut self, line: &[u8]);

    /// Opens the file anew.
    fn reopen(&mut self) {}
}

enum Job {
    Line(Vec<u8>),
    Reopen,
    Close,
}

/// The near end of a queue.
pub(super) struct Sink {
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    closed: Mutex<Receiver<()>>,
}

impl Sink {
    /// Starts the thread that writes.
    pub(super) fn start(name: &str, writer: impl Writer) -> io::Result<Arc<Self>> {
        let (jobs, queue) = channel();
        let (done, closed) = channel();
        let (waiting, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let sink = Arc::new(Self {
            jobs,
            waiting: waiting.clone(),
            dropped: dropped.clone(),
            closed: Mutex::new(closed),
        });
        let work = move || {
            write_all(writer, &queue, &waiting, &dropped);
            let _ = done.send(());
        };
        std::thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024).spawn(work)?;
        Ok(sink)
    }

    /// Queues a line, or leaves it out when the queue is full.
    pub(super) fn send(&self, level: Level, line: Vec<u8>) {
        let room = if level > Level::INFO { CROWDED } else { QUEUE };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= room || self.jobs.send(Job::Line(line)).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew, after what is queued.
    pub(super) fn reopen(&self) {
        let _ = self.jobs.send(Job::Reopen);
    }

    /// Writes what is queued and ends the thread; gives up after a second.
    pub(super) fn close(&self) {
        if self.jobs.send(Job::Close).is_ok() {
            let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = closed.recv_timeout(LAST_WORDS);
        }
    }
}

fn write_all(mut writer: impl Writer, queue: &Receiver<Job>, waiting: &AtomicUsize, dropped: &AtomicUsize) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Line(line) => {
                writer.write(&line);
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Job::Reopen => writer.reopen(),
            Job::Close => return,
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = serde_json::json!({
                "level": "warn", "subsystem": "gateway", "message": format!("dropped: {lost}"), "dropped": lost,
            });
            writer.write(format!("{line}\n").as_bytes());
        }
    }
}
