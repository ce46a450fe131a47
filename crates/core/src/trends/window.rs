//! Comparison windows.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// The time between a sample and the earlier sample that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Window {
    /// Five seconds: a comparison with the previous sample.
    #[serde(rename = "5s")]
    FiveSeconds,
    /// One minute.
    #[serde(rename = "1m")]
    Minute,
    /// Five minutes.
    #[serde(rename = "5m")]
    FiveMinutes,
    /// One hour.
    #[serde(rename = "1h")]
    Hour,
    /// One day.
    #[serde(rename = "24h")]
    Day,
}

impl Window {
    /// All windows, shortest first.
    pub const ALL: [Self; 5] =
        [Self::FiveSeconds, Self::Minute, Self::FiveMinutes, Self::Hour, Self::Day];

    /// Returns the duration of the window.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::FiveSeconds => 5,
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }

    /// Returns the text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveSeconds => "5s",
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "24h",
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Window {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let window = Self::ALL.into_iter().find(|window| window.as_str() == text);
        window.ok_or("must be 5s, 1m, 5m, 1h or 24h")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_round_trips() {
        for window in Window::ALL {
            assert_eq!(window.to_string().parse(), Ok(window));
            assert_eq!(serde_json::to_string(&window).ok(), Some(format!("\"{window}\"")));
        }
        assert!("2m".parse::<Window>().is_err());
    }
}
