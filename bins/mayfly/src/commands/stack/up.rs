//! `mayfly up`: starts the local stack, or applies changes to it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use mayfly_live_client::terminal::{print, print_err};
use mayfly_runtime::StopSignals;
use mayfly_simulate::SavedStackFile;
use mayfly_stack::control::{
    Checkout, Client, ControlError, Request, start_supervisor, wait_until_supervisor_exits,
};
use mayfly_stack::{Dependency, Readiness, Service, Spec, StackEnv, ensure_installed};

use crate::command_line::StackOptions;
use crate::signals::interrupted;

pub(crate) async fn up(options: &StackOptions) -> Result<ExitCode> {
    let checkout = Checkout::enter()?;
    let spec = prepare_changes(options, &checkout).await?;
    let was_up = find_spec().await?.is_some();
    let mut signals = StopSignals::install()?;
    let signal = tokio::select! {
        applied = apply(&spec, &checkout) => {
            if applied.is_err() && !was_up && matches!(find_spec().await, Ok(Some(_))) {
                print_err("the stack is up, except for the services below; stop it with `mayfly down`");
            }
            applied?;
            None
        }
        signal = signals.receive() => Some(signal),
    };
    if let Some(signal) = signal {
        tokio::select! {
            reported = report_interrupt(was_up, &checkout) => reported?,
            _ = signals.receive_except_hangup() => {}
        }
        return Ok(interrupted(signal));
    }
    print(&describe_addresses(&spec, &checkout)?);
    report_degraded().await?;
    print("\nShow the status with `make status`; stop with `make down`.");
    Ok(ExitCode::SUCCESS)
}

/// Reports the state of the stack after an interrupt. The supervisor stops a stack that was being
/// started, and completes a change to a stack that was up.
async fn report_interrupt(was_up: bool, checkout: &Checkout) -> Result<()> {
    if was_up {
        print_err(
            "interrupted; the change will be completed in the background: see `mayfly status`",
        );
        return Ok(());
    }
    print_err("interrupted; stopping the processes that were started");
    Ok(wait_until_supervisor_exits(checkout).await?)
}

/// Prints the degraded services with the reasons.
async fn report_degraded() -> Result<()> {
    let Some(mut supervisor) = Client::connect().await else { return Ok(()) };
    for process in supervisor.status().await? {
        if let Readiness::Degraded(reason) = process.readiness {
            print_err(&format!("{} is degraded: {reason}", process.instance));
        }
    }
    Ok(())
}

/// Starts the supervisor if it is not running, and applies a spec to the stack of a checkout.
pub(crate) async fn apply(spec: &Spec, checkout: &Checkout) -> Result<()> {
    let request = Request::Apply(Box::new(spec.clone()));
    let applied = loop {
        match start_supervisor(checkout).await?.request(&request).await {
            // An earlier command requested a shutdown, which completes even if that command was
            // killed.
            Err(ControlError::ShuttingDown) => wait_until_supervisor_exits(checkout).await?,
            other => break other,
        }
    };
    if matches!(applied, Err(ControlError::StackNotStarted(_))) {
        wait_until_supervisor_exits(checkout).await?;
    }
    applied?;
    // The applied spec replaces any spec that a killed simulation saved.
    SavedStackFile::new(&checkout.paths.data_dir()).delete()
}

/// Returns the spec of the running stack; `None` if the stack is down or shutting down.
async fn find_spec() -> Result<Option<Spec>> {
    let Some(mut supervisor) = Client::connect().await else { return Ok(None) };
    match supervisor.spec().await {
        Err(ControlError::NoReply | ControlError::Disconnected(_)) => Ok(None),
        other => Ok(other?),
    }
}

/// Installs the programs that the stack needs, and returns the spec for the options. Unless
/// `options.apply` is set, returns an error if the spec would undo settings of the running stack
/// because the options do not contain them.
pub(crate) async fn prepare_changes(options: &StackOptions, checkout: &Checkout) -> Result<Spec> {
    let spec = options.to_spec(checkout)?;
    if !options.apply
        && let Some(current) = find_spec().await?
    {
        let saved = SavedStackFile::new(&checkout.paths.data_dir()).read_spec(&current);
        let missing = options.list_missing(saved.as_ref().unwrap_or(&current), &spec);
        if !missing.is_empty() {
            bail!(
                "nothing was changed, because settings of the running stack are missing:\n  {}\n\
                 Set them again, or apply the change with `mayfly up --apply` (`make up APPLY=1`).",
                missing.join("\n  ")
            );
        }
    }
    check_spec(options, &spec)?;
    Ok(spec)
}

/// Installs the programs that the stack needs, and returns the spec for the options. Does not
/// compare the spec with the spec of a running stack.
pub(crate) fn prepare_spec(options: &StackOptions, checkout: &Checkout) -> Result<Spec> {
    let spec = options.to_spec(checkout)?;
    check_spec(options, &spec)?;
    Ok(spec)
}

/// Prints the ignored variables, checks the settings as the services do, and installs the programs
/// that the stack needs.
fn check_spec(options: &StackOptions, spec: &Spec) -> Result<()> {
    options.report_ignored_variables();
    spec.check_settings()?;
    let mut dependencies = Vec::new();
    dependencies.extend(spec.redis_url.is_none().then_some(Dependency::Redis));
    dependencies.extend(spec.database_url.is_none().then_some(Dependency::Postgres));
    Ok(ensure_installed(&dependencies)?)
}

/// Returns a text with the addresses of the services and example commands.
pub(crate) fn describe_addresses(spec: &Spec, checkout: &Checkout) -> Result<String> {
    let env = StackEnv::read(&checkout.paths.stack_env())?;
    let mut text = "Mayfly is up.\n".to_owned();
    for service in Service::ALL {
        for url in env.urls(service) {
            writeln!(text, "  {:<16}{url}", service.name())?;
        }
    }
    let first_url = |service| env.urls(service).into_iter().next();
    if let Some(page) = first_url(Service::WsFanout) {
        writeln!(text, "Web page: {page}/")?;
    }
    if let (Some(ingest), Some(list)) = (first_url(Service::IngestApi), first_url(Service::ListApi))
    {
        // The local stack requires no credentials by default.
        let requires_key = spec.env.get("MAYFLY_AUTH__MODE").is_some_and(|mode| mode == "keys");
        text.push_str(&describe_requests(&ingest, &list, requires_key));
    }
    Ok(text)
}

/// Returns a text with commands that post a message and list the messages.
fn describe_requests(ingest: &str, list: &str, requires_key: bool) -> String {
    let (create_key, header) = if requires_key {
        (
            "  KEY=$(target/release/mayfly keys create --name first --scope operate)\n  \
             echo $KEY    # for the web page\n",
            " -H \"Authorization: Bearer $KEY\"",
        )
    } else {
        ("", "")
    };
    let body = "-H 'Content-Type: application/json' -d '{\"text\":\"Yo\"}'";
    format!(
        "Try it:\n{create_key}  curl -X POST {ingest}/v1/messages{header} {body}\n  \
         curl {list}/v1/messages{header}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_requests_contain_a_key_if_one_is_required() {
        let text = describe_requests("http://in", "http://out", false);
        assert_eq!(
            text,
            "Try it:\n  \
             curl -X POST http://in/v1/messages -H 'Content-Type: application/json' \
             -d '{\"text\":\"Yo\"}'\n  \
             curl http://out/v1/messages\n"
        );
        let text = describe_requests("http://in", "http://out", true);
        assert!(text.starts_with("Try it:\n  KEY=$(target/release/mayfly keys create "), "{text}");
        assert_eq!(text.matches(" -H \"Authorization: Bearer $KEY\"").count(), 2, "{text}");
    }
}
