//! Fixed limits. They are constants because clients may rely on them; limits that operators can
//! change are part of the configuration.

use std::time::Duration;

/// Maximum length of a channel, in characters.
pub const CHANNEL_CHARS_MAX: usize = 64;
/// Maximum length of a username, in characters.
pub const USERNAME_CHARS_MAX: usize = 200;
/// Maximum length of a text, in characters.
pub const TEXT_CHARS_MAX: usize = 4_096;
/// Maximum length of a city or a state, in characters.
pub const PLACE_CHARS_MAX: usize = 64;
/// Maximum nesting depth of `data`, in levels.
pub const DOCUMENT_LEVELS_MAX: usize = 64;
/// Maximum size of a message as sent, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of messages in a batch.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
/// Maximum size of a batch as sent, in bytes.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum time to live: seven days.
pub const TTL_MAX: Duration = Duration::from_secs(604_800);
/// Time to live of a message if the request does not specify one.
pub const TTL_DEFAULT: Duration = Duration::from_secs(60);
/// Maximum number of items in the response to a list request or a take.
pub const PAGE_ITEMS_MAX: u32 = 1_000;
/// Maximum number of items on a page if the request does not specify a limit.
pub const PAGE_ITEMS_DEFAULT: u32 = 50;
/// Maximum total size of the items in the response to a list request or a take, in bytes.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Maximum length of a video ID, in characters.
pub const VIDEO_ID_CHARS_MAX: usize = 128;
/// Maximum length of a play ID, in characters.
pub const PLAY_ID_CHARS_MAX: usize = 128;
/// Maximum number of plays in a request.
pub const PLAYS_MAX: usize = 1_000;
/// Time after a report of a play during which another report with the same video ID and play ID is
/// not counted.
pub const PLAY_ID_RETENTION: Duration = Duration::from_secs(24 * 3_600);
/// Play counts below this value are published without delay; other counts are published at most
/// once per `plays.interval`.
pub const IMMEDIATE_COUNTS_BELOW: u64 = 100;
/// Maximum number of videos in a `plays` frame.
pub const FRAME_VIDEOS_MAX: usize = 20;
/// Maximum length of a host, in characters.
pub const HOST_CHARS_MAX: usize = 253;
/// Maximum length of a path, in characters.
pub const PATH_CHARS_MAX: usize = 1_024;
/// Maximum length of a title, in characters.
pub const TITLE_CHARS_MAX: usize = 256;
/// Maximum length of a visitor ID, in characters.
pub const VISITOR_CHARS_MAX: usize = 128;
/// Maximum number of visits in a request.
pub const VISITS_MAX: usize = 1_000;
/// Maximum number of pages in a sample.
pub const SAMPLE_PAGES_MAX: usize = 100;
/// Time span of a history if the request does not specify one.
pub const HISTORY_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Maximum length of an API key for the visitor source, in characters.
pub const SOURCE_KEY_CHARS_MAX: usize = 256;
/// Minimum interval between two calls to the visitor source for one host.
pub const SOURCE_CALL_INTERVAL: Duration = Duration::from_secs(3);
/// Maximum pause between calls to the visitor source, even if the source requests a longer one.
pub const SOURCE_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
/// Maximum number of hosts that are sampled because clients watch them; also the maximum number of
/// hosts that are waiting for a requested call to the visitor source.
pub const WATCHED_HOSTS_MAX: usize = 1_000;
/// How long individual samples are stored.
pub const SAMPLE_RETENTION: Duration = Duration::from_secs(48 * 3_600);
/// How long hourly rollups are stored; also the maximum time span of a history.
pub const HOURLY_RETENTION: Duration = Duration::from_secs(400 * 24 * 3_600);
/// Maximum number of API keys, including revoked ones.
pub const API_KEYS_MAX: usize = 100_000;
/// Maximum length of the API key prefix that lists show, in characters.
pub const API_KEY_START_CHARS: usize = 8;
/// Maximum number of hosts that an API key grants access to.
pub const API_KEY_HOSTS_MAX: usize = 1_000;
/// Maximum length of the ID of a token, the claim `jti`, in characters.
pub const TOKEN_ID_CHARS_MAX: usize = 128;
/// Maximum number of token revocations.
pub const TOKEN_REVOCATIONS_MAX: usize = 100_000;
/// Maximum number of field errors in a response.
pub const FIELD_ERRORS_MAX: usize = 100;
/// Maximum length of an `Idempotency-Key`, in characters.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;
/// How long the response to a write is stored under its `Idempotency-Key`.
pub const WRITE_IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 3_600);
/// How long the response to a take is stored under its `Idempotency-Key`.
pub const TAKE_IDEMPOTENCY_TTL: Duration = Duration::from_secs(600);
