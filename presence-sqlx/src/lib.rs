//! The PostgreSQL store of presence-core.
