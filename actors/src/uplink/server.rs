//! Where the Team Server is, and how it is reached.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::client::Client;

/// Why a server cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// It is no URL of a server.
    #[error("expected https://HOST[:PORT], found \"{0}\"")]
    Url(String),
    /// A name or password stands in it.
    #[error("a URL with a name or password in it would be shown where it must not be")]
    Credentials,
    /// Tokens would go over the network for everybody to read.
    #[error("http:// is for this machine only: use https://, or set uplink.insecure to true")]
    Insecure,
    /// It is no URL of a proxy.
    #[error("expected http://HOST:PORT for the proxy, found \"{0}\"")]
    Proxy(String),
    /// Half of what proves who the sensor is.
    #[error("uplink.client_certificate and uplink.client_key are of use only together")]
    Certificate,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Server {
    url: Uri,
    proxy: Option<Uri>,
    /// Who is trusted to say which server it is, PEM; else those whom the system trusts.
    pub(super) ca: Option<PathBuf>,
    /// What proves who the sensor is, and its private key; PEM.
    pub(super) certificate: Option<(PathBuf, PathBuf)>,
}

/// What is said of a server in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// `https://HOST[:PORT]`; whatever path it has stands before all paths.
    pub url: String,
    /// Whether it may be `http://` elsewhere than on this machine.
    pub insecure: bool,
    /// `http://HOST:PORT`, by which the server is reached (RFC 9110, section 9.3.6); empty: directly.
    pub proxy: String,
    /// File of certificates, PEM: only who is certified by one of them is trusted. Empty: those whom the system trusts.
    pub ca: PathBuf,
    /// File of the sensor's certificate and those between it and its authority, PEM; or empty.
    pub client_certificate: PathBuf,
    /// File of its private key, PEM; or empty.
    pub client_key: PathBuf,
}

impl Server {
    /// The server that is meant. Files are not looked into yet.
    ///
    /// # Errors
    /// When what is said of it is wrong.
    pub fn new(stated: &Stated) -> Result<Self, ServerError> {
        let wrong = || ServerError::Url(stated.url.clone());
        let url = parsed(&stated.url, ServerError::Url)?;
        let is_plain = match url.scheme_str() {
            Some("https") => false,
            Some("http") => true,
            _ => return Err(wrong()),
        };
        if is_plain && !stated.insecure && !is_loopback(host(&url)) {
            return Err(ServerError::Insecure);
        }
        let proxy = match stated.proxy.as_str() {
            "" => None,
            text => {
                let proxy = parsed(text, ServerError::Proxy)?;
                if proxy.scheme_str() != Some("http") {
                    return Err(ServerError::Proxy(text.to_owned()));
                }
                Some(proxy)
            }
        };
        let given = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let certificate = match (given(&stated.client_certificate), given(&stated.client_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(ServerError::Certificate),
        };
        Ok(Self {
            url,
            proxy,
            ca: given(&stated.ca),
            certificate,
        })
    }

    /// Its URL.
    #[must_use]
    pub const fn url(&self) -> &Uri {
        &self.url
    }

    /// Whether something answers there, within `limit`.
    ///
    /// # Errors
    /// Why not, in one line.
    pub async fn probe(&self, limit: Duration) -> Result<(), String> {
        let asked = async {
            let mut client = Client::new(self)?;
            client.probe().await
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {limit:?}")),
        }
    }

    /// Whether what is said is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// The server's name or address, without brackets.
    pub(super) fn host(&self) -> &str {
        host(&self.url)
    }

    /// The server's port.
    pub(super) fn port(&self) -> u16 {
        let usual = if self.is_encrypted() { 443 } else { 80 };
        self.url.port_u16().unwrap_or(usual)
    }

    /// The proxy's name or address, and its port.
    pub(super) fn proxy(&self) -> Option<(&str, u16)> {
        let proxy = self.proxy.as_ref()?;
        Some((host(proxy), proxy.port_u16().unwrap_or(80)))
    }

    /// The path of a request; `below` begins with a slash.
    pub(super) fn path(&self, below: &str) -> String {
        format!("{}{below}", self.url.path().trim_end_matches('/'))
    }

    /// The value of `Host`, and of what a proxy is asked for.
    pub(super) fn authority(&self) -> String {
        let host = self.host();
        let port = self.port();
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

fn parsed(text: &str, wrong: fn(String) -> ServerError) -> Result<Uri, ServerError> {
    if text.contains('@') {
        return Err(ServerError::Credentials);
    }
    let uri: Uri = text.parse().map_err(|_| wrong(text.to_owned()))?;
    let is_complete = uri.scheme().is_some() && !host(&uri).is_empty() && uri.query().is_none();
    if is_complete {
        Ok(uri)
    } else {
        Err(wrong(text.to_owned()))
    }
}

fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, ServerError> {
        Server::new(&Stated {
            url: url.into(),
            ..Stated::default()
        })
    }

    #[test]
    fn what_is_not_encrypted_is_for_this_machine() {
        for url in [
            "https://team.example",
            "http://127.0.0.1:5150",
            "http://[::1]:5150",
            "http://localhost:5150/",
        ] {
            assert!(server(url).is_ok(), "{url}");
        }
        assert_eq!(
            server("http://10.0.0.1").unwrap_err(),
            ServerError::Insecure
        );
        assert_eq!(
            server("http://localhost.example").unwrap_err(),
            ServerError::Insecure
        );
        let stated = Stated {
            url: "http://10.0.0.1".into(),
            insecure: true,
            ..Stated::default()
        };
        assert!(Server::new(&stated).is_ok());
    }

    #[test]
    fn urls_are_checked() {
        for url in ["", "team.example", "ftp://x", "https://", "https://x?y"] {
            assert!(matches!(server(url), Err(ServerError::Url(_))), "{url}");
        }
        assert_eq!(
            server("https://me:secret@x").unwrap_err(),
            ServerError::Credentials
        );
        let with = |proxy: &str, certificate: &str| Stated {
            url: "https://x".into(),
            proxy: proxy.into(),
            client_certificate: certificate.into(),
            ..Stated::default()
        };
        assert!(matches!(
            Server::new(&with("https://p:1", "")),
            Err(ServerError::Proxy(_))
        ));
        assert_eq!(
            Server::new(&with("", "/c")).unwrap_err(),
            ServerError::Certificate
        );
        let server = Server::new(&with("http://p:3128", "")).unwrap();
        assert_eq!(server.proxy(), Some(("p", 3128)));
        assert_eq!(server.authority(), "x:443");
    }

    #[test]
    fn paths_stand_behind_that_of_the_url() {
        assert_eq!(server("https://x/a/").unwrap().path("/b"), "/a/b");
        assert_eq!(server("https://x").unwrap().path("/b"), "/b");
        assert_eq!(server("https://[::1]:7").unwrap().authority(), "[::1]:7");
    }
}
