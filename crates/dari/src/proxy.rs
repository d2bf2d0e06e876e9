//! Which proxy a client goes through: what the host says, or, only where it says so, the environment. How it is
//! spoken to stands in `tunnel.rs`.

use crate::visitors::Network;
use dari_core::{Authority, BadUrl, Host, Login, Url};

/// Longest user name and password of SOCKS5 (RFC 1929 2).
const MOST_SOCKS_LOGIN: usize = 255;

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) login: Option<Login>,
}

/// How it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP CONNECT (RFC 9110 9.3.6).
    Http,
    /// RFC 1928.
    Socks5,
}

impl Proxy {
    /// Reads `http://user:password@host:port`, `socks5://...` or `socks5h://...`, which here is the same: it is always
    /// the proxy who resolves names. Without a scheme it is http; without a port it is 80, or 1080 for SOCKS5.
    pub(crate) fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = |what, at| Err(BadUrl { what, at });
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let at = text.len() - rest.len();
        let (kind, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            "https" => return bad("a proxy is not spoken to over TLS: http, socks5 and socks5h are the schemes", 0),
            _ => return bad("the scheme of a proxy is http, socks5 or socks5h", 0),
        };
        let Authority { login, host, port: named } = Authority::parse(rest.strip_suffix('/').unwrap_or(rest), at)?;
        if let (Kind::Socks5, Some(Login { user, password })) = (kind, &login)
            && (user.is_empty() || user.len().max(password.len()) > MOST_SOCKS_LOGIN)
        {
            return bad("a user name of SOCKS5 has 1 to 255 bytes, a password at most 255 (RFC 1929 2)", at);
        }
        Ok(Self { kind, host, port: named.unwrap_or(port), login })
    }

    /// The proxy that the environment has for `url`, by curl's rules. The error names the variable, and not its value:
    /// that may hold a password.
    pub(crate) fn of_environment(url: &Url, get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        // HTTP_PROXY is not among them: in a CGI program it is a header of the request's.
        let variables: &[&str] = match url.tls {
            true => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
            false => &["http_proxy", "all_proxy", "ALL_PROXY"],
        };
        let found = variables.iter().find_map(|name| get(name).map(|value| (name, value)));
        // One that is set to nothing means: none, whatever the others say.
        let Some((name, value)) = found.filter(|(_, value)| !value.is_empty()) else { return Ok(None) };
        let exempt = get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default();
        if is_exempt(&url.host, &exempt) {
            return Ok(None);
        }
        Self::parse(&value).map(Some).map_err(|bad| format!("{name}: {bad}"))
    }
}

/// Whether `list` (no_proxy) has the host: by its name or a domain that it is in, by its address or a network
/// (`10.0.0.0/8`) that it is in, or by `*`. Nothing is resolved for it. A unix socket is beyond any proxy.
fn is_exempt(host: &Host, list: &str) -> bool {
    let mut entries = list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    match host {
        Host::Unix(_) => true,
        Host::Address(address) => entries.any(|entry| {
            let network = entry.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(entry);
            entry == "*" || Network::parse(network).is_ok_and(|network| network.holds(Some(*address)))
        }),
        Host::Name(name) => entries.any(|entry| {
            let name = name.strip_suffix('.').unwrap_or(name);
            let domain = entry.strip_suffix('.').unwrap_or(entry).to_ascii_lowercase();
            let domain = domain.strip_prefix('.').unwrap_or(&domain);
            let before = name.strip_suffix(domain);
            entry == "*" || !domain.is_empty() && before.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, password: &str) -> Option<Login> {
        Some(Login { user: user.into(), password: password.into() })
    }

    #[test]
    fn proxies_are_read() {
        let proxy = |text| Proxy::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"));
        let name = |name: &str| Host::Name(name.into());
        let same =
            |text, kind, host, port, login| assert_eq!(proxy(text), Proxy { kind, host, port, login }, "{text}");
        same("http://user:p%40ss@Proxy:3128", Kind::Http, name("proxy"), 3128, login("user", "p@ss"));
        same("http://proxy/", Kind::Http, name("proxy"), 80, None);
        same("proxy:8080", Kind::Http, name("proxy"), 8080, None);
        same("user@proxy", Kind::Http, name("proxy"), 80, login("user", ""));
        same("socks5://[::1]", Kind::Socks5, Host::Address("::1".parse().unwrap()), 1080, None);
        same(
            "SOCKS5H://u:p@10.0.0.1:9050/",
            Kind::Socks5,
            Host::Address([10, 0, 0, 1].into()),
            9050,
            login("u", "p"),
        );
    }

    #[test]
    fn bad_proxies_say_what_and_where() {
        let long = "a".repeat(256);
        let (long_user, long_password) = (format!("socks5://{long}@a"), format!("socks5://u:{long}@a"));
        let table = [
            ("https://proxy", "TLS", 0),
            ("socks4://proxy", "scheme", 0),
            ("", "missing", 0),
            ("http://", "missing", 7),
            ("http://proxy:x", "65535", 13),
            ("http://proxy/path", "letters", 12),
            ("socks5://:p@proxy", "RFC 1929", 9),
            (&long_user, "RFC 1929", 9),
            (&long_password, "RFC 1929", 9),
        ];
        for (text, what, at) in table {
            let bad = Proxy::parse(text).expect_err(text);
            assert!(bad.what.contains(what) && bad.at == at, "{text}: {bad}");
        }
        Proxy::parse(&format!("http://u:{long}@a")).unwrap();
    }

    /// The host of the proxy for `url` in an environment.
    fn host(url: &str, environment: &[(&str, &str)]) -> Option<String> {
        let get =
            |name: &str| environment.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        Proxy::of_environment(&Url::parse(url).unwrap(), get).unwrap().map(|proxy| proxy.host.to_string())
    }

    #[test]
    fn the_environment_is_read_as_curl_does() {
        let all = [("http_proxy", "h"), ("https_proxy", "s"), ("all_proxy", "a"), ("ALL_PROXY", "b")];
        assert_eq!(host("ws://x", &all).as_deref(), Some("h"));
        assert_eq!(host("wss://x", &all).as_deref(), Some("s"));
        assert_eq!(host("wss://x", &all[2..]).as_deref(), Some("a"));
        assert_eq!(host("ws://x", &all[3..]).as_deref(), Some("b"));
        assert_eq!(host("wss://x", &[("HTTPS_PROXY", "s")]).as_deref(), Some("s"));
        assert_eq!(host("ws://x", &[("HTTP_PROXY", "evil")]), None);
        assert_eq!(host("ws://x", &[("https_proxy", "s")]), None);
        assert_eq!(host("ws://x", &[("http_proxy", ""), ("all_proxy", "a")]), None);
        assert_eq!(host("ws+unix:/run/x", &all), None);
        assert_eq!(
            host("ws://x", &[("http_proxy", "h"), ("no_proxy", "y"), ("NO_PROXY", "x")]).as_deref(),
            Some("h")
        );
        assert_eq!(host("ws://x", &[("http_proxy", "h"), ("NO_PROXY", "x")]), None);
    }

    #[test]
    fn a_bad_variable_is_named_and_its_password_is_not() {
        let get = |name: &str| (name == "https_proxy").then(|| "https://u:secret@a".to_owned());
        let error = Proxy::of_environment(&Url::parse("wss://x").unwrap(), get).unwrap_err();
        assert!(error.starts_with("https_proxy: a proxy is not") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn hosts_are_exempt_by_name_domain_address_and_network() {
        let exempt = |url: &str, list| is_exempt(&Url::parse(url).unwrap().host, list);
        for list in ["example.com", ".example.com", "a, Example.COM.", "a example.com", "www.example.com", "*", "a,*"]
        {
            assert!(exempt("ws://www.example.com", list), "{list}");
        }
        assert!(exempt("ws://example.com.", "example.com"));
        for list in ["", ".", ",", "ample.com", "example.co", "example.com.evil", "*.example.com", "xwww.example.com"]
        {
            assert!(!exempt("ws://www.example.com", list), "{list}");
        }
        for list in ["10.1.2.3", "10.0.0.0/8", "10.1.2.2/31", "0.0.0.0/0", "::1, 10.1.2.3/32"] {
            assert!(exempt("ws://10.1.2.3", list), "{list}");
        }
        for list in ["10.1.2.4", "2.3", "11.0.0.0/8", "10.1.2.3/x", "10.1.2.0/33", "10.1.2"] {
            assert!(!exempt("ws://10.1.2.3", list), "{list}");
        }
        assert!(
            exempt("ws://[fc00::1]", "fc00::/7") && exempt("ws://[::1]", "[::1]") && exempt("ws://[::1]", "::/0")
        );
        assert!(!exempt("ws://[::1]", "::2") && !exempt("ws://[::1]", "0.0.0.0/0"));
    }
}
