//! Escapes text from elsewhere, so that it cannot control a terminal or mislead a reader.

/// Replaces control characters, characters that reorder text and invisible characters with an escape such as `\u{1b}`.
/// A backslash stays as it is, so that JSON stays JSON.
pub(super) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

/// Returns whether a character can do harm: C0 and C1 controls; Unicode's Bidi_Control; separators of lines and
/// paragraphs, since the output is one line; and characters without width, except the joiners that some scripts need.
pub(super) fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn only_harmful_characters_are_escaped() {
        let plain = r#"plain {"a":"\u00fc"} ü 木 🙂 نص‌ها"#;
        assert_eq!(escaped(plain), plain);
        assert_eq!(escaped("\u{1b}[31m\r\n\t\u{7f}\u{9b}2J"), r"\u{1b}[31m\r\n\t\u{7f}\u{9b}2J");
        for letter in "\u{200b}\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}\u{feff}\u{61c}\u{e0041}".chars() {
            assert_eq!(escaped(&format!("a{letter}b")), format!("a\\u{{{:x}}}b", letter as u32));
        }
    }
}
