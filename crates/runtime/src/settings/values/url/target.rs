//! The parameter `target_session_attrs` of a connection URL for Postgres. Its values have the
//! meaning that libpq documents.

use secrecy::{ExposeSecret, SecretString};

use super::{Rule, postgres::remove_parameters};

const NAME: &str = "target_session_attrs";

/// The servers in a connection URL for Postgres that a session may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetSession {
    /// Any server.
    #[default]
    Any,
    /// A server whose sessions are read-write by default.
    ReadWrite,
    /// A server whose sessions are read-only by default.
    ReadOnly,
    /// A primary: a server that is not in hot standby mode.
    Primary,
    /// A server in hot standby mode.
    Standby,
    /// A server in hot standby mode, or any server if no server in the URL is in this mode.
    PreferStandby,
}

impl TargetSession {
    /// The rule for the value of the parameter.
    pub(super) const RULE: Rule = "target_session_attrs must be any, read-write, read-only, \
         primary, standby or prefer-standby";

    /// Parses the value of the parameter.
    pub(super) fn parse(text: &str) -> Result<Self, Rule> {
        Ok(match text {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => return Err(Self::RULE),
        })
    }

    /// Separates the parameter from a connection URL. Also returns the remaining URL, for a client
    /// library that does not support all values of the parameter.
    ///
    /// # Errors
    /// The rule that the parameter violates.
    pub fn split_url(url: &SecretString) -> Result<(Self, SecretString), &'static str> {
        let mut target = Self::default();
        let rest = remove_parameters(url.expose_secret(), |name, value| {
            let is_target = name == NAME;
            if is_target {
                target = Self::parse(value)?;
            }
            Ok(is_target)
        })?;
        Ok((target, rest.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_separated_from_the_other_parameters() {
        for (url, target, expected) in [
            ("postgres://h/x", TargetSession::Any, "postgres://h/x"),
            ("postgres://h?target_session_attrs=any", TargetSession::Any, "postgres://h"),
            ("postgres://h?target_session_attrs=primary", TargetSession::Primary, "postgres://h"),
            (
                "postgres://a,b?user=me&target_session_attrs=read%2Dwrite&port=1",
                TargetSession::ReadWrite,
                "postgres://a,b?user=me&port=1",
            ),
            (
                "postgres://h?target_session_attrs=standby&target_session_attrs=prefer-standby",
                TargetSession::PreferStandby,
                "postgres://h",
            ),
        ] {
            let (found, rest) = TargetSession::split_url(&url.into()).expect(url);
            assert_eq!((found, rest.expose_secret()), (target, expected), "{url}");
        }
        let wrong = TargetSession::split_url(&"postgres://h?target_session_attrs=master".into());
        assert_eq!(wrong.err(), Some(TargetSession::RULE));
    }
}
