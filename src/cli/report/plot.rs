//! Draws a chart as SVG with `plotters`; its axes, and its colours.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{Cartesian2d, Circle, DrawingArea, IntoDrawingArea, PathElement, Polygon, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle};
use std::ops::Range;

/// An error of drawing; none can occur when the target is a string.
pub(super) type Failed = Box<dyn std::error::Error>;

/// The width of a letter relative to the font size, about.
const LETTER: f64 = 0.58;

/// The size of a chart in pixels. A chart is drawn once for wide windows and once for narrow ones, with the same font
/// size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

const FONT: f64 = 13.0;

#[derive(Debug)]
pub(super) enum Shape {
    /// An area: for each x, the lower and the upper y.
    Area(Vec<(f64, f64, f64)>),
    /// A line in one or more parts; nothing is drawn across a gap.
    Line(Vec<Vec<(f64, f64)>>),
}

#[derive(Debug)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) shapes: Vec<(Colour, Shape)>,
    /// The start of each phase, and its name.
    pub(super) marks: Vec<(f64, String)>,
    /// Text above a point.
    pub(super) notes: Vec<(f64, f64, String)>,
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ticked, Ticked>>;

/// Plain numbers, with given ticks.
struct Ticked {
    numbers: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        // Values far outside are clamped, since pixels are 32-bit. NaN is not drawn.
        let Range { start, end } = self.numbers.range();
        let length = end - start;
        self.numbers.map(&value.max(start - length).min(end + length), pixels)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.numbers.range()
    }
}

impl Plot {
    pub(super) fn svg(&self, size: Size) -> Result<String, Failed> {
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, (size.width, size.height)).into_drawing_area();
            self.draw(&root, size)?;
            root.present()?;
        }
        Ok(text)
    }

    fn draw(&self, root: &DrawingArea<SVGBackend, Shift>, size: Size) -> Result<(), Failed> {
        let y_ticks = self.y.ticks((size.height / 45) as usize);
        let longest = y_ticks.iter().map(|at| self.y.label(*at).chars().count()).max().unwrap_or(0);
        let x_ticks = self.x.ticks((size.width / 64) as usize);
        let above = if self.marks.is_empty() { 8 } else { 24 };
        let mut chart = ChartBuilder::on(root)
            .margin_top(above)
            .margin_right(22)
            .x_label_area_size(26)
            .y_label_area_size((longest as f64 * FONT * LETTER) as u32 + 14)
            .build_cartesian_2d(ticked(&self.x, x_ticks), ticked(&self.y, y_ticks))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .bold_line_style(GRID.drawn())
            .axis_style(INK.drawn())
            .label_style(style())
            .x_label_formatter(&|at| self.x.label(*at))
            .y_label_formatter(&|at| self.y.label(*at))
            .draw()?;
        // Areas would cover marks, and marks would cover lines.
        let has_areas = self.shapes.iter().any(|(_, shape)| matches!(shape, Shape::Area(_)));
        if !has_areas {
            self.draw_marks(root, &mut chart, GREY)?;
        }
        for (colour, shape) in &self.shapes {
            draw_shape(&mut chart, *colour, shape)?;
        }
        if has_areas {
            self.draw_marks(root, &mut chart, INK)?;
        }
        for (x, y, note) in &self.notes {
            let above = style().pos(Pos::new(HPos::Center, VPos::Bottom));
            chart.draw_series([Text::new(note.clone(), (*x, *y), above)])?;
        }
        Ok(())
    }

    /// Draws a line at each mark, and its name above the chart if there is room.
    fn draw_marks(
        &self,
        root: &DrawingArea<SVGBackend, Shift>,
        chart: &mut Chart,
        colour: Colour,
    ) -> Result<(), Failed> {
        let top = self.y.range.end;
        let place = |at: f64, chart: &Chart| chart.backend_coord(&(at, top));
        for (at, (begins, name)) in self.marks.iter().enumerate() {
            let (x, y) = place(*begins, chart);
            let ends = self.marks.get(at + 1).map_or(self.x.range.end, |(next, _)| *next);
            let room = place(ends, chart).0 - x;
            if *begins > self.x.range.start {
                chart.draw_series([PathElement::new(
                    vec![(*begins, self.y.range.start), (*begins, top)],
                    colour.drawn(),
                )])?;
            }
            if f64::from(room) > (name.chars().count() as f64 + 1.0) * FONT * LETTER {
                root.draw(&Text::new(name.clone(), (x + 3, y - 4), style().pos(Pos::new(HPos::Left, VPos::Bottom))))?;
            }
        }
        Ok(())
    }
}

/// The library takes the font size as that of the font's box, which is larger.
fn style() -> TextStyle<'static> {
    ("sans-serif", FONT * 1.24).into_font().color(&INK.drawn())
}

fn ticked(axis: &Axis, ticks: Vec<f64>) -> Ticked {
    Ticked { numbers: axis.range.clone().into(), ticks }
}

fn draw_shape(chart: &mut Chart, colour: Colour, shape: &Shape) -> Result<(), Failed> {
    match shape {
        Shape::Area(heights) => {
            let over = heights.iter().map(|(x, _, high)| (*x, *high));
            let back = heights.iter().rev().map(|(x, low, _)| (*x, *low));
            chart.draw_series([Polygon::new(over.chain(back).collect::<Vec<_>>(), colour.drawn().filled())])?;
        }
        Shape::Line(pieces) => {
            let stroke = ShapeStyle { color: colour.drawn().to_rgba(), filled: false, stroke_width: 2 };
            for piece in pieces {
                match piece[..] {
                    [alone] => chart.draw_series([Circle::new(alone, 3, colour.drawn().filled())]).map(drop)?,
                    _ => chart.draw_series([PathElement::new(piece.clone(), stroke)]).map(drop)?,
                }
            }
        }
    }
    Ok(())
}

// Axes of charts: the places of ticks and their labels.

/// The scale of an axis. Charts are drawn in plain numbers; logarithmic scales are drawn by their logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Connections, messages.
    Count,
    /// A number per second.
    Rate,
    /// Seconds from the start of the flood.
    Time,
    /// Memory, in a unit that suits the largest value.
    Bytes,
    /// The decimal logarithm of microseconds.
    Latency,
    /// The number of nines: 0 is 0 %, 1 is 90 %, 2 is 99 %.
    Nines,
    /// Two bars: the server's and the client's.
    PerSide,
}

#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) range: Range<f64>,
}

impl Axis {
    /// Makes an axis from 0 to a little more than `largest`.
    pub(super) fn from_zero(scale: Scale, largest: f64) -> Self {
        let end = match scale {
            Scale::Time => largest,
            _ => largest * 1.05,
        };
        Self { scale, range: 0.0..if end > 0.0 { end } else { 1.0 } }
    }

    /// Makes an axis of latencies between whole powers of ten.
    pub(super) fn of_latencies(shortest_us: u64, longest_us: u64) -> Self {
        let (first, last) = ((shortest_us.max(1) as f64).log10().floor(), (longest_us.max(1) as f64).log10().ceil());
        Self { scale: Scale::Latency, range: first..last.max(first + 1.0) }
    }

    /// Returns the places of about `count` ticks at most.
    pub(super) fn ticks(&self, count: usize) -> Vec<f64> {
        let Range { start, end } = self.range;
        match self.scale {
            Scale::Latency | Scale::Nines => {
                let every = ((end - start) / count as f64).ceil().max(1.0);
                steps(start.ceil(), end, every)
            }
            Scale::PerSide => vec![0.5, 1.5],
            Scale::Bytes => {
                let unit = unit(end).0;
                steps(start, end, nice((end - start) / unit / count as f64) * unit)
            }
            // Counts are whole numbers.
            Scale::Count => steps(start, end, nice((end - start) / count as f64).max(1.0)),
            Scale::Rate | Scale::Time => steps(start, end, nice((end - start) / count as f64)),
        }
    }

    pub(super) fn label(&self, at: f64) -> String {
        match self.scale {
            Scale::Count => short(at),
            Scale::Rate => format!("{}/s", short(at)),
            Scale::Time => format!("{} s", plain(at)),
            Scale::Bytes => {
                let (unit, name) = unit(self.range.end);
                format!("{} {name}", plain(at / unit))
            }
            Scale::Latency => match at.round() as i32 {
                power @ ..3 => format!("{} us", 10_i64.pow(power.max(0) as u32)),
                power @ 3..6 => format!("{} ms", 10_i64.pow(power as u32 - 3)),
                power => format!("{} s", 10_i64.pow(power as u32 - 6)),
            },
            Scale::Nines => match at.round() as usize {
                0 => "0 %".into(),
                1 => "90 %".into(),
                2 => "99 %".into(),
                nines => format!("99.{} %", "9".repeat(nines - 2)),
            },
            Scale::PerSide => if at < 1.0 { "server" } else { "client" }.into(),
        }
    }
}

/// Returns 1, 2 or 5 times a power of ten, at least `least`.
fn nice(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= least * 0.999_999);
    factor.unwrap_or(10.0) * power
}

fn steps(start: f64, end: f64, every: f64) -> Vec<f64> {
    let first = (start / every).ceil() as i64;
    // Multiplied, so that rounding errors do not add up. A chart has room for at most 50.
    (first..first + 50).map(|step| step as f64 * every).take_while(|at| *at <= end * 1.000_001).collect()
}

fn unit(largest: f64) -> (f64, &'static str) {
    const UNITS: [(f64, &str); 4] =
        [(1.0, "B"), (1024.0, "KiB"), (1024.0 * 1024.0, "MiB"), (1024.0 * 1024.0 * 1024.0, "GiB")];
    UNITS.into_iter().rev().find(|(unit, _)| largest >= 10.0 * unit).unwrap_or(UNITS[0])
}

/// Formats 1,200,000 as 1.2 M.
fn short(number: f64) -> String {
    match number.abs() {
        ..10_000.0 => plain(number),
        ..1e6 => format!("{} k", plain(number / 1e3)),
        ..1e9 => format!("{} M", plain(number / 1e6)),
        _ => format!("{} G", plain(number / 1e9)),
    }
}

/// Formats at most three decimals, without trailing zeros.
fn plain(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

// The colours of the charts, for light and dark pages. They are those that Okabe and Ito chose for colour-blind
// readers, or near them where a line would be too faint on white.

/// One colour. Charts are drawn with the one for light pages; the style sheet has the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) name: &'static str,
    day: (u8, u8, u8),
    night: (u8, u8, u8),
}

const fn colour(name: &'static str, day: u32, night: u32) -> Colour {
    const fn parts(rgb: u32) -> (u8, u8, u8) {
        let [_, red, green, blue] = rgb.to_be_bytes();
        (red, green, blue)
    }
    Colour { name, day: parts(day), night: parts(night) }
}

pub(super) const INK: Colour = colour("ink", 0x3b_40_45, 0xc6_cb_d1);
pub(super) const GRID: Colour = colour("grid", 0xe3_e6_e9, 0x34_39_3f);
pub(super) const PALE: Colour = colour("pale", 0xd4_d9_de, 0x45_4b_52);
pub(super) const GREY: Colour = colour("grey", 0x80_87_90, 0x8b_93_9c);
pub(super) const BLUE: Colour = colour("blue", 0x00_72_b2, 0x3d_97_d3);
pub(super) const SKY: Colour = colour("sky", 0x3f_a3_dd, 0x7c_c8_f2);
pub(super) const GREEN: Colour = colour("green", 0x00_9e_73, 0x1d_b9_8c);
pub(super) const YELLOW: Colour = colour("yellow", 0xb3_9b_00, 0xf0_e4_42);
pub(super) const ORANGE: Colour = colour("orange", 0xd9_8c_00, 0xf0_a8_1c);
pub(super) const RED: Colour = colour("red", 0xd5_5e_00, 0xff_7f_2a);
pub(super) const PINK: Colour = colour("pink", 0xc6_6b_9c, 0xe0_92_ba);
pub(super) const VIOLET: Colour = colour("violet", 0x6a_51_a3, 0xa8_93_dd);

const ALL: [Colour; 12] = [INK, GRID, PALE, GREY, BLUE, SKY, GREEN, YELLOW, ORANGE, RED, PINK, VIOLET];

impl Colour {
    pub(super) fn drawn(self) -> RGBColor {
        let (red, green, blue) = self.day;
        RGBColor(red, green, blue)
    }
}

fn hex((red, green, blue): (u8, u8, u8)) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Returns the part of the style sheet with the colours. A CSS rule overrides an SVG attribute, so the drawn charts
/// need not be changed.
pub(super) fn style_sheet() -> String {
    let both = |of: fn(&Colour) -> (u8, u8, u8)| -> String {
        ALL.iter().map(|colour| format!("--{}:{};", colour.name, hex(of(colour)))).collect()
    };
    let mut text = format!(
        ":root{{{}}}\n@media (prefers-color-scheme: dark){{:root{{{}}}}}\n",
        both(|colour| colour.day),
        both(|colour| colour.night)
    );
    for colour in ALL {
        let (name, day) = (colour.name, hex(colour.day));
        text += &format!(
            "svg [fill=\"{day}\"]{{fill:var(--{name})}} svg [stroke=\"{day}\"]{{stroke:var(--{name})}} \
             .{name}{{background:var(--{name})}}\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, count: usize) -> Vec<String> {
        axis.ticks(count).into_iter().map(|at| axis.label(at)).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::from_zero(Scale::Count, 1e6), 4), ["0", "500 k", "1 M"]);
        assert_eq!(labels(&Axis::from_zero(Scale::Count, 1.0), 5), ["0", "1"]);
        assert_eq!(labels(&Axis::from_zero(Scale::Time, 1.0), 5), ["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s", "1 s"]);
        assert_eq!(labels(&Axis::from_zero(Scale::Bytes, 4179.0), 4), ["0 B", "2000 B", "4000 B"]);
        assert_eq!(labels(&Axis::of_latencies(70, 900_000), 6), ["10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s"]);
        let nines = Axis { scale: Scale::Nines, range: 0.0..4.0 };
        assert_eq!(labels(&nines, 6), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn axis_of_zeros_has_ticks() {
        assert_eq!(labels(&Axis::from_zero(Scale::Rate, 0.0), 2), ["0/s", "0.5/s", "1/s"]);
        assert_eq!(labels(&Axis::of_latencies(0, 0), 4), ["1 us", "10 us"]);
    }
}

#[cfg(test)]
mod colours_tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn colours_are_distinct() {
        let names: BTreeSet<&str> = ALL.iter().map(|colour| colour.name).collect();
        let drawn: BTreeSet<String> = ALL.iter().map(|colour| hex(colour.day)).collect();
        let night: BTreeSet<String> = ALL.iter().map(|colour| hex(colour.night)).collect();
        assert_eq!((names.len(), drawn.len(), night.len()), (ALL.len(), ALL.len(), ALL.len()));
    }
}
