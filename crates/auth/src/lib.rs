//! Access control: API keys, tokens, and the decision whether a caller may perform an action. This
//! crate performs no I/O: its callers look up keys, load key sets, and pass the current time.

mod access;
mod credentials;
mod feeds;
mod identity;
mod key;
mod names;
mod pattern;
mod rate;
mod readable;
mod scope;
mod token;

pub use access::Access;
pub use credentials::{Credentials, MalformedCredentials};
pub use feeds::Feeds;
pub use identity::Identity;
pub use key::{Key, KeyId, KeyLimits, KeySecret, is_key_text};
pub use names::{KEY_HOSTS_MAX, Names, PATTERNS_MAX};
pub use pattern::Pattern;
pub use rate::RateText;
pub use readable::ReadableMessages;
pub use scope::{Scope, Scopes};
pub use token::{
    JwkSet, JwkSetError, LEEWAY_S, NewToken, TOKEN_BYTES_MAX, Token, TokenError, TokenRights,
    TokenSecret, TokenSettings, TokenVerifier, sign,
};
