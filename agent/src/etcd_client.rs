//! The connection to etcd: endpoints, TLS files, user and limits, for whoever reads or writes there.
//!
//! It knows how to connect and nothing of what keys mean. Reconnecting is the client library's; what a lost connection means
//! is the caller's.

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, Identity, KvClient, TlsOptions, WatchClient,
};
use std::{
    error::Error as _,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::task::JoinSet;

/// How long to wait for a TCP connection and TLS handshake, and for the first login. Calico's value.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent before we ask whether the other side lives. A third of Calico's value: until
/// then changes of policy wait unseen. etcd takes offence only at more than one question in 5 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the other side may take to answer that.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that we accept, in bytes. The default of the transport, 4 MiB, is less than what a cluster
/// of a few thousand policies lists; Go's clients accept 2 GiB, which a corrupted length would make us allocate.
pub const ANSWER_BYTES_MAX: usize = 512 << 20;

/// gRPC's code for a server that cannot serve just now.
const UNAVAILABLE: i32 = 14;

/// Where etcd is and who we are there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EtcdOptions {
    /// URLs, for example `https://192.0.2.1:2379`. Without a scheme `http` is meant, or `https` when TLS files are
    /// given.
    pub endpoints: Vec<String>,
    /// Certificate authority, PEM. `None`: the system's roots.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM; only together with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// User name; used only when the password is not empty either, as Calico does.
    pub username: String,
    /// The password; never printed.
    pub password: String,
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection. Says what to look at.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConnectError {
    #[error("no etcd endpoint is configured: set ETCD_ENDPOINTS, or EtcdEndpoints in the configuration file")]
    NoEndpoint,
    #[error(
        "etcd endpoint `{endpoint}`: {reason}; write it as scheme://host:port, for example https://192.0.2.1:2379"
    )]
    Endpoint { endpoint: String, reason: String },
    #[error("cannot read the etcd {what} {}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("an etcd certificate needs its key, and a key its certificate: set both, or neither")]
    HalfIdentity,
    #[error(
        "TLS files are given, and the etcd endpoint `{endpoint}` is http: write https, or leave out the files"
    )]
    PlainEndpointWithTls { endpoint: String },
    #[error("etcd ({endpoint}) did not answer within {} s: is it running and reachable?", DIAL_TIMEOUT.as_secs())]
    Timeout { endpoint: String },
    #[error("cannot connect to etcd ({endpoint}): {}", explain(source))]
    Client {
        endpoint: String,
        #[source]
        source: Box<etcd_client::Error>,
    },
    #[error("no etcd endpoint answers: {0}")]
    NoAnswer(String),
}

/// Connects to the endpoint that answers first; the others may be down. (A client of several would pick one by chance
/// for each request, and take a refused connection for the answer.)
///
/// # Errors
/// What is wrong with the settings, or with the login; or why no endpoint answers.
pub async fn connect(options: &EtcdOptions) -> Result<Client, ConnectError> {
    let mut attempts = JoinSet::new();
    for endpoint in options.endpoints.clone() {
        let options = options.clone();
        attempts.spawn(async move { connect_to(&endpoint, &options).await });
    }
    let mut failures = Vec::new();
    while let Some(attempt) = attempts.join_next().await {
        match attempt.expect("an attempt is neither aborted nor panics") {
            Err(error @ (ConnectError::Timeout { .. } | ConnectError::Client { .. })) => failures.push(error),
            other => return other,
        }
    }
    match failures.len() {
        0 => Err(ConnectError::NoEndpoint),
        1 => Err(failures.swap_remove(0)),
        _ => {
            let mut texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
            texts.sort();
            Err(ConnectError::NoAnswer(texts.join("; ")))
        }
    }
}

/// Connects to one endpoint and waits for an answer, whichever: that a request is refused is an answer too.
async fn connect_to(endpoint: &str, options: &EtcdOptions) -> Result<Client, ConnectError> {
    let tls = tls(endpoint, options)?;
    let mut connect = ConnectOptions::new()
        .with_connect_timeout(DIAL_TIMEOUT)
        .with_keep_alive(KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT)
        // A watch has an open stream always; between requests there is nothing to keep alive.
        .with_keep_alive_while_idle(false)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some(tls) = &tls {
        connect = connect.with_tls(tls.clone());
    }
    if !options.username.is_empty() && !options.password.is_empty() {
        connect = connect.with_user(&options.username, &options.password);
    }
    let endpoint = url(endpoint, tls.is_some())?;
    let answer = async {
        let client = Client::connect([&endpoint], Some(connect)).await?;
        let question = GetOptions::new().with_count_only();
        match client.kv_client().get("/calico/", Some(question)).await {
            Err(error) if is_lost(&error) => Err(error),
            _ => Ok(client),
        }
    };
    match tokio::time::timeout(DIAL_TIMEOUT, answer).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(source)) => Err(ConnectError::Client { endpoint, source: Box::new(source) }),
        Err(_) => Err(ConnectError::Timeout { endpoint }),
    }
}

/// Whether an error is of the way to etcd, or of an etcd without a leader.
fn is_lost(error: &etcd_client::Error) -> bool {
    match error {
        // What a server says of its own has no cause.
        etcd_client::Error::GRpcStatus(status) => {
            status.source().is_some() || i32::from(status.code()) == UNAVAILABLE
        }
        _ => true,
    }
}

/// The key-value side of a client, with the limit on answers raised.
pub fn kv(client: &Client) -> KvClient {
    client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The watching side of a client, with the limit on answers raised.
pub fn watch(client: &Client) -> WatchClient {
    client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The first key after all that begin with a prefix: as etcd has it, the last byte plus one.
pub fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // All our prefixes end in a slash.
    *end.last_mut().expect("a prefix is not empty") += 1;
    end
}

/// An etcd error with what it usually means for the operator, and its causes, on one line. The same trouble gives
/// the same text each time, so that it need not be told again.
pub fn explain(error: &etcd_client::Error) -> String {
    // The library's error names no source, and prints the whole chain in the manner of programmers.
    let (mut text, mut cause) = match error {
        etcd_client::Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        etcd_client::Error::TransportError(error) => (error.to_string(), error.source()),
        other => (other.to_string(), None),
    };
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    // Which of these it is depends on who is first to notice.
    if ["connection closed", "broken pipe", "connection reset"]
        .iter()
        .any(|s| text.to_lowercase().contains(s))
    {
        return HUNG_UP.to_owned();
    }
    if let Some(hint) = hint(&text) {
        text = format!("{text} ({hint})");
    }
    text
}

const HUNG_UP: &str = "the server hung up: it stopped, or it wants https:// in ETCD_ENDPOINTS (EtcdEndpoints), or a client certificate in ETCD_CERT_FILE and ETCD_KEY_FILE (EtcdCertFile, EtcdKeyFile)";

const NO_TLS: &str = "this port does not speak TLS: write http:// in ETCD_ENDPOINTS (EtcdEndpoints)";

/// What the operator can do, by what etcd and the transport say.
fn hint(text: &str) -> Option<&'static str> {
    let hints = [
        ("authentication failed", "user name or password is wrong: ETCD_USERNAME, ETCD_PASSWORD"),
        (
            "user name is empty",
            "this etcd wants a login: ETCD_USERNAME, ETCD_PASSWORD, or a client certificate",
        ),
        ("permission denied", "the etcd user lacks the permission for keys under /calico/"),
        (
            "authentication is not enabled",
            "this etcd has no users: leave out ETCD_USERNAME and ETCD_PASSWORD",
        ),
        (
            "UnknownIssuer",
            "the server's certificate is not signed by the CA in ETCD_CA_CERT_FILE (EtcdCaFile)",
        ),
        (
            "NotValidForName",
            "the server's certificate does not name the host in ETCD_ENDPOINTS (EtcdEndpoints)",
        ),
        (
            "CertificateRequired",
            "this etcd wants a client certificate: ETCD_CERT_FILE, ETCD_KEY_FILE (EtcdCertFile, EtcdKeyFile)",
        ),
        ("InvalidContentType", NO_TLS),
        ("tls handshake eof", NO_TLS),
        (
            "received fatal alert: BadCertificate",
            "this etcd wants a client certificate of its own CA: ETCD_CERT_FILE, ETCD_KEY_FILE (EtcdCertFile, EtcdKeyFile)",
        ),
        ("Connection refused", "nothing listens there"),
        ("Network is unreachable", "no route to it: is the host name or address right, and the link up?"),
        ("No route to host", "is the host name or address right, and is that host up?"),
        (
            "failed to lookup address",
            "the host name is not known: mend ETCD_ENDPOINTS (EtcdEndpoints), or DNS",
        ),
    ];
    hints.iter().find(|(sign, _)| text.contains(sign)).map(|(_, hint)| *hint)
}

/// An endpoint as a URL with a scheme.
fn url(endpoint: &str, tls: bool) -> Result<String, ConnectError> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let (scheme, address) = match endpoint.split_once("://") {
        Some((scheme, address)) => (scheme.to_ascii_lowercase(), address),
        None => (if tls { "https" } else { "http" }.to_owned(), endpoint),
    };
    let wrong = |reason: String| Err(ConnectError::Endpoint { endpoint: endpoint.to_owned(), reason });
    match scheme.as_str() {
        "http" if tls => return Err(ConnectError::PlainEndpointWithTls { endpoint: endpoint.to_owned() }),
        "http" | "https" => {}
        other => return wrong(format!("the scheme `{other}` is not http or https")),
    }
    if address.is_empty() || address.contains(['/', '?', '#', ' ']) {
        return wrong("not a host and a port".to_owned());
    }
    Ok(format!("{scheme}://{address}"))
}

/// The TLS settings; `None` where no file is given, which means the system's roots for https.
fn tls(endpoint: &str, options: &EtcdOptions) -> Result<Option<TlsOptions>, ConnectError> {
    let identity = match (&options.cert_file, &options.key_file) {
        (Some(cert), Some(key)) => Some(Identity::from_pem(read("certificate", cert)?, read("key", key)?)),
        (None, None) => None,
        _ => return Err(ConnectError::HalfIdentity),
    };
    let ca = options.ca_file.as_deref().map(|path| read("CA certificate", path)).transpose()?;
    let https = endpoint.trim().to_ascii_lowercase().starts_with("https://");
    if identity.is_none() && ca.is_none() && !https {
        return Ok(None);
    }
    let mut tls = TlsOptions::new();
    tls = match ca {
        Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls.with_native_roots(),
    };
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    Ok(Some(tls))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_get_a_scheme() {
        let cases = [
            // why                                     spelled                  TLS    meant
            ("a URL stays", "http://192.0.2.1:2379", false, Some("http://192.0.2.1:2379")),
            ("Felix writes a trailing slash", "http://192.0.2.1:2379/", false, Some("http://192.0.2.1:2379")),
            ("no scheme, no TLS files", "192.0.2.1:2379", false, Some("http://192.0.2.1:2379")),
            ("no scheme, TLS files", "192.0.2.1:2379", true, Some("https://192.0.2.1:2379")),
            ("blanks of a comma list", " https://a:1 ", true, Some("https://a:1")),
            ("http would silently ignore the files", "http://a:1", true, None),
            ("a path means something else", "http://a:1/v2", false, None),
            ("not a scheme of etcd", "unix:///run/etcd", false, None),
            ("nothing", "", false, None),
        ];
        for (why, spelled, tls, meant) in cases {
            assert_eq!(url(spelled, tls).ok().as_deref(), meant, "{why}");
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let options = EtcdOptions { password: "secret".into(), ..EtcdOptions::default() };
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn half_an_identity_is_refused() {
        let options = EtcdOptions { cert_file: Some("/c".into()), ..EtcdOptions::default() };
        assert!(matches!(tls("https://a:1", &options), Err(ConnectError::HalfIdentity)));
    }
}
