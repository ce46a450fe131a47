//! Parsers for the value types of configuration keys.

pub(crate) mod address;
pub(crate) mod certificates;
pub(crate) mod count;
pub(crate) mod duration;
pub(crate) mod hosts;
pub(crate) mod origin;
pub(crate) mod proxies;
pub(crate) mod rate;
mod scalar;
pub(crate) mod size;
pub(crate) mod switch;
pub(crate) mod url;

pub(crate) use self::scalar::{Scalar, parse_scalar};
