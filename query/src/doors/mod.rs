//! How people and programs that are not the shell reach the engine.

pub mod http;
