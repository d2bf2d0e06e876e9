//! The negotiation of permessage-deflate (RFC 7692 5 and 7.1): offers and answers, read strictly, and what they
//! come to.

use crate::http;
use crate::limits::Deflate;
use std::fmt::Write;

/// The name of the one extension that is known here.
const NAME: &[u8] = b"permessage-deflate";
/// The names of what it may say (RFC 7692 7.1).
const PARAMETERS: [&str; 4] =
    ["server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"];
/// The largest window, in bits: 32 KiB.
pub(crate) const MAX_BITS: u8 = 15;
/// The smallest window that our compressor has. RFC 7692 allows 8, too: a side that may use no more than that
/// sends uncompressed, which is always allowed.
pub(crate) const MIN_BITS: u8 = 9;

/// What both sides have agreed on, as this side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// The window that we may use, in bits.
    pub(crate) send_bits: u8,
    /// Whether we may refer to earlier messages.
    pub(crate) send_takeover: bool,
    /// Whether the peer may.
    pub(crate) receive_takeover: bool,
}

/// One `permessage-deflate`, in an offer or in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// Without a value in an offer: the client understands the parameter.
    client_bits: Option<Option<u8>>,
}

impl Parameters {
    /// Reads one element of the header's list; nothing if it is another extension, or one that RFC 7692 7.1 has
    /// declined: an unknown parameter, one that stands twice, a bad value.
    fn read(element: &[u8], is_offer: bool) -> Option<Self> {
        let mut parts = split(element, b';').map(http::trim);
        if !parts.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut parameters = Self::default();
        for part in parts {
            let (name, value) = match part.iter().position(|byte| *byte == b'=') {
                Some(at) => {
                    let (name, value) = part.split_at(at);
                    (http::trim(name), Some(unquote(http::trim(value.get(1..)?))?))
                }
                None => (part, None),
            };
            let known = PARAMETERS.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
            let is_new = match *known {
                "server_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut parameters.server_no_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut parameters.client_no_takeover, true)
                }
                "server_max_window_bits" => parameters.server_bits.replace(bits(value?)?).is_none(),
                "client_max_window_bits" => {
                    let value = match value {
                        Some(value) => Some(bits(value)?),
                        None if is_offer => None,
                        None => return None,
                    };
                    parameters.client_bits.replace(value).is_none()
                }
                _ => return None,
            };
            if !is_new {
                return None;
            }
        }
        Some(parameters)
    }
}

/// The server's answer to what a client offers: the first offer that will do (RFC 7692 5.1).
pub(crate) fn answer<'a>(offers: impl Iterator<Item = &'a [u8]>, wish: &Deflate) -> Option<(Agreement, String)> {
    let offer = offers.flat_map(|line| split(line, b',')).find_map(|element| Parameters::read(element, true))?;
    let mut text = String::from("permessage-deflate");
    let send_takeover = wish.takeover && !offer.server_no_takeover;
    let receive_takeover = wish.takeover && !offer.client_no_takeover;
    if !send_takeover {
        text.push_str("; server_no_context_takeover");
    }
    // RFC 7692 7.1.1.2: a server may ask for this whether it was offered or not.
    if !receive_takeover {
        text.push_str("; client_no_context_takeover");
    }
    let send_bits = offer.server_bits.unwrap_or(MAX_BITS);
    if let Some(bits) = offer.server_bits {
        // Writing to a String does not fail.
        let _ = write!(text, "; server_max_window_bits={bits}");
    }
    // A window that the client names for itself is never larger than the one that we keep for it anyway.
    Some((Agreement { send_bits, send_takeover, receive_takeover }, text))
}

/// What a client offers.
pub(crate) fn offer(wish: &Deflate) -> &'static str {
    if wish.takeover {
        "permessage-deflate; client_max_window_bits"
    } else {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"
    }
}

/// What a server's answer comes to: nothing without one. The error is an answer that does not fit the offer.
pub(crate) fn agreed<'a>(
    answers: impl Iterator<Item = &'a [u8]>,
    wish: Option<&Deflate>,
) -> Result<Option<Agreement>, ()> {
    let mut elements = answers.flat_map(|line| split(line, b',')).filter(|element| !http::trim(element).is_empty());
    let Some(element) = elements.next() else { return Ok(None) };
    let (Some(answer), None, Some(wish)) = (Parameters::read(element, false), elements.next(), wish) else {
        return Err(());
    };
    Ok(Some(Agreement {
        send_bits: answer.client_bits.flatten().unwrap_or(MAX_BITS),
        send_takeover: wish.takeover && !answer.client_no_takeover,
        receive_takeover: !answer.server_no_takeover,
    }))
}

/// RFC 7692 7.1.2: a decimal number from 8 to 15 without leading zeros.
fn bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// RFC 6455 9.1: a quoted value is, without its quotes, a token.
fn unquote(value: &[u8]) -> Option<&[u8]> {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    http::is_token(inner).then_some(inner)
}

/// Splits at a separator that does not stand in quotes.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEOVER: Deflate = Deflate { takeover: true, level: 6, min: 0 };
    const PLAIN: Deflate = Deflate { takeover: false, ..TAKEOVER };

    fn answer_to(offer: &str, wish: &Deflate) -> Option<String> {
        answer([offer.as_bytes()].into_iter(), wish).map(|(_, text)| text)
    }

    #[test]
    fn the_first_offer_that_will_do_is_answered() {
        let full = Some("permessage-deflate".to_owned());
        assert_eq!(answer_to("permessage-deflate", &TAKEOVER), full);
        assert_eq!(answer_to("foo, Permessage-Deflate ; client_max_window_bits", &TAKEOVER), full);
        assert_eq!(answer_to("permessage-deflate; x=1, permessage-deflate", &TAKEOVER), full);
        assert_eq!(
            answer_to("permessage-deflate; server_max_window_bits=\"9\"", &TAKEOVER),
            Some("permessage-deflate; server_max_window_bits=9".to_owned())
        );
        assert_eq!(
            answer_to("permessage-deflate", &PLAIN),
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned())
        );
    }

    #[test]
    fn bad_offers_are_declined() {
        for parameters in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "server_max_window_bits=\"9",
            "client_max_window_bits=1",
            "server_no_context_takeover=1",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=9",
            "unknown",
            "",
        ] {
            assert_eq!(answer_to(&format!("permessage-deflate; {parameters}"), &TAKEOVER), None, "{parameters}");
        }
        assert_eq!(answer_to("permessage-deflates", &TAKEOVER), None);
        assert_eq!(answer_to("\", permessage-deflate", &TAKEOVER), None);
    }

    #[test]
    fn answers_must_fit_what_was_offered() {
        let read = |text: &str, wish| agreed([text.as_bytes()].into_iter(), wish);
        assert_eq!(read("", Some(&TAKEOVER)), Ok(None));
        let full = Agreement { send_bits: 15, send_takeover: true, receive_takeover: true };
        assert_eq!(read("permessage-deflate", Some(&TAKEOVER)), Ok(Some(full)));
        let narrow = Agreement { send_bits: 8, send_takeover: false, receive_takeover: false };
        let text =
            "permessage-deflate; client_max_window_bits=8; client_no_context_takeover; server_no_context_takeover";
        assert_eq!(read(text, Some(&TAKEOVER)), Ok(Some(narrow)));
        assert_eq!(read("permessage-deflate", None), Err(()));
        assert_eq!(read("permessage-deflate, permessage-deflate", Some(&TAKEOVER)), Err(()));
        assert_eq!(read("permessage-deflate; client_max_window_bits", Some(&TAKEOVER)), Err(()));
        assert_eq!(read("x-webkit-deflate-frame", Some(&TAKEOVER)), Err(()));
    }
}
