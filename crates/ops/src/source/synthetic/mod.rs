//! `source.synthetic.*`: seeded generators that follow a published process, where no real data may be shipped.

mod demand;
mod draws;
mod engines;
mod milling;
mod payments;
mod tiles;

use polars::prelude::DataFrame;
use taktline_core::{CheckContext, Column, Result};

/// What a generator of rows has to say for itself.
trait Generator {
    /// The seed of its own.
    fn seed(&self) -> Option<u64>;

    /// The columns, in order.
    fn columns(&self) -> Vec<Column>;

    /// Reports params that do not fit together.
    fn report(&self, _: &mut CheckContext<'_>) {}

    /// The rows.
    fn generate(&self, seed: u64) -> Result<DataFrame>;
}

/// Makes a [`Generator`] a source.
macro_rules! generated_source {
    ($kind:ty) => {
        impl taktline_core::Stage for $kind {
            fn check(
                &self,
                _: &[taktline_core::Schema],
                cx: &mut taktline_core::CheckContext<'_>,
            ) -> taktline_core::Schema {
                self.report(cx);
                taktline_core::Schema::new(self.columns())
            }

            fn shape(&self) -> taktline_core::Shape<'_> {
                taktline_core::Shape::Source(self)
            }
        }

        impl taktline_core::Source for $kind {
            fn scan(
                &self,
                cx: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Result<polars::prelude::LazyFrame> {
                let rows = self.generate(self.seed().unwrap_or(cx.seed))?;
                Ok(polars::prelude::IntoLazy::lazy(rows))
            }

            fn fingerprint(
                &self,
                _: &taktline_core::SourceContext<'_>,
            ) -> taktline_core::Result<taktline_core::Fingerprint> {
                Ok(taktline_core::Fingerprint::Params)
            }
        }
    };
}
use generated_source;

#[cfg(test)]
mod testing {
    //! What the tests of every generator start with.

    use polars::prelude::DataFrame;
    use serde::de::DeserializeOwned;
    use taktline_core::{Schema, Source, SourceContext, Stage};

    use crate::columns::testing::{passes, stage};

    /// The rows of a source with these params, in the schema that its check promised.
    pub(super) fn generate<S: Stage + Source + DeserializeOwned>(params: &str) -> DataFrame {
        let source: S = stage(params);
        let schema = passes(&source, &Schema::default());
        let cx = SourceContext {
            seed: 3,
            directory: std::path::Path::new("."),
            run_key: None,
        };
        let rows = source
            .scan(&cx)
            .and_then(|rows| Ok(rows.collect()?))
            .expect("generates");
        assert_eq!(*rows.schema().as_ref(), schema.to_polars());
        rows
    }

    /// A column as numbers; true is 1.
    pub(super) fn numbers(rows: &DataFrame, name: &str) -> Vec<f64> {
        let column = rows
            .column(name)
            .and_then(|column| column.cast(&polars::prelude::DataType::Float64))
            .expect("numbers");
        column.f64().expect("numbers").iter().flatten().collect()
    }

    /// A text column.
    pub(super) fn texts(rows: &DataFrame, name: &str) -> Vec<String> {
        let column = rows.column(name).expect("there");
        let column = column.str().expect("text");
        column.iter().flatten().map(str::to_owned).collect()
    }

    pub(super) fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    pub(super) fn deviation(values: &[f64]) -> f64 {
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / (values.len() - 1) as f64).sqrt()
    }

    pub(super) fn correlation(one: &[f64], other: &[f64]) -> f64 {
        let (mean_one, mean_other) = (mean(one), mean(other));
        let products: f64 = one
            .iter()
            .zip(other)
            .map(|(one, other)| (one - mean_one) * (other - mean_other))
            .sum();
        products / (one.len() - 1) as f64 / (deviation(one) * deviation(other))
    }
}
