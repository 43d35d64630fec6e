//! The directory that receives a download. Every path below it is walked through `cap-std`,
//! which refuses whatever leads out of it: `..`, absolute paths, and links, also those that
//! somebody puts there meanwhile.
//!
//! Files are made in a work folder inside it, and get their names when they are verified.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

/// Where files are made, below the target.
pub(crate) const WORK_FOLDER: &str = ".local-runner-download";
const LOCK: &str = "lock";
/// What a partial download is kept in, to be continued: its bytes, and which of them are there.
pub(super) const PART: &str = ".part";
pub(super) const STATE: &str = ".state";

/// Why a directory cannot be downloaded into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("there is no directory {}: make it, or say --create (-f true)", .0.display())]
    Missing(PathBuf),
    #[error("{} is no directory that can be written to", .0.display())]
    Unusable(PathBuf, #[source] io::Error),
    #[error("another download into {} is under way: wait for its end", .0.display())]
    Busy(PathBuf),
}

/// What is at a place already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Nothing,
    File {
        size: u64,
        modified: SystemTime,
        /// This run has put it there.
        ours: bool,
    },
    Folder,
    /// A link, a device: what is neither followed nor replaced.
    Other,
}

/// Why a file did not get its name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unplaced {
    #[error("a folder stands in its place: other objects' keys begin with its own and `/`")]
    Folder,
    #[error("a file stands where its folder should be: an object's key is the beginning of its own")]
    FileAbove,
    #[error("a link or a special file stands in its place, which is neither followed nor replaced")]
    Special,
    #[error("its path leads through a link out of the directory")]
    Outside,
    #[error(
        "another file came to stand in its place meanwhile: this file system takes two keys for one name, or another program writes here"
    )]
    Taken,
    #[error("its file cannot be written ({0})")]
    Io(io::Error),
}

impl From<io::Error> for Unplaced {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::FileAbove,
            ErrorKind::IsADirectory => Self::Folder,
            // How cap-std refuses to leave the directory: with no code of the system's.
            ErrorKind::PermissionDenied if error.raw_os_error().is_none() => Self::Outside,
            _ => Self::Io(error),
        }
    }
}

/// A directory that receives a download, locked against another one.
pub(crate) struct Target {
    root: Dir,
    work: Dir,
    /// From when on files are this run's.
    began: Stamp,
    names: AtomicU64,
    /// Held while a file gets its name; the folder that was made last.
    placing: Mutex<PathBuf>,
    lock: File,
}

impl Target {
    pub(crate) fn open(path: &Path, create: bool) -> Result<Self, TargetError> {
        let unusable = |error| TargetError::Unusable(path.to_owned(), error);
        if create {
            std::fs::create_dir_all(path).map_err(unusable)?;
        }
        let root = Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| match error.kind() {
            ErrorKind::NotFound => TargetError::Missing(path.to_owned()),
            _ => unusable(error),
        })?;
        match root.create_dir(WORK_FOLDER) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(unusable(error)),
            _ => {}
        }
        // Not through a link: what is found in there is cleared away.
        if !root.symlink_metadata(WORK_FOLDER).map_err(unusable)?.is_dir() {
            return Err(unusable(ErrorKind::NotADirectory.into()));
        }
        let work = root.open_dir(WORK_FOLDER).map_err(unusable)?;
        let lock = work.open_with(LOCK, OpenOptions::new().create(true).write(true)).map_err(unusable)?;
        let lock = lock.into_std();
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => TargetError::Busy(path.to_owned()),
            std::fs::TryLockError::Error(error) => unusable(error),
        })?;
        clear(&work).map_err(unusable)?;
        let began = tick(&work).map_err(unusable)?;
        let (names, placing) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { root, work, began, names, placing, lock })
    }

    /// What is at `path`.
    pub(crate) fn existing(&self, path: &Path) -> Result<Existing, Unplaced> {
        let metadata = match self.root.symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Existing::Nothing),
            Err(error) => return Err(error.into()),
        };
        Ok(if metadata.is_file() {
            Existing::File {
                size: metadata.len(),
                modified: metadata.modified()?.into_std(),
                ours: stamp(&metadata) >= self.began,
            }
        } else if metadata.is_dir() {
            Existing::Folder
        } else {
            Existing::Other
        })
    }

    /// Opens the file at `path` to read it.
    pub(crate) fn read(&self, path: &Path) -> io::Result<File> {
        Ok(self.root.open(path)?.into_std())
    }

    /// Makes the folder `path`.
    pub(crate) fn folder(&self, path: &Path) -> Result<(), Unplaced> {
        Ok(self.root.create_dir_all(path)?)
    }

    /// A file to be written that has no name yet.
    pub(crate) fn unnamed(&self) -> io::Result<(String, File)> {
        let name = self.names.fetch_add(1, Relaxed).to_string();
        let file = self.work.open_with(&name, OpenOptions::new().create_new(true).write(true))?;
        Ok((name, file.into_std()))
    }

    /// A file of the work folder that outlives a run, made where it is missing.
    pub(super) fn lasting(&self, name: &str) -> io::Result<File> {
        let options = OpenOptions::new().create(true).read(true).write(true).clone();
        Ok(self.work.open_with(name, &options)?.into_std())
    }

    pub(crate) fn discard(&self, name: &str) {
        // What cannot be removed is cleared away by the next run.
        let _ = self.work.remove_file(name);
    }

    /// Gives a finished file its name. What stood there when it was decided to download it,
    /// `before`, is replaced; nothing that came since is.
    pub(crate) fn place(&self, name: &str, path: &Path, before: Existing) -> Result<(), Unplaced> {
        let mut made = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.existing(path)?, before) {
            (Existing::Nothing, _) => {}
            (Existing::File { ours: false, .. }, Existing::File { .. }) => {}
            (Existing::File { .. }, _) => return Err(Unplaced::Taken),
            (Existing::Folder, _) => return Err(Unplaced::Folder),
            (Existing::Other, _) => return Err(Unplaced::Special),
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent != *made && parent != Path::new("") {
            self.root.create_dir_all(parent)?;
            parent.clone_into(&mut made);
        }
        Ok(self.work.rename(name, &self.root, path)?)
    }

    /// Ends a download: all that it wrote is on the disk when this returns. The work folder
    /// stays where something is left to be continued.
    pub(crate) fn finish(self, complete: bool) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.lock)?;
        let nothing_left = || {
            self.work
                .entries()
                .is_ok_and(|mut all| all.all(|entry| entry.is_ok_and(|e| e.file_name() == LOCK)))
        };
        if complete || nothing_left() {
            drop(self.lock);
            // It may stay: the next run clears it away.
            let _ = self.root.remove_dir_all(WORK_FOLDER);
        }
        Ok(())
    }
}

/// Removes what a killed run left and nobody can continue.
fn clear(work: &Dir) -> io::Result<()> {
    for entry in work.entries()? {
        let name = entry?.file_name();
        let kept =
            name.to_str().is_some_and(|name| name == LOCK || name.ends_with(PART) || name.ends_with(STATE));
        if !kept {
            work.remove_file(&name)?;
        }
    }
    Ok(())
}

/// The time of a file's last change of any kind, by the file system's clock.
type Stamp = Duration;

#[cfg(unix)]
fn stamp(metadata: &Metadata) -> Stamp {
    use cap_std::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    Duration::new(seconds, u32::try_from(metadata.ctime_nsec()).unwrap_or_default())
}

/// Elsewhere, that of its making: a file of this run was made by this run.
#[cfg(not(unix))]
fn stamp(metadata: &Metadata) -> Stamp {
    let made = metadata.created().map(|time| time.into_std()).unwrap_or(SystemTime::UNIX_EPOCH);
    made.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A moment of the file system's clock that is later than every file there is.
fn tick(work: &Dir) -> io::Result<Stamp> {
    const PROBE: &str = "clock";
    let now = || {
        work.open_with(PROBE, OpenOptions::new().create_new(true).write(true))?;
        let now = stamp(&work.metadata(PROBE)?);
        work.remove_file(PROBE).map(|()| now)
    };
    let first = now()?;
    loop {
        let next = now()?;
        if next > first {
            return Ok(next);
        }
        // A tick of Linux's takes 4 ms, FAT's two seconds.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes all of `bytes` at `offset`, wherever the file's own position is.
#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all of `bytes` at `offset`, wherever the file's own position is.
#[cfg(windows)]
pub(super) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_with_one_name_do_not_overwrite_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "before").expect("written");
        let target = Target::open(folder.path(), false).expect("a target");
        let before = target.existing(Path::new("file")).expect("looked at");
        assert!(matches!(before, Existing::File { size: 6, ours: false, .. }), "{before:?}");
        let make = |bytes: &str| {
            let (name, mut file) = target.unnamed().expect("made");
            std::io::Write::write_all(&mut file, bytes.as_bytes()).expect("written");
            name
        };
        // What was there when the run began may be replaced, once.
        target.place(&make("first"), Path::new("file"), before).expect("placed");
        let second = target.place(&make("second"), Path::new("file"), before);
        assert!(matches!(second, Err(Unplaced::Taken)), "{second:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "first");
        let third = target.place(&make("third"), Path::new("file"), Existing::Nothing);
        assert!(matches!(third, Err(Unplaced::Taken)), "{third:?}");
        target.finish(true).expect("finished");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn one_download_at_a_time_writes_into_a_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Target::open(folder.path(), false).expect("a target");
        assert!(matches!(Target::open(folder.path(), false), Err(TargetError::Busy(_))));
        drop(first);
        Target::open(folder.path(), false).expect("free again");
    }
}
