//! The results as bars: an image of plain SVG.

use std::fmt::Write;

use super::result::SetResult;
use crate::bench::commands::PHASES;

/// Width of the image.
const WIDTH: f64 = 880.0;
/// Where bars begin.
const LEFT: f64 = 190.0;
/// Room on the right for numbers.
const RIGHT: f64 = 90.0;
/// Height of a bar with its gap.
const BAR: f64 = 13.0;
/// Height of a heading.
const HEADING: f64 = 30.0;
/// One colour a program.
const COLOURS: &[&str] = &[
    "#0b6e4f", "#c0504d", "#e39c37", "#7a5c99", "#4f81bd", "#8c8c8c", "#b0b0b0",
];

/// A panel a set, a group a phase, a bar a program: wall seconds, each group on a scale of its own.
pub fn svg(results: &[SetResult]) -> String {
    let mut body = String::new();
    let mut y = 24.0;
    text(
        &mut body,
        12.0,
        y,
        "bold",
        "Wall seconds, less is better; the line is the computed limit",
    );
    for result in results {
        y += HEADING;
        text(&mut body, 12.0, y, "bold", result.name);
        for phase in PHASES.iter().filter(|phase| result.has(**phase)) {
            let cost = |number| result.cost(*phase, number).map(|cost| cost.wall_seconds);
            let bars: Vec<(usize, f64)> = (0..result.programs.len())
                .filter_map(|number| Some((number, cost(number)?)))
                .collect();
            let longest = bars.iter().map(|(_, wall)| *wall).fold(0.001, f64::max);
            let scale = (WIDTH - LEFT - RIGHT) / longest;
            y += BAR / 2.0;
            let top = y;
            for (number, wall) in bars {
                let colour = COLOURS[number % COLOURS.len()];
                let name = result.programs[number].name;
                let label = if y == top { phase.name() } else { "" };
                text(&mut body, 24.0, y + BAR, "normal", label);
                text(&mut body, 110.0, y + BAR, "normal", name);
                let width = (wall * scale).max(1.0);
                let height = BAR - 2.0;
                let _ = writeln!(
                    body,
                    "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>",
                    y + 2.0
                );
                text(
                    &mut body,
                    LEFT + width + 4.0,
                    y + BAR,
                    "normal",
                    &format!("{wall:.2}"),
                );
                y += BAR;
            }
            let limit = LEFT + result.limit(*phase).min(longest) * scale;
            let _ = writeln!(
                body,
                "<line x1=\"{limit:.1}\" x2=\"{limit:.1}\" y1=\"{top:.1}\" y2=\"{y:.1}\" stroke=\"#000\"/>"
            );
        }
    }
    let height = y + 16.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn text(body: &mut String, x: f64, y: f64, weight: &str, words: &str) {
    if words.is_empty() {
        return;
    }
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::result::example;
    use super::*;

    #[test]
    fn each_program_has_a_bar_in_proportion_and_names_are_escaped() {
        let image = svg(&[example()]);
        assert!(image.starts_with("<svg ") && image.ends_with("</svg>\n"));
        assert!(image.contains("some &lt;set>"));
        // The background, and a bar for each of the four programs.
        assert_eq!(image.matches("<rect ").count(), 5);
        assert!(image.contains("width=\"600.0\"") && image.contains("width=\"150.0\""));
        assert_eq!(image.matches("<line ").count(), 1);
    }
}
