//! Text from outside, made fit for a terminal: keys may hold any Unicode, and servers say
//! what they like. Nothing of it may move the cursor, or look like something else.

use std::borrow::Cow;

/// One line: control characters (and those that turn the direction of text) as `\u{1b}`.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_all(text, |c| is_unfit(c) || c == '\\')
}

/// Sentences that hold text from outside; line feeds stay.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_all(text, |c| is_unfit(c) && c != '\n')
}

fn escape_all(text: &str, unfit: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&unfit) {
        return Cow::Borrowed(text);
    }
    let mut fit = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' if unfit(c) => fit.push_str("\\n"),
            '\t' => fit.push_str("\\t"),
            '\\' if unfit(c) => fit.push_str("\\\\"),
            c if unfit(c) => fit.extend(c.escape_unicode()),
            c => fit.push(c),
        }
    }
    Cow::Owned(fit)
}

/// A JSON document; its line feeds stay. What is unfit is only ever inside its strings, where
/// JSON has an escape for it, so that parsers read what was there.
pub(crate) fn escape_json(document: &str) -> String {
    let mut fit = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            c if is_unfit(c) && c != '\n' => {
                fit.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            c => fit.push(c),
        }
    }
    fit
}

fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_moves_its_cursor() {
        assert_eq!(escape("a\u{1b}[2Jb\nc\td"), "a\\u{1b}[2Jb\\nc\\td");
        assert_eq!(escape("\u{9b}1A"), "\\u{9b}1A");
        assert_eq!(escape("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(escape("\u{61c}a"), "\\u{61c}a");
        assert_eq!(escape(r"C:\n"), r"C:\\n");
        assert_eq!(escape_lines("one\ntwo\r"), "one\ntwo\\u{d}");
    }

    #[test]
    fn json_keeps_what_is_unfit_for_a_terminal() {
        let text = "a\u{7f}b\u{9b}\u{202e}\u{1b}é";
        let document = escape_json(&serde_json::to_string_pretty(&[text]).expect("text"));
        assert_eq!(document, "[\n  \"a\\u007fb\\u009b\\u202e\\u001bé\"\n]");
        assert_eq!(serde_json::from_str::<Vec<String>>(&document).expect("JSON"), [text]);
    }

    #[test]
    fn what_is_fit_stays_as_it_is() {
        for key in ["plain", "été/日本 + x.pdf", "emoji 😀"] {
            assert!(matches!(escape(key), Cow::Borrowed(same) if same == key));
        }
    }
}
