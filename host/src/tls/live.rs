//! The pair that the gateway shows, and its exchange while the gateway runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;

use super::names::names;
use super::pair::{Pair, TlsError, open_mode};
use super::pin::Leaf;
use super::provider;

/// Where the pair is, and what may be done about it.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, in PEM form, with its chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Further certificates of the chain.
    pub ca: Option<PathBuf>,
    /// Whether a pair is made when both files are missing, and renewed when it was made here.
    pub generate: bool,
    /// This host's name, for a certificate that is made here.
    pub host: String,
    /// Further names of this host, such as that of its tailnet.
    pub names: Vec<String>,
}

impl TlsFiles {
    /// Reads the pair. With leave, a missing one is made, and one that was made here and ends soon is renewed.
    fn pair(&self) -> Result<Pair, TlsError> {
        match (self.cert.exists(), self.key.exists()) {
            (true, true) => {}
            (false, false) if self.generate => Pair::make(&self.cert, &self.key, &self.san())?,
            (false, false) => {
                return Err(TlsError::Absent { cert: self.cert.clone(), key: self.key.clone() });
            }
            (true, false) => {
                return Err(TlsError::Half { found: self.cert.clone(), missing: self.key.clone() });
            }
            (false, true) => {
                return Err(TlsError::Half { found: self.key.clone(), missing: self.cert.clone() });
            }
        }
        self.read()
    }

    /// Reads a pair that is there, renewed first when that is due.
    fn read(&self) -> Result<Pair, TlsError> {
        let pair = Pair::read(&self.cert, &self.key, self.ca.as_deref())?;
        if !self.generate || !pair.is_due(SystemTime::now()) {
            return Ok(pair);
        }
        Pair::renew(&self.cert, &self.key, &self.san())?;
        Pair::read(&self.cert, &self.key, self.ca.as_deref())
    }

    fn san(&self) -> Vec<String> {
        names(&self.host, &self.names)
    }

    /// What tells one state of the files from the next.
    fn stamp(&self) -> Stamp {
        let paths = [Some(&self.cert), Some(&self.key), self.ca.as_ref()];
        Stamp(
            paths
                .into_iter()
                .flatten()
                .map(|path| {
                    let metadata = fs::metadata(path).ok()?;
                    let (mtime, ctime) = (
                        (metadata.mtime(), metadata.mtime_nsec()),
                        (metadata.ctime(), metadata.ctime_nsec()),
                    );
                    Some((metadata.ino(), metadata.len(), mtime, ctime))
                })
                .collect(),
        )
    }
}

type Look = Option<(u64, u64, (i64, i64), (i64, i64))>;

#[derive(Debug, PartialEq, Eq)]
struct Stamp(Vec<Look>);

/// The pair in use. Connections that are open keep the one they began with.
#[derive(Debug)]
pub struct Live {
    files: TlsFiles,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    config: Arc<ServerConfig>,
    leaf: Leaf,
    /// The state of the files that was looked at last, usable or not.
    seen: Stamp,
    /// The files were not usable when they were looked at last.
    broken: bool,
    /// The looks since the certificate's end was looked at.
    looks: u32,
}

/// Every how many looks the certificate's end is looked at.
const LOOKS_PER_CHECK: u32 = 720;

impl Live {
    /// Reads the pair of the files, or makes it.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let seen = files.stamp();
        let pair = files.pair()?;
        if let Some(mode) = open_mode(&files.key) {
            tracing::warn!(target: "gateway.tls", "the key {} can be read by others (mode {mode:o}); chmod 600 it", files.key.display());
        }
        let leaf = pair.leaf;
        let now = Now { config: server(pair)?, leaf, seen, broken: false, looks: 0 };
        Ok(Self { files, now: Mutex::new(now) })
    }

    /// What a new connection is served with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().config)
    }

    /// The fingerprints of the certificate in use.
    pub fn leaf(&self) -> Leaf {
        self.lock().leaf
    }

    /// Looks at the files; `None` when there is nothing new. A pair that is broken is told once, and the one in use
    /// stays. Reads files: call it off the I/O threads.
    pub fn look(&self) -> Option<Result<Leaf, TlsError>> {
        let stamp = self.files.stamp();
        let due = {
            let mut now = self.lock();
            now.looks = (now.looks + 1) % LOOKS_PER_CHECK;
            now.looks == 0 && self.files.generate
        };
        let changed = self.lock().seen != stamp;
        if !changed && !due {
            return None;
        }
        // A file that is missing for a moment is being exchanged: nothing is made while the gateway runs.
        let loaded = self.files.read().and_then(|pair| Ok((pair.leaf, server(pair)?)));
        let mut now = self.lock();
        // The state from before the reading: what changed meanwhile is seen the next time.
        now.seen = stamp;
        match loaded {
            Ok((leaf, config)) => {
                let news = leaf != now.leaf || now.broken;
                (now.config, now.leaf, now.broken) = (config, leaf, false);
                news.then_some(Ok(leaf))
            }
            Err(error) => {
                now.broken = true;
                Some(Err(error))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TLS 1.2 and 1.3, no client certificates, and HTTP/1.1 as the only protocol inside.
fn server(pair: Pair) -> Result<Arc<ServerConfig>, TlsError> {
    let enable = |error: rustls::Error| TlsError::Enable(error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(enable)?
        .with_no_client_auth()
        .with_single_cert(pair.chain, pair.key)
        .map_err(enable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
