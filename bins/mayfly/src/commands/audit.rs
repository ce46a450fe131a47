//! `mayfly audit`: the ledger. What was accepted must be stored, queued, or among the dead letters.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mayfly_cold::{Cold, LedgerRow};
use mayfly_core::MessageId;
use mayfly_hot::{Hot, Pending, Stream};
use tokio::time::Instant;

use crate::command_line::Audit;
use crate::output::say;
use crate::settings::load_settings;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The sum of one stream in the present epoch, as one look at both stores shows it. While items come in, the looks are
/// of different instants and need not agree.
struct Sum {
    stream: Stream,
    epoch: String,
    accepted: u64,
    stored: u64,
    queued: u64,
    dead_lettered: u64,
    /// Items of ended epochs that are still queued: until they are stored, what those epochs lost is not known.
    queued_before: u64,
}

impl Sum {
    fn accounted(&self) -> u64 {
        self.stored + self.queued + self.dead_lettered
    }

    fn adds_up(&self) -> bool {
        self.accepted == self.accounted()
    }

    fn is_settled(&self) -> bool {
        self.adds_up() && self.queued_before == 0
    }
}

/// One look: the present sums, if anything was ever accepted, and the epochs that are over.
#[derive(Default)]
struct Look {
    sums: Vec<Sum>,
    ended: Vec<LedgerRow>,
}

pub(crate) async fn audit(options: Audit) -> Result<ExitCode> {
    let settings = load_settings()?;
    let hot = Hot::new(&settings.redis)?;
    let cold = Cold::new(&settings.postgres);
    let deadline = Instant::now() + options.wait;
    let Look { sums, ended } = loop {
        let look = look(&hot, &cold).await?;
        if look.sums.iter().all(Sum::is_settled) || Instant::now() >= deadline {
            break look;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let lost: u64 = ended.iter().map(print_ended).sum();
    print_present(&sums);
    let complete = lost == 0 || !options.all;
    let adds_up = sums.iter().all(Sum::adds_up);
    Ok(if adds_up && complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many messages are accepted and not yet stored, of all epochs.
pub(super) async fn count_queued(hot: &Hot, cold: &Cold) -> Result<u64> {
    let mut look = Look::default();
    look_at(Stream::Messages, hot, cold, &mut look).await?;
    Ok(look.sums.iter().map(|sum| sum.queued + sum.queued_before).sum())
}

/// Looks at Redis, then at Postgres.
async fn look(hot: &Hot, cold: &Cold) -> Result<Look> {
    let mut look = Look::default();
    for stream in Stream::ALL {
        look_at(stream, hot, cold, &mut look).await?;
    }
    Ok(look)
}

async fn look_at(stream: Stream, hot: &Hot, cold: &Cold, look: &mut Look) -> Result<()> {
    let ledger = hot.find_ledger(stream).await.context("Redis cannot be asked")?;
    let epoch = ledger.as_ref().map_or("", |ledger| ledger.epoch.as_str());
    let queue = hot.count_queue(stream, epoch).await.context("Redis cannot be asked")?;
    let pending: u64 = queue.pending.iter().map(|pending| pending.items).sum();
    let settled = count_settled(stream, cold, &queue.pending).await;
    let settled = settled.context("Postgres cannot be asked")?;
    let rows = cold.list_ledger(stream.name()).await.context("Postgres cannot be asked")?;
    let (present, ended): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.epoch == epoch);
    let present = present.into_iter().next();
    look.ended.extend(ended);
    look.sums.extend(ledger.map(|ledger| Sum {
        stream,
        accepted: ledger.accepted,
        stored: present.as_ref().map_or(0, |row| row.stored),
        queued: (queue.undelivered + pending).saturating_sub(settled),
        dead_lettered: present.as_ref().map_or(0, |row| row.dead_lettered),
        queued_before: queue.earlier,
        epoch: ledger.epoch,
    }));
    Ok(())
}

/// How many items of pending entries have their outcome already: they are stored, or dead letters.
async fn count_settled(
    stream: Stream,
    cold: &Cold,
    pending: &[Pending],
) -> Result<u64, mayfly_cold::ColdError> {
    match stream {
        Stream::Messages => {
            let ids: Vec<_> = pending.iter().map(|pending| MessageId::from(pending.id)).collect();
            cold.count_settled_messages(&ids).await
        }
        Stream::Plays => {
            let ids: Vec<_> = pending.iter().map(|pending| pending.id).collect();
            let settled = cold.find_settled_plays(&ids).await?;
            let settled = pending.iter().filter(|pending| settled.contains(&pending.id));
            Ok(settled.map(|pending| pending.items).sum())
        }
    }
}

/// Prints an epoch that is over; gives how many items it lost.
fn print_ended(row: &LedgerRow) -> u64 {
    let lost = row.accepted.saturating_sub(row.stored + row.dead_lettered);
    let ended = row.ended_at.map_or_else(|| "just now".to_owned(), |at| at.to_string());
    say(&format!(
        "epoch {} ended {ended}: {} accepted {}, stored {}, dead-lettered {}, lost: {lost}",
        row.epoch, row.kind, row.accepted, row.stored, row.dead_lettered
    ));
    lost
}

/// Prints the present epoch.
fn print_present(sums: &[Sum]) {
    let Some(first) = sums.first() else { return };
    say(&format!("epoch {}", first.epoch));
    say(&format!(
        "{:<10} {:>12} {:>12} {:>12} {:>14}",
        "", "accepted", "stored", "queued", "dead-lettered"
    ));
    for sum in sums {
        say(&format!(
            "{:<10} {:>12} {:>12} {:>12} {:>14}",
            sum.stream.name(),
            sum.accepted,
            sum.stored,
            sum.queued,
            sum.dead_lettered
        ));
    }
    for sum in sums.iter().filter(|sum| sum.queued_before > 0) {
        say(&format!(
            "{} {} of ended epochs are still queued",
            sum.queued_before,
            sum.stream.name()
        ));
    }
    for sum in sums.iter().filter(|sum| !sum.adds_up()) {
        say(&format!(
            "{} do not add up: {} accepted, {} accounted for",
            sum.stream.name(),
            sum.accepted,
            sum.accounted()
        ));
    }
    if sums.iter().all(Sum::adds_up) {
        say("adds up");
    }
}
