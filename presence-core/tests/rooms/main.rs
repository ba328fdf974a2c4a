//! Rooms: stories, and laws.

mod model;
mod service;
mod stories;
mod world;
