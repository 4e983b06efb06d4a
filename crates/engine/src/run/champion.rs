//! Gates that compare a new model with a registered version of it: both are judged by the same evaluation, on the same rows.

use polars::{
    lazy::dsl::col,
    prelude::{BooleanChunked, Column as PolarsColumn, DataFrame, IntoLazy, NewChunkedArray},
};
use taktline_core::{
    Error, Evaluation, Frame, PARTITION, Partition, Problem, Result, Schema, Shape, counted,
    output_schema, path,
};

use super::{At, Run, StageResult, only_read};
use crate::{
    bundle,
    key::Key,
    local,
    registered::{self, Found},
    store::Payload,
    summary::Champion,
};

impl Run<'_> {
    /// What a registered version of the model reaches by a metric that an evaluation measured for the new one; none where no version is
    /// called so. `same` is the bundle that the new model is known to be, if it was made before. With it comes what is to be said where
    /// the two were not judged on as many rows.
    pub(super) fn champion(
        &mut self,
        deploy: usize,
        (model, version): (&str, &str),
        (evaluation, metric, value): (usize, &str, f64),
        same: Option<&str>,
    ) -> StageResult<Option<(Champion, Option<String>)>> {
        let found = match registered::look_up(self.directory, model, version) {
            Ok(found) => found,
            Err(why) if why.is_absent && why.is_typo => {
                let problem = Problem::error("unknown-model", path!["require"], why.message);
                return Err(Error::Problem(Box::new(problem.help_if(why.help)))).at(deploy);
            }
            Err(why) if why.is_absent => return Ok(None),
            Err(why) => return Err(why.into()).at(deploy),
        };
        let mut note = None;
        let reached = if same == Some(found.bundle.as_str()) {
            Some(value)
        } else {
            let judged = self.judged(deploy, evaluation, version, &found)?;
            let of_new = self
                .evaluations
                .iter()
                .find(|(stage, _)| *stage == evaluation);
            let rows = of_new.map_or(judged.rows, |(_, found)| found.rows);
            if rows != judged.rows {
                note = Some(format!(
                    "judged on {}, version {} on {}: a stage in between drops rows by what the model says",
                    counted(rows, "row"),
                    found.number,
                    counted(judged.rows, "row")
                ));
            }
            let mut measured = judged.metrics.iter();
            let measured = measured.find(|(name, _)| name == metric);
            measured.map(|(_, value)| *value)
        };
        let Some(value) = reached else {
            let message = format!(
                "`{metric}` has no value for version {} of `{model}` (`{version}`) on these rows, so they cannot be compared by it",
                found.number
            );
            return Err(Error::data(message)).at(deploy);
        };
        let version = found.number;
        Ok(Some((Champion { version, value }, note)))
    }

    /// What the evaluation says of a registered version's predictions in the place of the new model's.
    fn judged(
        &mut self,
        deploy: usize,
        evaluation: usize,
        version: &str,
        found: &Found,
    ) -> StageResult<Evaluation> {
        let key = Key::of(&(
            "champion",
            self.records[evaluation].key,
            found.bundle.as_str(),
        ))
        .at(deploy)?;
        let known = self.cached(evaluation, |store| store.get_json(key, Payload::Findings));
        if let Some(known) = known {
            return Ok(known);
        }
        let seed = self.plan.seed;
        let judged = match self.plan.stages[evaluation].stage.shape() {
            Shape::Evaluate(evaluate) => self
                .with_predictions_of(deploy, evaluation, found)
                .map_err(|failed| failed.error)
                .and_then(|Frame { data, schema }| {
                    let data = only_read(data, evaluate, &schema);
                    evaluate.evaluate(&Frame { data, schema }, seed)
                }),
            _ => Err(Error::State("not an evaluation".to_owned())),
        };
        let judged = judged
            .map_err(|error| match error {
                Error::Interrupted => error,
                error => {
                    let message = format!(
                        "version {} of the model (`{version}`) cannot be judged on these rows: {error}",
                        found.number
                    );
                    let problem = Problem::error("champion", path!["require"], message).help(
                        "take the bound out for one run, so that a version takes its place that can read such rows, or `takt models promote` another one",
                    );
                    Error::Problem(Box::new(problem))
                }
            })
            .at(deploy)?;
        self.store
            .put_json(key, Payload::Findings, &judged)
            .at(deploy)?;
        Ok(judged)
    }

    /// The rows that the evaluation reads, as they would be had that version predicted.
    fn with_predictions_of(
        &mut self,
        deploy: usize,
        evaluation: usize,
        found: &Found,
    ) -> StageResult<Frame> {
        let plan = self.plan;
        let extent = bundle::extent(plan, deploy).at(deploy)?;
        let model = extent.model;
        let below = self.path(evaluation, model).ok_or_else(|| {
            Error::data(format!(
                "`{}` does not judge the model `{}`",
                plan.stages[evaluation].id, plan.stages[model].id
            ))
        });
        let below = below.at(deploy)?;
        let above = self.path(model, extent.cut).unwrap_or_default();

        // As scoring does: from the columns at the cut, all rows of them, since some features look at the rows before.
        let champion = registered::open(&found.folder).at(deploy)?;
        let cut = self.frame(extent.cut)?;
        let wanted: Vec<_> = {
            let schema = self.schema(extent.cut)?;
            let wanted = champion.manifest.input.iter().map(|column| &column.name);
            let known = wanted.filter(|name| schema.column(name).is_some());
            known.map(col).collect()
        };
        let inputs = self.collect(cut.select(wanted), deploy)?;
        let known = inputs.width();
        let scored = champion
            .score(inputs)
            .map_err(|error| Error::data(error.to_string()))
            .at(deploy)?;
        let mut outputs = scored.columns()[known..].to_vec();

        // What balances the training rows adds or drops some of them; the others keep their order.
        let is_balancing = |stage: &&usize| plan.stages[**stage].stage.shape().is_training_only();
        let predicted = self.frame(model)?;
        let mut data = self.collect(predicted, deploy)?;
        if let Some(first) = above.iter().find(is_balancing) {
            let before = self.frame(self.input(*first))?;
            let parts = self.collect(before.select([col(PARTITION)]), deploy)?;
            let held_out = held_out(&parts).at(deploy)?;
            for column in &mut outputs {
                *column = column.filter(&held_out).map_err(Error::from).at(deploy)?;
            }
            let kept = self::held_out(&data).at(deploy)?;
            data = data.filter(&kept).map_err(Error::from).at(deploy)?;
        }
        let of_model = self.schema(self.input(model))?;
        let schema = self.schema(model)?;
        let (mut data, mut schema) = exchanged(data, &schema, &of_model, outputs).at(deploy)?;
        for stage in below {
            let planned = &plan.stages[stage];
            let relational = match planned.stage.shape() {
                Shape::Evaluate(_) | Shape::Expect(_) | Shape::Sink(_) | Shape::Deploy(_) => {
                    continue;
                }
                Shape::Relational(relational) if planned.inputs.len() == 1 => relational,
                _ => {
                    let message = format!(
                        "`{}` stands between the model and `{}`, and would have to learn from that version's predictions",
                        planned.id, plan.stages[evaluation].id
                    );
                    return Err(Error::data(message)).at(deploy);
                }
            };
            let schemas = std::slice::from_ref(&schema);
            let operations = relational.lower(schemas).at(deploy)?;
            let frame = local::apply(&operations, &[data.lazy()], schemas).at(deploy)?;
            let after = output_schema(&operations, schemas);
            data = self.collect(frame, deploy)?;
            schema = Schema {
                facts: planned.schema.facts.clone(),
                ..after
            };
        }
        Ok(Frame { data, schema })
    }

    /// The stages between two, from the upper one down, along what each keeps its rows from; none where that leads elsewhere.
    fn path(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut path = Vec::new();
        let mut at = from;
        while at != to {
            at = *self.plan.stages[at].inputs.first()?;
            if at != to {
                path.push(at);
            }
        }
        path.reverse();
        Some(path)
    }
}

/// Which rows are not for training.
fn held_out(data: &DataFrame) -> Result<BooleanChunked> {
    let labels = data.column(PARTITION)?.str()?;
    let train = Partition::Train.label();
    let is_held_out = labels.iter().map(|label| label != Some(train));
    Ok(BooleanChunked::from_iter_values(
        PARTITION.into(),
        is_held_out,
    ))
}

/// The rows with these outputs in the place of those of the model whose input had that schema.
fn exchanged(
    data: DataFrame,
    schema: &Schema,
    of_model: &Schema,
    outputs: Vec<PolarsColumn>,
) -> Result<(DataFrame, Schema)> {
    let mut schema = schema.clone();
    let said: Vec<String> = data
        .get_column_names()
        .into_iter()
        .map(|name| name.to_string())
        .filter(|name| name != PARTITION && of_model.column(name).is_none())
        .collect();
    let mut exchanged = data.drop_many(&said);
    for column in outputs {
        if column.len() != exchanged.height() {
            return Err(Error::State(format!(
                "it predicts {} rows of {}",
                column.len(),
                exchanged.height()
            )));
        }
        exchanged.with_column(column)?;
    }
    // The other model may have had no interval, or other classes.
    let is_gone = |name: &String| said.contains(name) && exchanged.column(name).is_err();
    schema.columns.retain(|column| !is_gone(&column.name));
    Ok((exchanged, schema))
}
