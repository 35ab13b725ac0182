//! Draws one chart as SVG with `plotters`.

use super::axis::Axis;
use super::colours::{Colour, GREY, GRID, INK};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{Cartesian2d, Circle, DrawingArea, IntoDrawingArea, PathElement, Polygon, SVGBackend, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, ShapeStyle, TextStyle};
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
