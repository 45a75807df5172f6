//! Lines that would repeat: each is let through at once, then ever more seldom.

use std::collections::HashMap;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Most different lines that are remembered; when there are more, all are forgotten.
const MAX_LINES: usize = 1000;

/// What has been said lately.
#[derive(Default)]
pub struct Throttle {
    /// When a line may be said again, and the pause after that.
    said: HashMap<String, (Duration, Duration)>,
}

impl Throttle {
    /// Whether a line may be said now; if so it counts as said.
    pub fn lets_through(&mut self, line: String, now: Duration) -> bool {
        if self.said.len() >= MAX_LINES {
            self.said.clear();
        }
        match self.said.get_mut(&line) {
            Some((at, _)) if now < *at => false,
            Some((at, pause)) => {
                // One that has been silent for long begins anew.
                *pause = if now > *at + LONGEST_PAUSE { FIRST_PAUSE } else { (*pause * 2).min(LONGEST_PAUSE) };
                *at = now + *pause;
                true
            }
            None => {
                self.said.insert(line, (now + FIRST_PAUSE, FIRST_PAUSE));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_repeats_ever_more_seldom() {
        let mut throttle = Throttle::default();
        let said = (0..7200).filter(|&at| throttle.lets_through("x".to_owned(), Duration::from_secs(at))).count();
        assert_eq!(said, 7, "at 0, 60, 180, 420, 900, 1860, 3780 seconds");
        assert!(throttle.lets_through("another".to_owned(), Duration::ZERO));
        assert!(throttle.lets_through("x".to_owned(), Duration::from_secs(20_000)));
        assert!(throttle.lets_through("x".to_owned(), Duration::from_secs(20_060)));
    }
}
