//! What vendors pack dumps with: the usual programs, not the libraries that unpack here.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A way to pack a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    None,
    Gzip,
    /// Two members, as two gzips that were appended.
    GzipTwice,
    Zstd,
    Bzip2,
    /// From a file: sizes stand before the data.
    Zip,
    /// From a pipe: sizes stand after it.
    ZipStreamed,
}

impl Packing {
    pub(crate) const ALL: [Packing; 7] = [
        Packing::None,
        Packing::Gzip,
        Packing::GzipTwice,
        Packing::Zstd,
        Packing::Bzip2,
        Packing::Zip,
        Packing::ZipStreamed,
    ];

    pub(crate) fn pack(self, dump: &[u8]) -> Result<Vec<u8>> {
        match self {
            Packing::None => Ok(dump.to_vec()),
            Packing::Gzip => through(&["gzip", "-c"], dump),
            Packing::GzipTwice => {
                let (first, second) = dump.split_at(dump.len() / 2);
                Ok([through(&["gzip", "-c"], first)?, through(&["gzip", "-c"], second)?].concat())
            }
            Packing::Zstd => through(&["zstd", "-c", "-q"], dump),
            Packing::Bzip2 => through(&["bzip2", "-c"], dump),
            Packing::Zip => zip(&[("dump.sql", dump)]),
            Packing::ZipStreamed => through(&["zip", "-q", "-", "-"], dump),
        }
    }
}

/// A zip archive of these files.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content)?;
    }
    let mut command = Command::new("zip");
    command.args(["-q", "packed.zip"]).args(files.iter().map(|file| file.0)).current_dir(folder.path());
    ensure!(command.status().context("zip")?.success());
    Ok(std::fs::read(folder.path().join("packed.zip"))?)
}

fn through(argv: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let mut command = Command::new(argv[0]);
    let mut child = command
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context(argv[0].to_owned())?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })?;
    ensure!(output.status.success(), "{argv:?}: {}", output.status);
    Ok(output.stdout)
}
