//! Where a key belongs below a directory. Pure: a key in, a relative path or a reason out.
//!
//! Nothing is renamed to make it fit: a file under another name than its key's would be lost
//! on whoever looks for it. What has no place is reported.

use std::path::PathBuf;

use super::target::WORK_FOLDER;

/// Where an object goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    /// A folder marker: an empty object whose key ends in `/`.
    Folder(PathBuf),
}

/// Why a key has no place in a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("a part of its key is empty (it has `//`, or begins with `/`)")]
    Empty,
    #[error("its key has the part `{0}`, which leads out of a directory")]
    Dots(String),
    #[error("its key has a NUL")]
    Nul,
    #[error("a part of its key has {0} bytes, and a file's name at most 255")]
    Long(usize),
    #[error("its key is in {WORK_FOLDER}, where the download keeps what is not finished")]
    WorkFolder,
    #[error("its key ends in `/` like a folder's, but it has {0} bytes")]
    FullFolder(u64),
    #[error("its key has `{0}`, which no file's name may have on Windows")]
    Windows(String),
}

/// The most bytes that a name may have: ext4's, XFS's and APFS's limit. NTFS counts in UTF-16,
/// and never less.
const LONGEST_NAME: usize = 255;

/// Where `key` belongs, of an object of `size` bytes; by Windows's rules of names, if told.
pub(crate) fn place(key: &str, size: u64, windows: bool) -> Result<Place, Misfit> {
    let folder = key.strip_suffix('/');
    if folder.is_some() && size > 0 {
        return Err(Misfit::FullFolder(size));
    }
    let mut path = PathBuf::new();
    for (depth, name) in folder.unwrap_or(key).split('/').enumerate() {
        check(name, windows)?;
        if depth == 0 && name.eq_ignore_ascii_case(WORK_FOLDER) {
            return Err(Misfit::WorkFolder);
        }
        path.push(name);
    }
    Ok(if folder.is_some() { Place::Folder(path) } else { Place::File(path) })
}

fn check(name: &str, windows: bool) -> Result<(), Misfit> {
    match name {
        "" => return Err(Misfit::Empty),
        "." | ".." => return Err(Misfit::Dots(name.to_owned())),
        _ if name.contains('\0') => return Err(Misfit::Nul),
        _ if name.len() > LONGEST_NAME => return Err(Misfit::Long(name.len())),
        _ => {}
    }
    if !windows {
        return Ok(());
    }
    // A backslash separates, a colon names a drive or a stream, a last dot or space is dropped.
    let forbidden = |c: char| c < ' ' || r#"\:*?"<>|"#.contains(c);
    if let Some(c) =
        name.chars().find(|c| forbidden(*c)).or(name.chars().last().filter(|c| ". ".contains(*c)))
    {
        return Err(Misfit::Windows(c.to_string()));
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().any(|device| {
        stem.strip_prefix(device).is_some_and(|number| {
            matches!(number, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    });
    if numbered || ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str()) {
        return Err(Misfit::Windows(stem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_keys_are_paths_as_they_are() {
        for key in ["dump.sql.gz", "2026/11/20.dump", "été/日本 + x.pdf", "...", "a\\b", "C:", "-", ".hidden"]
        {
            assert_eq!(place(key, 1, false), Ok(Place::File(PathBuf::from(key))), "{key}");
        }
        assert_eq!(place("a/b/", 0, false), Ok(Place::Folder(PathBuf::from("a/b"))));
    }

    #[test]
    fn keys_without_a_place_say_why() {
        let long = "x".repeat(256);
        for (key, size, misfit) in [
            ("", 1, Misfit::Empty),
            ("/", 0, Misfit::Empty),
            ("/etc/passwd", 1, Misfit::Empty),
            ("a//b", 1, Misfit::Empty),
            ("a//", 0, Misfit::Empty),
            ("..", 1, Misfit::Dots("..".into())),
            ("../../etc/passwd", 1, Misfit::Dots("..".into())),
            ("a/../b", 1, Misfit::Dots("..".into())),
            ("a/.", 1, Misfit::Dots(".".into())),
            ("a\0b", 1, Misfit::Nul),
            (&long, 1, Misfit::Long(256)),
            ("a/", 1, Misfit::FullFolder(1)),
            (".local-runner-download/x", 1, Misfit::WorkFolder),
            (".LOCAL-runner-download/x", 1, Misfit::WorkFolder),
        ] {
            assert_eq!(place(key, size, false), Err(misfit), "{key:?}");
        }
    }

    #[test]
    fn windows_names_have_rules_of_their_own() {
        for key in [
            r"..\..\x",
            r"a\b",
            "C:/x",
            "C:",
            "a:stream",
            "nul",
            "NUL.txt",
            "a/CON",
            "com1.log",
            "lpt³",
            "x.",
            "x ",
            "a\nb",
            "a?b",
            r"\\server\share",
        ] {
            assert!(matches!(place(key, 1, true), Err(Misfit::Windows(_))), "{key:?}");
        }
        for key in ["console.log", "com10", "a.b.c", "nul1"] {
            assert!(place(key, 1, true).is_ok(), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn no_key_leads_anywhere_but_below(key in r"([./\\:a~C\x00 ]|\.\.|//|//\?/|\u{2215}|\u{ff0e}){0,12}", windows: bool) {
            if let Ok(Place::File(path) | Place::Folder(path)) = place(&key, 0, windows) {
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
                prop_assert!(path.components().count() > 0);
                prop_assert!(!windows || !key.contains(['\\', ':']));
            }
        }
    }
}
