//! Tables and lines that fit the width of a terminal.

use unicode_width::UnicodeWidthStr;

use crate::cli::escape::printable;

const GAP: &str = "  ";

/// Columns without lines, those in `right` to the right. Where it would be wider than `width`, each row becomes a
/// paragraph: its first cell, and below it the others with their headers.
pub(in crate::cli) fn table(
    header: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
    width: Option<usize>,
) -> String {
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).chain([header.len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(String::as_str);
            cells.chain(header.get(at).copied()).map(UnicodeWidthStr::width).max().unwrap_or(0)
        })
        .collect();
    let natural = widths.iter().sum::<usize>() + GAP.len() * columns.saturating_sub(1);
    if width.is_some_and(|width| natural > width) {
        return paragraphs(header, &rows, width.unwrap_or(natural));
    }
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let space = " ".repeat(width - cell.width());
            if right.contains(&at) { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    let mut lines = Vec::with_capacity(rows.len() + 1);
    if !header.is_empty() {
        lines.push(line(header));
    }
    lines.extend(rows.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>())));
    lines.join("\n")
}

fn paragraphs(header: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let mut lines = Vec::new();
    for row in rows {
        let mut cells = row.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
        if let Some((_, first)) = cells.next() {
            lines.push(first.clone());
        }
        for (at, cell) in cells {
            let label = header.get(at).copied().filter(|label| !label.is_empty());
            let line = label.map_or_else(|| format!("{GAP}{cell}"), |label| format!("{GAP}{label}: {cell}"));
            if line.width() > width && label.is_some() {
                lines.push(format!("{GAP}{}:", label.unwrap_or_default()));
                lines.push(format!("{GAP}{GAP}{cell}"));
            } else {
                lines.push(line);
            }
        }
    }
    fitted(&lines.join("\n"), Some(width))
}

/// Breaks lines that are too long between words, and a word that is too long where it has to; what follows is indented
/// as the line is, and a little more.
pub(in crate::cli) fn fitted(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut lines = Vec::new();
    for line in text.split('\n') {
        if line.width() <= width {
            lines.push(line.to_owned());
        } else {
            break_line(line, width, &mut lines);
        }
    }
    lines.join("\n")
}

fn break_line(line: &str, width: usize, lines: &mut Vec<String>) {
    let own = line.len() - line.trim_start_matches(' ').len();
    let indent = " ".repeat((own + GAP.len()).min(width / 2));
    let mut current = " ".repeat(own.min(width / 2));
    let mut is_blank = true;
    for word in line.trim_start_matches(' ').split(' ') {
        let space = usize::from(!is_blank);
        if current.width() + space + word.width() > width && !is_blank {
            lines.push(std::mem::replace(&mut current, indent.clone()).trim_end().to_owned());
            is_blank = true;
        }
        if !is_blank {
            current.push(' ');
        }
        for c in word.chars() {
            let mut buffer = [0; 4];
            if current.width() + c.encode_utf8(&mut buffer).width() > width {
                lines.push(std::mem::replace(&mut current, indent.clone()));
            }
            current.push(c);
        }
        is_blank = false;
    }
    lines.push(current.trim_end().to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen_of_them() {
        let rows = [cells(&["größe", "7", "x"]), cells(&["日本", "12", ""])];
        assert_eq!(table(&["name", "n", ""], &[1], rows, None), "name    n\ngröße   7  x\n日本   12");
    }

    #[test]
    fn a_table_that_is_too_wide_becomes_paragraphs_that_fit() {
        let id = "10000000-0000-4000-8000-000000000001";
        let rows = || [cells(&["2026-01-31 12:00:00Z", id, "", "set", &"word ".repeat(30)])];
        let header = ["when", "business", "secret", "action", "who"];
        for width in 40..=250 {
            let text = table(&header, &[], rows(), Some(width));
            assert!(text.lines().all(|line| line.width() <= width), "{width}\n{text}");
            // Nothing that is to be copied is broken.
            assert!(text.contains(id), "{width}\n{text}");
        }
        assert_eq!(table(&header, &[], rows(), Some(250)).lines().count(), 2);
        assert!(table(&header, &[], rows(), Some(60)).contains("\n  action: set\n"));
    }

    #[test]
    fn lines_are_broken_between_words_and_words_where_they_have_to_be() {
        assert_eq!(fitted("  one two three", Some(10)), "  one two\n    three");
        assert_eq!(fitted("abcdefghij klm", Some(6)), "abcdef\n  ghij\n  klm");
        assert_eq!(fitted("short", Some(10)), "short");
        assert_eq!(fitted("as long as it is", None), "as long as it is");
    }
}
