//! The scopes of API keys.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A kind of request that an API key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Publish messages, report plays and visits.
    Publish,
    /// Receive live feeds.
    Subscribe,
    /// Read messages, inboxes, plays, hosts and the pulse.
    Read,
    /// Take and delete messages.
    Take,
    /// Do everything. The patterns of a key with this scope have no effect.
    Operate,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 5] =
        [Self::Publish, Self::Subscribe, Self::Read, Self::Take, Self::Operate];
    /// The rule for a name, worded to follow the field's name.
    pub const RULE: &str = "must be one of publish, subscribe, read, take or operate";

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Read => "read",
            Self::Take => "take",
            Self::Operate => "operate",
        }
    }

    /// Parses a name. The error is the violated rule.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name).ok_or(Self::RULE)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Publish => 1,
            Self::Subscribe => 1 << 1,
            Self::Read => 1 << 2,
            Self::Take => 1 << 3,
            Self::Operate => 1 << 4,
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// No scopes.
    pub const EMPTY: Self = Self(0);

    /// Returns whether the set grants a scope. [`Scope::Operate`] grants every scope.
    #[must_use]
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Operate.bit()) != 0
    }

    /// Iterates over the scopes of the set, without the ones that [`Scope::Operate`] implies.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// Serialized as a list of names.
impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::as_str))
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names
            .iter()
            .map(|name| Scope::parse(name))
            .collect::<Result<_, _>>()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_named_by_the_rule() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Ok(scope));
            assert!(Scope::RULE.contains(scope.as_str()), "{scope:?}");
        }
        for wrong in ["", "Read", "admin", "read "] {
            assert_eq!(Scope::parse(wrong), Err(Scope::RULE), "{wrong:?}");
        }
    }

    #[test]
    fn operate_grants_every_scope_and_no_other_scope_grants_another() {
        for held in Scope::ALL {
            let scopes = Scopes::from_iter([held]);
            for scope in Scope::ALL {
                let expected = held == Scope::Operate || held == scope;
                assert_eq!(scopes.contains(scope), expected, "{held:?} {scope:?}");
            }
            assert!(!Scopes::EMPTY.contains(held));
            assert_eq!(scopes.iter().collect::<Vec<_>>(), [held]);
        }
        assert!(Scopes::EMPTY.is_empty() && Scopes::default() == Scopes::EMPTY);
    }

    #[test]
    fn json_is_a_list_of_names() {
        let scopes = Scopes::from_iter([Scope::Take, Scope::Read]);
        let json = serde_json::to_string(&scopes).expect("it serializes");
        assert_eq!(json, r#"["read","take"]"#);
        assert_eq!(serde_json::from_str::<Scopes>(&json).expect("it parses"), scopes);
        for wrong in [r#"["admin"]"#, r#""read""#, "null", "3"] {
            assert!(serde_json::from_str::<Scopes>(wrong).is_err(), "{wrong}");
        }
    }
}
