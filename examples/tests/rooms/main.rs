//! The examples around rooms against a server on a real port: a page in a browser, and a client in a terminal.

mod client;
mod page;
mod support;
