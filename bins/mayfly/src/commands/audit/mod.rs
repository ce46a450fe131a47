//! `mayfly audit`: checks that accepted = stored + queued + dead-lettered.

mod balance;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use mayfly_cold::{ColdStore, LedgerRow, Loss};
use mayfly_hot::{HotStore, Stream};
use mayfly_live_client::terminal::print;
use tokio::time::Instant;

use crate::command_line::Audit;
use crate::settings::load_settings;
use balance::{Balance, Ledger};

const POLL_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) async fn audit(options: Audit) -> Result<ExitCode> {
    let settings = load_settings()?;
    let hot = HotStore::new(&settings.redis)?;
    let cold = ColdStore::new(&settings.postgres);
    let deadline = Instant::now() + options.wait;
    let ledger = loop {
        let ledger = Ledger::read(&hot, &cold).await?;
        if ledger.is_final() || Instant::now() >= deadline {
            break ledger;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    };
    if ledger.balances.is_empty() {
        return Ok(report_missing_epoch(&ledger, &settings.redis.prefix));
    }
    let mut has_loss = false;
    for row in &ledger.earlier_epochs {
        let loss = ledger.loss(row, settings.queue.depth_max);
        print_earlier_epoch(row, loss);
        has_loss |= loss.at_most > 0;
    }
    print_current_epoch(&ledger.balances);
    let has_acceptable_loss = !has_loss || !options.all;
    let is_balanced = ledger.balances.iter().all(Balance::is_balanced);
    Ok(if is_balanced && has_acceptable_loss { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the number of messages that are still queued, in all epochs.
pub(super) async fn count_queued_messages(hot: &HotStore, cold: &ColdStore) -> Result<u64> {
    let mut ledger = Ledger::default();
    ledger.read_stream(Stream::Messages, hot, cold).await?;
    let balances = ledger.balances.iter();
    Ok(balances.map(|balance| balance.queued + balance.queued_of_earlier_epochs).sum())
}

/// Reports that Redis has no current epoch. Without it, nothing is known about queued items, so
/// losses in earlier epochs are not reported.
fn report_missing_epoch(ledger: &Ledger, prefix: &str) -> ExitCode {
    if ledger.is_missing() {
        print(&format!(
            "Redis holds no ledger under the prefix {prefix}, but Postgres holds one: Redis has \
             lost its data and no service has begun a new epoch, or the URL or the prefix of Redis \
             is wrong"
        ));
        return ExitCode::FAILURE;
    }
    print(&format!(
        "Redis holds no ledger under the prefix {prefix}, and Postgres holds none: nothing has \
         been accepted yet"
    ));
    ExitCode::SUCCESS
}

fn print_earlier_epoch(row: &LedgerRow, loss: Loss) {
    let ended = row.ended_at.map_or_else(|| "just now".to_owned(), |at| at.to_string());
    print(&format!(
        "epoch {} ended {ended}: {} accepted {}, stored {}, dead-lettered {}, lost: {loss}",
        row.epoch,
        row.kind,
        row.known_accepted(),
        row.stored,
        row.dead_lettered
    ));
}

fn print_current_epoch(balances: &[Balance]) {
    let Some(first) = balances.first() else { return };
    print(&format!("epoch {}", first.epoch));
    print(&format!(
        "{:<10} {:>12} {:>12} {:>12} {:>14}",
        "", "accepted", "stored", "queued", "dead-lettered"
    ));
    for balance in balances {
        print(&format!(
            "{:<10} {:>12} {:>12} {:>12} {:>14}",
            balance.stream.name(),
            balance.accepted,
            balance.stored,
            balance.queued,
            balance.dead_lettered
        ));
    }
    for balance in balances.iter().filter(|balance| balance.queued_of_earlier_epochs > 0) {
        print(&format!(
            "{} {} from earlier epochs are still queued",
            balance.queued_of_earlier_epochs,
            balance.stream.name()
        ));
    }
    for balance in balances.iter().filter(|balance| !balance.is_balanced()) {
        print(&format!(
            "{} are not balanced: {} accepted, {} accounted for",
            balance.stream.name(),
            balance.accepted,
            balance.accounted()
        ));
    }
    if balances.iter().all(Balance::is_exact) {
        print("balanced");
    } else if balances.iter().all(Balance::is_balanced) {
        print("balanced, apart from items that arrived or were stored while the ledger was read");
    }
}
