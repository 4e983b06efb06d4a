//! `source.synthetic.demand`.

use chrono::{Datelike, NaiveDate};
use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series};
use rand_distr::{Distribution, Gamma, Poisson};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{CheckContext, Column, Error, Problem, Result, path, register_kind};

use super::{Generator, draws::Draws, generated_source};

mod holidays;

/// Generate daily sales of products in stores, with promotions, holidays and empty shelves.
///
/// The demand of a day is negative binomial (a gamma-Poisson mixture, more spread out than Poisson). Its mean is a product of
/// what the product and the store sell, the weekday (each category has its own, as in J. Huber, H. Stuckenschmidt: "Daily
/// retail demand forecasting using machine learning with emphasis on calendric special days", International Journal of
/// Forecasting 36, 2020), the season, a slow trend, the days before and on holidays, and the price to the power of the
/// product's elasticity (about -2.6 in the mean: T. Bijmolt, H. van Heerde, R. Pieters: "New empirical generalizations on the
/// determinants of price elasticity", Journal of Marketing Research 42, 2005). Promotions last a week and hold in all stores.
///
/// Each store orders up to what it expects to sell before the next delivery, and some more (`safety`); it reckons with only a
/// part of what a promotion brings. What is not there is not sold: where a product is `sold_out`, `sales` are the `stock`
/// and only `demand`, which no real store would know, says what customers wanted. Do not learn from `demand`.
///
/// A row is a day of a product in a store: one series after the other, days in order. Holidays are those of much of Europe.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Demand {
    /// Stores.
    #[serde(default = "stores")]
    #[schemars(range(min = 1, max = 10_000))]
    stores: u32,
    /// Products; every store has all of them.
    #[serde(default = "products")]
    #[schemars(range(min = 1, max = 100_000))]
    products: u32,
    /// Days that the rows cover.
    #[serde(default = "days")]
    #[schemars(range(min = 1, max = 7320))]
    days: u32,
    /// The first day: `2024-01-31`.
    #[serde(default = "start")]
    start: String,
    /// The share of weeks in which a product is on promotion, 10 to 30 % off.
    #[serde(default = "promotions")]
    #[schemars(range(min = 0.0, max = 1.0))]
    promotions: f64,
    /// How much more than the expected demand is ordered, as a share of it; less of it means more empty shelves.
    #[serde(default = "safety")]
    #[schemars(range(min = -0.5, max = 10.0))]
    safety: f64,
    /// The seed; the pipeline's by default.
    seed: Option<u64>,
}

fn stores() -> u32 {
    10
}

fn products() -> u32 {
    20
}

fn days() -> u32 {
    730
}

fn start() -> String {
    "2022-01-01".into()
}

fn promotions() -> f64 {
    0.12
}

fn safety() -> f64 {
    0.35
}

register_kind! {
    Demand, "source.synthetic.demand", version: 1,
    example: "- source.synthetic.demand: {stores: 5, products: 8, days: 365, seed: 7}",
}

generated_source!(Demand);

/// What products of a kind have in common.
struct Category {
    name: &'static str,
    /// Demand from Monday to Sunday, against the mean day.
    week: [f64; 7],
    /// How much more is sold at the best time of the year.
    season: f64,
    /// The best day of the year.
    peak: f64,
    /// The median price.
    price: f64,
    /// The median demand of a day in a store.
    demand: f64,
}

const CATEGORIES: [Category; 5] = [
    Category {
        name: "bread",
        week: [0.92, 0.90, 0.94, 0.98, 1.12, 1.34, 0.80],
        season: 0.05,
        peak: 340.0,
        price: 2.4,
        demand: 30.0,
    },
    Category {
        name: "dairy",
        week: [0.96, 0.92, 0.94, 1.00, 1.16, 1.22, 0.80],
        season: 0.03,
        peak: 60.0,
        price: 1.6,
        demand: 25.0,
    },
    Category {
        name: "fruit",
        week: [1.00, 0.94, 0.96, 1.00, 1.10, 1.20, 0.80],
        season: 0.30,
        peak: 190.0,
        price: 2.9,
        demand: 18.0,
    },
    Category {
        name: "drinks",
        week: [0.84, 0.84, 0.88, 0.98, 1.24, 1.42, 0.80],
        season: 0.25,
        peak: 200.0,
        price: 1.2,
        demand: 20.0,
    },
    Category {
        name: "frozen",
        week: [0.94, 0.92, 0.96, 1.02, 1.16, 1.20, 0.80],
        season: 0.35,
        peak: 205.0,
        price: 3.8,
        demand: 8.0,
    },
];

/// The shape of the gamma distribution that the Poisson means come from: the variance is mean + mean² / 10.
const SHAPE: f64 = 10.0;
/// What a place at the front of the store adds to a promotion's price.
const DISPLAY: f64 = 1.15;
/// How much of a promotion's effect the stores reckon with.
const FORESEEN: f64 = 0.5;
/// Days from one delivery to the next.
const DELIVERY: u32 = 2;

/// A product, the same in all stores.
struct Product {
    category: usize,
    price: f64,
    elasticity: f64,
    /// The share taken off the price, week by week; 0 without a promotion.
    discounts: Vec<f64>,
    demand: f64,
    /// The logarithm of a year's growth.
    trend: f64,
}

impl Product {
    fn draw(number: u32, weeks: usize, promotions: f64, draws: &mut Draws) -> Self {
        let category = number as usize % CATEGORIES.len();
        let kind = &CATEGORIES[category];
        let price = kind.price * (0.35 * draws.normal()).exp();
        Self {
            category,
            // Prices end in 9, as shops write them.
            price: ((price * 10.0).round() / 10.0 - 0.01).max(0.09),
            elasticity: (2.6 + 0.5 * draws.normal()).max(0.5),
            discounts: (0..weeks)
                .map(|_| {
                    let discount = [0.1, 0.2, 0.3][draws.below(3)];
                    if draws.chance(promotions) {
                        discount
                    } else {
                        0.0
                    }
                })
                .collect(),
            demand: kind.demand * (0.6 * draws.normal()).exp(),
            trend: 0.05 * draws.normal(),
        }
    }

    /// What the discount multiplies the demand by.
    fn uplift(&self, discount: f64) -> f64 {
        if discount > 0.0 {
            (1.0 - discount).powf(-self.elasticity) * DISPLAY
        } else {
            1.0
        }
    }
}

/// A day, the same in all stores.
struct Day {
    /// Days since 1970-01-01.
    date: i32,
    weekday: usize,
    day_of_year: f64,
    holiday: Option<&'static str>,
    /// What holidays multiply the demand by: more the day before, little on the day itself.
    calendar: f64,
}

fn calendar(first: NaiveDate, days: u32) -> Vec<Day> {
    first
        .iter_days()
        .take(days as usize)
        .map(|date| {
            let holiday = holidays::name(date);
            let tomorrow = date.succ_opt().and_then(holidays::name);
            Day {
                date: date.signed_duration_since(NaiveDate::default()).num_days() as i32,
                weekday: date.weekday().num_days_from_monday() as usize,
                day_of_year: f64::from(date.ordinal()),
                holiday,
                calendar: match (holiday, tomorrow) {
                    (Some(_), _) => 0.35,
                    (None, Some(_)) => 1.4,
                    (None, None) => 1.0,
                },
            }
        })
        .collect()
}

/// What was sold, column by column.
#[derive(Default)]
struct Sales {
    date: Vec<i32>,
    store: Vec<u32>,
    product: Vec<u32>,
    price: Vec<f64>,
    promotion: Vec<bool>,
    holiday: Vec<Option<&'static str>>,
    stock: Vec<i64>,
    sales: Vec<i64>,
    sold_out: Vec<bool>,
    demand: Vec<i64>,
}

/// A whole number from a negative binomial distribution of that mean.
fn count(mean: f64, draws: &mut Draws) -> i64 {
    let rate = Gamma::new(SHAPE, mean / SHAPE).map_or(mean, |gamma| gamma.sample(&mut draws.0));
    Poisson::new(rate.max(1e-9)).map_or(0, |poisson| poisson.sample(&mut draws.0) as i64)
}

impl Demand {
    fn first_day(&self) -> Option<NaiveDate> {
        NaiveDate::parse_from_str(&self.start, "%Y-%m-%d").ok()
    }

    /// One product in one store.
    fn sell(
        &self,
        product: &Product,
        factor: f64,
        days: &[Day],
        draws: &mut Draws,
        sales: &mut Sales,
    ) {
        let kind = &CATEGORIES[product.category];
        let usual = |index: usize| -> f64 {
            let Some(day) = days.get(index) else {
                return 0.0;
            };
            let turn = std::f64::consts::TAU * (day.day_of_year - kind.peak) / 365.25;
            let season = 1.0 + kind.season * turn.cos();
            let trend = (product.trend * index as f64 / 365.25).exp();
            factor * product.demand * kind.week[day.weekday] * season * trend * day.calendar
        };
        let discount = |index: usize| product.discounts.get(index / 7).copied().unwrap_or(0.0);
        let delivery = draws.below(DELIVERY as usize);
        let mut stock = 0;
        for (index, day) in days.iter().enumerate() {
            if index % DELIVERY as usize == delivery || index == 0 {
                let expected: f64 = (index..index + DELIVERY as usize)
                    .map(|index| {
                        let foreseen = 1.0 + FORESEEN * (product.uplift(discount(index)) - 1.0);
                        usual(index) * foreseen
                    })
                    .sum();
                let level = (expected * (1.0 + self.safety)).ceil() as i64;
                stock = stock.max(level);
            }
            let discount = discount(index);
            let wanted = count(usual(index) * product.uplift(discount), draws);
            let sold = wanted.min(stock);
            sales.date.push(day.date);
            sales
                .price
                .push((product.price * (1.0 - discount) * 100.0).round() / 100.0);
            sales.promotion.push(discount > 0.0);
            sales.holiday.push(day.holiday);
            sales.stock.push(stock);
            sales.sales.push(sold);
            sales.sold_out.push(sold == stock);
            sales.demand.push(wanted);
            stock -= sold;
        }
    }
}

impl Generator for Demand {
    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn columns(&self) -> Vec<Column> {
        let categories = CATEGORIES.map(|category| category.name.to_owned());
        vec![
            Column::new("date", DataType::Date),
            Column::new("store", DataType::String),
            Column::new("product", DataType::String),
            Column::new("category", DataType::String).with_categories(categories.into()),
            Column::new("price", DataType::Float64),
            Column::new("promotion", DataType::Boolean),
            Column::new("holiday", DataType::String),
            Column::new("stock", DataType::Int64),
            Column::new("sales", DataType::Int64),
            Column::new("sold_out", DataType::Boolean),
            Column::new("demand", DataType::Int64),
        ]
    }

    fn report(&self, cx: &mut CheckContext<'_>) {
        if self.first_day().is_none() {
            cx.report(
                Problem::error(
                    "bad-date",
                    path!["start"],
                    format!("`{}` is not a day", self.start),
                )
                .label("not a day")
                .help("write it as `2024-01-31`"),
            );
        }
    }

    fn generate(&self, seed: u64) -> Result<DataFrame> {
        let first = self
            .first_day()
            .ok_or_else(|| Error::data(format!("`{}` is not a day", self.start)))?;
        let days = calendar(first, self.days);
        let weeks = days.len().div_ceil(7);
        // Streams of their own, so that another store or product does not change the others: products come first, then
        // stores, then each product in each store.
        let stream = |kind: u64, store: u32, product: u32| {
            Draws::new(
                seed,
                kind << 60 | u64::from(store) << 28 | u64::from(product),
            )
        };
        let products: Vec<Product> = (0..self.products)
            .map(|number| Product::draw(number, weeks, self.promotions, &mut stream(0, 0, number)))
            .collect();
        let mut sales = Sales::default();
        for store in 0..self.stores {
            let size = (0.4 * stream(1, store, 0).normal()).exp();
            for (number, product) in (0..).zip(&products) {
                let mut draws = stream(2, store, number);
                let factor = size * (0.2 * draws.normal()).exp();
                sales.store.extend(std::iter::repeat_n(store, days.len()));
                sales
                    .product
                    .extend(std::iter::repeat_n(number, days.len()));
                self.sell(product, factor, &days, &mut draws, &mut sales);
            }
        }
        sales.into_frame(&products)
    }
}

impl Sales {
    fn into_frame(self, products: &[Product]) -> Result<DataFrame> {
        let names = |letter: char, numbers: &[u32]| -> Vec<String> {
            numbers
                .iter()
                .map(|number| format!("{letter}{:03}", number + 1))
                .collect()
        };
        let categories: Vec<&str> = self
            .product
            .iter()
            .map(|number| CATEGORIES[products[*number as usize].category].name)
            .collect();
        let columns = vec![
            Series::new("date".into(), &self.date)
                .cast(&DataType::Date)?
                .into_column(),
            Series::new("store".into(), names('S', &self.store)).into_column(),
            Series::new("product".into(), names('P', &self.product)).into_column(),
            Series::new("category".into(), categories).into_column(),
            Series::new("price".into(), self.price).into_column(),
            Series::new("promotion".into(), self.promotion).into_column(),
            Series::new("holiday".into(), self.holiday).into_column(),
            Series::new("stock".into(), self.stock).into_column(),
            Series::new("sales".into(), self.sales).into_column(),
            Series::new("sold_out".into(), self.sold_out).into_column(),
            Series::new("demand".into(), self.demand).into_column(),
        ];
        Ok(DataFrame::new(self.date.len(), columns)?)
    }
}

#[cfg(test)]
mod tests;
