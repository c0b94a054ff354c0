//! A curve as columns of block letters, for a terminal.

/// Lines of the picture above its axis.
const HEIGHT: usize = 10;
/// Most letters of a line.
pub const WIDTH: usize = 80;
/// Eighths of a letter's height.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Chart<'c> {
    /// What the columns count.
    pub title: &'c str,
    /// The columns, at most [`columns`] of them.
    pub values: &'c [u64],
    /// What the full height stands for, at least 1.
    pub top: u64,
    /// What the right end of the axis stands for; its left end is 0.
    pub right: f64,
    /// The unit of the axis.
    pub unit: &'c str,
    /// Places on the axis that are pointed at.
    pub marks: &'c [f64],
    /// Whether colours may be used.
    pub colour: bool,
}

/// Columns that fit beside the labels of a chart of this height.
pub fn columns(top: u64) -> usize {
    WIDTH.saturating_sub(top.to_string().len() + 3)
}

impl Chart<'_> {
    /// The picture, each line ended.
    pub fn draw(&self) -> String {
        let gutter = self.top.to_string().len();
        let width = self.values.len();
        let paint = |code: &str, text: &str| match self.colour {
            true if !text.trim().is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        };
        let mut out = format!("{}\n", self.title);
        for line in (0..HEIGHT).rev() {
            let label = match line {
                line if line == HEIGHT - 1 => self.top.to_string(),
                line if line == HEIGHT / 2 - 1 => (self.top / 2).to_string(),
                _ => String::new(),
            };
            let tick = if label.is_empty() { '│' } else { '┤' };
            let bars: String = self
                .values
                .iter()
                .map(|value| EIGHTHS[self.eighths(*value, line)])
                .collect();
            let text = format!("{label:>gutter$} {tick}{}", paint("36", bars.trim_end()));
            out.push_str(text.trim_end());
            out.push('\n');
        }
        out.push_str(&format!("{:>gutter$} └{}\n", 0, "─".repeat(width)));
        let mut pointers = vec![' '; width];
        for mark in self.marks {
            let at = (mark / self.right * (width.saturating_sub(1)) as f64).round() as usize;
            if let Some(pointer) = pointers.get_mut(at) {
                *pointer = '▲';
            }
        }
        let pointers: String = pointers.into_iter().collect();
        if !self.marks.is_empty() {
            out.push_str(&format!(
                "{:gutter$}  {}\n",
                "",
                paint("33", pointers.trim_end())
            ));
        }
        let (middle, end) = (
            format!("{:.0}", self.right / 2.0),
            format!("{:.0} {}", self.right, self.unit),
        );
        let half = width / 2;
        out.push_str(&format!(
            "{:gutter$}  0{middle:>middle_width$}{end:>end_width$}\n",
            "",
            middle_width = half.saturating_sub(1),
            end_width = width.saturating_sub(half),
        ));
        out
    }

    /// How much of a line (0 is the lowest) a value fills, 0 to 8. What is more than nothing is seen.
    fn eighths(&self, value: u64, line: usize) -> usize {
        let full = (HEIGHT * 8) as f64;
        let height = (value as f64 / self.top.max(1) as f64 * full)
            .round()
            .min(full) as usize;
        let height = if value > 0 { height.max(1) } else { 0 };
        height.saturating_sub(line * 8).min(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[u64], top: u64, colour: bool) -> String {
        let marks = [0.0, 30.0];
        Chart {
            title: "X numbers",
            values,
            top,
            right: 60.0,
            unit: "s",
            marks: &marks,
            colour,
        }
        .draw()
    }

    #[test]
    fn columns_rise_by_eighths() {
        let drawn = chart(&[0, 1, 10, 45, 80, 80, 81], 80, false);
        let expected = [
            "X numbers",
            "80 ┤    ███",
            "   │    ███",
            "   │    ███",
            "   │    ███",
            "   │   ▅███",
            "40 ┤   ████",
            "   │   ████",
            "   │   ████",
            "   │  ▂████",
            "   │ ▁█████",
            " 0 └───────",
            "    ▲  ▲",
            "    0 30 60 s",
        ];
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[..13], expected[..13], "\n{drawn}");
    }

    #[test]
    fn a_full_chart_fits_the_terminal() {
        for top in [1, 99, 1_000_000] {
            let values: Vec<u64> = (0..columns(top) as u64).collect();
            let drawn = chart(&values, top, false);
            assert!(
                drawn.lines().all(|line| line.chars().count() <= WIDTH),
                "\n{drawn}"
            );
            assert!(
                drawn
                    .lines()
                    .last()
                    .is_some_and(|line| line.ends_with("60 s")),
                "\n{drawn}"
            );
        }
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let plain = chart(&[3, 7], 9, false);
        let coloured = chart(&[3, 7], 9, true);
        assert!(!plain.contains('\x1b') && coloured.contains("\x1b[36m"));
        let bare = ["\x1b[36m", "\x1b[33m", "\x1b[0m"]
            .iter()
            .fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, plain);
    }
}
