//! The keys `redis.password` and `postgres.password`. The passwords are inserted into the
//! connection URLs before the configuration is parsed, so that nothing else depends on where a
//! password was set.

use secrecy::SecretString;
use serde_json::Value;

use super::{
    SettingsConflict,
    values::url::{find_passwords, insert_postgres_password, insert_redis_password},
};

const PASSWORD: &str = "password";
const URL: &str = "url";

/// The key of a password, its section, and the function that inserts the password into the URL of
/// the section.
type PasswordKey = (&'static str, &'static str, fn(&str, &str) -> Option<String>);

const KEYS: [PasswordKey; 2] = [
    ("redis.password", "redis", insert_redis_password),
    ("postgres.password", "postgres", insert_postgres_password),
];

/// Removes the passwords from the merged values and inserts them into the connection URLs.
///
/// # Errors
/// A password is not a string, or the URL contains a password too.
pub(super) fn insert_passwords(values: &mut Value) -> Result<(), SettingsConflict> {
    for (key, section, insert) in KEYS {
        let Some(section) = values.get_mut(section).and_then(Value::as_object_mut) else {
            continue;
        };
        let password = match section.remove(PASSWORD) {
            None => continue,
            Some(Value::String(password)) if password.is_empty() => continue,
            Some(Value::String(password)) => password,
            Some(_) => {
                return Err(SettingsConflict { key, message: "must be a string".to_owned() });
            }
        };
        // A value of another type is rejected later.
        let Some(Value::String(url)) = section.get_mut(URL) else { continue };
        if !find_passwords(&SecretString::from(url.as_str())).is_empty() {
            let message = "must be empty if the connection URL contains a password".to_owned();
            return Err(SettingsConflict { key, message });
        }
        // A URL without a scheme is rejected later.
        if let Some(complete) = insert(url, &password) {
            *url = complete;
        }
    }
    Ok(())
}
