//! The operator's view: admin ports, metrics, configuration and the `mayfly` command.

mod admin;
mod api_keys;
mod configuration;
mod local_stack;
mod logs;
mod metrics;
mod open_files;
mod pause;
mod simulate;
mod stack_dir;
mod tls;
mod tokens;

use mayfly_tests::{World, bin_dir};

/// The output of a command.
pub(crate) struct CommandOutput {
    pub(crate) is_success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the `mayfly` command with the stores of a stack.
pub(crate) async fn mayfly(
    world: &World,
    arguments: &[&str],
    env: &[(&str, &str)],
) -> CommandOutput {
    let stack = world.stack.env();
    let stores = [
        ("REDIS_URL", stack.redis_url()),
        ("DATABASE_URL", stack.database_url()),
        ("MAYFLY_REDIS__PREFIX", world.prefix.as_str()),
    ];
    mayfly_with_env(arguments, &[&stores, env].concat()).await
}

/// Runs the `mayfly` command with environment variables.
async fn mayfly_with_env(arguments: &[&str], env: &[(&str, &str)]) -> CommandOutput {
    let output = tokio::process::Command::new(bin_dir().join("mayfly"))
        .args(arguments)
        .envs(env.iter().copied())
        .output()
        .await
        .expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("valid UTF-8");
    CommandOutput {
        is_success: output.status.success(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
