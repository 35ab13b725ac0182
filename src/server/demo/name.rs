//! The names of members and rooms.

use std::fmt;

/// Why a text cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadName {
    /// It is not percent-encoded UTF-8.
    NotUtf8,
    /// It has no visible character.
    Blank,
    /// It has more characters than this.
    TooLong(usize),
    /// It has this character, which is invisible and may change how others are displayed.
    Invisible(char),
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("is not UTF-8"),
            Self::Blank => f.write_str("is blank"),
            Self::TooLong(max) => write!(f, "has more than {max} characters"),
            Self::Invisible(char) => write!(f, "contains U+{:04X}, a control or invisible character", u32::from(*char)),
        }
    }
}

/// Decodes a name, and removes spaces around it.
///
/// # Errors
/// [`BadName`]: two different names must not look alike, and a name must not change how the text beside it is displayed.
pub(super) fn decode(text: &str, max_chars: usize) -> Result<String, BadName> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| BadName::NotUtf8)?;
    let name = decoded.trim();
    if name.chars().all(is_blank) {
        return Err(BadName::Blank);
    }
    if name.chars().nth(max_chars).is_some() {
        return Err(BadName::TooLong(max_chars));
    }
    name.chars().find(|&char| is_invisible(char)).map_or(Ok(()), |char| Err(BadName::Invisible(char)))?;
    Ok(name.to_owned())
}

/// Whether a character is a kind of space, or the Braille pattern without dots, whose category is that of a symbol.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || char == '\u{2800}'
}

/// Whether a character is a control (Cc), a separator of lines or paragraphs, or has the Unicode property
/// Default_Ignorable_Code_Point: bidirectional marks, zero-width spaces, fillers, variation selectors, tags.
fn is_invisible(char: char) -> bool {
    let ignorable = matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    ignorable || char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}
