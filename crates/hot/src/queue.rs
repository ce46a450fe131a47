//! The queue: a Redis stream with a consumer group. Delivery is at least once; whoever works on an
//! entry acknowledges it after its effect is safe.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use deadpool_redis::redis::{
    self, Script, Value,
    aio::MultiplexedConnection,
};
use mayfly_core::{
    MessageId, Timestamp,
    entry::{Entry, META, Meta, UnreadableEntry},
};

use crate::{error::HotError, pool::Hot};

/// The consumer group of the workers that store.
pub const GROUP: &str = "persist";

static TRIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/trim.lua")));
static FORGET_CONSUMERS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/forget_consumers.lua")));

/// An entry as a consumer got it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id in the stream: milliseconds of its arrival, and a number.
    pub entry_id: String,
    /// The name of its first field.
    pub kind: String,
    /// What it says, or why this version cannot read it; then the body is kept beside it.
    pub entry: Result<Entry, (UnreadableEntry, Vec<u8>)>,
    /// Where it comes from.
    pub meta: Meta,
}

impl Delivery {
    /// When the entry arrived, by the clock of Redis.
    #[must_use]
    pub fn arrived_at(&self) -> Timestamp {
        let millis = self.entry_id.split('-').next().and_then(|millis| millis.parse().ok());
        Timestamp::from_millis(millis.unwrap_or(0))
    }
}

/// What a consumer got at once.
#[derive(Debug, Default)]
pub struct Popped {
    /// Entries in the order of the stream.
    pub deliveries: Vec<Delivery>,
    /// Entries that are pending and no longer in the stream: nothing is left but to let go of them.
    pub gone: Vec<String>,
}

/// One consumer of the group. Not shared: what it read and did not acknowledge belongs to it.
pub struct Consumer {
    hot: Hot,
    name: String,
    connection: Option<MultiplexedConnection>,
    /// Where to go on: `>` for what nobody has, or an id to read again what this consumer has.
    from: String,
    /// Where the next look for abandoned entries begins.
    claim_from: String,
}

/// A consumer that was silent for so long, and has nothing, is forgotten.
const CONSUMER_SILENCE: Duration = Duration::from_secs(600);
/// Ids in one command.
const COMMAND_IDS_MAX: usize = 1_000;

impl Consumer {
    /// A consumer of this name, which must be unique among all workers that run.
    #[must_use]
    pub fn new(hot: Hot, name: String) -> Self {
        Self { hot, name, connection: None, from: ">".into(), claim_from: "0-0".into() }
    }

    /// Waits for entries, at most `wait`, and takes at most `count`. After an error, what may have
    /// been delivered without being seen is read again; until then the caller must have settled
    /// what it got before.
    pub async fn pop_batch(&mut self, count: usize, wait: Duration) -> Result<Popped, HotError> {
        match self.read(count, wait).await {
            Ok(popped) => Ok(popped),
            Err(HotError::NoGroup) => {
                self.hot.create_group().await?;
                ">".clone_into(&mut self.from);
                Ok(Popped::default())
            }
            Err(error) => {
                self.connection = None;
                "0-0".clone_into(&mut self.from);
                Err(error)
            }
        }
    }

    async fn read(&mut self, count: usize, wait: Duration) -> Result<Popped, HotError> {
        let timeout = wait + self.hot.timeout;
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(GROUP).arg(&self.name).arg("COUNT").arg(count);
        command.arg("BLOCK").arg(wait.as_millis().max(1)).arg("STREAMS");
        command.arg(self.hot.keys.messages()).arg(&self.from);
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.hot.connection_for_blocking().await?),
        };
        let answer = tokio::time::timeout(timeout, command.query_async::<Value>(connection))
            .await
            .map_err(|_| HotError::Timeout)?
            .map_err(HotError::from)?;
        let popped = read_streams(answer);
        if self.from != ">" {
            let last = popped.deliveries.last().map(|delivery| delivery.entry_id.clone());
            self.from = last.max(popped.gone.last().cloned()).unwrap_or_else(|| ">".into());
        }
        Ok(popped)
    }

    /// Takes over entries that another consumer has had for `idle` without acknowledging them,
    /// together with how often each was delivered.
    pub async fn claim_batch(
        &mut self,
        idle: Duration,
        count: usize,
    ) -> Result<(Popped, HashMap<String, u64>), HotError> {
        let keys = &self.hot.keys;
        let claimed: (String, Value, Vec<String>) = self
            .hot
            .call(async |connection| {
                redis::cmd("XAUTOCLAIM")
                    .arg(keys.messages())
                    .arg(GROUP)
                    .arg(&self.name)
                    .arg(idle.as_millis())
                    .arg(&self.claim_from)
                    .arg("COUNT")
                    .arg(count)
                    .query_async(connection)
                    .await
            })
            .await?;
        let (next, entries, gone) = claimed;
        self.claim_from = next;
        let mut popped = read_entries(entries);
        popped.gone.extend(gone);
        let deliveries = self.count_deliveries(&popped.deliveries).await?;
        Ok((popped, deliveries))
    }

    async fn count_deliveries(
        &self,
        claimed: &[Delivery],
    ) -> Result<HashMap<String, u64>, HotError> {
        let (Some(first), Some(last)) = (claimed.first(), claimed.last()) else {
            return Ok(HashMap::new());
        };
        let rows: Vec<(String, String, u64, u64)> = self
            .hot
            .call(async |connection| {
                redis::cmd("XPENDING")
                    .arg(self.hot.keys.messages())
                    .arg(GROUP)
                    .arg(&first.entry_id)
                    .arg(&last.entry_id)
                    .arg(claimed.len().saturating_mul(2))
                    .arg(&self.name)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.into_iter().map(|(id, _, _, times)| (id, times)).collect())
    }

}

impl Hot {
    /// Says that a consumer is still at work on these entries, so that nobody takes them over.
    pub async fn touch(&self, consumer: &str, entry_ids: &[&str]) -> Result<(), HotError> {
        for chunk in entry_ids.chunks(COMMAND_IDS_MAX) {
            self.call(async |connection| {
                redis::cmd("XCLAIM")
                    .arg(self.keys.messages())
                    .arg(GROUP)
                    .arg(consumer)
                    .arg(0)
                    .arg(chunk)
                    .arg("JUSTID")
                    .query_async::<()>(connection)
                    .await
            })
            .await?;
        }
        Ok(())
    }

    /// Makes the stream and its group if they are not there; begins where the stream begins.
    pub async fn create_group(&self) -> Result<(), HotError> {
        let created = self
            .call(async |connection| {
                redis::cmd("XGROUP")
                    .arg("CREATE")
                    .arg(self.keys.messages())
                    .arg(GROUP)
                    .arg("0")
                    .arg("MKSTREAM")
                    .query_async::<()>(connection)
                    .await
            })
            .await;
        match created {
            Err(HotError::Refused(error)) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => other,
        }
    }

    /// Acknowledges entries whose effect is safe, and takes away what stood in for it: the waiting
    /// references of `stored` messages, and what a take left of `settled` ones. Plain commands, so
    /// that it works when Redis is full.
    pub async fn ack(
        &self,
        entry_ids: &[&str],
        stored: &[MessageId],
        settled: &[MessageId],
    ) -> Result<(), HotError> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        let names = |ids: &[MessageId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        for chunk in stored.chunks(COMMAND_IDS_MAX) {
            pipe.hdel(self.keys.waiting(), names(chunk)).ignore();
        }
        for chunk in settled.chunks(COMMAND_IDS_MAX) {
            pipe.hdel(self.keys.taken(), names(chunk)).ignore();
        }
        for chunk in entry_ids.chunks(COMMAND_IDS_MAX) {
            pipe.cmd("XACK").arg(self.keys.messages()).arg(GROUP).arg(chunk).ignore();
        }
        self.call(async |connection| pipe.query_async::<()>(connection).await).await
    }

    /// Counts one more refusal of an entry; gives how many there were. Kept for a day.
    pub async fn count_attempt(&self, entry_id: &str) -> Result<u64, HotError> {
        const KEPT: Duration = Duration::from_secs(86_400);
        let key = self.keys.attempts(entry_id);
        let (attempts,): (u64,) = self
            .call(async |connection| {
                redis::pipe()
                    .atomic()
                    .incr(&key, 1)
                    .expire(&key, i64::try_from(KEPT.as_secs()).unwrap_or(i64::MAX))
                    .ignore()
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(attempts)
    }

    /// Forgets how often an entry was refused.
    pub async fn forget_attempts(&self, entry_id: &str) -> Result<(), HotError> {
        let key = self.keys.attempts(entry_id);
        self.call(async |connection| {
            redis::cmd("DEL").arg(&key).query_async::<()>(connection).await
        })
        .await
    }

    /// Trims the stream behind what is acknowledged and behind the resume window, which gives way
    /// where it exceeds its bytes, and goes where Redis is nearly full. Gives how many entries went.
    pub async fn trim(
        &self,
        window: Duration,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<u64, HotError> {
        let window = if self.is_nearly_full().await? { Duration::ZERO } else { window };
        let keep_from = Timestamp::from_millis(0).plus(now.since(Timestamp::from_millis(0)).saturating_sub(window));
        let mut call = TRIM.prepare_invoke();
        call.key(self.keys.messages()).arg(keep_from.as_millis()).arg(bytes_max);
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    async fn is_nearly_full(&self) -> Result<bool, HotError> {
        let info: redis::InfoDict = self
            .call(async |connection| {
                redis::cmd("INFO").arg("memory").query_async(connection).await
            })
            .await?;
        let used: u64 = info.get("used_memory").unwrap_or(0);
        let most: u64 = info.get("maxmemory").unwrap_or(0);
        Ok(most > 0 && used > most / 10 * 9)
    }

    /// Forgets consumers that are gone.
    pub async fn forget_consumers(&self) -> Result<u64, HotError> {
        let mut call = FORGET_CONSUMERS.prepare_invoke();
        call.key(self.keys.messages()).arg(GROUP);
        call.arg(u64::try_from(CONSUMER_SILENCE.as_millis()).unwrap_or(u64::MAX));
        self.call(async |connection| call.invoke_async(connection).await).await
    }

    /// How many entries wait for a worker or for its acknowledgement, and since when the oldest
    /// does.
    pub async fn queue_depth(&self) -> Result<(u64, Option<Timestamp>), HotError> {
        let Some(group) = self.group().await? else {
            return Ok((0, None));
        };
        let lag = match group.lag {
            Some(lag) => lag,
            None => self.count_behind(&group.last_delivered).await?,
        };
        let oldest = if group.pending > 0 {
            self.first_pending().await?
        } else if lag > 0 {
            self.first_after(&group.last_delivered).await?
        } else {
            None
        };
        Ok((lag + group.pending, oldest))
    }

    /// The entry that was delivered last; none where there is no group.
    pub(crate) async fn last_delivered(&self) -> Result<Option<String>, HotError> {
        Ok(self.group().await?.map(|group| group.last_delivered))
    }

    async fn group(&self) -> Result<Option<Group>, HotError> {
        let answer: Result<Vec<HashMap<String, Value>>, HotError> = self
            .call(async |connection| {
                redis::cmd("XINFO")
                    .arg("GROUPS")
                    .arg(self.keys.messages())
                    .query_async(connection)
                    .await
            })
            .await;
        let groups = match answer {
            // No such key: nothing was ever accepted.
            Err(HotError::Refused(error)) if error.to_string().contains("no such key") => {
                return Ok(None);
            }
            other => other?,
        };
        Ok(groups.into_iter().find_map(Group::of_ours))
    }

    async fn first_pending(&self) -> Result<Option<Timestamp>, HotError> {
        let rows: Vec<(String, String, u64, u64)> = self
            .call(async |connection| {
                redis::cmd("XPENDING")
                    .arg(self.keys.messages())
                    .arg(GROUP)
                    .arg("-")
                    .arg("+")
                    .arg(1)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.first().map(|(id, ..)| instant_of(id)))
    }

    async fn first_after(&self, entry_id: &str) -> Result<Option<Timestamp>, HotError> {
        let rows: Vec<(String, Value)> = self
            .call(async |connection| {
                redis::cmd("XRANGE")
                    .arg(self.keys.messages())
                    .arg(format!("({entry_id}"))
                    .arg("+")
                    .arg("COUNT")
                    .arg(1)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.first().map(|(id, _)| instant_of(id)))
    }

    /// Counts what lies behind an entry where Redis does not know: an entry was deleted by hand.
    async fn count_behind(&self, entry_id: &str) -> Result<u64, HotError> {
        let rows: Vec<(String, Value)> = self
            .call(async |connection| {
                redis::cmd("XRANGE")
                    .arg(self.keys.messages())
                    .arg(format!("({entry_id}"))
                    .arg("+")
                    .arg("COUNT")
                    .arg(COMMAND_IDS_MAX)
                    .query_async(connection)
                    .await
            })
            .await?;
        Ok(rows.len() as u64)
    }
}

fn instant_of(entry_id: &str) -> Timestamp {
    let millis = entry_id.split('-').next().and_then(|millis| millis.parse().ok());
    Timestamp::from_millis(millis.unwrap_or(0))
}

/// What Redis says of our group.
struct Group {
    pending: u64,
    lag: Option<u64>,
    last_delivered: String,
}

impl Group {
    fn of_ours(fields: HashMap<String, Value>) -> Option<Self> {
        let text = |name: &str| match fields.get(name) {
            Some(Value::BulkString(text)) => String::from_utf8(text.clone()).ok(),
            Some(Value::SimpleString(text)) => Some(text.clone()),
            _ => None,
        };
        let number = |name: &str| match fields.get(name) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        (text("name").as_deref() == Some(GROUP)).then(|| Self {
            pending: number("pending").unwrap_or(0),
            lag: number("lag"),
            last_delivered: text("last-delivered-id").unwrap_or_else(|| "0-0".into()),
        })
    }
}

/// Reads `[[stream, entries]]`, by hand because batches are large: values are moved, not copied.
fn read_streams(answer: Value) -> Popped {
    let streams = match answer {
        Value::Array(streams) => streams,
        // Nothing arrived while we waited.
        _ => return Popped::default(),
    };
    match streams.into_iter().next() {
        Some(Value::Array(mut stream)) if stream.len() == 2 => {
            read_entries(stream.pop().unwrap_or(Value::Nil))
        }
        _ => Popped::default(),
    }
}

fn read_entries(entries: Value) -> Popped {
    let mut popped = Popped::default();
    let Value::Array(entries) = entries else {
        return popped;
    };
    popped.deliveries.reserve(entries.len());
    for entry in entries {
        let Value::Array(entry) = entry else { continue };
        let mut parts = entry.into_iter();
        let (Some(id), fields) = (parts.next().and_then(text), parts.next()) else { continue };
        match fields {
            Some(Value::Array(fields)) => popped.deliveries.push(read_entry(id, fields)),
            _ => popped.gone.push(id),
        }
    }
    popped
}

fn read_entry(entry_id: String, fields: Vec<Value>) -> Delivery {
    let mut fields = fields.into_iter();
    let kind = fields.next().and_then(text).unwrap_or_default();
    let body = fields.next().and_then(bytes).unwrap_or_default();
    let mut meta = Meta::default();
    while let Some(name) = fields.next().and_then(text) {
        let value = fields.next().and_then(text).unwrap_or_default();
        if name == META {
            meta = Meta::parse(&value);
        }
    }
    Delivery { entry_id, entry: Entry::decode(&kind, body), kind, meta }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes).ok())
}
