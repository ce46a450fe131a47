//! Revocations as the commands show them.

use mayfly_cold::StoredTokenRevocation;
use mayfly_core::{Timestamp, TokenRevocation};
use mayfly_live_client::terminal::escape_json;
use serde_json::{Value, json};

use crate::commands::table::render_table;

/// Renders revocations as a table.
pub(super) fn render_list(revocations: &[StoredTokenRevocation]) -> String {
    let rows: Vec<_> = revocations
        .iter()
        .map(|stored| {
            let (claim, value, issued_before) = match &stored.revocation {
                TokenRevocation::Token(id) => ("jti", id, None),
                TokenRevocation::Subject { subject, issued_before } => {
                    ("sub", subject, Some(*issued_before))
                }
            };
            [
                claim.to_owned(),
                value.clone(),
                format_time(issued_before),
                stored.created_at.to_string(),
                format_time(stored.expires_at),
            ]
        })
        .collect();
    render_table(["claim", "value", "issued before", "created", "expires"], &rows)
}

/// Renders a revocation as JSON.
pub(super) fn render_json(stored: &StoredTokenRevocation) -> String {
    escape_json(&to_json(stored).to_string())
}

/// Renders revocations as a JSON array.
pub(super) fn render_json_list(revocations: &[StoredTokenRevocation]) -> String {
    let revocations: Vec<_> = revocations.iter().map(to_json).collect();
    escape_json(&Value::from(revocations).to_string())
}

fn to_json(stored: &StoredTokenRevocation) -> Value {
    let mut json = json!({"created_at": stored.created_at, "expires_at": stored.expires_at});
    match &stored.revocation {
        TokenRevocation::Token(id) => json["jti"] = json!(id),
        TokenRevocation::Subject { subject, issued_before } => {
            json["sub"] = json!(subject);
            json["issued_before"] = json!(issued_before);
        }
    }
    json
}

fn format_time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn revocation_names_the_claim_that_matches() {
        let stored = |revocation| StoredTokenRevocation {
            id: Uuid::nil(),
            revocation,
            created_at: Timestamp::from_millis(0),
            expires_at: None,
        };
        let issued_before = Timestamp::from_millis(1_000);
        let all = [
            stored(TokenRevocation::Token("one".to_owned())),
            stored(TokenRevocation::Subject { subject: "kiran".to_owned(), issued_before }),
        ];
        let list = render_list(&all);
        let rows: Vec<Vec<&str>> =
            list.lines().skip(1).map(|row| row.split_whitespace().collect()).collect();
        let epoch = "1970-01-01T00:00:00.000Z";
        assert_eq!(rows[0], ["jti", "one", "-", epoch, "-"]);
        assert_eq!(rows[1], ["sub", "kiran", "1970-01-01T00:00:01.000Z", epoch, "-"]);
        let json = json!([
            {"jti": "one", "created_at": epoch, "expires_at": null},
            {"sub": "kiran", "issued_before": "1970-01-01T00:00:01.000Z", "created_at": epoch,
             "expires_at": null},
        ]);
        let rendered: Value = serde_json::from_str(&render_json_list(&all)).expect("valid JSON");
        assert_eq!(rendered, json);
    }
}
