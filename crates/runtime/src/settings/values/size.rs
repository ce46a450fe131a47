//! Sizes: a whole number followed by a unit of bytes.

use serde::{Deserializer, de::Error};

use super::{Scalar, parse_scalar};

const ALLOWED: &str = "a size above 0, such as 512B, 64KiB, 8MiB or 1GiB";

/// Parses a size above 0 into bytes.
pub(crate) fn positive<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let bytes = parse_scalar(deserializer, ALLOWED, parse)?;
    T::try_from(bytes).map_err(|_| D::Error::custom(ALLOWED))
}

fn parse(value: &Scalar) -> Option<u64> {
    let text = value.as_text()?;
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = digits.parse().ok()?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes).filter(|&size| size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_a_whole_number_with_a_unit() {
        let size = |text: &str| parse(&Scalar::Text(text.to_owned()));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("8MiB"), Some(8_388_608));
        assert_eq!(size("1GiB"), Some(1_073_741_824));
        assert_eq!(size("512B"), Some(512));
        for rejected in ["", "64", "64KB", "64kib", "0MiB", "-1MiB", "1.5MiB", "99999999999GiB"] {
            assert_eq!(size(rejected), None, "{rejected}");
        }
        assert_eq!(parse(&Scalar::Whole(64)), None);
    }
}
