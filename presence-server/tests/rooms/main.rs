//! Rooms on a real port: sockets that are read and written byte by byte.

mod client;
mod frames;
mod members;
mod world;
