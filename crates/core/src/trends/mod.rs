//! Page visits and the trends derived from them.

mod history;
mod host;
mod ranking;
mod sample;
mod score;
mod trend;
mod visit;
mod window;

pub use history::{History, HistoryHour, HourOfDay, HourTotals};
pub use host::{Host, PagePath, PageTitle};
pub use ranking::{Increase, RankedPage, TrendRanking};
pub use sample::{PageVisitors, Sample};
pub use score::score;
pub use trend::{PageTrend, TrendSnapshot};
pub use visit::{CLASSES, ShortHash, Visit, Visitor, split_visits};
pub use window::Window;
