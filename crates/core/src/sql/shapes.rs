//! Syntax and functions that are short for other expressions, and aggregates that take more than one value.

use std::ops::Range;

use polars::prelude::{DataType, TimeUnit, TimeZone};
use sqlparser::ast::{self, Expr, Value};

use super::{
    Compiled, SqlProblem,
    compiler::{
        Argument, Compiler, Part, Place, constant, is_distinct, kept_where, truth_value,
        with_months,
    },
    constants::Interval,
    functions::{Entry, Short},
};
use crate::{
    Aggregate, BinaryOperator, Expression, Function, Literal, PairAggregate, UnaryOperator, typing,
};

type Spot = Option<Range<usize>>;

impl Compiler<'_> {
    /// `is distinct from`: null is a value like any other.
    pub(super) fn distinct(
        &mut self,
        left: &Expr,
        right: &Expr,
        negated: bool,
        place: Place,
        whole: &Expr,
    ) -> Part {
        let (left_part, right_part) = (self.part(left, place), self.part(right, place));
        let (left_part, right_part) = (left_part?, right_part?);
        let is_null = |part: &Compiled| part.expression.clone().unary(UnaryOperator::IsNull);
        let both_null = is_null(&left_part).binary(BinaryOperator::And, is_null(&right_part));
        let spots = [self.range_of(left), self.range_of(right)];
        let equal = self.compared(
            BinaryOperator::Equal,
            left_part,
            right_part,
            self.range_of(whole),
            &spots,
        )?;
        let same = Expression::call(Function::Coalesce, vec![equal.expression, both_null]);
        Some(truth_value(same, !negated))
    }

    /// `at time zone`: local time of the zone, where `at` has a zone; else `at` is taken for local time of that zone.
    pub(super) fn at_time_zone(&mut self, operand: &Expr, zone: &Expr, place: Place) -> Part {
        let part = self.part(operand, place);
        let named = match zone {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(name) => {
                    TimeZone::opt_try_new(Some(name.as_str())).ok().flatten()
                }
                _ => None,
            },
            _ => None,
        };
        let Some(zone_name) = named else {
            let range = self.range_of(zone);
            return self.report(
                SqlProblem::bad(range, "this is not the name of a time zone")
                    .help("written `at time zone 'Europe/Berlin'`"),
            );
        };
        let part = part?;
        let spots = [self.range_of(operand)];
        let unit = match part.dtype {
            DataType::Datetime(unit, _) => unit,
            _ => TimeUnit::Microseconds,
        };
        let mut cast = |part: Compiled, to: DataType| {
            let expression = part.expression.cast(to);
            self.checked(expression, &[part.dtype], spots[0].clone(), &spots)
        };
        let has_zone = matches!(part.dtype, DataType::Datetime(_, Some(_)));
        if !has_zone && !matches!(part.dtype, DataType::Date | DataType::Datetime(..)) {
            let message = format!(
                "`at time zone` needs a date or datetime, not {}",
                crate::type_name(&part.dtype)
            );
            return self.report(SqlProblem::new("type-mismatch", spots[0].clone(), message));
        }
        let there = cast(part, DataType::Datetime(unit, Some(zone_name)))?;
        if has_zone {
            cast(there, DataType::Datetime(unit, None))
        } else {
            Some(there)
        }
    }

    /// A point in time, later by months and then by the rest of an interval; earlier, where `sign` is -1.
    pub(super) fn moved(
        &mut self,
        point: Part,
        by: Interval,
        sign: i64,
        whole: &Expr,
        point_expr: &Expr,
    ) -> Part {
        let mut point = point?;
        // As with other intervals, a date becomes its midnight.
        if point.dtype == DataType::Date {
            let datetime = DataType::Datetime(TimeUnit::Microseconds, None);
            point = Compiled {
                expression: point.expression.cast(datetime.clone()),
                dtype: datetime,
            };
        }
        let whole = self.range_of(whole);
        let spots = [self.range_of(point_expr), None];
        let months = Expression::int(sign * by.months);
        let moved = self.checked(
            Expression::call(Function::AddMonths, vec![point.expression, months]),
            &[point.dtype, DataType::Int64],
            whole.clone(),
            &spots,
        )?;
        if by.microseconds == 0 {
            return Some(moved);
        }
        let rest = constant(Literal::Interval(sign * by.microseconds));
        self.compared(BinaryOperator::Add, moved, rest, whole, &spots)
    }

    /// What follows `where` after an aggregate, or stands in `count_if`.
    pub(super) fn condition(&mut self, condition: &Expr) -> Option<Expression> {
        let part = self.part(condition, Place::Inside)?;
        let spot = self.range_of(condition);
        // `not` refuses what is not a truth value.
        self.checked(
            part.expression.clone().unary(UnaryOperator::Not),
            std::slice::from_ref(&part.dtype),
            spot.clone(),
            &[spot],
        )?;
        Some(part.expression)
    }

    /// An aggregate where there are no many rows, or inside another one.
    pub(super) fn misplaced(
        &mut self,
        name: &str,
        arguments: &[Argument<'_>],
        place: Place,
        name_range: Spot,
    ) -> Part {
        for argument in arguments {
            if let Argument::Value(argument) = argument {
                self.part(argument, Place::Inside);
            }
        }
        let problem = SqlProblem::new(
            "aggregate-not-allowed",
            name_range,
            if place == Place::Row {
                format!("`{name}` looks at many rows, and this is computed row by row")
            } else {
                format!("`{name}` stands inside another aggregate")
            },
        );
        self.report(problem.help(match (place, name) {
            (Place::Row, "min") => "the smallest of several values of a row is `least(…)`",
            (Place::Row, "max") => "the largest of several values of a row is `greatest(…)`",
            (Place::Row, _) => {
                "`features.aggregate` computes aggregates of groups, `features.rolling` of windows of rows"
            }
            _ => "compute the inner one in a stage above",
        }))
    }

    /// Takes the share off the arguments of `quantile`.
    pub(super) fn quantile<'e>(
        &mut self,
        mut arguments: Vec<Argument<'e>>,
        entry: &Entry,
        whole: Spot,
    ) -> Option<(Aggregate, Vec<Argument<'e>>)> {
        let name = entry.name;
        if arguments.len() != 2 {
            let message = typing::wrong_count(name, &(2..=2), arguments.len());
            self.report(
                SqlProblem::new("wrong-arguments", whole, message)
                    .help(format!("written `{}`", entry.signature)),
            );
            return None;
        }
        let share = match arguments.pop() {
            Some(Argument::Value(share)) => {
                let spot = self.range_of(share);
                match self.part(share, Place::Inside).map(|part| part.expression) {
                    Some(Expression::Literal(Literal::Float(share))) => Some(share),
                    Some(Expression::Literal(Literal::Int(share))) => Some(share as f64),
                    Some(_) => None,
                    None => return None,
                }
                .filter(|share| (0.0..=1.0).contains(share))
                .ok_or(spot)
            }
            _ => Err(whole),
        };
        match share {
            Ok(share) => Some((Aggregate::Quantile(share), arguments)),
            Err(spot) => {
                self.report(
                    SqlProblem::new(
                        "wrong-arguments",
                        spot,
                        format!("the share of `{name}` must be a constant from 0 to 1"),
                    )
                    .help("the 95th percentile is `quantile(amount, 0.95)`"),
                );
                None
            }
        }
    }

    pub(super) fn pair_aggregate(
        &mut self,
        aggregate: PairAggregate,
        function: &ast::Function,
        entry: &Entry,
        place: Place,
        name_range: Spot,
        whole: Spot,
    ) -> Part {
        let arguments = self.arguments(function, entry.name)?;
        if place != Place::Around {
            return self.misplaced(entry.name, &arguments, place, name_range);
        }
        let values = self.values(&arguments, 2..=2, function, entry, whole.clone())?;
        let condition = match &function.filter {
            None => None,
            Some(filter) => Some(self.condition(filter)?),
        };
        let spots = [self.range_of(values[0]), self.range_of(values[1])];
        let left = self.part(values[0], Place::Inside);
        let right = self.part(values[1], Place::Inside);
        let (left, right) = (left?, right?);
        // A pair with a null is passed over: it is enough to hide one side.
        let first = match condition {
            None => left.expression,
            Some(condition) => kept_where(condition, left.expression),
        };
        self.checked(
            Expression::AggregatePair(aggregate, Box::new(first), Box::new(right.expression)),
            &[left.dtype, right.dtype],
            whole,
            &spots,
        )
    }

    /// The arguments of a function that takes so many values, without `*` and `distinct`.
    fn values<'e>(
        &mut self,
        arguments: &[Argument<'e>],
        expected: std::ops::RangeInclusive<usize>,
        function: &ast::Function,
        entry: &Entry,
        whole: Spot,
    ) -> Option<Vec<&'e Expr>> {
        let name = entry.name;
        let values: Vec<&Expr> = arguments
            .iter()
            .filter_map(|argument| match argument {
                Argument::Value(value) => Some(*value),
                Argument::Star => None,
            })
            .collect();
        let message = if values.len() < arguments.len() {
            format!("`{name}` does not take `*`")
        } else if is_distinct(function) {
            format!("`{name}` does not take `distinct`")
        } else if !expected.contains(&values.len()) {
            typing::wrong_count(name, &expected, values.len())
        } else {
            return Some(values);
        };
        self.report(
            SqlProblem::new("wrong-arguments", whole, message)
                .help(format!("written `{}`", entry.signature)),
        );
        None
    }

    pub(super) fn short(
        &mut self,
        short: Short,
        function: &ast::Function,
        entry: &Entry,
        place: Place,
        name_range: Spot,
        whole: Spot,
    ) -> Part {
        let arguments = self.arguments(function, entry.name)?;
        if short == Short::CountIf && place != Place::Around {
            return self.misplaced(entry.name, &arguments, place, name_range);
        }
        if function.filter.is_some() {
            let problem = SqlProblem::bad(name_range, "`filter` belongs to aggregates");
            return self.report(match short {
                Short::CountIf => problem.help("written `count_if(one and other)`"),
                _ => problem,
            });
        }
        let expected = match short {
            Short::Pi => 0..=0,
            Short::Degrees | Short::Radians | Short::CountIf => 1..=1,
            Short::Mod | Short::DateAdd | Short::DateSub => 2..=2,
            Short::WidthBucket => 4..=4,
            Short::Concat => 1..=usize::MAX,
        };
        let values = self.values(&arguments, expected, function, entry, whole.clone())?;
        match short {
            Short::Pi => Some(constant(Literal::Float(std::f64::consts::PI))),
            Short::Mod => self.two(BinaryOperator::Modulo, &values, place, whole),
            Short::Degrees => self.scaled(values[0], 180.0 / std::f64::consts::PI, place, whole),
            Short::Radians => self.scaled(values[0], std::f64::consts::PI / 180.0, place, whole),
            Short::WidthBucket => self.width_bucket(&values, place, whole),
            Short::Concat => self.concat(&values, place),
            Short::DateAdd | Short::DateSub => {
                let (operator, sign) = match short {
                    Short::DateAdd => (BinaryOperator::Add, 1),
                    _ => (BinaryOperator::Subtract, -1),
                };
                match with_months(values[1]) {
                    Some(interval) => {
                        let point = self.part(values[0], place);
                        self.moved(point, interval, sign, values[0], values[0])
                    }
                    None => self.two(operator, &values, place, whole),
                }
            }
            Short::CountIf => {
                let condition = self.condition(values[0])?;
                let one = kept_where(condition, Expression::int(1));
                Some(Compiled {
                    expression: Expression::Aggregate(Aggregate::Count, Some(Box::new(one))),
                    dtype: DataType::Int64,
                })
            }
        }
    }

    /// A function of two values that is an operator.
    fn two(
        &mut self,
        operator: BinaryOperator,
        values: &[&Expr],
        place: Place,
        whole: Spot,
    ) -> Part {
        let left = self.part(values[0], place);
        let right = self.part(values[1], place);
        let spots = [self.range_of(values[0]), self.range_of(values[1])];
        self.compared(operator, left?, right?, whole, &spots)
    }

    fn scaled(&mut self, value: &Expr, factor: f64, place: Place, whole: Spot) -> Part {
        // A sine takes the same values: a number, and no span of time.
        let number = self.call(Function::Sin, &[value], place, whole)?;
        let Expression::Call(_, mut arguments) = number.expression else {
            return None;
        };
        let value = arguments.pop()?.cast(DataType::Float64);
        Some(Compiled {
            expression: value.binary(BinaryOperator::Multiply, Expression::float(factor)),
            dtype: DataType::Float64,
        })
    }

    /// Nulls are no text, and what is no text is written as one.
    fn concat(&mut self, values: &[&Expr], place: Place) -> Part {
        let parts: Vec<Part> = values
            .iter()
            .map(|value| {
                let part = self.part(value, place)?;
                let spot = self.range_of(value);
                let text = self.checked(
                    part.expression.cast(DataType::String),
                    &[part.dtype],
                    spot.clone(),
                    &[spot],
                )?;
                Some(Compiled {
                    expression: Expression::call(
                        Function::Coalesce,
                        vec![text.expression, Expression::text("")],
                    ),
                    dtype: DataType::String,
                })
            })
            .collect();
        let parts = parts.into_iter().collect::<Option<Vec<Compiled>>>()?;
        let expression = parts
            .into_iter()
            .map(|part| part.expression)
            .reduce(|text, next| text.binary(BinaryOperator::Concat, next))?;
        Some(Compiled {
            expression,
            dtype: DataType::String,
        })
    }

    /// PostgreSQL's `width_bucket`, for bounds that are constants.
    fn width_bucket(&mut self, values: &[&Expr], place: Place, whole: Spot) -> Part {
        // A sine takes the same values: a number.
        let checked = self.call(Function::Sin, &values[..1], place, whole.clone());
        let mut bounds = Vec::with_capacity(3);
        for value in &values[1..] {
            match self.part(value, place)?.expression {
                Expression::Literal(Literal::Int(number)) => bounds.push(number as f64),
                Expression::Literal(Literal::Float(number)) => bounds.push(number),
                _ => {
                    let spot = self.range_of(value);
                    return self.report(
                        SqlProblem::new(
                            "wrong-arguments",
                            spot,
                            "the bounds and the count of `width_bucket` must be constant numbers",
                        )
                        .help("written `width_bucket(amount, 0, 100, 10)`"),
                    );
                }
            }
        }
        let [low, high, count] = bounds[..] else {
            return None;
        };
        if low >= high || count < 1.0 || count.fract() != 0.0 || count > 1e9 {
            return self.report(
                SqlProblem::new(
                    "wrong-arguments",
                    whole,
                    "`width_bucket` needs a low bound below the high one, and a whole number of parts",
                )
                .help("written `width_bucket(amount, 0, 100, 10)`"),
            );
        }
        let Expression::Call(_, mut arguments) = checked?.expression else {
            return None;
        };
        let value = arguments.pop()?.cast(DataType::Float64);
        let is_null = value.clone().unary(UnaryOperator::IsNull);
        let below = value
            .clone()
            .binary(BinaryOperator::Less, Expression::float(low));
        let above = value
            .clone()
            .binary(BinaryOperator::GreaterOrEqual, Expression::float(high));
        let count = count as i64;
        let place_in = value
            .binary(BinaryOperator::Subtract, Expression::float(low))
            .binary(
                BinaryOperator::Multiply,
                Expression::float(count as f64 / (high - low)),
            );
        // What is outside has been told already and need not fit.
        let place_in = Expression::Cast {
            operand: Box::new(place_in),
            to: DataType::Int64,
            strict: false,
        }
        .binary(BinaryOperator::Add, Expression::int(1));
        // Rounding must not lift a value into the part above the last.
        let inside = Expression::call(Function::Least, vec![place_in, Expression::int(count)]);
        Some(Compiled {
            expression: Expression::Case {
                branches: vec![
                    // `least` passes over nulls.
                    (is_null, Expression::Literal(Literal::Null)),
                    (below, Expression::int(0)),
                    (above, Expression::int(count + 1)),
                ],
                otherwise: Box::new(inside),
            },
            dtype: DataType::Int64,
        })
    }
}
