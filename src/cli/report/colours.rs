//! The colours of the charts, for light and dark pages. They are those that Okabe and Ito chose for colour-blind
//! readers, or near them where a line would be too faint on white.

use plotters::style::RGBColor;

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
    use std::collections::BTreeSet;

    #[test]
    fn colours_are_distinct() {
        let names: BTreeSet<&str> = ALL.iter().map(|colour| colour.name).collect();
        let drawn: BTreeSet<String> = ALL.iter().map(|colour| hex(colour.day)).collect();
        let night: BTreeSet<String> = ALL.iter().map(|colour| hex(colour.night)).collect();
        assert_eq!((names.len(), drawn.len(), night.len()), (ALL.len(), ALL.len(), ALL.len()));
    }
}
