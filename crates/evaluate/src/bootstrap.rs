//! How far metrics would move with other rows of the same kind: intervals by bootstrap.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{CheckContext, Frame, Intervals, Problem, Result, Schema, path};

use crate::{
    judged::{MetricList, check_between, check_column},
    slices,
};

/// Intervals by the percentile bootstrap (Efron, 1979): the judged rows are drawn again with replacement, as many as there are,
/// and each metric is measured on every such draw.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bootstrap {
    /// How many times the rows are drawn.
    #[serde(default = "default_samples")]
    #[schemars(range(min = 100, max = 100_000))]
    samples: usize,
    /// The share of the draws whose metric lies in the interval, as much left out below it as above.
    #[serde(default = "default_level")]
    #[schemars(range(min = 0.0, max = 1.0))]
    level: f64,
    /// Rows with the same value here are drawn together: all rows of a customer, of a day. Rows that resemble each other would make
    /// the interval too narrow.
    group: Option<String>,
}

fn default_samples() -> usize {
    1000
}

fn default_level() -> f64 {
    0.95
}

impl Bootstrap {
    /// With rows of one value here drawn together, where the spec names no other column.
    pub(crate) fn or_group(mut self, column: &str) -> Self {
        self.group.get_or_insert_with(|| column.to_owned());
        self
    }

    pub(crate) fn check(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        check_between(
            "level",
            self.level,
            (0.0, 1.0),
            path!["bootstrap", "level"],
            cx,
        );
        if self.samples < 100 {
            cx.report(Problem::error(
                "out-of-range",
                path!["bootstrap", "samples"],
                format!(
                    "{} samples tell no interval; draw at least 100",
                    self.samples
                ),
            ));
        }
        if let Some(group) = &self.group {
            check_column(input, group, path!["bootstrap", "group"], cx);
        }
    }

    /// Columns that it looks at.
    pub(crate) fn reads(&self) -> impl Iterator<Item = String> {
        self.group.clone().into_iter()
    }

    /// The interval of every metric that has a value on at least half of the draws, in the order of `metrics`.
    ///
    /// `rows` are numbers of rows of the frame; `measure` is given such numbers, some more than once. Draw `n` comes from stream `n` of the
    /// seed's generator, so that threads change nothing.
    pub(crate) fn intervals(
        &self,
        frame: &Frame,
        rows: &[usize],
        metrics: &[String],
        seed: u64,
        measure: &(dyn Fn(&[usize]) -> MetricList + Sync),
    ) -> Result<Intervals> {
        let groups = self.groups(frame, rows)?;
        let draws: Vec<MetricList> = (0..self.samples)
            .into_par_iter()
            .map(|sample| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(sample as u64 + 1);
                let mut drawn = Vec::with_capacity(rows.len());
                match &groups {
                    None => drawn
                        .extend((0..rows.len()).map(|_| rows[random.random_range(0..rows.len())])),
                    Some(groups) => (0..groups.len()).for_each(|_| {
                        drawn.extend(&groups[random.random_range(0..groups.len())]);
                    }),
                }
                measure(&drawn)
            })
            .collect();
        let tail = (1.0 - self.level) / 2.0;
        let bounds = metrics.iter().filter_map(|metric| {
            let mut values: Vec<f64> = draws.iter().filter_map(|draw| draw.get(metric)).collect();
            if values.len() * 2 < self.samples {
                return None;
            }
            values.sort_unstable_by(f64::total_cmp);
            let (low, high) = (quantile(&values, tail)?, quantile(&values, 1.0 - tail)?);
            Some((metric.clone(), low, high))
        });
        Ok(Intervals {
            level: self.level,
            samples: self.samples,
            bounds: bounds.collect(),
        })
    }

    /// The rows of each group, groups in order of their first row.
    fn groups(&self, frame: &Frame, rows: &[usize]) -> Result<Option<Vec<Vec<usize>>>> {
        let Some(column) = &self.group else {
            return Ok(None);
        };
        let values = slices::texts(frame.data.column(column)?)?;
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for row in rows {
            let place = *places.entry(values[*row].as_str()).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[place].push(*row);
        }
        Ok(Some(groups))
    }
}

/// The quantile of sorted values, between two of them on the straight line; `None` of no values.
pub(crate) fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = at.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

#[cfg(test)]
mod tests {
    use polars::prelude::df;
    use taktline_core::serde_yaml;

    use super::*;
    use crate::judged::testing;

    fn bootstrap(params: &str) -> Bootstrap {
        serde_yaml::from_str(params).expect("params")
    }

    /// 400 values whose mean is 0.5 and whose standard deviation is 0.5: zeros and ones.
    fn coins(copies: usize) -> (Frame, Vec<f64>) {
        let values: Vec<f64> = (0..400 * copies)
            .map(|row| (row / copies % 2) as f64)
            .collect();
        let coins: Vec<i64> = (0..values.len()).map(|row| (row / copies) as i64).collect();
        let data = df!("value" => values.clone(), "coin" => coins).expect("a frame");
        (testing::frame(data, &[]), values)
    }

    fn interval_of_mean(params: &str, copies: usize, seed: u64) -> (f64, f64) {
        let (frame, values) = coins(copies);
        let rows: Vec<usize> = (0..values.len()).collect();
        let mean = |rows: &[usize]| {
            let mut list = MetricList::default();
            let sum: f64 = rows.iter().map(|row| values[*row]).sum();
            list.add("mean", Some(sum / rows.len() as f64), "");
            list
        };
        let intervals = bootstrap(params)
            .intervals(&frame, &rows, &["mean".to_owned()], seed, &mean)
            .expect("intervals");
        let (_, low, high) = intervals.bounds[0].clone();
        (low, high)
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_law() {
        // Standard error 0.5 / √400 = 0.025, so that 95 % lie within 1.96 × 0.025 = 0.049.
        let (low, high) = interval_of_mean("{samples: 4000}", 1, 7);
        assert!((low - 0.451).abs() < 0.004, "{low}");
        assert!((high - 0.549).abs() < 0.004, "{high}");
        // 68.27 % lie within one standard error.
        let (low, high) = interval_of_mean("{samples: 4000, level: 0.6827}", 1, 7);
        assert!((low - 0.475).abs() < 0.004, "{low}");
        assert!((high - 0.525).abs() < 0.004, "{high}");
    }

    #[test]
    fn copies_of_rows_are_no_news_when_they_are_drawn_together() {
        let once = interval_of_mean("{samples: 500}", 1, 7);
        assert_eq!(interval_of_mean("{samples: 500, group: coin}", 5, 7), once);
        // Taken for rows of their own, they make the interval too narrow by √5.
        let (low, high) = interval_of_mean("{samples: 500}", 5, 7);
        assert!(high - low < 0.6 * (once.1 - once.0));
    }

    #[test]
    fn the_same_seed_draws_the_same_rows() {
        let first = interval_of_mean("{samples: 200}", 1, 7);
        assert_eq!(first, interval_of_mean("{samples: 200}", 1, 7));
        assert_ne!(first, interval_of_mean("{samples: 200}", 1, 8));
    }

    #[test]
    fn quantiles_as_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.25, 0.5, 0.9, 1]) → 1, 1.75, 3, 6.8, 8
        let values = [1.0, 2.0, 4.0, 8.0];
        let at = |share| quantile(&values, share).expect("values");
        assert_eq!((at(0.0), at(0.25), at(0.5), at(1.0)), (1.0, 1.75, 3.0, 8.0));
        assert!((at(0.9) - 6.8).abs() < 1e-12);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn params_are_checked() {
        let (frame, _) = coins(1);
        let capabilities = taktline_core::Capabilities::default();
        let mut cx = CheckContext {
            stage: "quality",
            seed: 1,
            directory: std::path::Path::new("."),
            capabilities: &capabilities,
            problems: Vec::new(),
        };
        bootstrap("{level: 1.0, samples: 5, group: coins}").check(&frame.schema, &mut cx);
        let codes: Vec<&str> = cx.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["out-of-range", "out-of-range", "unknown-column"]);
    }
}
