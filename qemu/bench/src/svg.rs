//! Two kinds of picture: bars with spread, and lines. Plain SVG, readable on white.

use std::fmt::Write;

use crate::number::short;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 330.0;
const TOP: f64 = 44.0;
const ROW: f64 = 26.0;
const MARGIN: f64 = 24.0;

/// Colours of series, apart also for those who see few.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// From where to where it was measured, if more than once.
    pub spread: Option<(f64, f64)>,
}

/// Horizontal bars that begin at 0, with a mark at 1.
#[must_use]
pub fn bars(title: &str, bars: &[Bar]) -> String {
    let height = TOP + ROW * bars.len() as f64 + MARGIN;
    let mut svg = begin(title, height);
    let largest =
        bars.iter().map(|bar| bar.spread.map_or(bar.value, |(_, high)| high.max(bar.value))).fold(1.0, f64::max);
    let at = |value: f64| LEFT + value / largest * (WIDTH - LEFT - 90.0);
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let middle = y + ROW / 2.0;
        text(&mut svg, LEFT - 8.0, middle + 4.0, "end", &bar.label);
        let colour = if bar.value < 1.0 { COLOURS[1] } else { COLOURS[0] };
        let width = at(bar.value) - LEFT;
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            y + 4.0,
            ROW - 8.0
        );
        let mut end = at(bar.value);
        if let Some((low, high)) = bar.spread {
            line(&mut svg, (at(low), middle), (at(high), middle), "#333");
            end = end.max(at(high));
        }
        text(&mut svg, end + 6.0, middle + 4.0, "start", &format!("{}×", short(bar.value)));
    }
    line(&mut svg, (at(1.0), TOP), (at(1.0), height - MARGIN), "#999");
    svg + "</svg>\n"
}

/// A line of some points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is.
    pub label: String,
    /// One for each place on the axis; a gap where there is none.
    pub values: Vec<Option<f64>>,
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Linear,
    /// By powers of ten.
    Logarithmic,
}

/// Lines over places that have names.
#[must_use]
pub fn lines(title: &str, unit: &str, places: &[String], series: &[Series], scale: Scale) -> String {
    let (left, plot_height) = (70.0, 300.0);
    let legend = 20.0 * series.len() as f64;
    let bottom = TOP + plot_height;
    let mut svg = begin(title, bottom + 40.0 + legend);
    let all = || series.iter().flat_map(|series| series.values.iter().flatten().copied()).filter(|value| *value > 0.0);
    let largest = all().fold(f64::MIN_POSITIVE, f64::max);
    let (low, high) = match scale {
        Scale::Linear => (0.0, largest * 1.1),
        Scale::Logarithmic => (all().fold(largest, f64::min).log10().floor(), largest.log10().ceil()),
    };
    let height = |value: f64| {
        let value = if scale == Scale::Logarithmic { value.log10() } else { value };
        bottom - (value - low) / (high - low).max(f64::MIN_POSITIVE) * plot_height
    };
    for tick in ticks(low, high, scale) {
        line(&mut svg, (left, height(tick)), (WIDTH - MARGIN, height(tick)), "#ddd");
        text(&mut svg, left - 6.0, height(tick) + 4.0, "end", &short(tick));
    }
    text(&mut svg, left, TOP - 8.0, "start", unit);
    let step = (WIDTH - MARGIN - left) / places.len().max(1) as f64;
    let across = |index: usize| left + step * (index as f64 + 0.5);
    for (index, place) in places.iter().enumerate() {
        text(&mut svg, across(index), bottom + 18.0, "middle", place);
    }
    for (index, series) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points = series.values.iter().enumerate().filter_map(|(place, value)| {
            let value = value.filter(|value| scale == Scale::Linear || *value > 0.0)?;
            Some(format!("{:.1},{:.1}", across(place), height(value)))
        });
        let points: Vec<String> = points.collect();
        // Those beyond the colours are dashed.
        let dash = if index < COLOURS.len() { "" } else { " stroke-dasharray=\"5 4\"" };
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>",
            points.join(" ")
        );
        for point in &points {
            if let Some((x, y)) = point.split_once(',') {
                let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
            }
        }
        let y = bottom + 40.0 + 20.0 * index as f64;
        let _ = writeln!(svg, "<rect x=\"{left}\" y=\"{:.1}\" width=\"18\" height=\"4\" fill=\"{colour}\"/>", y - 6.0);
        text(&mut svg, left + 26.0, y, "start", &series.label);
    }
    svg + "</svg>\n"
}

/// Values that have a line of their own.
fn ticks(low: f64, high: f64, scale: Scale) -> Vec<f64> {
    match scale {
        Scale::Linear => {
            let rough = high / 6.0;
            let power = 10_f64.powf(rough.log10().floor());
            let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
            let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(rough);
            (0..).map(|index| f64::from(index) * step).take_while(|tick| *tick <= high).collect()
        }
        Scale::Logarithmic => (low as i32..=high as i32).map(|power| 10_f64.powi(power)).collect(),
    }
}

fn begin(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<title>{0}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        escaped(title)
    );
    let _ =
        writeln!(svg, "<text x=\"{MARGIN}\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>", escaped(title));
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, content: &str) {
    let content = escaped(content);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(svg, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element that is opened is closed, and no number is missing.
    fn check(svg: &str) {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for element in ["text", "title", "svg"] {
            let opened = svg.matches(&format!("<{element}")).count();
            assert_eq!(opened, svg.matches(&format!("</{element}>")).count(), "{element}");
        }
    }

    fn lengths(svg: &str) -> Vec<f64> {
        let beginning = format!("<rect x=\"{LEFT}\"");
        let bars = svg.split(&beginning).skip(1);
        bars.map(|rest| rest.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |label: &str, value| Bar { label: label.into(), value, spread: Some((value * 0.9, value * 1.1)) };
        let svg = bars("a < b & c", &[bar("one", 2.0), bar("two", 4.0), bar("less", 0.5)]);
        check(&svg);
        let [one, two, less] = lengths(&svg)[..] else { panic!("{svg}") };
        assert!((two / one - 2.0).abs() < 0.01 && (one / less - 4.0).abs() < 0.01, "{one} {two} {less}");
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains(">4.00×<"), "{svg}");
        // What is lost has another colour.
        assert_eq!(svg.matches(COLOURS[1]).count(), 1);
        check(&bars("nothing", &[]));
    }

    #[test]
    fn lines_have_points_and_gaps() {
        let places: Vec<String> = ["1", "2", "4"].map(String::from).into();
        let series = |label: &str, values: [Option<f64>; 3]| Series { label: label.into(), values: values.into() };
        let both = [series("a", [Some(1.0), Some(10.0), Some(100.0)]), series("b", [Some(5.0), None, Some(0.0)])];
        for scale in [Scale::Linear, Scale::Logarithmic] {
            check(&lines("t", "us", &places, &both, scale));
        }
        let svg = lines("t", "us", &places, &both, Scale::Logarithmic);
        assert_eq!(svg.matches("<circle").count(), 4, "no logarithm of nothing: {svg}");
        // Powers of ten are as far apart as one another.
        let heights: Vec<f64> = svg
            .split("<circle cx=\"")
            .skip(1)
            .take(3)
            .map(|rest| rest.split("cy=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(((heights[0] - heights[1]) - (heights[1] - heights[2])).abs() < 0.2, "{heights:?}");
        check(&lines("nothing", "", &[], &[], Scale::Linear));
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 11.0, Scale::Linear), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(-1.0, 2.0, Scale::Logarithmic), [0.1, 1.0, 10.0, 100.0]);
    }
}
