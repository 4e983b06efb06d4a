//! Syntax tree to expression, with every problem on the way.

use std::ops::{Range, RangeInclusive};

use polars::prelude::DataType;
use sqlparser::{
    ast::{self, Expr, Spanned, Value},
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer},
};

use super::{
    Compiled, SqlProblem,
    constants::{Interval, date, interval, like_function, timestamp},
    functions::{
        Callable, Entry, FUNCTIONS, TYPE_NAMES, entry, function_name, signature_of, type_named,
    },
    operands,
};
use crate::{
    Aggregate, BinaryOperator, Expression, Function, Literal, Schema, UnaryOperator, closest,
    did_you_mean, type_name,
    typing::{self, Mismatch},
};

/// The longest text that is read.
const LONGEST: usize = 64 * 1024;
/// The most operators, names and brackets: a chain of operators becomes a tree as deep as it is long.
const MOST_TOKENS: usize = 1000;

/// The deepest nesting; a chain of operators (`a + b + c`) does not count as one.
const DEEPEST: usize = 64;

fn too_deep(range: Option<Range<usize>>) -> SqlProblem {
    SqlProblem::bad(range, "the expression is nested too deeply")
        .help("split it over several columns")
}

/// Where in the expression the compiler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In an expression of one row.
    Row,
    /// In an expression of many rows, outside its aggregates.
    Around,
    /// Inside an aggregate.
    Inside,
}

/// What a part of the text became; `None` where a problem has been noted.
pub(super) type Part = Option<Compiled>;

pub(super) struct Compiler<'a> {
    text: &'a str,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
    /// Characters are bytes: places need no counting.
    is_ascii: bool,
    /// How many parts the present one stands inside.
    depth: usize,
    schema: &'a Schema,
    problems: Vec<SqlProblem>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(text: &'a str, schema: &'a Schema) -> Self {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect();
        Self {
            text,
            lines,
            is_ascii: text.is_ascii(),
            depth: 0,
            schema,
            problems: Vec::new(),
        }
    }

    pub(super) fn run(mut self, place: Place) -> Result<Compiled, Vec<SqlProblem>> {
        let compiled = match self.parse() {
            Ok(parsed) => self.part(&parsed, place),
            Err(problem) => self.report(*problem),
        };
        let is_constant = compiled
            .as_ref()
            .is_some_and(|compiled| !compiled.expression.has_aggregate());
        if place == Place::Around && self.problems.is_empty() && is_constant {
            self.problems.push(
                SqlProblem::bad(
                    Some(0..self.text.len()),
                    "this is the same for every row, and an aggregate is needed",
                )
                .help("written like `count()` or `sum(amount)`"),
            );
        }
        match compiled {
            Some(compiled) if self.problems.is_empty() => Ok(compiled),
            _ => {
                self.problems
                    .sort_by_key(|problem| problem.range.as_ref().map_or(0, |range| range.start));
                Err(self.problems)
            }
        }
    }

    // ---- text → syntax tree

    fn parse(&self) -> Result<Expr, Box<SqlProblem>> {
        if self.text.trim().is_empty() {
            return Err(SqlProblem::bad(None, "the expression is empty").into());
        }
        if self.text.len() > LONGEST {
            return Err(SqlProblem::bad(
                None,
                format!("the expression is longer than {LONGEST} bytes"),
            )
            .into());
        }
        let dialect = PostgreSqlDialect {};
        let tokens = Tokenizer::new(&dialect, self.text)
            .tokenize_with_location()
            .map_err(|error| {
                SqlProblem::bad(
                    self.at(error.location),
                    format!("cannot read the expression: {}", plain(&error.message)),
                )
            })?;
        let structural = tokens.iter().filter(|token| {
            !matches!(
                token.token,
                Token::Comma
                    | Token::Number(..)
                    | Token::SingleQuotedString(_)
                    | Token::Whitespace(_)
            )
        });
        if structural.count() > MOST_TOKENS {
            return Err(SqlProblem::bad(
                None,
                format!("the expression has more than {MOST_TOKENS} words and operators"),
            )
            .help("split it over several columns")
            .into());
        }
        if let Some(lack) = operands::lacking(&tokens) {
            return Err(SqlProblem::bad(self.range(lack.span), lack.message).into());
        }
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
        let parsed = parser.parse_expr().map_err(|error| self.syntax(error))?;
        match parser.next_token() {
            TokenWithSpan {
                token: Token::EOF, ..
            } => Ok(parsed),
            TokenWithSpan { token, span } => {
                let problem = SqlProblem::bad(
                    self.range(span),
                    format!("unexpected `{token}` after the expression"),
                );
                Err(match &token {
                    Token::Word(word)
                        if word.keyword != sqlparser::keywords::Keyword::NoKeyword =>
                    {
                        problem.help("a column of that name is written in double quotes")
                    }
                    _ => problem,
                }
                .into())
            }
        }
    }

    fn syntax(&self, error: ParserError) -> SqlProblem {
        match error {
            ParserError::RecursionLimitExceeded => too_deep(None),
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => {
                let (message, location) = located(&message);
                let mut problem = SqlProblem::bad(
                    location.and_then(|location| self.at(location)),
                    format!("cannot read the expression: {}", plain(message)),
                );
                if let Some((_, found)) = message.split_once("found: ") {
                    let quoted = matches!(
                        found.to_lowercase().as_str(),
                        "order"
                            | "group"
                            | "from"
                            | "to"
                            | "end"
                            | "select"
                            | "where"
                            | "limit"
                            | "user"
                            | "table"
                    );
                    if quoted {
                        problem = problem.help(format!(
                            "a column of that name is written in double quotes: `\"{found}\"`"
                        ));
                    }
                }
                problem
            }
        }
    }

    /// The byte offset of a place.
    fn offset(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let start = *self.lines.get(line)?;
        if self.is_ascii {
            return Some((start + column).min(self.text.len()));
        }
        let rest = &self.text[start..];
        Some(
            start
                + rest
                    .char_indices()
                    .nth(column)
                    .map_or(rest.len(), |(index, _)| index),
        )
    }

    pub(super) fn range(&self, span: Span) -> Option<Range<usize>> {
        let range = self.offset(span.start)?..self.offset(span.end)?;
        (range.start < range.end).then_some(range)
    }

    /// The word or sign that starts at a place.
    fn at(&self, location: Location) -> Option<Range<usize>> {
        let start = self.offset(location)?;
        let rest = &self.text[start..];
        let length = rest
            .find(|character: char| !character.is_alphanumeric() && character != '_')
            .unwrap_or(rest.len());
        let length = if length == 0 {
            rest.chars().next().map_or(0, char::len_utf8)
        } else {
            length
        };
        Some(start..start + length)
    }

    pub(super) fn range_of(&self, expr: &Expr) -> Option<Range<usize>> {
        self.range(expr.span())
    }

    // ---- syntax tree → expression

    pub(super) fn report(&mut self, problem: SqlProblem) -> Part {
        self.problems.push(problem);
        None
    }

    /// Checks how the parts fit together; `spots` are the places of the parts, in order.
    pub(super) fn checked(
        &mut self,
        expression: Expression,
        types: &[DataType],
        whole: Option<Range<usize>>,
        spots: &[Option<Range<usize>>],
    ) -> Part {
        match typing::type_of_parts(&expression, types) {
            Ok(dtype) => Some(Compiled { expression, dtype }),
            Err(Mismatch {
                code,
                part,
                message,
                help,
            }) => {
                let spot = part.and_then(|part| spots.get(part).cloned().flatten());
                let label = match (part.and_then(|part| types.get(part)), &spot) {
                    (Some(dtype), Some(_)) if code == "type-mismatch" => {
                        Some(format!("this is {}", type_name(dtype)))
                    }
                    _ => None,
                };
                let problem = SqlProblem {
                    label,
                    help,
                    ..SqlProblem::new(code, spot.or(whole), message)
                };
                self.report(problem)
            }
        }
    }

    pub(super) fn part(&mut self, expr: &Expr, place: Place) -> Part {
        if self.depth == DEEPEST {
            let range = self.range_of(expr);
            return self.report(too_deep(range));
        }
        self.depth += 1;
        let part = self.part_within(expr, place);
        self.depth -= 1;
        part
    }

    fn part_within(&mut self, expr: &Expr, place: Place) -> Part {
        match expr {
            Expr::Identifier(name) => self.column(name, place),
            Expr::CompoundIdentifier(names) => {
                let dotted = names
                    .iter()
                    .map(|name| name.value.as_str())
                    .collect::<Vec<_>>()
                    .join(".");
                let help = if self.schema.column(&dotted).is_some() {
                    format!("a name with a dot is written in double quotes: `\"{dotted}\"`")
                } else {
                    "a column stands by itself, without a table in front".to_owned()
                };
                self.report(
                    SqlProblem::bad(
                        self.range_of(expr),
                        format!("`{dotted}` is not a column name"),
                    )
                    .help(help),
                )
            }
            Expr::Nested(inner) => self.part(inner, place),
            Expr::Value(value) => self.constant(&value.value, self.range(value.span)),
            Expr::TypedString(typed) => {
                let text = typed.value.clone().value.into_string().unwrap_or_default();
                self.typed_constant(&typed.data_type.to_string(), &text, self.range_of(expr))
            }
            Expr::Interval(interval) => self.interval(interval, self.range_of(expr)),
            Expr::UnaryOp { op, expr: operand } => self.unary(op, operand, place, expr),
            Expr::BinaryOp { .. } => self.chain(expr, place),
            Expr::IsNull(operand) => self.applied(UnaryOperator::IsNull, operand, place),
            Expr::IsNotNull(operand) => self.applied(UnaryOperator::IsNotNull, operand, place),
            Expr::IsTrue(operand) => self.truth(operand, true, false, place),
            Expr::IsNotTrue(operand) => self.truth(operand, true, true, place),
            Expr::IsFalse(operand) => self.truth(operand, false, false, place),
            Expr::IsNotFalse(operand) => self.truth(operand, false, true, place),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, false, place, expr),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, true, place, expr),
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => self.at_time_zone(timestamp, time_zone, place),
            Expr::Between {
                expr: operand,
                negated,
                low,
                high,
            } => {
                let operand_part = self.part(operand, place);
                let low_part = self.part(low, place);
                let high_part = self.part(high, place);
                let (operand_part, low_part, high_part) = (operand_part?, low_part?, high_part?);
                let spots = |bound: &Expr| [self.range_of(operand), self.range_of(bound)];
                let (low_spots, high_spots) = (spots(low), spots(high));
                let whole = self.range_of(expr);
                let above = self.compared(
                    BinaryOperator::GreaterOrEqual,
                    operand_part.clone(),
                    low_part,
                    whole.clone(),
                    &low_spots,
                );
                let below = self.compared(
                    BinaryOperator::LessOrEqual,
                    operand_part,
                    high_part,
                    whole,
                    &high_spots,
                );
                let both = above?
                    .expression
                    .binary(BinaryOperator::And, below?.expression);
                Some(truth_value(both, *negated))
            }
            Expr::In {
                expr: operand,
                target: ast::InTarget::List(list),
                negated,
                global: false,
            } => self.one_of(operand, list, *negated, place, expr),
            Expr::Like {
                negated,
                any: false,
                expr: operand,
                pattern,
                escape_char,
            } => self.like(
                operand,
                pattern,
                escape_char.as_deref(),
                false,
                *negated,
                place,
                expr,
            ),
            Expr::ILike {
                negated,
                any: false,
                expr: operand,
                pattern,
                escape_char,
            } => self.like(
                operand,
                pattern,
                escape_char.as_deref(),
                true,
                *negated,
                place,
                expr,
            ),
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(
                operand.as_deref(),
                conditions,
                else_result.as_deref(),
                place,
                expr,
            ),
            Expr::Cast {
                kind,
                expr: operand,
                data_type,
                ..
            } => {
                let name = data_type.to_string();
                let operand_part = self.part(operand, place);
                let Some(to) = type_named(without_size(&name)) else {
                    let names = TYPE_NAMES.iter().map(|(names, _)| names[0]);
                    let name = name.to_lowercase();
                    let help = did_you_mean(&name, names.clone()).unwrap_or_else(|| {
                        format!("known: {}", names.collect::<Vec<_>>().join(", "))
                    });
                    let range = self.word_after(self.range_of(operand), &name);
                    return self.report(
                        SqlProblem::bad(range, format!("`{name}` is not a type")).help(help),
                    );
                };
                let strict = matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon);
                let operand_part = operand_part?;
                let spot = self.range_of(operand);
                let cast = Expression::Cast {
                    operand: Box::new(operand_part.expression),
                    to,
                    strict,
                };
                self.checked(cast, &[operand_part.dtype], spot.clone(), &[spot])
            }
            Expr::Extract {
                field,
                expr: operand,
                ..
            } => self.extract(field, operand, place),
            Expr::Ceil {
                expr: operand,
                field,
            } => self.rounding(Function::Ceil, field, operand, place),
            Expr::Floor {
                expr: operand,
                field,
            } => self.rounding(Function::Floor, field, operand, place),
            Expr::Substring {
                expr: operand,
                substring_from,
                substring_for,
                ..
            } => {
                let one = Expr::Value(Value::Number("1".into(), false).with_empty_span());
                let from = substring_from.as_deref().unwrap_or(&one);
                let arguments: Vec<&Expr> = [&**operand, from]
                    .into_iter()
                    .chain(substring_for.as_deref())
                    .collect();
                self.call(Function::Substr, &arguments, place, self.range_of(expr))
            }
            Expr::Trim {
                trim_where,
                trim_what: None,
                expr: operand,
                trim_characters: None,
            } => {
                let function = match trim_where {
                    None | Some(ast::TrimWhereField::Both) => Function::Trim,
                    Some(ast::TrimWhereField::Leading) => Function::TrimStart,
                    Some(ast::TrimWhereField::Trailing) => Function::TrimEnd,
                };
                self.call(function, &[operand], place, self.range_of(expr))
            }
            Expr::Position { expr: part, r#in } => self.call(
                Function::Position,
                &[r#in, part],
                place,
                self.range_of(expr),
            ),
            Expr::Function(function) => self.function(function, place, expr),
            other => {
                let what = match other {
                    Expr::Subquery(_) | Expr::Exists { .. } | Expr::In { .. } => {
                        "a query inside an expression".to_owned()
                    }
                    Expr::Trim { .. } => "`trim` with characters".to_owned(),
                    Expr::Tuple(_) => "a list of values".to_owned(),
                    Expr::Array(_) => "an array".to_owned(),
                    Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => "`*`".to_owned(),
                    other => format!("`{}`", shortened(&other.to_string())),
                };
                let range = self.range_of(other);
                self.report(SqlProblem::bad(range, format!("{what} is not supported here")).help(
                    "an expression is columns, constants, operators, `case`, `cast` and functions",
                ))
            }
        }
    }

    /// The range of `word` somewhere after another range, or that range.
    fn word_after(&self, range: Option<Range<usize>>, word: &str) -> Option<Range<usize>> {
        let range = range?;
        let found = self.text[range.end..]
            .to_lowercase()
            .find(word)
            .filter(|_| self.text.is_ascii());
        Some(found.map_or(range.clone(), |index| {
            range.end + index..range.end + index + word.len()
        }))
    }

    fn column(&mut self, name: &ast::Ident, place: Place) -> Part {
        let range = self.range(name.span);
        let Some(column) = self.schema.column(&name.value) else {
            let suggestion = self.schema.suggestion(&name.value);
            let mut problem = SqlProblem::new(
                "unknown-column",
                range,
                format!("`{}` is not a column here", name.value),
            );
            match suggestion {
                Some(near) if near.starts_with("did you mean") => problem = problem.label(near),
                known => problem = problem.label("no such column").help_if(known),
            }
            if name.quote_style == Some('"') {
                problem = problem.help(format!(
                    "double quotes hold a column's name; text is written '{}'",
                    name.value
                ));
            }
            problem.column = Some(name.value.clone());
            return self.report(problem);
        };
        if column.is_open() && column.name == name.value {
            return self.report(
                SqlProblem::new(
                    "open-column",
                    range,
                    format!("`{}` stands for several columns", name.value),
                )
                .label("only training knows their names")
                .help("name one of them, as `\"column=value\"`"),
            );
        }
        if place == Place::Around {
            let message = format!(
                "`{}` has a value for each row, and one for many rows is needed",
                name.value
            );
            return self.report(
                SqlProblem::bad(range, message)
                    .label("stands outside an aggregate")
                    .help(format!(
                        "put it into one: `max({0})`, `sum({0})`",
                        name.value
                    )),
            );
        }
        Some(Compiled {
            expression: Expression::column(&column.name),
            dtype: column.dtype.clone(),
        })
    }

    fn constant(&mut self, value: &Value, range: Option<Range<usize>>) -> Part {
        let literal = match value {
            Value::Null => Literal::Null,
            Value::Boolean(truth) => Literal::Bool(*truth),
            Value::SingleQuotedString(text) => Literal::Text(text.clone()),
            Value::Number(digits, _) => match number(digits) {
                Some(literal) => literal,
                None => {
                    return self.report(
                        SqlProblem::bad(range, format!("the number `{digits}` is too large")).help(
                            "with a point it is a real number: `1e30`, `99999999999999999999.0`",
                        ),
                    );
                }
            },
            Value::Placeholder(name) => {
                return self.report(
                    SqlProblem::bad(range, format!("`{name}` is a placeholder"))
                        .help("a param of the pipeline is written `${name}`"),
                );
            }
            other => {
                return self.report(
                    SqlProblem::bad(range, format!("`{other}` is not supported here"))
                        .help("text is written 'so'"),
                );
            }
        };
        Some(constant(literal))
    }

    fn typed_constant(&mut self, dtype: &str, text: &str, range: Option<Range<usize>>) -> Part {
        let literal = match dtype.to_lowercase().as_str() {
            "timestamp" | "datetime" | "timestamp without time zone" => {
                timestamp(text).map(Literal::Timestamp)
            }
            "date" => date(text).map(Literal::Date),
            other => {
                return self.report(
                    SqlProblem::bad(range, format!("a constant of type `{other}` is not supported"))
                        .help("known: `date '2024-01-31'`, `timestamp '2024-01-31 12:00:00'`, `interval '24 hours'`"),
                );
            }
        };
        match literal {
            Some(literal) => Some(constant(literal)),
            None => self.report(
                SqlProblem::bad(range, format!("`{text}` is no {}", dtype.to_lowercase())).help(
                    if dtype.eq_ignore_ascii_case("date") {
                        "written `date '2024-01-31'`"
                    } else {
                        "written `timestamp '2024-01-31 12:00:00'`, without a zone"
                    },
                ),
            ),
        }
    }

    fn interval(&mut self, written: &ast::Interval, range: Option<Range<usize>>) -> Part {
        match interval_of(written) {
            Some(Interval {
                months: 0,
                microseconds,
            }) => Some(constant(Literal::Interval(microseconds))),
            Some(_) => self.report(
                SqlProblem::bad(range, "an interval of months or years has no fixed length").help(
                    "add it to a date or datetime, `at + interval '1 month'`, or count days: `interval '30 days'`",
                ),
            ),
            None => self.report(
                SqlProblem::bad(range, "this is not an interval")
                    .help("written `interval '24 hours'`, `interval '7 days'`, `interval '1 hour 30 minutes'`"),
            ),
        }
    }

    fn unary(
        &mut self,
        operator: &ast::UnaryOperator,
        operand: &Expr,
        place: Place,
        whole: &Expr,
    ) -> Part {
        match operator {
            ast::UnaryOperator::Not => self.applied(UnaryOperator::Not, operand, place),
            ast::UnaryOperator::Plus => {
                let part = self.part(operand, place)?;
                let spot = self.range_of(operand);
                // Only to refuse what is not a number.
                self.checked(
                    part.expression.clone().unary(UnaryOperator::Negate),
                    std::slice::from_ref(&part.dtype),
                    spot.clone(),
                    &[spot],
                )
                .map(|_| part)
            }
            ast::UnaryOperator::Minus => {
                // A negative constant is one constant: `-9223372036854775808` has no positive twin.
                if let Expr::Value(value) = operand
                    && let Value::Number(digits, _) = &value.value
                    && let Some(literal) = number(&format!("-{digits}"))
                {
                    return Some(constant(literal));
                }
                self.applied(UnaryOperator::Negate, operand, place)
            }
            other => self.report(SqlProblem::bad(
                self.range_of(whole),
                format!("the operator `{other}` is not supported"),
            )),
        }
    }

    fn applied(&mut self, operator: UnaryOperator, operand: &Expr, place: Place) -> Part {
        let part = self.part(operand, place)?;
        let spot = self.range_of(operand);
        self.checked(
            part.expression.unary(operator),
            &[part.dtype],
            spot.clone(),
            &[spot],
        )
    }

    /// `is true` and its kin: null counts as neither.
    fn truth(&mut self, operand: &Expr, wanted: bool, negated: bool, place: Place) -> Part {
        let operator = (!wanted).then_some(UnaryOperator::Not);
        let part = self.part(operand, place)?;
        let spot = self.range_of(operand);
        // `not` refuses what is not a truth value.
        self.checked(
            part.expression.clone().unary(UnaryOperator::Not),
            &[part.dtype],
            spot.clone(),
            &[spot],
        )?;
        let value = match operator {
            Some(operator) => part.expression.unary(operator),
            None => part.expression,
        };
        let known = Expression::call(
            Function::Coalesce,
            vec![value, Expression::Literal(Literal::Bool(false))],
        );
        Some(truth_value(known, negated))
    }

    /// A chain of operators, from its first operand on: as a tree it would be as deep as it is long.
    fn chain(&mut self, expr: &Expr, place: Place) -> Part {
        let mut links = Vec::new();
        let mut first = expr;
        while let Expr::BinaryOp { left, op, right } = first {
            links.push((first, left, op, right));
            first = left;
        }
        let mut links = links.into_iter().rev().peekable();
        // `interval '1 month' + at` is the same the other way round.
        let mut part = match (with_months(first), links.peek()) {
            (Some(interval), Some((whole, _, ast::BinaryOperator::Plus, right))) => {
                let (whole, right) = (*whole, *right);
                links.next();
                let point = self.part(right, place);
                self.moved(point, interval, 1, whole, right)
            }
            _ => self.part(first, place),
        };
        for (whole, left, operator, right) in links {
            let sign = match operator {
                ast::BinaryOperator::Plus => 1,
                ast::BinaryOperator::Minus => -1,
                _ => 0,
            };
            if let Some(interval) = with_months(right).filter(|_| sign != 0) {
                part = self.moved(part, interval, sign, whole, left);
                continue;
            }
            let right_part = self.part(right, place);
            part = match self.operator(operator, whole) {
                Some(operator) => match (part, right_part) {
                    (Some(part), Some(right_part)) => {
                        let spots = [self.range_of(left), self.range_of(right)];
                        let whole = self.range_of(whole);
                        self.compared(operator, part, right_part, whole, &spots)
                    }
                    _ => None,
                },
                None => None,
            };
        }
        part
    }

    fn operator(&mut self, operator: &ast::BinaryOperator, whole: &Expr) -> Option<BinaryOperator> {
        Some(match operator {
            ast::BinaryOperator::Plus => BinaryOperator::Add,
            ast::BinaryOperator::Minus => BinaryOperator::Subtract,
            ast::BinaryOperator::Multiply => BinaryOperator::Multiply,
            ast::BinaryOperator::Divide => BinaryOperator::Divide,
            ast::BinaryOperator::Modulo => BinaryOperator::Modulo,
            ast::BinaryOperator::Eq => BinaryOperator::Equal,
            ast::BinaryOperator::NotEq => BinaryOperator::NotEqual,
            ast::BinaryOperator::Lt => BinaryOperator::Less,
            ast::BinaryOperator::LtEq => BinaryOperator::LessOrEqual,
            ast::BinaryOperator::Gt => BinaryOperator::Greater,
            ast::BinaryOperator::GtEq => BinaryOperator::GreaterOrEqual,
            ast::BinaryOperator::And => BinaryOperator::And,
            ast::BinaryOperator::Or => BinaryOperator::Or,
            ast::BinaryOperator::StringConcat => BinaryOperator::Concat,
            other => {
                let problem = SqlProblem::bad(
                    self.range_of(whole),
                    format!("the operator `{other}` is not supported"),
                );
                self.report(match other {
                    ast::BinaryOperator::PGExp | ast::BinaryOperator::BitwiseXor => {
                        problem.help("a power is written `power(base, exponent)`")
                    }
                    ast::BinaryOperator::PGRegexMatch => {
                        problem.help("written `regexp_like(text, 'pattern')`")
                    }
                    ast::BinaryOperator::PGOverlap => problem.help("both is written `and`"),
                    _ => problem,
                });
                return None;
            }
        })
    }

    pub(super) fn compared(
        &mut self,
        operator: BinaryOperator,
        left: Compiled,
        right: Compiled,
        whole: Option<Range<usize>>,
        spots: &[Option<Range<usize>>],
    ) -> Part {
        self.checked(
            left.expression.binary(operator, right.expression),
            &[left.dtype, right.dtype],
            whole,
            spots,
        )
    }

    fn one_of(
        &mut self,
        operand: &Expr,
        list: &[Expr],
        negated: bool,
        place: Place,
        whole: &Expr,
    ) -> Part {
        let operand_part = self.part(operand, place);
        let mut literals = Vec::with_capacity(list.len());
        for item in list {
            match self.part(item, Place::Inside).map(|part| part.expression) {
                Some(Expression::Literal(literal)) => literals.push(literal),
                Some(_) => {
                    let range = self.range_of(item);
                    self.report(
                        SqlProblem::bad(range, "the list of `in` holds constants only")
                            .help("compare with columns by `=` and `or`"),
                    );
                }
                None => {}
            }
        }
        let operand_part = operand_part?;
        if literals.len() < list.len() {
            return None;
        }
        let expression = Expression::In {
            operand: Box::new(operand_part.expression),
            list: literals,
            negated,
        };
        let spot = self.range_of(operand);
        self.checked(
            expression,
            &[operand_part.dtype],
            self.range_of(whole),
            &[spot],
        )
    }

    #[expect(clippy::too_many_arguments, reason = "one for each word of the syntax")]
    fn like(
        &mut self,
        operand: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        ignore_case: bool,
        negated: bool,
        place: Place,
        whole: &Expr,
    ) -> Part {
        let operand_part = self.part(operand, place);
        let text = match pattern {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(text),
                _ => None,
            },
            _ => None,
        };
        let Some(text) = text else {
            let range = self.range_of(pattern);
            return self.report(
                SqlProblem::bad(range, "the pattern of `like` must be a constant text")
                    .help("`contains`, `starts_with` and `ends_with` take columns"),
            );
        };
        let escape = match escape {
            None => Some('\\'),
            Some(Expr::Value(value)) => match &value.value {
                Value::SingleQuotedString(text) if text.chars().count() <= 1 => text.chars().next(),
                _ => {
                    return self.report(SqlProblem::bad(
                        self.range_of(pattern),
                        "`escape` takes one character",
                    ));
                }
            },
            Some(_) => {
                return self.report(SqlProblem::bad(
                    self.range_of(pattern),
                    "`escape` takes one character",
                ));
            }
        };
        let operand_part = operand_part?;
        let spots = [self.range_of(operand), self.range_of(pattern)];
        let (function, argument) = like_function(text, escape, ignore_case);
        let expression = Expression::call(
            function,
            vec![operand_part.expression, Expression::text(argument)],
        );
        let part = self.checked(
            expression,
            &[operand_part.dtype, DataType::String],
            self.range_of(whole),
            &spots,
        )?;
        Some(truth_value(part.expression, negated))
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&Expr>,
        place: Place,
        whole: &Expr,
    ) -> Part {
        let compared = operand.map(|operand| (self.part(operand, place), self.range_of(operand)));
        let mut branches = Vec::with_capacity(conditions.len());
        let mut types = Vec::with_capacity(2 * conditions.len() + 1);
        let mut spots = Vec::with_capacity(2 * conditions.len() + 1);
        for when in conditions {
            let condition = self.part(&when.condition, place);
            let spot = self.range_of(&when.condition);
            let condition = match &compared {
                None => condition,
                Some((operand, operand_spot)) => match (operand.clone(), condition) {
                    (Some(operand), Some(condition)) => {
                        let spots = [operand_spot.clone(), spot.clone()];
                        self.compared(
                            BinaryOperator::Equal,
                            operand,
                            condition,
                            spot.clone(),
                            &spots,
                        )
                    }
                    _ => None,
                },
            };
            let value = self.part(&when.result, place);
            spots.extend([spot, self.range_of(&when.result)]);
            if let (Some(condition), Some(value)) = (condition, value) {
                types.extend([condition.dtype, value.dtype]);
                branches.push((condition.expression, value.expression));
            }
        }
        let otherwise = match otherwise {
            None => Some(constant(Literal::Null)),
            Some(otherwise) => {
                spots.push(self.range_of(otherwise));
                self.part(otherwise, place)
            }
        }?;
        if branches.len() < conditions.len() {
            return None;
        }
        types.push(otherwise.dtype);
        let expression = Expression::Case {
            branches,
            otherwise: Box::new(otherwise.expression),
        };
        self.checked(expression, &types, self.range_of(whole), &spots)
    }

    fn extract(&mut self, field: &ast::DateTimeField, operand: &Expr, place: Place) -> Part {
        use ast::DateTimeField as Field;
        let function = match field {
            Field::Year => Function::Year,
            Field::Quarter => Function::Quarter,
            Field::Month => Function::Month,
            Field::Week(None) | Field::IsoWeek => Function::Week,
            Field::Day => Function::Day,
            Field::Doy | Field::DayOfYear => Function::DayOfYear,
            Field::Dow => Function::DayOfWeek,
            Field::Isodow => Function::IsoDayOfWeek,
            Field::Hour => Function::Hour,
            Field::Minute => Function::Minute,
            Field::Second => Function::Second,
            Field::Epoch => Function::Epoch,
            other => {
                let parts = [
                    "year", "quarter", "month", "week", "day", "doy", "dow", "isodow", "hour",
                    "minute", "second", "epoch",
                ];
                let name = other.to_string().to_lowercase();
                let help = closest(&name, parts).map_or_else(
                    || format!("known: {}", parts.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                self.part(operand, place);
                let range = self
                    .text
                    .to_lowercase()
                    .find(&name)
                    .filter(|_| self.text.is_ascii());
                let range = range
                    .map(|start| start..start + name.len())
                    .or_else(|| self.range_of(operand));
                return self.report(
                    SqlProblem::bad(range, format!("`extract` does not know the part `{name}`"))
                        .help(help),
                );
            }
        };
        self.call(function, &[operand], place, self.range_of(operand))
    }

    fn rounding(
        &mut self,
        function: Function,
        field: &ast::CeilFloorKind,
        operand: &Expr,
        place: Place,
    ) -> Part {
        // Without a second argument the parser notes an empty date part.
        if !matches!(
            field,
            ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime)
        ) {
            let name = function_name(function);
            let range = self.range_of(operand);
            let problem = SqlProblem::new(
                "wrong-arguments",
                range,
                format!("`{name}` takes 1 argument"),
            );
            return self.report(
                problem.help(if matches!(field, ast::CeilFloorKind::Scale(_)) {
                    "`round(number, digits)` takes digits"
                } else {
                    "`date_trunc('unit', at)` gives the start of a day or hour"
                }),
            );
        }
        self.call(function, &[operand], place, self.range_of(operand))
    }

    pub(super) fn call(
        &mut self,
        function: Function,
        arguments: &[&Expr],
        place: Place,
        whole: Option<Range<usize>>,
    ) -> Part {
        let spots: Vec<_> = arguments
            .iter()
            .map(|argument| self.range_of(argument))
            .collect();
        let parts: Vec<Part> = arguments
            .iter()
            .map(|argument| self.part(argument, place))
            .collect();
        let parts = parts.into_iter().collect::<Option<Vec<Compiled>>>()?;
        let (expressions, types): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .map(|part| (part.expression, part.dtype))
            .unzip();
        self.checked(
            Expression::call(function, expressions),
            &types,
            whole,
            &spots,
        )
    }

    fn function(&mut self, function: &ast::Function, place: Place, whole: &Expr) -> Part {
        let name = function.name.to_string();
        let name_range = self.range(function.name.span());
        let whole = self.range_of(whole);
        let Some(entry) = entry(&name) else {
            // The arguments may have problems of their own.
            if let Some(arguments) = self.arguments(function, &name) {
                for argument in arguments {
                    if let Argument::Value(argument) = argument {
                        self.part(
                            argument,
                            if place == Place::Around {
                                Place::Inside
                            } else {
                                place
                            },
                        );
                    }
                }
            }
            let known = FUNCTIONS
                .iter()
                .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied()));
            let problem = SqlProblem::new(
                "unknown-function",
                name_range,
                format!("there is no function `{name}`"),
            );
            return self.report(match closest(&name, known) {
                Some(near) => {
                    let signature = signature_of(near).unwrap_or(near);
                    problem
                        .label(format!("did you mean `{near}`?"))
                        .help(format!("written `{signature}`"))
                }
                None => problem.label("no such function"),
            });
        };
        if function.over.is_some() {
            return self.report(
                SqlProblem::bad(name_range, "`over (…)` is not supported in an expression")
                    .help("`features.rolling` computes over windows of rows"),
            );
        }
        if function.null_treatment.is_some() || !function.within_group.is_empty() {
            return self.report(SqlProblem::bad(
                name_range,
                format!("`{name}` takes nothing after its arguments"),
            ));
        }
        match entry.callable {
            Callable::Row(row) => {
                if function.filter.is_some() {
                    return self.report(SqlProblem::bad(
                        name_range,
                        "`filter` belongs to aggregates",
                    ));
                }
                let mut arguments = Vec::new();
                for argument in self.arguments(function, &name)? {
                    match argument {
                        Argument::Value(argument) => arguments.push(argument),
                        Argument::Star => {
                            return self.report(SqlProblem::new(
                                "wrong-arguments",
                                whole,
                                format!("`{name}` does not take `*`"),
                            ));
                        }
                    }
                }
                if is_distinct(function) {
                    return self.report(SqlProblem::new(
                        "wrong-arguments",
                        whole,
                        format!("`{name}` does not take `distinct`"),
                    ));
                }
                self.call(row, &arguments, place, whole)
            }
            Callable::Many(aggregate) => {
                self.aggregate(aggregate, function, entry, place, name_range, whole)
            }
            Callable::Pair(aggregate) => {
                self.pair_aggregate(aggregate, function, entry, place, name_range, whole)
            }
            Callable::Short(short) => self.short(short, function, entry, place, name_range, whole),
            Callable::Syntax => self.report(
                SqlProblem::new(
                    "wrong-arguments",
                    name_range,
                    format!("`{name}` is not written like a function"),
                )
                .help(format!("written `{}`", entry.signature)),
            ),
        }
    }

    fn aggregate(
        &mut self,
        aggregate: Aggregate,
        function: &ast::Function,
        entry: &Entry,
        place: Place,
        name_range: Option<Range<usize>>,
        whole: Option<Range<usize>>,
    ) -> Part {
        let name = entry.name;
        let arguments = self.arguments(function, name)?;
        if place != Place::Around {
            return self.misplaced(name, &arguments, place, name_range);
        }
        let distinct = is_distinct(function);
        if distinct && aggregate != Aggregate::Count {
            return self.report(
                SqlProblem::new(
                    "wrong-arguments",
                    whole,
                    format!("`{name}` does not take `distinct`"),
                )
                .help("only `count(distinct value)` does"),
            );
        }
        let (aggregate, arguments) = match aggregate {
            Aggregate::Quantile(_) => self.quantile(arguments, entry, whole.clone())?,
            other => (other, arguments),
        };
        if arguments.len() > 1 {
            let problem = SqlProblem::new(
                "wrong-arguments",
                whole,
                typing::wrong_count(name, &counts(aggregate), arguments.len()),
            );
            return self.report(match aggregate {
                Aggregate::Min => problem.help("the smallest of several values is `least(…)`"),
                Aggregate::Max => problem.help("the largest of several values is `greatest(…)`"),
                _ => problem.help(format!("written `{}`", entry.signature)),
            });
        }
        if function.filter.is_some() && matches!(aggregate, Aggregate::First | Aggregate::Last) {
            return self.report(
                SqlProblem::bad(
                    name_range,
                    format!("`filter` is not supported after `{name}`"),
                )
                .help("`any_value(value) filter (where …)` takes the first value that is not null"),
            );
        }
        let condition = match &function.filter {
            None => None,
            Some(filter) => Some(self.condition(filter)?),
        };
        let (value, spot) = match arguments.first() {
            None => (None, None),
            Some(Argument::Star) if aggregate == Aggregate::Count && !distinct => (None, None),
            Some(Argument::Star) => {
                return self.report(
                    SqlProblem::new(
                        "wrong-arguments",
                        whole,
                        format!("`{name}` does not take `*`"),
                    )
                    .help(format!("written `{}`", entry.signature)),
                );
            }
            Some(Argument::Value(argument)) => (
                Some(self.part(argument, Place::Inside)?),
                self.range_of(argument),
            ),
        };
        if distinct && value.is_none() {
            return self.report(
                SqlProblem::new(
                    "wrong-arguments",
                    whole,
                    "`count(distinct …)` needs a value",
                )
                .help("written `count(distinct card)`"),
            );
        }
        let aggregate = if distinct {
            Aggregate::CountDistinct
        } else {
            aggregate
        };
        let value = match (condition, value) {
            (None, value) => value,
            // `count() filter (where …)` counts the rows for which the condition holds.
            (Some(condition), value) => {
                let value = value.unwrap_or_else(|| constant(Literal::Int(1)));
                Some(Compiled {
                    expression: kept_where(condition, value.expression),
                    dtype: value.dtype,
                })
            }
        };
        let (expression, types) = match value {
            None => (None, Vec::new()),
            Some(value) => (Some(Box::new(value.expression)), vec![value.dtype]),
        };
        self.checked(
            Expression::Aggregate(aggregate, expression),
            &types,
            whole,
            &[spot],
        )
    }

    pub(super) fn arguments<'e>(
        &mut self,
        function: &'e ast::Function,
        name: &str,
    ) -> Option<Vec<Argument<'e>>> {
        let range = self.range(function.name.span());
        let list = match &function.args {
            ast::FunctionArguments::None => {
                self.report(SqlProblem::bad(
                    range,
                    format!("`{name}` is not supported here"),
                ));
                return None;
            }
            ast::FunctionArguments::Subquery(_) => {
                self.report(SqlProblem::bad(
                    range,
                    "a query inside an expression is not supported here",
                ));
                return None;
            }
            ast::FunctionArguments::List(list) => list,
        };
        if !list.clauses.is_empty() {
            self.report(SqlProblem::bad(
                range,
                format!("`{name}` takes values only"),
            ));
            return None;
        }
        let mut arguments = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            match argument {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument)) => {
                    arguments.push(Argument::Value(argument))
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) => {
                    arguments.push(Argument::Star)
                }
                other => {
                    self.report(SqlProblem::bad(
                        range,
                        format!(
                            "the argument `{}` is not supported",
                            shortened(&other.to_string())
                        ),
                    ));
                    return None;
                }
            }
        }
        Some(arguments)
    }
}

pub(super) enum Argument<'e> {
    Value(&'e Expr),
    Star,
}

pub(super) fn is_distinct(function: &ast::Function) -> bool {
    matches!(
        &function.args,
        ast::FunctionArguments::List(list)
            if matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct))
    )
}

fn counts(aggregate: Aggregate) -> RangeInclusive<usize> {
    if aggregate == Aggregate::Count {
        0..=1
    } else {
        1..=1
    }
}

pub(super) fn constant(literal: Literal) -> Compiled {
    let dtype = typing::literal_type(&literal);
    Compiled {
        expression: Expression::Literal(literal),
        dtype,
    }
}

pub(super) fn truth_value(expression: Expression, negated: bool) -> Compiled {
    let expression = if negated {
        expression.unary(UnaryOperator::Not)
    } else {
        expression
    };
    Compiled {
        expression,
        dtype: DataType::Boolean,
    }
}

/// The value where the condition is true, else null.
pub(super) fn kept_where(condition: Expression, value: Expression) -> Expression {
    Expression::Case {
        branches: vec![(condition, value)],
        otherwise: Box::new(Expression::Literal(Literal::Null)),
    }
}

/// `interval '24 hours'`, `interval '24' hour`.
fn interval_of(written: &ast::Interval) -> Option<Interval> {
    let Expr::Value(value) = &*written.value else {
        return None;
    };
    let text = match &value.value {
        Value::SingleQuotedString(text) => text,
        Value::Number(digits, _) => digits,
        _ => return None,
    };
    match &written.leading_field {
        None => interval(text),
        Some(unit) => interval(&format!("{text} {unit}")),
    }
}

/// The interval that this is, where it counts months: by itself it has no length.
pub(super) fn with_months(expr: &Expr) -> Option<Interval> {
    match expr {
        Expr::Nested(inner) => with_months(inner),
        Expr::Interval(written) => interval_of(written).filter(|interval| interval.months != 0),
        _ => None,
    }
}

/// A whole number where it is written like one, else a real one.
fn number(digits: &str) -> Option<Literal> {
    if digits.contains(['.', 'e', 'E']) {
        digits
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .map(Literal::Float)
    } else {
        digits.parse().ok().map(Literal::Int)
    }
}

/// `varchar(10)` is `varchar`.
fn without_size(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((index, _)) => format!("{}…", &text[..index]),
        None => text.to_owned(),
    }
}

/// The parser's sentence in this project's style.
fn plain(message: &str) -> String {
    let message = message
        .trim()
        .replace("Expected: ", "expected ")
        .replace(", found: EOF", ", found the end");
    let message = message.replace(", found: ", ", found ");
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => message,
    }
}

/// Splits " at Line: 1, Column: 8" off a message.
fn located(message: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = message.rsplit_once(" at Line: ") else {
        return (message, None);
    };
    let location = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location {
            line: line.trim().parse().ok()?,
            column: column.trim().parse().ok()?,
        })
    });
    (message, location)
}
