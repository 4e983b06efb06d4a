//! What every evaluation may be asked for besides its metrics: intervals and slices.

use std::collections::BTreeSet;

use taktline_core::{CheckContext, Evaluation, Frame, Result, Schema};

use crate::{
    bootstrap::Bootstrap,
    judged::{self, MetricList, Parts},
    slices::{By, worst_name},
};

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Further<'a> {
    pub(crate) bootstrap: Option<&'a Bootstrap>,
    pub(crate) by: Option<&'a By>,
    /// The param that `by` was read from.
    pub(crate) param: &'static str,
}

impl Further<'_> {
    pub(crate) fn check(&self, input: &Schema, cx: &mut CheckContext<'_>) {
        if let Some(by) = self.by {
            by.check(self.param, input, cx);
        }
        if let Some(bootstrap) = self.bootstrap {
            bootstrap.check(input, cx);
        }
    }

    /// Columns that it looks at.
    pub(crate) fn reads(&self) -> BTreeSet<String> {
        let by = self.by.into_iter().flat_map(By::reads);
        let groups = self.bootstrap.into_iter().flat_map(Bootstrap::reads);
        by.chain(groups).collect()
    }

    /// The metrics with the worst value of a slice, where these metrics are shown by slice.
    pub(crate) fn worst(&self, by_slice: &[String]) -> Vec<String> {
        match self.by {
            Some(_) => by_slice.iter().map(|metric| worst_name(metric)).collect(),
            None => Vec::new(),
        }
    }

    /// Adds the metrics of the judged rows, beside them those of the training rows, what has no value, slices and intervals.
    ///
    /// `by_slice` are the metrics to show by slice; `measure` is given numbers of rows of the frame.
    pub(crate) fn complete(
        &self,
        evaluation: &mut Evaluation,
        frame: &Frame,
        parts: &Parts,
        by_slice: &[String],
        seed: u64,
        measure: &(dyn Fn(&[usize]) -> MetricList + Sync),
    ) -> Result<()> {
        let MetricList {
            defined,
            mut undefined,
        } = measure(&parts.judged);
        if let Some(bootstrap) = self.bootstrap {
            evaluation.intervals = Some(bootstrap.intervals(
                frame,
                &parts.judged,
                &estimated(&defined),
                seed,
                measure,
            )?);
        }
        evaluation.metrics = defined;
        if let Some(by) = self.by {
            let (tables, worst) = by.measure(frame, &parts.judged, by_slice, measure)?;
            evaluation.tables.extend(tables);
            evaluation.metrics.extend(worst.defined);
            undefined.extend(worst.undefined);
        }
        evaluation
            .tables
            .extend(judged::undefined_table(&undefined));
        Ok(())
    }
}

/// The metrics that have an interval. A baseline is what the model is held against; it is not estimated, and no threshold is.
pub(crate) fn estimated(defined: &[(String, f64)]) -> Vec<String> {
    let names = defined.iter().map(|(name, _)| name);
    names
        .filter(|name| !name.starts_with("baseline_") && *name != "chosen_threshold")
        .cloned()
        .collect()
}
