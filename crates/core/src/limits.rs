//! The limits that a client can run into, by name and unit. They are part of the contract and
//! therefore constants; what an operator may choose stands in the configuration instead.

use std::time::Duration;

/// Characters of a channel's name.
pub const CHANNEL_CHARS_MAX: usize = 64;
/// Characters of a username.
pub const USERNAME_CHARS_MAX: usize = 200;
/// Characters of a text.
pub const TEXT_CHARS_MAX: usize = 4_096;
/// Characters of a city or a state.
pub const PLACE_CHARS_MAX: usize = 64;
/// How deep arrays and objects may nest in `data`.
pub const DOCUMENT_LEVELS_MAX: usize = 64;
/// Bytes of one message as it was sent.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Messages of one batch.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
/// Bytes of one batch as it was sent.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest time to live: seven days.
pub const TTL_MAX: Duration = Duration::from_secs(604_800);
/// Time to live of a message that does not name one.
pub const TTL_DEFAULT: Duration = Duration::from_secs(60);
/// Items of one page, inbox or take.
pub const PAGE_ITEMS_MAX: u32 = 1_000;
/// Items of a page that does not name a limit.
pub const PAGE_ITEMS_DEFAULT: u32 = 50;
/// Bytes of items in one answer of a list, an inbox or a take.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of the id of a video.
pub const VIDEO_ID_CHARS_MAX: usize = 128;
/// Characters of the id of a play.
pub const PLAY_ID_CHARS_MAX: usize = 128;
/// Plays of one request.
pub const PLAYS_MAX: usize = 1_000;
/// How long a play is known by its id.
pub const PLAY_KNOWN_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Counts below this are published at once, others at the tick.
pub const SMALL_COUNT_BELOW: u64 = 100;
/// Videos of one frame of counts.
pub const FRAME_VIDEOS_MAX: usize = 20;
/// Characters of the name of a host.
pub const HOST_CHARS_MAX: usize = 253;
/// Characters of the path of a page.
pub const PATH_CHARS_MAX: usize = 1_024;
/// Characters of the title of a page.
pub const TITLE_CHARS_MAX: usize = 256;
/// Characters of what a visitor is known by.
pub const VISITOR_CHARS_MAX: usize = 128;
/// Visits of one request.
pub const VISITS_MAX: usize = 1_000;
/// Pages of one sample.
pub const SAMPLE_PAGES_MAX: usize = 100;
/// How much of the history of a page is shown where nothing is said.
pub const HISTORY_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Characters of a key of the source of visitors.
pub const SOURCE_KEY_CHARS_MAX: usize = 256;
/// How long the source of visitors is left alone about a host that it was asked for.
pub const SOURCE_SPACING: Duration = Duration::from_secs(3);
/// Hosts that are sampled because somebody watches them, or asked for them a moment ago.
pub const WATCHED_HOSTS_MAX: usize = 1_000;
/// How long samples are kept one by one.
pub const SAMPLES_KEPT_FOR: Duration = Duration::from_secs(48 * 3_600);
/// How long the hours are kept that samples are rolled up into; one history shows no more.
pub const HOURS_KEPT_FOR: Duration = Duration::from_secs(400 * 24 * 3_600);
/// API keys that there may be, revoked ones among them.
pub const API_KEYS_MAX: usize = 100_000;
/// Characters at the beginning of an API key that tell it from others in a list.
pub const API_KEY_START_CHARS: usize = 8;
/// Hosts that one API key opens.
pub const API_KEY_HOSTS_MAX: usize = 1_000;
/// Wrong fields that one answer names.
pub const FIELD_ERRORS_MAX: usize = 100;
/// Characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;
/// How long a write is known by its `Idempotency-Key`.
pub const WRITE_REPEATABLE_FOR: Duration = Duration::from_secs(24 * 3_600);
/// How long a take is known by its `Idempotency-Key`.
pub const TAKE_REPEATABLE_FOR: Duration = Duration::from_secs(600);
