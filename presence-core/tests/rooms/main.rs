//! Rooms: stories, and laws.

mod stories;
mod world;
