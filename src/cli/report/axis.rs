//! Axes of charts: the places of ticks and their labels.

use std::ops::Range;

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
