//! The real shell and engine over a fake API server in virtual time.
