//! Addresses, as they are given.

use std::net::IpAddr;

use hyper::Uri;

use super::ClientError;

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(super) encrypted: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether the port is the one that its scheme has by itself.
    is_usual: bool,
    /// With the query, as it stands in a request; `/` where none is given.
    pub(crate) path: String,
}

impl Target {
    /// Reads `url`, whose scheme is one of `plain` and `encrypted`, each with the port that it has by itself.
    ///
    /// # Errors
    /// [`ClientError::Url`], which does not repeat a password: one is refused.
    pub(crate) fn parse(
        url: &str,
        plain: (&str, u16),
        encrypted: (&str, u16),
    ) -> Result<Self, ClientError> {
        let shown = || match url.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => url.to_owned(),
        };
        let wrong = |reason| ClientError::Url {
            url: shown(),
            reason,
        };
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        let (is_encrypted, usual) = match uri.scheme_str() {
            Some(scheme) if scheme == plain.0 => (false, plain.1),
            Some(scheme) if scheme == encrypted.0 => (true, encrypted.1),
            _ => return Err(wrong("its scheme is not one that is spoken here")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user or password in it"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let port = authority.port_u16().unwrap_or(usual);
        Ok(Self {
            encrypted: is_encrypted,
            port,
            is_usual: port == usual,
            host,
            path: path.to_owned(),
        })
    }

    /// An `http://` or `https://` URL.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub(crate) fn http(url: &str) -> Result<Self, ClientError> {
        Self::parse(url, ("http", 80), ("https", 443))
    }

    /// Whether it is spoken to by TLS.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether whoever is there answers only this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Says so in the log where everybody on the way can read what is sent.
    pub(crate) fn warn_if_readable(&self, what: &str) {
        if !self.encrypted && !self.is_loopback() {
            tracing::warn!("events cross the network to the {what} in the clear: use TLS");
        }
    }

    /// The host, in brackets where it is an IPv6 address, and the port.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// The same without the port where that is the usual one, as `Host` has it (RFC 9110, section 7.2) and signatures take
    /// it.
    pub(crate) fn host_header(&self) -> String {
        if self.is_usual {
            self.bracketed()
        } else {
            self.authority()
        }
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_a_wrong_one_is_refused() {
        let target = Target::http("https://team.example.org/hook?a=1").unwrap();
        assert_eq!(
            (target.port, target.path.as_str(), target.authority()),
            (443, "/hook?a=1", "team.example.org:443".to_owned())
        );
        let six = Target::http("http://[::1]:5150").unwrap();
        assert_eq!(
            (six.authority().as_str(), six.is_loopback()),
            ("[::1]:5150", true)
        );
        assert_eq!(
            (target.host_header(), six.host_header()),
            ("team.example.org".to_owned(), "[::1]:5150".to_owned())
        );
        for wrong in ["", "team.example.org", "ftp://a", "http://", "https://"] {
            assert!(Target::http(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = Target::http("https://ada:secret@example.org/").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
