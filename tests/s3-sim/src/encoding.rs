//! Text in answers: XML escapes and S3's `encoding-type=url`.

/// Appends `text` as XML character data. What XML cannot carry is written as a character
/// reference, as S3 does, though no strict parser takes that either: this is why
/// `encoding-type=url` exists.
pub(crate) fn xml_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            0..0x20 | 0x7f => &[],
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        if escape.is_empty() {
            out.extend_from_slice(format!("&#x{byte:x};").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends `text` in `encoding-type=url`: a space is `+`, `/`, `*`, `-`, `.` and `_` stand for
/// themselves, `~` does not.
pub(crate) fn url_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'*' | b'-' | b'.' | b'_' => {
                out.push(byte);
            }
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

/// `text` in `encoding-type=url`.
pub(crate) fn url_encoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    url_text(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// Replaces what XML cannot carry in a finished document by character references: quick-xml,
/// which writes most answers, lets it through.
pub(crate) fn without_control_characters(xml: &[u8]) -> Option<Vec<u8>> {
    let xml = std::str::from_utf8(xml).ok()?;
    let unfit = |c: char| matches!(c, '\0'..'\u{20}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}');
    if !xml.contains(unfit) {
        return None;
    }
    let mut out = String::with_capacity(xml.len() + 64);
    for c in xml.chars() {
        if unfit(c) {
            out.push_str(&format!("&#x{:x};", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Some(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_encoding_is_s3s_own() {
        assert_eq!(url_encoded("a b+c/d~e*f-g.h_i"), "a+b%2Bc/d%7Ee*f-g.h_i");
        assert_eq!(url_encoded("é\u{1}%&<"), "%C3%A9%01%25%26%3C");
    }

    #[test]
    fn xml_escapes_specials_and_control_characters() {
        let mut out = Vec::new();
        xml_text(&mut out, "a<b>&\"c\"\u{1}\r\né");
        assert_eq!(String::from_utf8(out).unwrap(), "a&lt;b&gt;&amp;&quot;c&quot;&#x1;&#xd;&#xa;é");
    }
}
