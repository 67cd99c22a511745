//! The gateway's certificate and key on disk: read, made, renewed (spec 05 §7).
//!
//! A pair that was made here says so in the certificate's file, in a line that TLS does not read. Only such a
//! pair is ever renewed, and never with another key: who has pinned the key notices nothing. What the operator
//! put there is not touched.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};

use super::pin::Leaf;
use super::provider;

/// How long a certificate that is made here is valid: as long as clients accept from anybody.
const DAYS: u64 = 825;

/// How long before its end it is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A clock that is slow must not find the certificate unborn.
const BORN_BEFORE: Duration = Duration::from_secs(24 * 3_600);

/// The name in it, which people of the older systems know.
const COMMON_NAME: &str = "openclaw-gateway";

/// The line that says that the file may be replaced.
const MARK: &str =
    "# Made by Telson, which renews it with the same key. Delete this line to keep it as it is.\n";

/// The largest file of certificates or keys that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Why there is no TLS. The beginnings are those that scripts search logs for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One file of the two is there.
    #[error(
        "gateway tls: cert/key missing: {found} is there, {missing} is not; put it there, or remove the other one to have both made"
    )]
    Half {
        /// What is there.
        found: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// Neither file is there, and none may be made.
    #[error(
        "gateway tls: cert/key missing: neither {cert} nor {key} is there; put them there, or set gateway.tls.autoGenerate to true"
    )]
    Absent {
        /// Where the certificate was expected.
        cert: PathBuf,
        /// Where the key was expected.
        key: PathBuf,
    },
    /// The pair cannot be made.
    #[error("gateway tls: failed to generate cert ({0})")]
    Generate(String),
    /// A file cannot be read, or holds something else.
    #[error("gateway tls: failed to load cert ({path}: {cause})")]
    Load {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The certificate is none that TLS could use.
    #[error("gateway tls: unable to compute certificate fingerprint ({0})")]
    Fingerprint(String),
    /// The pair does not belong together, or TLS cannot use it.
    #[error("gateway tls: failed to enable ({0})")]
    Enable(String),
}

impl TlsError {
    fn load(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Load { path: path.to_owned(), cause: cause.to_string() }
    }
}

/// A certificate with its chain, and its key.
#[derive(Debug)]
pub struct Pair {
    /// The certificate, then those that vouch for it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
    /// The fingerprints.
    pub leaf: Leaf,
    /// When the certificate ends; `None` when it does not say.
    pub ends: Option<SystemTime>,
    /// Whether it was made here.
    pub own: bool,
}

impl Pair {
    /// Reads a pair. `ca` holds further certificates of the chain.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn read(cert: &Path, key: &Path, ca: Option<&Path>) -> Result<Self, TlsError> {
        let (text, mut chain) = certificates(cert)?;
        if let Some(ca) = ca {
            let (_, further) = certificates(ca)?;
            chain.extend(further.into_iter().filter(|one| !chain.contains(one)).collect::<Vec<_>>());
        }
        let secret = read(key)?;
        let secret =
            PrivateKeyDer::from_pem_slice(&secret).map_err(|error| TlsError::load(key, unpem(&error)))?;
        let first = chain.first().ok_or_else(|| TlsError::load(cert, "there is no certificate in it"))?;
        let leaf = Leaf::of(first).map_err(|error| TlsError::Fingerprint(error.to_string()))?;
        let ends = end_of(first);
        let own = text.starts_with(MARK.as_bytes());
        Ok(Self { chain, key: secret, leaf, ends, own })
    }

    /// Makes a pair where there is none: the key first, both for this user only, nothing ever overwritten.
    ///
    /// # Errors
    ///
    /// [`TlsError::Generate`]; nothing is left behind.
    pub fn make(cert: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
        let fail = |error: String| TlsError::Generate(error);
        let pair = KeyPair::generate().map_err(|error| fail(error.to_string()))?;
        let text = certificate(&pair, names).map_err(|error| fail(error.to_string()))?;
        for path in [key, cert] {
            private_parent(path).map_err(|error| fail(format!("{}: {error}", path.display())))?;
        }
        write_new(key, pair.serialize_pem().as_bytes())
            .map_err(|error| fail(format!("{}: {error}", key.display())))?;
        write_new(cert, text.as_bytes()).map_err(|error| {
            let _ = fs::remove_file(key);
            fail(format!("{}: {error}", cert.display()))
        })
    }

    /// Makes a new certificate for the key of a pair that was made here, and puts it in the place of the old one.
    ///
    /// # Errors
    ///
    /// [`TlsError::Generate`]; the old one stays.
    pub fn renew(cert: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
        let fail = |error: String| TlsError::Generate(error);
        let secret = read(key)?;
        let secret = String::from_utf8(secret).map_err(|error| fail(error.to_string()))?;
        let pair = KeyPair::from_pem(&secret).map_err(|error| fail(error.to_string()))?;
        let text = certificate(&pair, names).map_err(|error| fail(error.to_string()))?;
        let mut draft = cert.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let _ = fs::remove_file(&draft);
        write_new(&draft, text.as_bytes()).and_then(|()| fs::rename(&draft, cert)).map_err(|error| {
            let _ = fs::remove_file(&draft);
            fail(format!("{}: {error}", cert.display()))
        })
    }

    /// Whether it was made here and ends soon.
    pub fn is_due(&self, now: SystemTime) -> bool {
        self.own && self.ends.is_some_and(|ends| now + RENEW_BEFORE >= ends)
    }
}

/// The fingerprints of the certificate in a file; `None` when there is no such file. Makes nothing.
///
/// # Errors
///
/// See [`TlsError`].
pub fn read_leaf(cert: &Path) -> Result<Option<Leaf>, TlsError> {
    if !cert.exists() {
        return Ok(None);
    }
    let (_, chain) = certificates(cert)?;
    let first = chain.first().ok_or_else(|| TlsError::load(cert, "there is no certificate in it"))?;
    Leaf::of(first).map(Some).map_err(|error| TlsError::Fingerprint(error.to_string()))
}

/// Who can read a key beside its owner, if anybody, as the mode says.
pub(super) fn open_mode(key: &Path) -> Option<u32> {
    let mode = fs::metadata(key).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| TlsError::load(path, error))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| TlsError::load(path, error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(TlsError::load(path, format!("the file is larger than {LARGEST} bytes")));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| TlsError::load(path, unpem(&error)))?;
    if chain.is_empty() {
        return Err(TlsError::load(path, "there is no certificate in PEM form in it"));
    }
    Ok((text, chain))
}

/// What is wrong with a PEM file, without a word of its content.
fn unpem(error: &rustls::pki_types::pem::Error) -> &'static str {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => "nothing usable in PEM form is in it",
        _ => "it is no PEM file",
    }
}

/// When a certificate ends: what the library says when it is asked far in the future.
fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let (nobody, never) = (RootCertStore::empty(), UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX)));
    let algorithms = provider().signature_verification_algorithms;
    let verdict = verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], never, algorithms.all);
    match verdict {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(UNIX_EPOCH + Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    }
}

fn certificate(pair: &KeyPair, names: &[String]) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    let now = SystemTime::now();
    params.not_before = (now - BORN_BEFORE).into();
    params.not_after = (now + Duration::from_secs(DAYS * 24 * 3_600) - BORN_BEFORE).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(format!("{MARK}{}", params.self_signed(pair)?.pem()))
}

/// Makes the directory of a file for this user only; one that is there stays as it is.
fn private_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.is_dir() => DirBuilder::new().recursive(true).mode(0o700).create(parent),
        _ => Ok(()),
    }
}

/// Writes a file that must not be there yet, for this user only, down to the disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}
