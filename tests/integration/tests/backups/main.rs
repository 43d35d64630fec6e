//! `local-runner ls`, `download` and `rotate` on MinIO: with what a real server keeps, refuses
//! and protects.

mod as_of;
mod downloads;
mod rotation;
