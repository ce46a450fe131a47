//! How far it is: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal as _, stderr};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::remark;

const KNOWN: &str = "{wide_bar} {human_pos} of {human_len} {msg}, {eta} left";
const UNKNOWN: &str = "{spinner} {human_pos} {msg}";

/// What is shown on the way.
#[derive(Debug)]
pub(super) enum Progress {
    Bar(ProgressBar),
    /// A line each time so many more are done.
    Lines {
        what: &'static str,
        of: Option<u64>,
        every: u64,
        done: u64,
    },
}

impl Progress {
    /// So many of something, as far as that is known, with a line for every so many.
    pub(super) fn new(what: &'static str, of: Option<u64>, every: u64) -> Self {
        if !stderr().is_terminal() {
            return Self::Lines { what, of, every: every.max(1), done: 0 };
        }
        let bar = of.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if of.is_some() { KNOWN } else { UNKNOWN };
        let style = ProgressStyle::with_template(template)
            .expect("invariant: the templates are well formed");
        Self::Bar(bar.with_style(style).with_message(what))
    }

    /// The same as one of several bars, each below the one before.
    pub(super) fn among(self, bars: &MultiProgress) -> Self {
        match self {
            Self::Bar(bar) => Self::Bar(bars.add(bar)),
            lines @ Self::Lines { .. } => lines,
        }
    }

    pub(super) fn add(&mut self, count: u64) {
        match self {
            Self::Bar(bar) => bar.inc(count),
            Self::Lines { what, of, every, done } => {
                let before = *done / *every;
                *done += count;
                if *done / *every > before || *of == Some(*done) {
                    let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
                    remark(&format!("{done}{of} {what}"));
                }
            }
        }
    }

    /// Takes the bar away, so that what is said next stands where it stood.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
