//! What the engine promises, proven over HTTP on s3-sim: it copies exactly what is new or
//! changed, exactly as it is, whatever fails, whoever writes meanwhile, whenever it stops.

mod changes;
mod faults;
mod fidelity;
mod fixture;
mod kills;
mod lacks;
mod leases;
mod listing;
mod model;
mod multipart;
mod pieces;
mod remains;
mod reports;
mod requests;
mod resumes;
mod rights;
mod stops;
mod streams;
mod verifications;
