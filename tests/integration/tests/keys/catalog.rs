//! The keys, and which of them which server or landing prefix does not take.

/// S3's limit of a key, in bytes of its UTF-8.
const LONGEST: usize = 1_024;

/// Keys of every kind that S3 takes, each once. No key is a folder of another by accident:
/// MinIO takes no object below an object.
pub(crate) fn every_key() -> Vec<String> {
    let mut keys: Vec<String> = [
        // Slashes and dots, which paths know and keys do not.
        "//",
        "/",
        "/leading",
        "//leading",
        "double//slash",
        "trailing/",
        "trailing//",
        ".",
        "..",
        "...",
        "./dot",
        "../dots",
        "dot/.",
        "dots/..",
        "in/./between",
        "up/../again",
        "up/../../outside",
        ".hidden",
        "~",
        "marker/",
        "marker/below/",
        "marker/below/file",
        // Spaces.
        " leading space",
        "trailing space ",
        "two  spaces",
        "space / around / slashes",
        "no-break\u{a0}space",
        // What URLs, forms and shells read otherwise.
        "plus+plus",
        "plus%2Bplus",
        "percent%",
        "percent%%",
        "percent%zz",
        "slash%2Fslash",
        "slash%252Fslash",
        "nul%00nul",
        "space%20space",
        "question?mark",
        "key?versionId=null",
        "key?versionId=x&partNumber=1",
        "number#sign",
        "amper&sand",
        "equals=sign",
        "semi;colon",
        "star*",
        "apostrophe'",
        "quote\"",
        "back\\slash",
        "back\\n",
        "comma,colon:",
        "!@$^()[]{}|`<>~",
        "-",
        "--delete",
        "$(HOME)",
        // Entities and the ends of XML's sections.
        "&amp;",
        "&lt;b&gt;",
        "&#10;",
        "&#x1;",
        "<Key>a</Key>",
        "]]>",
        "<![CDATA[x]]>",
        // What looks like an address.
        "arn:aws:s3:::bucket/object/key",
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/dumps/object/key",
        "s3:/bucket/key",
        "s3://bucket/key",
        "http://127.0.0.1:9000/bucket/key",
        "C:\\dumps\\monday.sql",
        "C:/dumps/monday.sql",
        // Of two letters that look alike.
        "case",
        "Case",
        "CASE",
        "accent-\u{e9}",
        "accent-e\u{301}",
        "angstrom-\u{212b}",
        "angstrom-\u{c5}",
        "hangul-\u{ac00}",
        "hangul-\u{1100}\u{1161}",
        // Beyond ASCII, to the ends of Unicode and of its planes.
        "日本/ü/ß.sql",
        "emoji 😀👩‍👩‍👧.sql",
        "\u{feff}mark",
        "wide-\u{ffff}",
        "wide-\u{fffe}",
        "wide-\u{fffd}",
        "wide-\u{10000}",
        "wide-\u{10ffff}",
        "private-\u{e000}",
        "before-surrogates-\u{d7ff}",
        "c1-\u{80}\u{85}\u{9b}",
        "separators-\u{2028}\u{2029}",
        "direction-\u{202e}\u{2066}\u{61c}\u{200f}",
        "zero-\u{200b}width\u{200d}\u{2060}",
        // The landing prefix and the reserved one, and what looks like them.
        "landing/",
        "landing/landing/",
        "landing",
        ".replicator/lease",
        ".replicator/",
        ".replicator",
        ".replicator.",
        ".replicators/lease",
        ".REPLICATOR/lease",
        "below/.replicator/lease",
        "/.replicator/lease",
        "./.replicator/lease",
        // Line ends.
        "crlf\r\n",
        "two\nlines",
        "form\r\nfeed\u{c}",
    ]
    .map(str::to_owned)
    .into();
    keys.extend((0..0x20).chain([0x7f]).map(|c| format!("control-{c:02x}-{}-end", char::from(c))));
    // Of 1,024 bytes: one path part; parts as long as a file system's names; letters of two
    // and of four bytes. And as long as it may be below the landing prefix.
    keys.push("x".repeat(LONGEST));
    keys.push(format!("{}{}", format!("{}/", "y".repeat(200)).repeat(5), "y".repeat(19)));
    keys.push("é".repeat(LONGEST / 2));
    keys.push("😀".repeat(LONGEST / 4));
    keys.push(format!("{}😀", "x".repeat(LONGEST - 4)));
    keys.push("z".repeat(LONGEST - "landing/".len()));
    keys.push("z".repeat(LONGEST - "landing/".len() + 1));
    keys
}

/// Keys of nothing but white space.
pub(crate) const BLANK: [&str; 6] = [" ", "   ", "\t", "\r", "\n", "\u{3000}"];

/// Why a key is not copied below a landing prefix, whatever the server: the report's name of it.
pub(crate) fn refusal(key: &str, landing: &str) -> Option<&'static str> {
    let lands = format!("{landing}{key}");
    if lands.starts_with(".replicator/") {
        Some("ReservedPrefix")
    } else if lands.len() > LONGEST {
        Some("KeyTooLong")
    } else {
        None
    }
}

/// What MinIO does with a key that it does not take as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// It answers this code.
    Refuses(String),
    /// It answers well, and lists another key.
    Lists(String),
}

/// What MinIO does with this key in an empty bucket, if it does not take it: its keys are
/// paths of a file system.
pub(crate) fn minio(key: &str, parts: bool) -> Option<Instead> {
    let refuses = |code: &str| Some(Instead::Refuses(code.to_owned()));
    let parts_of_path = || key.split('/');
    if key.contains("//") && !key.starts_with('/') || key.trim_matches('/').is_empty() || key.contains('\0') {
        refuses("XMinioInvalidObjectName")
    } else if parts_of_path().any(|part| part == "." || part == "..") {
        refuses("XMinioInvalidResourceName")
    } else if parts_of_path().any(|part| part.len() > 255) || parts && key.ends_with('/') {
        // The longest name in a file system; and folder markers are no uploads.
        refuses("XMinioInvalidObjectName")
    } else {
        key.starts_with('/').then(|| Instead::Lists(key.trim_start_matches('/').to_owned()))
    }
}

/// A key, and one below it, which MinIO takes beside it and then does not list.
pub(crate) const MINIO_HIDES: [(&str, &str); 2] =
    [("landing", "landing/landing/"), (".replicator", ".replicator/lease")];
