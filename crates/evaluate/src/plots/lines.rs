//! Pictures of steps over time.

use super::{numbers::number_chart, *};

/// The share without an event over time, of rows with low, middle and high risk; points are times and shares.
pub(crate) fn survival(groups: &[Vec<(f64, f64)>; 3], last: f64) -> Result<Plot> {
    let note = "thirds by risk; blue: lowest, grey: middle, orange: highest";
    let end = if last > 0.0 { last } else { 1.0 };
    picture("survival", "Share without event", note, HEIGHT, |area| {
        let ranges = (0.0..end, 0.0..1.0);
        number_chart(area, ranges, "time", "share without event", |chart| {
            for (group, colour) in groups.iter().zip([ACCENT, MUTED, MARK]) {
                let mut line = vec![(0.0, 1.0)];
                let mut share = 1.0;
                for (time, next) in group {
                    line.push((*time, share));
                    line.push((*time, *next));
                    share = *next;
                }
                line.push((end, share));
                chart.draw_series(LineSeries::new(line, colour.stroke_width(4)))?;
            }
            Ok(())
        })
    })
}
