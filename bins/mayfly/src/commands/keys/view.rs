//! Keys as the commands show them.

use mayfly_auth::{KeyLimits, KeySecret, Names, Pattern, Scope, Scopes};
use mayfly_cold::StoredApiKey;
use mayfly_core::Timestamp;
use mayfly_live_client::terminal::{escape, escape_json};
use serde_json::{Value, json};

use crate::commands::table::render_table;

/// Renders keys as a table.
pub(super) fn render_list(keys: &[StoredApiKey]) -> String {
    let header = ["id", "prefix", "name", "status", "scopes", "rights", "created", "expires"];
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            [
                key.key.id.to_string(),
                key.start.clone(),
                key.name.clone(),
                status(key).to_owned(),
                format_scopes(key.key.scopes),
                format_rights(key),
                key.created_at.to_string(),
                format_time(key.key.expires_at),
            ]
        })
        .collect();
    render_table(header, &rows)
}

/// Renders everything about a key except its secrets.
pub(super) fn render_details(key: &StoredApiKey) -> String {
    let previous = key.previous.as_ref().map(|previous| previous.expires_at);
    let rows = [
        ("id", key.key.id.to_string()),
        ("prefix", key.start.clone()),
        ("name", key.name.clone()),
        ("status", status(key).to_owned()),
        ("scopes", format_scopes(key.key.scopes)),
        ("channels", format_names(&key.key.channels, " ")),
        ("usernames", format_names(&key.key.usernames, " ")),
        ("hosts", format_names(&key.key.hosts, " ")),
        ("limits", format_limits(&key.key.limits)),
        ("created", key.created_at.to_string()),
        ("expires", format_time(key.key.expires_at)),
        ("revoked", format_time(key.revoked_at)),
        ("previous secret expires", format_time(previous)),
    ];
    let lines = rows.iter().map(|(name, value)| format!("{name:<25}{}", escape(value)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Renders a key as JSON, without its secrets.
pub(super) fn render_json(key: &StoredApiKey) -> String {
    escape_json(&to_json(key).to_string())
}

/// Renders a key as JSON, with its new secret.
pub(super) fn render_json_with_secret(key: &StoredApiKey, secret: &KeySecret) -> String {
    let mut json = to_json(key);
    json["key"] = secret.expose().into();
    escape_json(&json.to_string())
}

/// Renders keys as a JSON array.
pub(super) fn render_json_list(keys: &[StoredApiKey]) -> String {
    let keys: Vec<_> = keys.iter().map(to_json).collect();
    escape_json(&Value::from(keys).to_string())
}

/// The pattern `*` stands for a list that allows all names.
fn to_json(key: &StoredApiKey) -> Value {
    json!({
        "id": key.key.id,
        "prefix": key.start,
        "name": key.name,
        "status": status(key),
        "scopes": key.key.scopes,
        "channels": key.key.channels,
        "usernames": key.key.usernames,
        "hosts": key.key.hosts,
        "limits": key.key.limits,
        "created_at": key.created_at,
        "expires_at": key.key.expires_at,
        "revoked_at": key.revoked_at,
        "previous_secret_expires_at": key.previous.as_ref().map(|previous| previous.expires_at),
    })
}

/// Returns the status of a key. A later version of Mayfly has created an unsupported key, with
/// restrictions that this version does not show.
fn status(key: &StoredApiKey) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.is_expired {
        "expired"
    } else if key.is_supported {
        "active"
    } else {
        "unsupported"
    }
}

fn format_scopes(scopes: Scopes) -> String {
    join(scopes.iter().map(Scope::as_str), " ")
}

/// Lists the restrictions and limits of a key in one cell.
fn format_rights(key: &StoredApiKey) -> String {
    let names = [
        ("channels", &key.key.channels),
        ("usernames", &key.key.usernames),
        ("hosts", &key.key.hosts),
    ];
    let restricted = names.into_iter().filter(|(_, names)| names.patterns().is_some());
    let mut rights: Vec<_> =
        restricted.map(|(kind, names)| format!("{kind}={}", format_names(names, ","))).collect();
    if !key.key.limits.is_unlimited() {
        rights.push(format_limits(&key.key.limits));
    }
    if rights.is_empty() { "-".to_owned() } else { rights.join(" ") }
}

fn format_names(names: &Names, separator: &str) -> String {
    match names.patterns() {
        None => "*".to_owned(),
        Some([]) => "none".to_owned(),
        Some(patterns) => join(patterns.iter().map(Pattern::as_str), separator),
    }
}

fn format_limits(limits: &KeyLimits) -> String {
    let rates = [("messages", limits.messages), ("plays", limits.plays), ("visits", limits.visits)];
    let limited = rates.into_iter().filter_map(|(kind, rate)| Some(format!("{kind}={}", rate?)));
    let limited: Vec<_> = limited.collect();
    if limited.is_empty() { "-".to_owned() } else { limited.join(" ") }
}

fn format_time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

fn join<'a>(texts: impl Iterator<Item = &'a str>, separator: &str) -> String {
    texts.collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use mayfly_auth::{Key, RateText};
    use mayfly_core::KeyHash;
    use uuid::Uuid;

    use super::*;

    fn stored() -> StoredApiKey {
        StoredApiKey {
            key: Key {
                id: Uuid::nil(),
                scopes: Scopes::from_iter([Scope::Read, Scope::Publish]),
                channels: Names::parse(["chat.*", "a"]).expect("patterns"),
                usernames: Names::All,
                hosts: Names::none(),
                limits: KeyLimits { plays: RateText::parse("1/day").ok(), ..KeyLimits::default() },
                expires_at: Some(Timestamp::from_millis(0)),
                is_revoked: false,
            },
            hash: KeyHash::from_key("secret"),
            previous: None,
            key_id: None,
            name: "site\u{202e}".to_owned(),
            start: "mf_start".to_owned(),
            created_at: Timestamp::from_millis(1_000),
            revoked_at: None,
            is_expired: true,
            is_supported: true,
        }
    }

    #[test]
    fn list_shows_the_restrictions_of_each_key() {
        let list = render_list(&[stored()]);
        let row = list.lines().nth(1).expect("a row");
        let cells: Vec<_> =
            row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            cells,
            [
                "00000000-0000-0000-0000-000000000000",
                "mf_start",
                "site\\u{202e}",
                "expired",
                "publish read",
                "channels=a,chat.* hosts=none plays=1/day",
                "1970-01-01T00:00:01.000Z",
                "1970-01-01T00:00:00.000Z",
            ]
        );
        let details = render_details(&stored());
        assert!(details.contains(&format!("{:<25}a chat.*\n", "channels")), "{details}");
    }

    #[test]
    fn revocation_and_expiry_are_shown_first() {
        let (mut key, at) = (stored(), Some(Timestamp::from_millis(0)));
        let mut statuses = Vec::new();
        for (revoked_at, is_expired, is_supported) in
            [(at, true, false), (None, true, false), (None, false, false), (None, false, true)]
        {
            key = StoredApiKey { revoked_at, is_expired, is_supported, ..key };
            statuses.push(status(&key));
        }
        assert_eq!(statuses, ["revoked", "expired", "unsupported", "active"]);
    }

    #[test]
    fn json_contains_a_new_secret_and_no_digest() {
        let json = to_json(&stored());
        assert_eq!(json["channels"], json!(["a", "chat.*"]));
        assert_eq!((&json["usernames"], &json["hosts"]), (&json!(["*"]), &json!([])));
        assert_eq!((&json["status"], &json["revoked_at"]), (&json!("expired"), &Value::Null));
        assert_eq!(json["limits"], json!({"plays": "1/day"}));
        let digest = KeyHash::from_key("secret");
        assert!(!render_json(&stored()).contains(digest.as_str()));
        let secret = KeySecret::generate().expect("a key");
        assert!(!render_json(&stored()).contains("\"key\""));
        assert!(render_json_with_secret(&stored(), &secret).contains(secret.expose()));
    }
}
