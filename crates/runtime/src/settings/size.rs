//! Sizes in bytes: a whole number with a unit.

use serde::{Deserializer, de::Error};

use super::scalar::{Scalar, read};

const ALLOWED: &str = "a size above 0 such as 512B, 64KiB, 8MiB or 1GiB";

/// Reads a size above nothing, in bytes.
pub(super) fn positive<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let bytes = read(deserializer, ALLOWED, parse)?;
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
    fn a_size_is_a_whole_number_with_a_unit() {
        let size = |text: &str| parse(&Scalar::Text(text.to_owned()));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("8MiB"), Some(8_388_608));
        assert_eq!(size("1GiB"), Some(1_073_741_824));
        assert_eq!(size("512B"), Some(512));
        for refused in ["", "64", "64KB", "64kib", "0MiB", "-1MiB", "1.5MiB", "99999999999GiB"] {
            assert_eq!(size(refused), None, "{refused}");
        }
        assert_eq!(parse(&Scalar::Whole(64)), None);
    }
}
