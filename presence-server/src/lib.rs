#![doc = include_str!("../README.md")]

pub mod config;
mod extract;
pub mod healthcheck;
pub mod jobs;
mod problem;
mod router;
mod routes;
mod run;
pub mod serve;
mod state;
mod storage;

pub use router::app;
pub use run::{RunError, run};
pub use state::{AppState, Settings};
