//! Where a key lies between two others, guessed from the letters that keys have in their
//! columns; and a key for a place. Pure.
//!
//! A column is a place in a folder's or a file's name: the third letter below the second
//! slash. The letters seen in it divide the keys that go on there into equal parts, and each
//! part is divided by the letters of the next column. No more than a guess is needed of
//! this: where it is wrong, a range is split badly, not listed wrongly.

use std::collections::{BTreeSet, HashMap};

/// Bounds the memory that it takes: letters further right, or deeper, share columns.
const FOLDERS: u8 = 63;
const OFFSETS: u8 = 63;
const LETTERS: usize = 64;
/// Letters of a guessed key after the start that it shares.
const DEPTH: usize = 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Column {
    folder: u8,
    offset: u8,
}

impl Column {
    fn next(self, letter: char) -> Self {
        match letter {
            '/' => Self { folder: (self.folder + 1).min(FOLDERS), offset: 0 },
            _ => Self { offset: (self.offset + 1).min(OFFSETS), ..self },
        }
    }

    fn after(start: &str) -> Self {
        start.chars().fold(Self::default(), Self::next)
    }
}

/// The letters seen in each column.
#[derive(Debug, Default)]
pub(crate) struct Alphabet(HashMap<Column, BTreeSet<char>>);

impl Alphabet {
    pub(crate) fn learn(&mut self, key: &str) {
        let mut column = Column::default();
        for letter in key.chars() {
            let letters = self.0.entry(column).or_default();
            if letters.len() < LETTERS {
                letters.insert(letter);
            }
            column = column.next(letter);
        }
    }

    /// The letters of a column, in order. Nobody knows yet what comes after the highest
    /// (`frontier`): what other columns of that folder have.
    fn letters(&self, column: Column, frontier: Option<char>) -> Vec<char> {
        let Some(seen) = self.0.get(&column) else { return Vec::new() };
        let single = || (seen.len() == 1).then(|| seen.first()).flatten().filter(|one| one.is_ascii_digit());
        let highest = frontier.as_ref().filter(|at| seen.last() == Some(at)).or_else(single);
        let Some(highest) = highest.filter(|letter| letter.is_alphanumeric()) else {
            return seen.iter().copied().collect();
        };
        let alike =
            |others: &&BTreeSet<char>| !highest.is_ascii_digit() || others.range('0'..='9').next().is_some();
        let mut letters = seen.clone();
        if highest.is_ascii_digit() {
            letters.extend('0'..='9');
        }
        let folder = |offset| self.0.get(&Column { offset, ..column });
        for others in (0..=OFFSETS).filter_map(folder).filter(alike) {
            letters.extend(others.iter().filter(|letter| letter.is_alphanumeric()));
        }
        letters.into_iter().collect()
    }
}

/// Measures keys that go on from a common start, above and beside a key among them.
pub(crate) struct Ruler<'a> {
    alphabet: &'a Alphabet,
    start: &'a str,
    /// The rest of the key up to where everything is known.
    known: &'a str,
}

impl<'a> Ruler<'a> {
    /// For keys that begin as `at` and `with` both do. Nothing above `at` was seen in its
    /// neighbourhood yet.
    pub(crate) fn new(alphabet: &'a Alphabet, at: &'a str, with: &str) -> Self {
        let (start, known) = at.split_at(common(at, with));
        Self { alphabet, start, known }
    }

    /// The place of a key: 0 is before all that begin with the common start, 1 after them.
    pub(crate) fn place(&self, key: &str) -> f64 {
        let Some(rest) = key.strip_prefix(self.start) else {
            return if key < self.start { 0.0 } else { 1.0 };
        };
        let mut column = Column::after(self.start);
        let mut path = Path(Some(self.known));
        let (mut place, mut width) = (0.0, 1.0);
        for letter in rest.chars() {
            let letters = self.alphabet.letters(column, path.frontier());
            let index = letters.partition_point(|other| *other < letter);
            width /= count(letters.len().max(1));
            place += width * count(index);
            if letters.get(index) != Some(&letter) || width < f64::EPSILON {
                break;
            }
            path.step(letter);
            column = column.next(letter);
        }
        place
    }

    /// A short start of keys near `place`, as exact as a part of `width`.
    pub(crate) fn key(&self, mut place: f64, mut width: f64) -> String {
        let mut key = self.start.to_owned();
        let mut column = Column::after(self.start);
        let mut path = Path(Some(self.known));
        for _ in 0..DEPTH {
            if width >= 1.0 {
                break;
            }
            let letters = self.alphabet.letters(column, path.frontier());
            place *= count(letters.len());
            width *= count(letters.len());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small index")]
            let index = (place as usize).min(letters.len().saturating_sub(1));
            let Some(letter) = letters.get(index) else { break };
            place -= count(index);
            path.step(*letter);
            column = column.next(*letter);
            key.push(*letter);
        }
        key
    }
}

/// What is left of the known key while it is being followed.
struct Path<'a>(Option<&'a str>);

impl Path<'_> {
    fn frontier(&self) -> Option<char> {
        self.0.and_then(|rest| rest.chars().next())
    }

    fn step(&mut self, letter: char) {
        self.0 = self.0.and_then(|rest| rest.strip_prefix(letter));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen letters")]
fn count(letters: usize) -> f64 {
    letters as f64
}

/// How many bytes two keys have in common at their start, in whole letters.
pub(crate) fn common(a: &str, b: &str) -> usize {
    a.char_indices()
        .zip(b.chars())
        .find_map(|((at, left), right)| (left != right).then_some(at))
        .unwrap_or(a.len().min(b.len()))
}

/// The first string after all that begin with `start`; `None` where there is none. UTF-8 sorts
/// as its code points do.
pub(crate) fn after_all(start: &str) -> Option<String> {
    let mut start = start.to_owned();
    while let Some(last) = start.pop() {
        // A range of characters leaves out the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            start.push(next);
            return Some(start);
        }
    }
    None
}
