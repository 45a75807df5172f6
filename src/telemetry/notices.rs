//! Warnings and errors of the last hour, as the operational log has them: what `veild status` shows beside the state.
//!
//! Every alert is a line with a `code`, so whoever logs one need not tell status as well.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Most different notices that are kept; further ones are only logged.
const MAX_NOTICES: usize = 200;
/// A notice that has not come again for this long is over.
const LASTS: SignedDuration = SignedDuration::from_hours(1);
/// Codes of what lasts, and is said only once.
const STANDING: [&str; 2] = ["lease_unavailable", "audit_truncated"];

/// Lines of one code about one landing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    pub code: String,
    pub landing: Option<String>,
    /// `error` or `warn`.
    pub level: &'static str,
    pub since: Timestamp,
    pub last: Timestamp,
    pub times: u64,
    /// The last of the lines.
    pub what: String,
}

/// The notices of this process, as there is one log of it.
static BOARD: Mutex<Board> = Mutex::new(Board { notices: BTreeMap::new() });

struct Board {
    notices: BTreeMap<(String, Option<String>), Notice>,
}

impl Board {
    fn post(&mut self, line: Line, level: &'static str, now: Timestamp) {
        let Some(code) = line.code else { return };
        self.forget(now);
        let key = (code.clone(), line.landing.clone());
        if let Some(notice) = self.notices.get_mut(&key) {
            (notice.last, notice.times, notice.what) = (now, notice.times + 1, line.what);
        } else if self.notices.len() < MAX_NOTICES {
            let (landing, what) = (line.landing, line.what);
            self.notices.insert(key, Notice { code, landing, level, since: now, last: now, times: 1, what });
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.notices
            .retain(|(code, _), notice| STANDING.contains(&code.as_str()) || now.duration_since(notice.last) < LASTS);
    }
}

/// What is posted and not yet over, the most recent first.
pub fn current(now: Timestamp) -> Vec<Notice> {
    let mut board = BOARD.lock().unwrap_or_else(PoisonError::into_inner);
    board.forget(now);
    let mut notices: Vec<Notice> = board.notices.values().cloned().collect();
    notices.sort_by_key(|notice| std::cmp::Reverse(notice.last));
    notices
}

/// The part of the log's subscriber that posts.
pub(super) struct Posting;

impl<S: Subscriber> Layer<S> for Posting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let mut line = Line::default();
        event.record(&mut line);
        BOARD.lock().unwrap_or_else(PoisonError::into_inner).post(line, level, Timestamp::now());
    }
}

/// The fields of a log line that a notice keeps.
#[derive(Default)]
struct Line {
    code: Option<String>,
    landing: Option<String>,
    what: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "code" => self.code = Some(value.to_owned()),
            "landing" => self.landing = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.what = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(code: &str, landing: &str) -> Line {
        Line { code: Some(code.to_owned()), landing: Some(landing.to_owned()), what: "what".to_owned() }
    }

    #[test]
    fn notices_count_their_repeats_and_end_after_an_hour() {
        let mut board = Board { notices: BTreeMap::new() };
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        board.post(line("claim_failed", "hr"), "error", at(0));
        board.post(line("claim_failed", "hr"), "error", at(50));
        board.post(line("claim_failed", "sales"), "error", at(50));
        board.post(line("lease_unavailable", "hr"), "warn", at(0));
        board.post(Line::default(), "warn", at(50));
        let repeated = &board.notices[&("claim_failed".to_owned(), Some("hr".to_owned()))];
        assert_eq!((repeated.times, repeated.since, repeated.last), (2, at(0), at(50)));
        assert_eq!(board.notices.len(), 3);
        board.forget(at(111));
        let left: Vec<&str> = board.notices.values().map(|notice| notice.code.as_str()).collect();
        assert_eq!(left, ["lease_unavailable"]);
    }

    #[test]
    fn the_board_is_bounded() {
        let mut board = Board { notices: BTreeMap::new() };
        for index in 0..2 * MAX_NOTICES {
            board.post(line("claim_failed", &index.to_string()), "error", Timestamp::UNIX_EPOCH);
        }
        assert_eq!(board.notices.len(), MAX_NOTICES);
    }
}
