//! Every key with its meaning and its default, made from `default.toml`: as an environment file, and as a table.

use toml::Value;

use super::layers::{DEFAULT, default_table, env_name};

/// What `default.toml` says of one key.
struct Documented {
    /// Its name in the environment.
    name: String,
    /// The lines of its comment, as they are.
    comment: String,
    /// As it is written in the environment.
    default: String,
}

/// Writes every key with its meaning and its default as an environment file; sourced, it changes nothing.
pub fn env_example() -> String {
    let mut example = String::from("# Every key of Mayfly with its default.\n");
    for Documented { name, comment, default } in documented() {
        let value = quote(&default);
        example.extend(["\n", comment.as_str(), name.as_str(), "=", value.as_str(), "\n"]);
    }
    example
}

/// Writes every key with its default and its meaning as a table in Markdown.
pub fn key_table() -> String {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for Documented { name, comment, default } in documented() {
        let meaning: Vec<_> = comment.lines().map(|line| line.trim_start_matches("# ")).collect();
        let meaning = meaning.join(" ").replace('|', "\\|");
        let default = if default.is_empty() { "empty".to_owned() } else { format!("`{default}`") };
        table.extend(["| `", name.as_str(), "` | ", &default, " | ", &meaning, " |\n"]);
    }
    table
}

fn documented() -> Vec<Documented> {
    let known = default_table();
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
            && let Some(value) = known.get(section).and_then(|keys| keys.get(key))
        {
            keys.push(Documented {
                name: env_name(section, key),
                comment: std::mem::take(&mut comment),
                default: plain(value),
            });
        }
    }
    keys
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Quotes what a shell would take for something else.
fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{value}'") }
}
