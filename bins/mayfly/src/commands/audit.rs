//! `mayfly audit`: the ledger. What was accepted must be stored, queued, or among the dead letters.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mayfly_cold::{Cold, LedgerRow};
use mayfly_hot::Hot;
use tokio::time::Instant;

use crate::command_line::Audit;
use crate::output::say;
use crate::settings::load_settings;

const KIND: &str = "messages";
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The sum of the present epoch, as one look at both stores shows it. While messages come in, the
/// looks are of different instants and need not agree.
struct Sum {
    epoch: String,
    accepted: u64,
    stored: u64,
    queued: u64,
    dead_lettered: u64,
    /// Messages of ended epochs that are still queued: until they are stored, what those epochs
    /// lost is not known.
    queued_before: u64,
}

impl Sum {
    fn adds_up(&self) -> bool {
        self.accepted == self.stored + self.queued + self.dead_lettered
    }

    fn is_settled(&self) -> bool {
        self.adds_up() && self.queued_before == 0
    }
}

pub(crate) async fn audit(options: Audit) -> Result<ExitCode> {
    let settings = load_settings()?;
    let hot = Hot::new(&settings.redis)?;
    let cold = Cold::new(&settings.postgres);
    let deadline = Instant::now() + options.wait;
    let (sum, ended) = loop {
        let (sum, ended) = look(&hot, &cold).await?;
        if sum.as_ref().is_none_or(Sum::is_settled) || Instant::now() >= deadline {
            break (sum, ended);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let lost: u64 = ended.iter().map(print_ended).sum();
    let adds_up = sum.as_ref().is_none_or(print_present);
    let complete = lost == 0 || !options.all;
    Ok(if adds_up && complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many messages are accepted and not yet stored, of all epochs.
pub(super) async fn count_queued(hot: &Hot, cold: &Cold) -> Result<u64> {
    let (sum, _ended) = look(hot, cold).await?;
    Ok(sum.map_or(0, |sum| sum.queued + sum.queued_before))
}

/// Looks at Redis, then at Postgres: the present sum, if anything was ever accepted, and the epochs
/// that are over.
async fn look(hot: &Hot, cold: &Cold) -> Result<(Option<Sum>, Vec<LedgerRow>)> {
    let ledger = hot.find_ledger().await.context("Redis cannot be asked")?;
    let epoch = ledger.as_ref().map_or("", |ledger| ledger.epoch.as_str());
    let queue = hot.count_queue(epoch).await.context("Redis cannot be asked")?;
    let settled = cold.count_settled(&queue.pending).await.context("Postgres cannot be asked")?;
    let rows = cold.list_ledger(KIND).await.context("Postgres cannot be asked")?;
    let (present, ended): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.epoch == epoch);
    let present = present.into_iter().next();
    let sum = ledger.map(|ledger| Sum {
        accepted: ledger.accepted,
        stored: present.as_ref().map_or(0, |row| row.stored),
        queued: (queue.undelivered + queue.pending.len() as u64).saturating_sub(settled),
        dead_lettered: present.as_ref().map_or(0, |row| row.dead_lettered),
        queued_before: queue.earlier,
        epoch: ledger.epoch,
    });
    Ok((sum, ended))
}

/// Prints an epoch that is over; gives how many messages it lost.
fn print_ended(row: &LedgerRow) -> u64 {
    let lost = row.accepted.saturating_sub(row.stored + row.dead_lettered);
    let ended = row.ended_at.map_or_else(|| "just now".to_owned(), |at| at.to_string());
    say(&format!(
        "epoch {} ended {ended}: {KIND} accepted {}, stored {}, dead-lettered {}, lost: {lost}",
        row.epoch, row.accepted, row.stored, row.dead_lettered
    ));
    lost
}

/// Prints the present epoch; gives whether it adds up.
fn print_present(sum: &Sum) -> bool {
    say(&format!("epoch {}", sum.epoch));
    say(&format!(
        "{:<10} {:>12} {:>12} {:>12} {:>14}",
        "", "accepted", "stored", "queued", "dead-lettered"
    ));
    say(&format!(
        "{KIND:<10} {:>12} {:>12} {:>12} {:>14}",
        sum.accepted, sum.stored, sum.queued, sum.dead_lettered
    ));
    if sum.queued_before > 0 {
        say(&format!("{} {KIND} of ended epochs are still queued", sum.queued_before));
    }
    if sum.adds_up() {
        say("adds up");
    } else {
        say(&format!(
            "does not add up: {} accepted, {} accounted for",
            sum.accepted,
            sum.stored + sum.queued + sum.dead_lettered
        ));
    }
    sum.adds_up()
}
