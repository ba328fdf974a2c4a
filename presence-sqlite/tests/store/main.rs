//! What the SQLite store promises beyond the ports, and the flows that only it has.

mod activity;
mod erasure;
mod files;
mod outside;
mod summaries;
mod support;
mod sweeps;
