//! Rooms: stories, and laws.

mod service;
mod stories;
mod world;
