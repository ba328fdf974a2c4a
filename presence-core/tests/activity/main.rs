//! Active users: stories, laws against an oracle that shares no code, and days in every zone.

mod laws;
mod stories;
mod world;
mod zones;
