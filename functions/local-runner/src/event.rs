//! `--event`: the request as the Lambda takes it, from a file or stdin.

use std::io::{self, Read};
use std::path::Path;

use bucket_copy::Request;

use crate::exit::Usage;

/// Reads the request in `file`; `-` is stdin.
pub(crate) fn read(file: &Path) -> anyhow::Result<Request> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|cause| Usage::EventFile { file: file.to_owned(), cause })?;
    Ok(replicator::event::parse(&text)?)
}
