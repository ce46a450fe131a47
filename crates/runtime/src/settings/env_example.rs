//! Every key as an environment file, made from `default.toml`.

use toml::Value;

use super::layers::{DEFAULT, default_table, env_name};

/// Writes every key with its meaning and its default as an environment file; sourced, it changes nothing.
pub fn env_example() -> String {
    let known = default_table();
    let mut example = String::from("# Every key of Mayfly with its default.\n");
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
            let comment = std::mem::take(&mut comment);
            let value = quote(&plain(value));
            let name = env_name(section, key);
            example.extend(["\n", comment.as_str(), name.as_str(), "=", value.as_str(), "\n"]);
        }
    }
    example
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
