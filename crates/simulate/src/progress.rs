//! Progress output: a bar if standard error is a terminal, otherwise periodic lines.

use std::io::{IsTerminal as _, stderr};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mayfly_live_client::terminal::print_err;

const BAR_TEMPLATE: &str = "{wide_bar} {human_pos} of {human_len} {msg}, {eta} left";
const SPINNER_TEMPLATE: &str = "{spinner} {human_pos} {msg}";

/// The progress of a simulation.
#[derive(Debug)]
pub(crate) enum Progress {
    Bar(ProgressBar),
    /// Prints a line after every `step` items and after the last item.
    Lines {
        items: &'static str,
        total: Option<u64>,
        step: u64,
        done: u64,
    },
}

impl Progress {
    /// Creates the progress output. `total` is `None` if the number of items is unknown.
    pub(crate) fn new(items: &'static str, total: Option<u64>, step: u64) -> Self {
        if !stderr().is_terminal() {
            return Self::Lines { items, total, step: step.max(1), done: 0 };
        }
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if total.is_some() { BAR_TEMPLATE } else { SPINNER_TEMPLATE };
        let style =
            ProgressStyle::with_template(template).expect("invariant: the templates are valid");
        Self::Bar(bar.with_style(style).with_message(items))
    }

    /// Adds the bar below the other bars in `bars`. Does nothing for lines.
    pub(crate) fn attach_to(self, bars: &MultiProgress) -> Self {
        match self {
            Self::Bar(bar) => Self::Bar(bars.add(bar)),
            lines @ Self::Lines { .. } => lines,
        }
    }

    pub(crate) fn add(&mut self, count: u64) {
        match self {
            Self::Bar(bar) => bar.inc(count),
            Self::Lines { items, total, step, done } => {
                let before = *done / *step;
                *done += count;
                if *done / *step > before || *total == Some(*done) {
                    let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
                    print_err(&format!("{done}{total} {items}"));
                }
            }
        }
    }

    /// Clears the bar, so that the next output takes its place.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
