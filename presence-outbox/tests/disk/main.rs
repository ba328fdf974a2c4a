//! The outbox on a real disk.

mod directory;
mod erasure;
#[cfg(target_os = "linux")]
mod full_disk;
mod golden;
mod kill;
mod stories;
mod world;
