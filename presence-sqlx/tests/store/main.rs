//! What the store does on a database that others use as well, and on a way there that breaks.

mod activity;
mod audit;
mod content;
mod nodes;
mod summaries;
mod support;
mod trips;
mod trouble;
mod wakes;
