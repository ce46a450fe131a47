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
mod tokens;

use mayfly_tests::{World, bin_dir};

/// The output of a command.
struct CommandOutput {
    is_success: bool,
    stdout: String,
    stderr: String,
}

/// Runs the `mayfly` command with the stores of a stack.
async fn mayfly(world: &World, arguments: &[&str], env: &[(&str, &str)]) -> CommandOutput {
    let stack = world.stack.env();
    let output = tokio::process::Command::new(bin_dir().join("mayfly"))
        .args(arguments)
        .env("REDIS_URL", stack.redis_url())
        .env("DATABASE_URL", stack.database_url())
        .env("MAYFLY_REDIS__PREFIX", &world.prefix)
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
