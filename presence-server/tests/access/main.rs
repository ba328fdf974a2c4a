//! Who may do what: tokens, keys, and what a server shows of its secrets.

mod bad_tokens;
mod cors;
mod forge;
mod keys;
mod matrix;
mod process;
mod server;
mod spoof;
mod tokens;
