//! Runnable examples: `cargo run --example NAME` from the root. Each asserts what it shows, and runs in the tests.
