//! The real binary against an S3 in this process, driven as a user drives it.

mod as_of;
mod doctor;
mod downloads;
mod downloads_cut;
mod lists;
mod refusals;
mod rotation;
mod runs;
mod signals;
mod usage;
mod verifications;
mod world;
