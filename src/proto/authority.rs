//! Hosts and ports (RFC 3986 section 3.2), and which origins are the same (RFC 6454).

/// A host, and a port if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    pub(super) host: &'a [u8],
    /// The digits after the colon; empty for a colon alone.
    port: Option<&'a [u8]>,
}

impl<'a> Authority<'a> {
    /// Parses a host and an optional port, without user information (RFC 9110 section 4.2.4).
    #[inline]
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let is_host = |byte: &&u8| HOST[usize::from(**byte)];
        let host_bytes = match text {
            // An IPv6 address, which has colons, is in brackets.
            [b'[', literal @ ..] => {
                let length = literal.iter().take_while(|&byte| is_host(&byte) || *byte == b':').count();
                (length > 0 && literal.get(length) == Some(&b']')).then_some(length + 2)?
            }
            name => name.iter().take_while(is_host).count(),
        };
        let (host, rest) = text.split_at(host_bytes);
        let port = match rest {
            [] => None,
            [b':', port @ ..] if port.len() <= 5 && port.iter().all(u8::is_ascii_digit) => Some(port),
            _ => return None,
        };
        (!host.is_empty()).then_some(Self { host, port })
    }

    fn port(&self) -> Option<u32> {
        let number = |port: &[u8]| port.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        self.port.filter(|port| !port.is_empty()).map(number)
    }

    fn has_empty_port(&self) -> bool {
        self.port == Some(b"")
    }

    fn is_host(&self, host: &[u8]) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }
}

/// The bytes of a name or an address: unreserved, sub-delims and the percent sign (RFC 3986 section 3.2.2).
const HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~!$&'()*+,;=%";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// How clients reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS: `http` and `ws`.
    Http,
    /// With TLS: `https` and `wss`.
    Https,
}

/// An origin as browsers send it (RFC 6454 section 6.2): a scheme, a host, and the port unless it is the default of the
/// scheme.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    scheme: &'a [u8],
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    /// Parses an origin; returns `None` for what no browser sends: no scheme or no host, a path, user information, an
    /// empty port. Letters may have any case, since origins are compared in lower case (RFC 6454 section 4).
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = text.split_at(memchr::memmem::find(text, b"://")?);
        let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let authority = Authority::parse(&rest[3..])?;
        // Browsers send fewer characters than the host of a URI may have.
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%[:]*".contains(byte);
        let fits = scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme.iter().all(is_scheme)
            && authority.host.iter().all(is_plain)
            && !authority.has_empty_port();
        fits.then_some(Self { scheme, authority })
    }

    fn has_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme.as_bytes())
    }

    /// Returns the scheme, if it is one of web pages.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        if self.has_scheme("https") {
            return Some(Scheme::Https);
        }
        self.has_scheme("http").then_some(Scheme::Http)
    }

    /// RFC 6454 section 4: a missing port is the default port of the scheme.
    fn port(&self) -> Option<u32> {
        self.port_of(&self.authority)
    }

    fn port_of(&self, authority: &Authority<'_>) -> Option<u32> {
        let default = match self.scheme() {
            Some(Scheme::Http) => Some(80),
            Some(Scheme::Https) => Some(443),
            None => None,
        };
        authority.port().or(default)
    }

    /// Returns whether pages from `host` have this origin; `host` may omit the default port of the scheme.
    pub(super) fn is_of(&self, host: &Authority<'_>) -> bool {
        self.scheme().is_some() && self.authority.is_host(host.host) && self.port() == self.port_of(host)
    }

    /// Returns whether the origin matches `pattern`: it is equal, or the pattern has `*.` before a host and the origin
    /// is a subdomain of that host.
    pub(super) fn fits(&self, pattern: &Origin<'_>) -> bool {
        let host = self.authority.host;
        let host_fits = match pattern.authority.host {
            // The suffix includes the dot, so that it begins at a label.
            [b'*', suffix @ ..] => {
                let labels = host.len().checked_sub(suffix.len()).filter(|labels| *labels > 0);
                labels.is_some_and(|labels| host[0] != b'.' && host[labels..].eq_ignore_ascii_case(suffix))
            }
            exact => self.authority.is_host(exact),
        };
        host_fits && self.scheme.eq_ignore_ascii_case(pattern.scheme) && self.port() == pattern.port()
    }

    /// Returns whether the origin can be in a list of allowed ones: literally, or as in `https://*.example.org`.
    pub(super) fn is_pattern(&self) -> bool {
        let host = self.authority.host;
        let name = host.strip_prefix(b"*.").unwrap_or(host);
        // The last label of a name is not a number; an address has no subdomains.
        let is_address =
            name.rsplit(|&byte| byte == b'.').next().is_none_or(|label| label.iter().all(u8::is_ascii_digit));
        let is_wildcard = name.len() < host.len();
        let fits_wildcard = !is_address && name.first().is_some_and(|byte| !b"[.".contains(byte));
        !name.contains(&b'*')
            && (!is_wildcard || fits_wildcard)
            && self.authority.port().is_none_or(|port| port <= 65_535)
    }
}

/// Returns whether `host` is one of the host names of a server, each with an optional port.
pub(super) fn is_one_of(names: &[String], host: &[u8]) -> bool {
    let Some(host) = Authority::parse(host) else { return false };
    names.iter().filter_map(|name| Authority::parse(name.as_bytes())).any(|name| {
        // A proxy may speak TLS, so it is unknown which of 80 and 443 is the default.
        let (name_port, host_port) = (name.port(), host.port());
        let is_default = matches!(name_port, Some(80 | 443)) && host_port.is_none();
        name.is_host(host.host) && (name_port.is_none() || name_port == host_port || is_default)
    })
}

/// Returns whether a text can be a host name of a server.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%[:]".contains(byte);
    Authority::parse(name.as_bytes()).is_some_and(|name| {
        name.host.iter().all(plain) && !name.has_empty_port() && name.port().is_none_or(|port| port <= 65_535)
    })
}
