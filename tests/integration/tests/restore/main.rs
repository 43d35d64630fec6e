//! Dumps of real servers, made by their own tools, replicated, and brought back by the real
//! binary into real servers.

mod faults;
mod origins;
mod packing;
mod returns;
mod world;
