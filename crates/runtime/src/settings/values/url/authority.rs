//! Hosts, ports and credentials within URLs.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::Rule;

/// The maximum length of a host name, according to RFC 1035.
const NAME_CHARS_MAX: usize = 253;
/// The maximum length of each label of a host name, according to RFC 1035.
const LABEL_CHARS_MAX: usize = 63;

pub(super) const HOST_RULE: Rule =
    "the host must be a name, an IPv4 address or an IPv6 address in brackets";
pub(super) const CREDENTIALS_RULE: Rule =
    "@ and / within the user or the password must be written as %40 and %2F";
const PORT_RULE: Rule = "the port must be a number from 1 to 65535";

/// Separates the credentials from the host. Only one `@` is allowed, because clients disagree about
/// which `@` ends the password.
pub(super) fn split_credentials(authority: &str) -> Result<(Option<&str>, &str), Rule> {
    match authority.split_once('@') {
        None => Ok((None, authority)),
        Some((_, host)) if host.contains('@') => Err(CREDENTIALS_RULE),
        Some((credentials, host)) => Ok((Some(credentials), host)),
    }
}

/// Checks that credentials decode to UTF-8.
pub(super) fn check_credentials(credentials: &str) -> Result<(), Rule> {
    decode(credentials).map(|_| ())
}

/// Separates the host from the port.
pub(in crate::settings) fn split_port(address: &str) -> Result<(&str, Option<u16>), Rule> {
    let after_host = match address.strip_prefix('[') {
        Some(rest) => rest.find(']').map(|end| end + 2).ok_or(HOST_RULE)?,
        None => address.find(':').unwrap_or(address.len()),
    };
    let (host, rest) = address.split_at(after_host);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        None => Err(HOST_RULE),
        Some(port) => Ok((host, Some(parse_port(port)?))),
    }
}

/// Parses a port above 0.
pub(super) fn parse_port(text: &str) -> Result<u16, Rule> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| is_number && port > 0).ok_or(PORT_RULE)
}

/// Checks a host name or an IP address.
pub(in crate::settings) fn check_host(host: &str) -> Result<(), Rule> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').ok_or(HOST_RULE)?;
        return address.parse::<Ipv6Addr>().map(|_| ()).map_err(|_| HOST_RULE);
    }
    let is_label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // A final dot marks the name as fully qualified.
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_name = name.len() <= NAME_CHARS_MAX && name.split('.').all(is_label);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_address = last.bytes().all(|byte| byte.is_ascii_digit());
    if is_name && (!is_address || host.parse::<Ipv4Addr>().is_ok()) {
        Ok(())
    } else {
        Err(HOST_RULE)
    }
}

/// Percent-encodes all bytes except the unreserved ones (RFC 3986, section 2.3).
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Decodes percent-encoded text, which must be UTF-8. A `%` is kept unless two hexadecimal digits
/// follow.
pub(super) fn decode(text: &str) -> Result<String, Rule> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).map_err(|_| "percent-encoded text must be UTF-8")
}
