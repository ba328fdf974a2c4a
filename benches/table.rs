//! One table for all goals: ours, what it is held against, the ratio, and the goal.

use std::time::Instant;

/// Prints the names of the columns.
pub fn head() {
    row("", "ours", "against", "ratio", "goal");
}

/// Prints a row.
pub fn row(name: &str, ours: &str, against: &str, ratio: &str, goal: &str) {
    println!("{name:58} {ours:>14} {against:>14} {ratio:>8}  {goal}");
}

/// The middle one of some figures.
///
/// # Panics
///
/// Where there are none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// How long something takes, in seconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}
