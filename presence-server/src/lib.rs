#![doc = include_str!("../README.md")]

pub mod config;
pub mod demo;
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
pub use run::{RunError, Server, run};
pub use state::{AppState, Settings};
