//! Keeping a gateway announced, whatever happens to the responder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mdns_sd::{DaemonEvent, DaemonStatus, ServiceDaemon, ServiceInfo};

use super::SERVICE;
use super::advert::Advert;

/// How often is looked whether the responder is alive and the announcement is still true.
const CHECK: Duration = Duration::from_secs(60);

/// How long the responder may take to answer, and to say goodbye.
const ANSWER: Duration = Duration::from_secs(2);
const GOODBYE: Duration = Duration::from_millis(300);

/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// An announcement that lasts until it is stopped or dropped.
#[derive(Debug)]
pub struct Announcement {
    /// Nothing is ever sent: its end is the sign to stop.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Announcement {
    /// Announces what `advert` says, asked again from time to time, on this port of multicast DNS.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(port: u16, advert: impl Fn() -> Option<Advert> + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let work = move || supervise(&stopped, PAUSES, || announce(port, &advert, &stopped));
        let thread = std::thread::Builder::new().name("telson-mdns".to_owned()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Takes the announcement back, which takes a moment.
    pub fn stop(mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Does the work until it ends well or is no longer wanted. What goes wrong is told and tried again after a pause;
/// it goes no further.
pub(super) fn supervise(
    stopped: &Receiver<()>,
    pauses: (Duration, Duration),
    mut work: impl FnMut() -> Result<(), String>,
) {
    let mut pause = pauses.0;
    loop {
        let problem = match catch_unwind(AssertUnwindSafe(&mut work)) {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => problem,
            Err(_) => "the responder panicked".to_owned(),
        };
        tracing::warn!(target: "discovery", "bonjour advertising failed: {problem}; again in {} s", pause.as_secs());
        match stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(pauses.1),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn announce(port: u16, advert: &impl Fn() -> Option<Advert>, stopped: &Receiver<()>) -> Result<(), String> {
    let Some(mut shown) = advert() else { return Ok(()) };
    let daemon = ServiceDaemon::new_with_port(port).map_err(|error| error.to_string())?;
    let events = daemon.monitor().map_err(|error| error.to_string())?;
    register(&daemon, &shown)?;
    tracing::info!(target: "discovery", "announcing {:?} in the local network", shown.instance);
    loop {
        match stopped.recv_timeout(CHECK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                goodbye(&daemon);
                return Ok(());
            }
        }
        for event in events.try_iter() {
            match event {
                DaemonEvent::NameChange(change) => {
                    tracing::info!(target: "discovery", "announced as {:?}: the name was taken", change.new_name);
                }
                DaemonEvent::Error(error) => {
                    tracing::debug!(target: "discovery", %error, "the responder complains");
                }
                _ => {}
            }
        }
        let status = daemon.status().map_err(|error| error.to_string())?;
        if !matches!(status.recv_timeout(ANSWER), Ok(DaemonStatus::Running)) {
            let _ = daemon.shutdown();
            return Err("the responder does not answer".to_owned());
        }
        if let Some(now) = advert()
            && now != shown
        {
            register(&daemon, &now)?;
            shown = now;
        }
    }
}

fn register(daemon: &ServiceDaemon, advert: &Advert) -> Result<(), String> {
    let texts: Vec<(&str, &str)> = advert.txt.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let info = ServiceInfo::new(
        SERVICE,
        &advert.instance,
        &advert.host,
        advert.addresses.as_slice(),
        advert.port,
        texts.as_slice(),
    );
    let info = info.map_err(|error| error.to_string())?;
    let info = if advert.addresses.is_empty() { info.enable_addr_auto() } else { info };
    daemon.register(info).map_err(|error| error.to_string())
}

fn goodbye(daemon: &ServiceDaemon) {
    if let Ok(done) = daemon.shutdown() {
        let _ = done.recv_timeout(GOODBYE);
    }
}
