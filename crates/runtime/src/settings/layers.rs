//! The layers of the configuration: defaults, a file and the environment.

use config::{Config, File, FileFormat};
use toml::{Table, Value};

use super::{
    Settings,
    error::{SettingsError, Source},
    passwords::insert_passwords,
    values::url::is_endpoint,
};

/// The built-in configuration: every key with its default and its meaning.
pub(super) const DEFAULT: &str = include_str!("../../default.toml");

const PREFIX: &str = "MAYFLY_";
const CONFIG_FILE: &str = "MAYFLY_CONFIG";

/// Conventional variable names and the keys that they set. The `MAYFLY_` name of a key takes
/// precedence.
const ALIASES: [(&str, &str); 4] = [
    ("REDIS_URL", "redis.url"),
    ("DATABASE_URL", "postgres.url"),
    ("MESSY_BUCKET", "stats.bucket"),
    ("MESSY_KEY", "stats.key"),
];

/// The keys with values that can be read from separate files. `MAYFLY_SECTION__KEY_FILE` names the
/// file.
const SECRETS: [&str; 4] = ["redis.url", "redis.password", "postgres.url", "postgres.password"];
const FILE_SUFFIX: &str = "_FILE";

/// Variables of the S3 client that name an endpoint. They are not part of the schema, but are
/// validated at startup, because an invalid value would otherwise cause a failure only when the
/// client is used.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"];

/// An environment variable that sets a key.
struct Variable {
    name: String,
    key: String,
    value: String,
}

/// The layers above the defaults.
pub(super) struct Layers {
    /// The name, the text and the parsed content of the file.
    file: Option<(String, String, Table)>,
    env: Vec<Variable>,
}

impl Layers {
    /// Reads the layers and rejects unknown keys.
    pub(super) fn read(
        file: Option<(&str, &str)>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let known = default_table();
        let file = file.map(|(name, text)| read_file(&known, name, text)).transpose()?;
        Ok(Self { file, env: read_env(&known, env)? })
    }

    /// Merges the layers with the defaults and deserializes the result.
    pub(super) fn merge(&self) -> Result<Settings, SettingsError> {
        let mut merged = self
            .merge_values()
            .map_err(|error| self.locate_error("configuration", &error.to_string()))?;
        insert_passwords(&mut merged)
            .map_err(|conflict| self.locate_error(conflict.key, &conflict.message))?;
        serde_path_to_error::deserialize(merged).map_err(|error| {
            self.locate_error(&error.path().to_string(), &format!("must be {}", error.inner()))
        })
    }

    /// Returns an error about a key. The error names the layer that sets the key.
    pub(super) fn locate_error(&self, key: &str, message: &str) -> SettingsError {
        let (source, value) = self.find_source(key);
        SettingsError::new(source, value.as_deref(), message)
    }

    fn merge_values(&self) -> Result<serde_json::Value, config::ConfigError> {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
        if let Some((_, text, _)) = &self.file {
            builder = builder.add_source(File::from_str(text, FileFormat::Toml));
        }
        for variable in &self.env {
            builder = builder.set_override(&variable.key, variable.value.as_str())?;
        }
        builder.build()?.try_deserialize()
    }

    /// Returns the layer that determines the value of a key, and the value in that layer.
    fn find_source(&self, key: &str) -> (Source, Option<String>) {
        if let Some(variable) = self.env.iter().rev().find(|variable| variable.key == key) {
            return (Source::Env(variable.name.clone()), Some(variable.value.clone()));
        }
        if let Some((name, _, table)) = &self.file
            && let Some(value) = find_value(table, key)
        {
            return (Source::File(key.to_owned(), name.clone()), Some(format_value(value)));
        }
        (Source::Default(key.to_owned()), find_value(&default_table(), key).map(format_value))
    }
}

/// Returns the table of all keys and their defaults.
pub(super) fn default_table() -> Table {
    DEFAULT.parse().expect("invariant: default.toml is valid TOML, checked by a test")
}

/// Returns the name of the environment variable for a key.
pub(super) fn env_name(section: &str, key: &str) -> String {
    format!("{PREFIX}{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}

/// Returns whether the configuration loader reads the environment variable `name`.
pub(super) fn is_setting(name: &str) -> bool {
    name == CONFIG_FILE
        || name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__"))
        || ALIASES.iter().any(|(alias, _)| *alias == name)
        || ENDPOINTS.contains(&name)
}

/// Reads the file that `MAYFLY_CONFIG` names, if that variable is set.
pub(super) fn read_named_file(
    env: &[(String, String)],
) -> Result<Option<(String, String)>, SettingsError> {
    let Some((_, path)) = env.iter().find(|(name, value)| name == CONFIG_FILE && !value.is_empty())
    else {
        return Ok(None);
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.clone(), text))),
        Err(error) => {
            let source = Source::Env(CONFIG_FILE.to_owned());
            let message = format!("cannot be read ({error}); must be the path of a TOML file");
            Err(SettingsError::new(source, Some(path), message))
        }
    }
}

fn read_env(
    known: &Table,
    env: impl Iterator<Item = (String, String)>,
) -> Result<Vec<Variable>, SettingsError> {
    let mut aliases = Vec::new();
    let mut variables = Vec::new();
    for (name, value) in env {
        if let Some((_, key)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
            if !value.is_empty() {
                aliases.push(Variable { name, key: (*key).to_owned(), value });
            }
        } else if ENDPOINTS.contains(&name.as_str()) {
            if !value.is_empty() && !is_endpoint(&value) {
                let message = "must be an absolute URL that starts with http:// or https://, has \
                     a valid host and port, and has no user, no query and no fragment";
                return Err(SettingsError::new(Source::Env(name), Some(&value), message));
            }
        } else if let Some(rest) = name.strip_prefix(PREFIX)
            && let Some(key) = find_secret(rest)
        {
            variables.push(read_secret(&name, key, &value)?);
        } else if let Some(rest) = name.strip_prefix(PREFIX)
            && rest.contains("__")
        {
            let key = find_key(known, rest).ok_or_else(|| {
                let source = Source::Env(name.clone());
                SettingsError::new(
                    source,
                    Some(&value),
                    unknown_key(known, rest.split("__").next()),
                )
            })?;
            variables.push(Variable { name, key, value });
        }
    }
    reject_duplicates(&variables)?;
    // Later variables in the list take precedence.
    aliases.append(&mut variables);
    Ok(aliases)
}

/// Returns the key that a `_FILE` variable sets. `rest` is the name of the variable without its
/// prefix.
fn find_secret(rest: &str) -> Option<&'static str> {
    let rest = rest.strip_suffix(FILE_SUFFIX)?;
    SECRETS.into_iter().find(|secret| {
        secret
            .split_once('.')
            .is_some_and(|(section, key)| env_name(section, key).strip_prefix(PREFIX) == Some(rest))
    })
}

/// Reads a secret from a file, without trailing line breaks.
fn read_secret(name: &str, key: &str, path: &str) -> Result<Variable, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("must be the path of a file; it cannot be read: {error}");
        SettingsError::new(Source::EnvFile(name.to_owned()), Some(path), message)
    })?;
    let value = text.trim_end_matches(['\r', '\n']).to_owned();
    Ok(Variable { name: name.to_owned(), key: key.to_owned(), value })
}

/// Rejects a key that is set both by its own variable and by its `_FILE` variable.
fn reject_duplicates(variables: &[Variable]) -> Result<(), SettingsError> {
    for (index, variable) in variables.iter().enumerate() {
        let mut others = variables[..index].iter();
        if let Some(other) =
            others.find(|other| other.key == variable.key && other.name != variable.name)
        {
            let message = format!("must not be set together with {}", other.name);
            return Err(SettingsError::new(Source::Env(variable.name.clone()), None, message));
        }
    }
    Ok(())
}

fn find_key(known: &Table, rest: &str) -> Option<String> {
    let (section, key) = rest.split_once("__")?;
    let is_upper = !rest.bytes().any(|byte| byte.is_ascii_lowercase());
    let path = format!("{}.{}", section.to_ascii_lowercase(), key.to_ascii_lowercase());
    (is_upper && find_value(known, &path).is_some()).then_some(path)
}

fn read_file(
    known: &Table,
    name: &str,
    text: &str,
) -> Result<(String, String, Table), SettingsError> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let source = Source::File(format!("line {line}"), name.to_owned());
        SettingsError::new(source, None, format!("invalid TOML: {}", error.message()))
    })?;
    for (section, value) in &table {
        let known_section = known.get(section).and_then(Value::as_table);
        let (Some(known_section), Some(keys)) = (known_section, value.as_table()) else {
            let source = Source::File(section.clone(), name.to_owned());
            let message = match known_section {
                Some(_) => format!("must be a section, [{section}], with its keys"),
                None => unknown_key(known, None),
            };
            return Err(SettingsError::new(source, None, message));
        };
        if let Some((key, value)) = keys.iter().find(|(key, _)| !known_section.contains_key(*key)) {
            let source = Source::File(format!("{section}.{key}"), name.to_owned());
            return Err(SettingsError::new(
                source,
                Some(&format_value(value)),
                unknown_key(known, Some(section)),
            ));
        }
    }
    Ok((name.to_owned(), text.to_owned(), table))
}

/// Describes the valid names: the keys of the section if the section exists, otherwise the
/// sections.
fn unknown_key(known: &Table, section: Option<&str>) -> String {
    let section = section.map(str::to_ascii_lowercase).unwrap_or_default();
    match known.get(&section).and_then(Value::as_table) {
        Some(keys) => format!("unknown key; the keys of [{section}] are {}", join_keys(keys)),
        None => format!("unknown section; the sections are {}", join_keys(known)),
    }
}

fn join_keys(table: &Table) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn find_value<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (section, key) = key.split_once('.')?;
    table.get(section)?.as_table()?.get(key)
}

fn format_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
