//! How connections are made secret.

use std::io;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// With the roots that Mozilla trusts, and with a provider of our own choice: the process may have several or none.
///
/// # Errors
/// When the provider does not know a version of the protocol.
pub(crate) fn config() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
