//! Takes out of text what a terminal would obey: others wrote the names, actors and values that are shown.

use std::borrow::Cow;
use std::fmt::Write;

/// Stands for a character that is not shown.
const INSTEAD: char = '\u{fffd}';

/// Begin a colour, and end it. Noncharacters, which no text of others keeps: the terminal's own escapes take their
/// place last of all.
const COLOURS: [(char, u8); 3] = [('\u{fdd0}', 31), ('\u{fdd1}', 32), ('\u{fdd2}', 33)];
const END: char = '\u{fdd3}';

/// Whether a terminal obeys it, or shows it as something else than it is: control characters, what changes the
/// direction of writing, what breaks lines, what is invisible, and our own marks.
const fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// For a name within a line.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { INSTEAD } else { c }).collect()
}

/// Whether [`printable`] would change it.
pub(super) fn is_printable(text: &str) -> bool {
    !text.chars().any(is_unprintable)
}

/// Marks a word to be coloured.
pub(super) fn coloured(code: u8, text: &str) -> String {
    match COLOURS.iter().find(|(_, known)| *known == code) {
        Some((mark, _)) => format!("{mark}{text}{END}"),
        None => text.to_owned(),
    }
}

/// For whole texts of ours, in which others' names may stand: lines stay lines, and marks become colours.
pub(super) fn for_terminal(text: &str, with_colours: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let colour = COLOURS.iter().find(|(mark, _)| *mark == c).map(|(_, code)| *code);
        match c {
            '\n' | '\t' => shown.push(c),
            _ if colour.is_some() || c == END => {
                if with_colours {
                    let _ = write!(shown, "\u{1b}[{}m", colour.unwrap_or(0));
                }
            }
            _ if is_unprintable(c) => shown.push(INSTEAD),
            _ => shown.push(c),
        }
    }
    shown
}

/// JSON that is safe to print: what serde leaves as it is stands in strings only, and is escaped there.
pub(super) fn json(document: &str) -> Cow<'_, str> {
    if is_printable(document) {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len() + 64);
    for c in document.chars() {
        if is_unprintable(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{2066}\r\u{8}\u{7f}\u{fdd0}\u{2028}";

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert!(is_printable(&printable(NASTY)));
        let shown = for_terminal(&format!("one\ttwo\n{NASTY}"), false);
        assert!(shown.starts_with("one\ttwo\na\u{fffd}[2J"));
        assert!(is_printable(&shown.replace(['\n', '\t'], "")));
    }

    #[test]
    fn names_keep_their_letters() {
        for name in ["größe", "日本", "🦀", "e\u{301}", "a b"] {
            assert_eq!(printable(name), name);
        }
    }

    #[test]
    fn only_our_own_marks_become_colours() {
        let line = format!("{} {}", coloured(31, "fail"), printable(&coloured(32, "not ok")));
        assert_eq!(for_terminal(&line, true), "\u{1b}[31mfail\u{1b}[0m \u{fffd}not ok\u{fffd}");
        assert_eq!(for_terminal(&line, false), "fail \u{fffd}not ok\u{fffd}");
    }

    #[test]
    fn json_keeps_what_it_says() {
        let document = serde_json::json!({ "name": format!("{NASTY}\u{e0001}") }).to_string();
        let shown = json(&document);
        assert!(is_printable(&shown));
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&document).unwrap(), serde_json::from_str(&shown).unwrap());
        assert_eq!(before, after);
    }
}
