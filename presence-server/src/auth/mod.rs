//! Who may do what: bearer tokens of users, and the key of operators.
//!
//! Nothing here reads a clock or a header by itself: a token is judged by its text, the keys and the time.

mod access;
mod admin_keys;
mod claims;
mod failures;
pub(crate) mod guard;
mod principal;
mod secret;
mod tokens;

pub(crate) use self::guard::{Credential, MISSING};
pub use self::{
    access::{Access, Denied},
    admin_keys::{AdminKeys, BadKeys},
    principal::Principal,
    secret::{Secret, WeakSecret},
    tokens::{BadToken, Tokens},
};
