//! The reference for all keys, generated from `default.toml`: an environment file and a table.

use toml::Value;

use super::layers::{DEFAULT, default_table, env_name};

/// A key as documented in `default.toml`.
struct KeyEntry {
    /// The name of the environment variable.
    name: String,
    /// The comment, line by line.
    comment: String,
    /// The default value, as written in an environment variable.
    default: String,
}

/// The variables of the AWS SDK, which are not keys of the configuration, with their meanings. The
/// variables are commented out in the environment file, because an empty variable could hide
/// another source of credentials.
const AWS_VARIABLES: [(&str, &[&str]); 3] = [
    (
        "Credentials for S3. Without them, the AWS SDK uses profiles, the web identity of a pod or \
         the role of the instance.",
        &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
    ),
    ("Region of the bucket, such as us-east-1.", &["AWS_REGION"]),
    ("Endpoint of an S3-compatible store. Unset means AWS.", &["AWS_ENDPOINT_URL"]),
];

/// Renders an environment file with every key, its meaning and its default.
pub fn render_env_example() -> String {
    let mut example = String::from("# Every configuration key of Mayfly with its default.\n");
    for KeyEntry { name, comment, default } in list_keys() {
        let value = quote(&default);
        example.extend(["\n", comment.as_str(), name.as_str(), "=", value.as_str(), "\n"]);
    }
    example.push_str(
        "\n# Variables of the AWS SDK. stats-publisher and list-api use them to access S3.\n",
    );
    for (meaning, names) in AWS_VARIABLES {
        example.extend(["\n# ", meaning, "\n"]);
        example.extend(names.iter().flat_map(|name| ["#", name, "=\n"]));
    }
    example
}

/// Renders a Markdown table with every key, its default and its meaning.
pub fn render_key_table() -> String {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for KeyEntry { name, comment, default } in list_keys() {
        let meaning: Vec<_> = comment.lines().map(|line| line.trim_start_matches("# ")).collect();
        let meaning = meaning.join(" ").replace('|', "\\|");
        let default = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
        table.extend(["| `", name.as_str(), "` | ", &default, " | ", &meaning, " |\n"]);
    }
    table
}

fn list_keys() -> Vec<KeyEntry> {
    let defaults = default_table();
    let mut keys = Vec::new();
    let mut section = "";
    let mut comment = String::new();
    for line in DEFAULT.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if line.starts_with('#') && !section.is_empty() {
            comment.push_str(line);
            comment.push('\n');
        } else if let Some((key, _)) = line.split_once(" = ")
            && let Some(value) = defaults.get(section).and_then(|keys| keys.get(key))
        {
            keys.push(KeyEntry {
                name: env_name(section, key),
                comment: std::mem::take(&mut comment),
                default: to_env_value(value),
            });
        }
    }
    keys
}

fn to_env_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(to_env_value).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Quotes a value for a shell if necessary.
fn quote(value: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,*".contains(c);
    if value.chars().all(is_safe) { value.to_owned() } else { format!("'{value}'") }
}
