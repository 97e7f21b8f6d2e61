//! The page in HTML: one file that needs nothing else, to be printed. Pure.

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use super::page::{Block, Page};
use crate::html::escape;

/// Lines of one QR code; more become several codes, which phones still read from paper.
const QR_LINES_MAX: usize = 12;
/// Smallest side of a code on the page, in pixels of CSS.
const QR_PIXELS: u32 = 240;

const STYLE: &str = "\
@page { size: A4; margin: 15mm }
body { font: 10.5pt/1.4 serif; max-width: 180mm; margin: 8mm auto; color: #000; background: #fff }
h1 { font-size: 18pt } h2 { font-size: 13pt; break-after: avoid }
.warning { border: 2pt solid #000; padding: 3mm; font-weight: bold }
pre { font: 8.5pt/1.35 monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: 2mm 0 }
pre.lines { font-size: 11pt; line-height: 1.6 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 4mm; margin: 2mm 0 }
dt { font-style: italic } dd { margin: 0; overflow-wrap: anywhere }
.part { break-inside: avoid; margin: 5mm 0 }
.code { display: inline-block; margin: 2mm 4mm 2mm 0 } .code svg { width: 55mm; height: 55mm }
";

/// What the QR codes of these lines say: the lines without spaces.
fn code_texts(lines: &[String]) -> Vec<Zeroizing<String>> {
    let parts = lines.chunks(QR_LINES_MAX);
    let join = |part: &[String]| {
        let compact: Vec<String> = part.iter().map(|line| line.replace(' ', "")).collect();
        Zeroizing::new(compact.join("\n"))
    };
    parts.map(join).collect()
}

fn write_codes(text: &mut Zeroizing<String>, lines: &[String]) {
    for content in code_texts(lines) {
        // Twelve lines are far below what a code can hold.
        if let Ok(code) = QrCode::with_error_correction_level(content.as_bytes(), EcLevel::M) {
            let image = code
                .render::<svg::Color<'_>>()
                .min_dimensions(QR_PIXELS, QR_PIXELS)
                .build();
            // The declaration that begins an SVG file has no place inside of a page.
            let image = image.find("<svg").map_or("", |at| &image[at..]);
            text.push_str("<span class=\"code\">");
            text.push_str(image);
            text.push_str("</span>\n");
        }
    }
}

/// The page in HTML.
pub fn page_html(page: &Page) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(256 * 1024));
    let title = escape(&page.title);
    text.push_str(&format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title}</title>\n<style>\n{STYLE}</style></head><body>\n<h1>outlast: {title}</h1>\n"
    ));
    for block in &page.blocks {
        match block {
            Block::Heading(words) => text.push_str(&format!("<h2>{}</h2>\n", escape(words))),
            Block::Paragraph(words) => text.push_str(&format!("<p>{}</p>\n", escape(words))),
            Block::Warning(words) => {
                text.push_str(&format!("<p class=\"warning\">{}</p>\n", escape(words)));
            }
            Block::Facts(facts) => {
                text.push_str("<dl>\n");
                for (name, value) in facts {
                    let (name, value) = (escape(name), escape(value));
                    text.push_str(&format!("<dt>{name}</dt><dd>{value}</dd>\n"));
                }
                text.push_str("</dl>\n");
            }
            Block::Commands(commands) => {
                text.push_str("<pre>");
                for command in commands {
                    text.push_str(&escape(command));
                    text.push('\n');
                }
                text.push_str("</pre>\n");
            }
            Block::Program(program) => {
                text.push_str(&format!("<pre>{}</pre>\n", escape(program)));
            }
            Block::Lines(section, lines) => {
                text.push_str(&format!(
                    "<div class=\"part\"><h3>{section}</h3>\n<pre class=\"lines\">"
                ));
                text.push_str(&escape(&lines.join("\n")));
                text.push_str("</pre>\n");
                write_codes(&mut text, lines);
                text.push_str("</div>\n");
            }
        }
    }
    text.push_str("</body></html>\n");
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::lines::{Section, read_typed, write_section};
    use super::*;

    fn page(blocks: Vec<Block>) -> Page {
        Page {
            title: "A <title>".to_owned(),
            blocks,
        }
    }

    /// Reads a code from its SVG, in which every dark module is a square of a path.
    fn read_code(image: &str) -> String {
        let number = |text: &str| -> usize {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        };
        let side = number(image.split("width=\"").nth(1).unwrap());
        let path = image.split(" d=\"").nth(1).unwrap();
        let path = path.split('"').next().unwrap();
        let mut dark = vec![false; side * side];
        for square in path.split('M').skip(1) {
            let (x, rest) = square.split_once(' ').unwrap();
            let (x, y) = (number(x), number(rest));
            let size = number(rest.split_once('h').unwrap().1);
            for row in y..y + size {
                dark[row * side + x..row * side + x + size].fill(true);
            }
        }
        let mut picture = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| {
            if dark[y * side + x] { 0 } else { 255 }
        });
        let grids = picture.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn the_codes_say_what_the_lines_say() {
        let bytes: Vec<u8> = (0..=255).cycle().take(500).collect();
        let lines = write_section(Section::Copy(1), &bytes).unwrap();
        let html = page_html(&page(vec![Block::Lines(Section::Copy(1), lines.clone())]));
        let codes: Vec<String> = html.split("<svg").skip(1).map(read_code).collect();
        assert_eq!(codes.len(), lines.len().div_ceil(QR_LINES_MAX));
        let typed = read_typed(&codes.join("\n"));
        assert_eq!(typed.problems, []);
        assert_eq!(*typed.sections[&Section::Copy(1)], bytes);
    }

    #[test]
    fn nothing_in_it_is_taken_for_html_and_nothing_is_loaded() {
        let hostile = "<script>alert('x')</script>&\"";
        let html = page_html(&page(vec![
            Block::Heading(hostile.to_owned()),
            Block::Paragraph(hostile.to_owned()),
            Block::Warning(hostile.to_owned()),
            Block::Facts(vec![(hostile.to_owned(), hostile.to_owned())]),
            Block::Commands(vec![hostile.to_owned().into()]),
        ]));
        assert!(!html.contains("<script"));
        assert_eq!(html.matches("&lt;script&gt;").count(), 6);
        let outside = html.replace("http://www.w3.org/", "");
        assert!(
            !outside.contains("src=") && !outside.contains("http:"),
            "{outside}"
        );
    }
}
