//! Following the stream: the one subscription of the process, and what it missed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mayfly_core::{EntryId, LiveEntry, Position, Publication, frame::NotResumed};
use mayfly_hot::{Hot, HotError, Listeners, LiveRow, Publications, StateFeed, Subscription};
use mayfly_runtime::Part;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tracing::{debug, error, info, warn};

use crate::{
    batch::Batch,
    hub::{Hub, News},
    rising, state,
};

/// How often it is looked where the stream ends: a lost publication is found out by the second
/// look after it.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// So many looks later the state is looked at, too: every 5 seconds.
const LOOKS_PER_STATE: u64 = 20;
/// How long after a failure it is subscribed again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// So many looks in a row that found something which was never published: the subscription is dead.
const SILENT_LOOKS_MAX: u32 = 8;
/// What came meanwhile is put together up to so many bytes.
const BATCH_BYTES: usize = 256 * 1024;
/// Entries that are read of the stream at once.
const PAGE_ENTRIES: usize = 64;

/// Follows the stream and tells the hub.
pub(crate) struct Feed {
    hub: Arc<Hub>,
    hot: Hot,
    /// Up to where the hub has been told; nothing before Redis was reached.
    at: Option<Position>,
    /// Whether something may have been published while nobody listened.
    was_interrupted: bool,
}

impl Feed {
    pub(crate) fn new(hub: &Arc<Hub>) -> Self {
        let hot = hub.hot.clone();
        Self { hub: Arc::clone(hub), hot, at: None, was_interrupted: true }
    }

    /// Follows the stream until it is aborted; `part` says whether it is subscribed. It ends by itself
    /// only where something is broken that it needs.
    pub(crate) async fn run(self, part: Part) {
        let (looking, newest) = watch::channel(None);
        let (hearing, heard) = mpsc::channel(state::HEARD_MAX);
        let (entrance, sightings) = Publications::open("sightings");
        let listeners = Listeners { states: hearing.clone(), sightings: entrance };
        let mut besides = JoinSet::new();
        besides.spawn(look(self.hot.clone(), looking, hearing));
        besides.spawn(state::follow(Arc::clone(&self.hub), heard));
        besides.spawn(rising::follow(Arc::clone(&self.hub), sightings));
        besides.spawn(rising::look(Arc::clone(&self.hub)));
        tokio::select! {
            ended = besides.join_next() => error!(?ended, "a part of the feed ended"),
            () = self.follow_on(newest, listeners, part) => {}
        }
    }

    /// Follows one subscription after the other.
    async fn follow_on(
        mut self,
        newest: watch::Receiver<Option<Position>>,
        listeners: Listeners,
        part: Part,
    ) {
        loop {
            self.was_interrupted = true;
            match self.hot.subscribe(listeners.clone()).await {
                Ok(subscription) => {
                    let error = self.follow(subscription, newest.clone(), &listeners, &part).await;
                    debug!(%error, "subscription ended");
                    part.down(error.to_string());
                }
                Err(error) => {
                    part.down(error.to_string());
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Follows one subscription to its end; gives why it ended.
    async fn follow(
        &mut self,
        mut subscription: Subscription,
        mut newest: watch::Receiver<Option<Position>>,
        listeners: &Listeners,
        part: &Part,
    ) -> HotError {
        if let Err(error) = self.catch_up().await {
            sleep(RETRY_PAUSE).await;
            return error;
        }
        part.up();
        self.was_interrupted = false;
        state::look(&self.hot, &listeners.states).await;
        self.hub.watched.look_for_all();
        let (mut seen, mut silent_looks) = (None::<Position>, 0);
        loop {
            let outcome = tokio::select! {
                publication = subscription.next() => match publication {
                    Some(publication) => {
                        silent_looks = 0;
                        self.take(publication, &mut subscription).await
                    }
                    None => return HotError::Unavailable("the subscription ended".into()),
                },
                _ = newest.changed() => {
                    let look = newest.borrow_and_update().clone();
                    let is_behind = seen.as_ref().is_some_and(|seen| self.is_behind(seen));
                    seen = look;
                    match subscription.try_next() {
                        // What waits here already is not lost.
                        Some(publication) => self.take(publication, &mut subscription).await,
                        None if is_behind => {
                            silent_looks += 1;
                            debug!("a publication was lost: reading the stream");
                            self.catch_up().await
                        }
                        None => Ok(()),
                    }
                }
            };
            if let Err(error) = outcome {
                return error;
            }
            if silent_looks > SILENT_LOOKS_MAX {
                return HotError::Unavailable("nothing comes over the subscription".into());
            }
        }
    }

    fn is_behind(&self, newest: &Position) -> bool {
        self.at.as_ref().is_none_or(|at| at.epoch != newest.epoch || at.entry < newest.entry)
    }

    /// Takes in a publication and what came with it.
    async fn take(
        &mut self,
        first: Bytes,
        subscription: &mut Subscription,
    ) -> Result<(), HotError> {
        let (mut next, mut gathered) = (Some(first), Gathered::default());
        while let Some(bytes) = next.take() {
            let Ok(publication) = Publication::parse(&bytes) else {
                warn!("a publication cannot be read: reading the stream instead");
                self.tell(&mut gathered).await;
                return self.catch_up().await;
            };
            log_passage(&publication.entries);
            match self.fit(&publication) {
                Fit::Follows => self.gather(publication, &mut gathered),
                Fit::Known => {}
                Fit::Gap => {
                    self.tell(&mut gathered).await;
                    self.catch_up().await?;
                    if self.fit(&publication) == Fit::Follows {
                        self.gather(publication, &mut gathered);
                    }
                }
            }
            if gathered.bytes < BATCH_BYTES {
                next = subscription.try_next();
            }
        }
        self.tell(&mut gathered).await;
        Ok(())
    }

    /// How a publication fits to what is known.
    fn fit(&self, publication: &Publication) -> Fit {
        let Some(at) = &self.at else { return Fit::Gap };
        let Some(last) = publication.entries.last() else { return Fit::Known };
        if *at.epoch != *publication.epoch {
            return Fit::Gap;
        }
        if last.id <= at.entry {
            Fit::Known
        } else if publication.before <= at.entry {
            Fit::Follows
        } else {
            Fit::Gap
        }
    }

    /// Adds what is new of a publication that follows.
    fn gather(&mut self, publication: Publication, gathered: &mut Gathered) {
        let Some(at) = &mut self.at else { return };
        gathered.before.get_or_insert(at.entry);
        for entry in publication.entries {
            if entry.id > at.entry {
                at.entry = entry.id;
                gathered.bytes += entry.bytes();
                gathered.entries.push(entry);
            }
        }
    }

    async fn tell(&mut self, gathered: &mut Gathered) {
        let Gathered { before, entries, .. } = std::mem::take(gathered);
        if let (Some(at), Some(before)) = (&self.at, before)
            && !entries.is_empty()
        {
            let before = Position { entry: before, ..at.clone() };
            let batch = Batch::encode(before, at.entry, entries);
            self.hub.tell(News::Batch(Arc::new(batch))).await;
        }
    }

    /// Reads of the stream what was missed, up to its end.
    async fn catch_up(&mut self) -> Result<(), HotError> {
        let newest = self.hot.find_newest().await?;
        let Some(at) = self.at.clone() else {
            self.move_to(newest, None).await;
            return Ok(());
        };
        if at.epoch != newest.epoch {
            return self.change_epoch(&at, newest).await;
        }
        if newest.entry < at.entry {
            // Redis came back without its last moments.
            self.move_to(newest, Some(NotResumed::DataLost)).await;
            return Ok(());
        }
        if newest.entry > at.entry && !self.stands(at.entry).await? {
            // The process was away for longer than the stream is kept, or Redis lost this entry
            // and has gone on since.
            let reason = self.hot.find_loss(at.entry).await?;
            warn!(reason = reason.as_str(), "what was published meanwhile cannot be had");
            self.move_to(at, Some(reason)).await;
        }
        self.read_on(&newest).await
    }

    /// Whether an entry is still in the stream; its beginning always is.
    async fn stands(&self, entry: EntryId) -> Result<bool, HotError> {
        Ok(entry == EntryId::START || self.hot.has_entry(entry).await?)
    }

    /// Reads what lies behind the point that was reached.
    async fn read_on(&mut self, newest: &Position) -> Result<(), HotError> {
        while let Some(at) = self.at.clone()
            && at.entry < newest.entry
        {
            let mut rows = self.hot.read_live(next(at.entry), PAGE_ENTRIES).await?;
            // Of an epoch that began meanwhile, whose name is later: that is for the next look.
            let other = rows.iter().position(|row| *row.epoch > *at.epoch);
            rows.truncate(other.unwrap_or(rows.len()));
            if rows.is_empty() {
                break;
            }
            self.tell_rows(rows).await;
        }
        Ok(())
    }

    /// Goes on in another epoch. Where nobody listened meanwhile, something may have been missed.
    async fn change_epoch(&mut self, at: &Position, newest: Position) -> Result<(), HotError> {
        info!(epoch = &*newest.epoch, "a new epoch has begun: Redis lost data");
        let missed = self.was_interrupted.then_some(NotResumed::DataLost);
        let mut from = Position { entry: at.entry, ..newest.clone() };
        // Ids rise with the time: what is behind the old point is new. Unless the clock went back,
        // and the new epoch has entries before it.
        if newest.entry < at.entry {
            from.entry = self.before_epoch(&newest).await?;
        }
        self.move_to(from, missed).await;
        self.read_on(&newest).await
    }

    /// The entry before the first of an epoch; the newest if it has none.
    async fn before_epoch(&self, newest: &Position) -> Result<EntryId, HotError> {
        let of_epoch = |row: &LiveRow| *row.epoch == *newest.epoch;
        if !self.hot.read_live(newest.entry, 1).await?.first().is_some_and(of_epoch) {
            return Ok(newest.entry);
        }
        let mut before = EntryId::START;
        loop {
            let rows = self.hot.read_live(next(before), PAGE_ENTRIES).await?;
            if rows.is_empty() {
                return Ok(newest.entry);
            }
            for row in rows {
                if of_epoch(&row) {
                    return Ok(before);
                }
                before = row.id;
            }
        }
    }

    async fn tell_rows(&mut self, rows: Vec<LiveRow>) {
        let Some((at, last)) = self.at.as_mut().zip(rows.last().map(|row| row.id)) else { return };
        let before = at.clone();
        at.entry = last;
        let entries: Vec<_> = rows.into_iter().filter_map(|row| row.entry).collect();
        log_passage(&entries);
        let batch = Batch::encode(before, last, entries);
        self.hub.tell(News::Batch(Arc::new(batch))).await;
    }

    async fn move_to(&mut self, position: Position, missed: Option<NotResumed>) {
        self.at = Some(position.clone());
        self.hub.tell(News::Moved(position, missed)).await;
    }
}

/// How a publication fits to what is known.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// It has something new, and nothing lies between.
    Follows,
    /// It has nothing new.
    Known,
    /// Something lies between, or the epoch is another one.
    Gap,
}

/// What is to be told at once.
#[derive(Default)]
struct Gathered {
    before: Option<EntryId>,
    entries: Vec<LiveEntry>,
    bytes: usize,
}

/// Looks again and again where the stream ends, and now and then what the state is.
async fn look(
    hot: Hot,
    looking: watch::Sender<Option<Position>>,
    hearing: mpsc::Sender<(StateFeed, Bytes)>,
) {
    for number in 1_u64.. {
        sleep(LOOK_INTERVAL).await;
        if number.is_multiple_of(LOOKS_PER_STATE) {
            state::look(&hot, &hearing).await;
        }
        match hot.find_newest().await {
            Ok(newest) => {
                looking.send_replace(Some(newest));
            }
            Err(error) => debug!(%error, "cannot look where the stream ends"),
        }
    }
}

/// The id that may follow at once.
fn next(id: EntryId) -> EntryId {
    EntryId { number: id.number + 1, ..id }
}

/// The id of the request that brought a message stands in the log of every service it passes.
fn log_passage(entries: &[LiveEntry]) {
    if tracing::enabled!(tracing::Level::DEBUG) {
        for entry in entries {
            debug!(request.id = &*entry.request_id, entry.id = %entry.id, "passing on");
        }
    }
}
