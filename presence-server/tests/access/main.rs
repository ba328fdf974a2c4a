//! Who may do what: tokens, keys, and what a server shows of its secrets.

mod bad_tokens;
mod forge;
mod tokens;
