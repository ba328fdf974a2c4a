//! Rooms on a real port: sockets that are read and written byte by byte.

mod client;
mod crowd;
mod faults;
mod frames;
mod lists;
mod members;
mod nodes;
mod server;
mod store;
mod transcript;
mod world;
