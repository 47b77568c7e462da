//! A picture of the ratios.

use super::results::{Case, Results};
use super::verdict::WANTED;

/// Pixels.
const WIDTH: f64 = 900.0;
const NAMES: f64 = 420.0;
const ROW: f64 = 18.0;
/// Room for the figure behind a bar.
const FIGURE: f64 = 70.0;

/// What the SDK takes more than the loop, in hundredths, a bar for each case.
pub(crate) fn plot(results: &Results) -> String {
    let cases: Vec<(&Case, f64)> = results
        .cases
        .iter()
        .filter_map(|case| Some((case, 100.0 * (case.ratio()? - 1.0))))
        .collect();
    let most = cases.iter().map(|(_, more)| more.abs()).fold(1.0, f64::max);
    let scale = (WIDTH - NAMES - FIGURE) / most;
    let height = ROW * (cases.len() as f64 + 2.5);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' font-family='sans-serif' font-size='12'>\n\
         <rect width='100%' height='100%' fill='white'/>\n\
         <text x='8' y='16' font-size='14'>What the SDK takes more than the same ioctls in a plain loop, in %</text>\n"
    );
    for (row, (case, more)) in cases.iter().enumerate() {
        let y = ROW * (row as f64 + 1.5);
        let colour = match case.clock.as_str() {
            "counted" if *more > 100.0 * (WANTED - 1.0) => "#c44",
            "counted" => "#4a4",
            _ => "#88a",
        };
        let text = escaped(&format!("{}, {}: {}", case.arch, case.clock, case.name));
        svg.push_str(&format!(
            "<text x='8' y='{:.0}'>{text}</text><rect x='{NAMES}' y='{:.0}' width='{:.1}' height='{:.0}' fill='{colour}'/>\
             <text x='{:.0}' y='{:.0}'>{more:.2}</text>\n",
            y + 13.0,
            y + 3.0,
            more.max(0.0) * scale,
            ROW - 5.0,
            NAMES + more.max(0.0) * scale + 5.0,
            y + 13.0,
        ));
    }
    let wanted = NAMES + 100.0 * (WANTED - 1.0) * scale;
    svg.push_str(&format!(
        "<line x1='{wanted:.1}' x2='{wanted:.1}' y1='{ROW}' y2='{height}' stroke='black' stroke-dasharray='3'/>\n</svg>\n"
    ));
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_with_two_sides_has_a_bar() {
        let mut results = Results::default();
        let line = |case: &str, side: &str, median: f64| {
            format!(
                "@bench {{\"case\":\"{case}\",\"side\":\"{side}\",\"median\":{median},\"low\":1,\"high\":1,\"allocations\":0,\"gate\":true}}\n"
            )
        };
        let printed =
            line("a<b", "raw", 100.0) + &line("a<b", "sdk", 103.0) + &line("c", "sdk", 1.0);
        results.add("x86_64", "counted", &printed).unwrap();
        let svg = plot(&results);
        assert_eq!(svg.matches("fill='#c44'").count(), 1);
        assert!(svg.contains("a&lt;b") && svg.contains(">3.00<"), "{svg}");
    }
}
