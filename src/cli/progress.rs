//! Shows how far it is: a bar on a terminal, plain lines elsewhere, on stderr.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape;
use super::show::{count, duration, plural};
use crate::admin::{Event, File, Progress, Unit};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What a JSON document says besides its result. std Mutex: never held across an await.
#[derive(Clone, Default)]
pub(super) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub(super) fn add(&self, warning: &str) {
        self.all().push(warning.to_owned());
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.all())
    }

    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Display {
    what: &'static str,
    is_terminal: bool,
    warnings: Warnings,
    /// Made by the first batch of a row of them, cleared after the last.
    bar: Mutex<Option<ProgressBar>>,
    last_line: Mutex<Option<Instant>>,
}

impl Display {
    pub(super) fn new(is_terminal: bool, warnings: Warnings, what: &'static str) -> Self {
        Self { what, is_terminal, warnings, bar: Mutex::default(), last_line: Mutex::default() }
    }

    pub(super) fn show(&self, event: &Event) {
        match event {
            Event::Waiting { holders } => {
                let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
                self.line(&format!("waiting for another migrator: {}", holders.join(", ")));
            }
            Event::Started { version, title } => self.line(&format!("{version:03}  {title} …")),
            Event::Retrying { what, blockers, pause } => {
                let blockers: Vec<String> = blockers.iter().map(ToString::to_string).collect();
                let by =
                    if blockers.is_empty() { String::new() } else { format!(" by {}", blockers.join(", ")) };
                self.line(&format!("     {what} is held up{by}; again in {} ms", pause.as_millis()));
            }
            Event::Batch(progress) => self.batch(progress),
            Event::Applied { version, elapsed } => {
                self.end();
                let name = File::of_version(*version).map_or("", |file| file.name);
                self.line(&format!("{version:03}  {name} applied ({})", duration(*elapsed)));
            }
            Event::Warning(warning) => {
                self.warnings.add(warning);
                self.line(&format!("warning: {warning}"));
            }
        }
    }

    pub(super) fn line(&self, line: &str) {
        match self.bar().as_ref() {
            Some(bar) => bar.suspend(|| eprint_line(line)),
            None => eprint_line(line),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }

    fn batch(&self, progress: &Progress) {
        if self.is_terminal {
            let mut bar = self.bar();
            let bar = bar.get_or_insert_with(|| new_bar(self.what));
            bar.set_length(progress.total.unsigned_abs());
            bar.set_position(progress.done.unsigned_abs());
            bar.set_message(format!(
                "{} of {}{}",
                count(progress.done),
                count(progress.total),
                pace(progress)
            ));
            return;
        }
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        // The first one is due after a while: what is done sooner needs no progress.
        let due = last.get_or_insert_with(Instant::now);
        if due.elapsed() >= LINE_EVERY {
            *due = Instant::now();
            eprint_line(&format!("     {}", text(progress)));
        }
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix} {bar:20} {percent:>3} % {wide_msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_prefix(what)
}

fn eprint_line(line: &str) {
    // It names sessions that others opened.
    let _ = writeln!(io::stderr(), "{}", escape::for_terminal(line, false));
}

fn text(progress: &Progress) -> String {
    let total = match progress.unit {
        Unit::Business => plural(progress.total, "business", "businesses"),
        Unit::Value => plural(progress.total, "value", "values"),
    };
    format!("{} of {total}{}", count(progress.done), pace(progress))
}

fn pace(progress: &Progress) -> String {
    let left = progress.left.map_or_else(String::new, |left| format!(", {} left", duration(left)));
    #[expect(clippy::cast_possible_truncation, reason = "far below 2^63, and shown without a fraction")]
    let rate = progress.per_second.round() as i64;
    let rate = match progress.unit {
        Unit::Business => plural(rate, "secret", "secrets"),
        Unit::Value => plural(rate, "value", "values"),
    };
    format!(", {rate}/s{left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let progress = Progress {
            unit: Unit::Business,
            done: 25_000,
            total: 100_000,
            secrets: 200_000,
            per_second: 6_120.4,
            left: Some(Duration::from_secs(98)),
        };
        assert_eq!(text(&progress), "25,000 of 100,000 businesses, 6,120 secrets/s, 1 min 38 s left");
        let last = Progress { unit: Unit::Value, done: 0, total: 1, secrets: 1, per_second: 1.0, left: None };
        assert_eq!(text(&last), "0 of 1 value, 1 value/s");
    }
}
