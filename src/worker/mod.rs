//! Worker processes: the only places where plaintext is read.
//!
//! A worker is `veild worker` with one end of a Unix socket pair as its standard input. It gets one task at a time with
//! the input and output descriptors passed along, opens no path, and answers with one reply. It ends when the socket
//! does.

pub mod message;
pub mod pool;
pub mod serve;
