//! Rooms on a real port: sockets that are read and written byte by byte.

mod client;
mod crowd;
mod frames;
mod members;
mod transcript;
mod world;
