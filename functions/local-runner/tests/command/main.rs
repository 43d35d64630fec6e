//! The real binary against an S3 in this process, driven as a user drives it.

mod refusals;
mod runs;
mod signals;
mod usage;
mod world;
