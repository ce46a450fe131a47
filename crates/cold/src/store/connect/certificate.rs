//! The fields of a server certificate (X.509, RFC 5280) that the TLS library does not offer.

use mayfly_core::Timestamp;
use sha2::{Digest, Sha256, Sha384, Sha512};

const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The optional field before the serial number.
const VERSION: u8 = 0xa0;

/// The start of the object identifiers of RSA signatures (1.2.840.113549.1.1).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// The start of the object identifiers of ECDSA signatures (1.2.840.10045.4).
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// The fields of a certificate.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// The public key and its algorithm, as a DER element (`SubjectPublicKeyInfo`).
    pub(super) public_key: &'a [u8],
    /// The object identifier of the algorithm with which the certificate was signed.
    signature_algorithm: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Parses a certificate. Returns `None` if it is malformed.
    pub(super) fn parse(certificate: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(Reader(certificate).read(SEQUENCE)?.content);
        let mut fields = Reader(outer.read(SEQUENCE)?.content);
        let mut algorithm = Reader(outer.read(SEQUENCE)?.content);
        if fields.0.first() == Some(&VERSION) {
            fields.read_any()?;
        }
        // The serial number, the signature algorithm and the issuer.
        for _ in 0..3 {
            fields.read_any()?;
        }
        let mut validity = Reader(fields.read(SEQUENCE)?.content);
        let _subject = fields.read_any()?;
        Some(Self {
            not_before: parse_time(&validity.read_any()?)?,
            not_after: parse_time(&validity.read_any()?)?,
            public_key: fields.read(SEQUENCE)?.whole,
            signature_algorithm: algorithm.read(OBJECT_IDENTIFIER)?.content,
        })
    }
}

/// Returns the hash that binds an authentication to the TLS session with this certificate
/// (`tls-server-end-point`, RFC 5929), or `None` if the RFC does not define the hash for the
/// signature algorithm of the certificate.
pub(super) fn hash_for_channel_binding(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = Fields::parse(certificate)?.signature_algorithm;
    let rsa = algorithm.strip_prefix(RSA);
    let ecdsa = algorithm.strip_prefix(ECDSA);
    match (rsa, ecdsa) {
        // MD5 and SHA-1 are replaced by SHA-256.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => {
            Some(Sha256::digest(certificate).to_vec())
        }
        (Some([12]), _) | (_, Some([3, 3])) => Some(Sha384::digest(certificate).to_vec()),
        (Some([13]), _) | (_, Some([3, 4])) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// An element of DER, the encoding of certificates.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// The element with its tag and length.
    whole: &'a [u8],
}

/// A reader of consecutive elements.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn read(&mut self, tag: u8) -> Option<Element<'a>> {
        self.read_any().filter(|element| element.tag == tag)
    }

    fn read_any(&mut self) -> Option<Element<'a>> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        // A length of more than 127 bytes follows the number of its bytes.
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some(Element { tag, content, whole })
    }
}

/// Parses a time in UTC. A year of two digits is between 1950 and 2049.
fn parse_time(element: &Element<'_>) -> Option<Timestamp> {
    let text = str::from_utf8(element.content).ok()?;
    let text = match element.tag {
        UTC_TIME if text < "5" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |start: usize, end: usize| text.get(start..end);
    let [year, month, day] = [part(0, 4)?, part(4, 6)?, part(6, 8)?];
    let [hour, minute, second] = [part(8, 10)?, part(10, 12)?, part(12, 14)?];
    let end = text.get(14..)?;
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}{end}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of the object identifier of Ed25519 signatures (1.3.101.112).
    const ED25519: &[u8] = &[0x2b, 0x65];

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a valid timestamp")
    }

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = match content.len() {
            short @ ..0x80 => vec![u8::try_from(short).expect("a short length")],
            long => {
                [&[0x82], u16::try_from(long).expect("two bytes").to_be_bytes().as_slice()].concat()
            }
        };
        [&[tag], length.as_slice(), content].concat()
    }

    fn certificate(version: &[u8], times: &[Vec<u8>; 2], algorithm: &[u8]) -> Vec<u8> {
        let any = element(SEQUENCE, &[0; 300]);
        let algorithm = element(SEQUENCE, &element(OBJECT_IDENTIFIER, algorithm));
        let key = element(SEQUENCE, b"key");
        let validity = element(SEQUENCE, &times.concat());
        let serial = element(0x02, &[1]);
        let fields = [version, &serial, &algorithm, &any, &validity, &any, &key].concat();
        let signature = element(0x03, &[0; 70]);
        element(SEQUENCE, &[element(SEQUENCE, &fields), algorithm, signature].concat())
    }

    fn times(before: &str, after: &str) -> [Vec<u8>; 2] {
        [element(UTC_TIME, before.as_bytes()), element(GENERALIZED_TIME, after.as_bytes())]
    }

    #[test]
    fn fields_of_every_version_are_found() {
        for version in [Vec::new(), element(VERSION, &[2, 1, 2])] {
            let times = times("491231235959Z", "20500101000000Z");
            let certificate = certificate(&version, &times, RSA);
            let fields = Fields::parse(&certificate).expect("a valid certificate");
            assert_eq!(fields.not_before, at("2049-12-31T23:59:59Z"));
            assert_eq!(fields.not_after, at("2050-01-01T00:00:00Z"));
            assert_eq!(fields.public_key, element(SEQUENCE, b"key"));
            assert_eq!(fields.signature_algorithm, RSA);
        }
    }

    #[test]
    fn malformed_certificate_is_rejected() {
        let valid = certificate(&[], &times("500101000000Z", "20500101000000Z"), RSA);
        let fields = Fields::parse(&valid).expect("a valid certificate");
        assert_eq!(fields.not_before, at("1950-01-01T00:00:00Z"));
        for end in 0..valid.len() {
            assert!(Fields::parse(&valid[..end]).is_none(), "{end}");
        }
        for time in ["", "9", "5013010000Z", "501301000000Z", "5001010000é0Z"] {
            let invalid = certificate(&[], &times(time, "20500101000000Z"), RSA);
            assert!(Fields::parse(&invalid).is_none(), "{time}");
        }
    }

    #[test]
    fn hash_follows_the_signature_algorithm() {
        for (prefix, end, bytes) in [
            (RSA, vec![4], Some(32)),
            (RSA, vec![5], Some(32)),
            (RSA, vec![11], Some(32)),
            (RSA, vec![12], Some(48)),
            (RSA, vec![13], Some(64)),
            // RSASSA-PSS: the hash is a parameter of the algorithm.
            (RSA, vec![10], None),
            (ECDSA, vec![1], Some(32)),
            (ECDSA, vec![3, 2], Some(32)),
            (ECDSA, vec![3, 3], Some(48)),
            (ECDSA, vec![3, 4], Some(64)),
            // The signature has no separate hash.
            (ED25519, vec![0x70], None),
        ] {
            let algorithm = [prefix, end.as_slice()].concat();
            let times = times("500101000000Z", "20500101000000Z");
            let certificate = certificate(&[], &times, &algorithm);
            let hash = hash_for_channel_binding(&certificate);
            assert_eq!(hash.map(|hash| hash.len()), bytes, "{algorithm:?}");
        }
    }
}
