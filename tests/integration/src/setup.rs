//! Where `tests/setup` puts what the tests run on.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A program in the cache folder, such as `bin/minio` or `venv/bin/cargo-lambda`.
pub fn tool(path: &str) -> Result<PathBuf> {
    let program = cache_folder()?.join(path);
    ensure!(program.is_file(), "{} is missing: run tests/run once: it sets it up", program.display());
    Ok(program)
}

/// A release binary of this workspace, such as `replicator`.
///
/// There is no fallback to a debug build: it would be another program (slower, with other
/// overflow rules), and perhaps an older one.
pub fn release_binary(name: &str) -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let program = target.join("release").join(name);
    ensure!(
        program.is_file(),
        "{} is missing: run tests/run: it builds the release binaries",
        program.display()
    );
    Ok(program)
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => env::home_dir().context("no home folder: set HOME or XDG_CACHE_HOME")?.join(".cache"),
    };
    Ok(base.join("replicator"))
}
