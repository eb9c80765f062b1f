//! The authority: made once, kept in two files, and asked for a certificate whenever a client names a host.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::Names;

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
/// What clients show of it.
const COMMON_NAME: &str = "Greenroom of this server";
/// Certificates that are kept; a stranger may ask for any name below ours.
const MOST_KEPT: usize = 1024;

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else, or no certificate can be made.
    #[error(
        "the certificate authority in {folder} cannot be used: {why}; remove the folder, and the next start makes another, \
             which clients then have to trust"
    )]
    Damaged {
        /// Where.
        folder: PathBuf,
        /// Why.
        why: String,
    },
}

/// A certificate authority.
pub struct Authority {
    names: Names,
    issuer: Issuer<'static, KeyPair>,
    kept: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

impl Authority {
    /// Where the certificate that clients have to trust is, when the authority is kept in `folder`.
    pub fn certificate_file(folder: &Path) -> PathBuf {
        folder.join(CERTIFICATE)
    }

    /// The authority that is kept in `folder`, or a new one, for `names`. One that was made for other names is made anew with the
    /// same key.
    pub fn open(folder: &Path, names: Names) -> Result<Self, Error> {
        let damaged = |error: rcgen::Error| Error::Damaged { folder: folder.to_owned(), why: error.to_string() };
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        let file = folder.join(KEY);
        let key = match fs::read_to_string(&file) {
            Ok(pem) => KeyPair::from_pem(&pem).map_err(damaged)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(damaged)?;
                write(&file, &key.serialize_pem()).map_err(at(&file))?;
                key
            }
            Err(error) => return Err(at(&file)(error)),
        };
        let params = own_params(&names);
        let file = Self::certificate_file(folder);
        let names_file = folder.join("names");
        let wanted: String = names.roots().map(|name| format!("{name}\n")).collect();
        if !file.exists() || fs::read_to_string(&names_file).ok().as_ref() != Some(&wanted) {
            let certificate = params.self_signed(&key).map_err(damaged)?;
            write(&file, &certificate.pem()).map_err(at(&file))?;
            write(&names_file, &wanted).map_err(at(&names_file))?;
        }
        Ok(Self { names, issuer: Issuer::new(params, key), kept: Mutex::default() })
    }

    /// What ends TLS in its name. A client that names none of its hosts is turned away.
    pub fn acceptor(self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth();
        let mut config = config.with_cert_resolver(Arc::new(Resolver(self)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let host = host.to_ascii_lowercase();
        if !self.names.contains(&host) {
            return None;
        }
        let mut kept = self.kept.lock().expect("no holder of this lock panics");
        if let Some(certificate) = kept.get(&host) {
            return Some(certificate.clone());
        }
        let made = match self.issue(&host) {
            Ok(made) => Arc::new(made),
            Err(error) => {
                tracing::warn!(%error, host, "cannot make a certificate");
                return None;
            }
        };
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(host, made.clone());
        Some(made)
    }

    fn issue(&self, host: &str) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([host.to_owned()])?;
        params.distinguished_name = common_name(host);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = ring::sign::any_supported_type(&private)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
    }
}

struct Resolver(Authority);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.certificate(hello.server_name()?)
    }
}

fn own_params(names: &Names) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(COMMON_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: names.roots().map(|name| GeneralSubtree::DnsName(name.to_owned())).collect(),
        excluded_subtrees: Vec::new(),
    });
    params
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Replaces a file as a whole, for this user only.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    };
    use tokio_rustls::TlsConnector;

    use super::*;

    const NAMES: [&str; 2] = ["app.example.com", "*.api.example.com"];

    fn client(folder: &Path) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(Authority::certificate_file(folder)).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    /// Whether a client that trusts the authority of `folder` gets through to `host`.
    async fn reaches(folder: &Path, server: &TlsAcceptor, host: &str) -> bool {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let (accepted, connected) = tokio::join!(server.accept(ours), client(folder).connect(name, theirs));
        accepted.is_ok() && connected.is_ok()
    }

    #[tokio::test]
    async fn it_speaks_for_its_names_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let server = Authority::open(folder.path(), Names::new(NAMES)).unwrap().acceptor();
        assert!(reaches(folder.path(), &server, "app.example.com").await);
        assert!(reaches(folder.path(), &server, "model-1.api.example.com").await);
        assert!(!reaches(folder.path(), &server, "api.example.com").await);
        assert!(!reaches(folder.path(), &server, "example.org").await);
    }

    #[tokio::test]
    async fn it_stays_the_same_and_is_made_anew_for_other_names() {
        let folder = tempfile::tempdir().unwrap();
        let read = || fs::read_to_string(Authority::certificate_file(folder.path())).unwrap();
        let open = |names: &[&str]| Authority::open(folder.path(), Names::new(names.iter().copied())).unwrap();
        open(&NAMES);
        let first = read();
        let server = open(&NAMES).acceptor();
        assert_eq!(read(), first);
        assert!(reaches(folder.path(), &server, "app.example.com").await);
        open(&["other.example.com"]);
        assert_ne!(read(), first);
    }

    #[tokio::test]
    async fn its_certificate_names_what_it_is_good_for_so_that_its_key_is_good_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path(), Names::new(NAMES)).unwrap();
        // The same key, used for a name that the certificate does not permit.
        let key = KeyPair::from_pem(&fs::read_to_string(folder.path().join(KEY)).unwrap()).unwrap();
        let thief = Authority {
            names: Names::new(["bank.example.org"]),
            issuer: Issuer::new(own_params(&Names::new(NAMES)), key),
            kept: Mutex::default(),
        };
        assert!(!reaches(folder.path(), &thief.acceptor(), "bank.example.org").await);
    }

    #[test]
    fn what_is_no_key_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEY), "nonsense").unwrap();
        let error = Authority::open(folder.path(), Names::default()).err().unwrap().to_string();
        assert!(error.contains("remove the folder"), "{error}");
    }
}
