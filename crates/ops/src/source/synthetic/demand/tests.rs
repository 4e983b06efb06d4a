use super::*;
use crate::{
    columns::testing::{check, stage},
    source::synthetic::testing::{generate, mean, numbers, texts},
};
use taktline_core::Schema;

/// The rows for which it is so.
fn rows_where(rows: usize, is_so: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..rows).filter(|row| is_so(*row)).collect()
}

fn mean_of(values: &[f64], rows: &[usize]) -> f64 {
    assert!(rows.len() > 100, "{} rows are too few", rows.len());
    rows.iter().map(|row| values[*row]).sum::<f64>() / rows.len() as f64
}

#[test]
fn every_product_is_sold_in_every_store_on_every_day() {
    let rows = generate::<Demand>("{stores: 3, products: 7, days: 40, seed: 1}");
    assert_eq!(rows.height(), 3 * 7 * 40);
    let dates = rows.column("date").expect("there").to_physical_repr();
    let dates: Vec<i32> = dates.i32().expect("days").iter().flatten().collect();
    let (stores, products) = (texts(&rows, "store"), texts(&rows, "product"));
    for row in 1..rows.height() {
        let is_same = stores[row] == stores[row - 1] && products[row] == products[row - 1];
        if is_same {
            assert_eq!(dates[row], dates[row - 1] + 1);
        } else {
            // 2022-01-01
            assert_eq!(dates[row], 18_993);
        }
    }
}

#[test]
fn weekdays_have_the_shares_of_their_category() {
    let rows = generate::<Demand>("{stores: 6, products: 10, days: 728, promotions: 0, seed: 2}");
    let (demand, categories) = (numbers(&rows, "demand"), texts(&rows, "category"));
    let dates = rows.column("date").expect("there").to_physical_repr();
    let dates: Vec<i32> = dates.i32().expect("days").iter().flatten().collect();
    let holidays = rows.column("holiday").expect("there").is_null();
    let days = calendar(stage::<Demand>("{}").first_day().expect("a day"), 728);
    let plain = |row: usize| {
        let day = (dates[row] - 18_993) as usize;
        holidays.get(row) == Some(true) && days[day].calendar == 1.0
    };
    for category in &CATEGORIES {
        let of = rows_where(rows.height(), |row| {
            categories[row] == category.name && plain(row)
        });
        let all = mean_of(&demand, &of);
        for (weekday, share) in category.week.iter().enumerate() {
            let on: Vec<usize> = of
                .iter()
                .copied()
                .filter(|row| (dates[*row] + 3).rem_euclid(7) as usize == weekday)
                .collect();
            let found = mean_of(&demand, &on) / all;
            let expected = share / (category.week.iter().sum::<f64>() / 7.0);
            assert!(
                (found - expected).abs() < 0.05,
                "{} on {weekday}: {found} for {expected}",
                category.name
            );
        }
    }
}

#[test]
fn counts_are_spread_out_more_than_poisson() {
    let mut draws = Draws::new(1, 0);
    for expected in [0.5, 5.0, 80.0] {
        let counts: Vec<f64> = (0..40_000)
            .map(|_| count(expected, &mut draws) as f64)
            .collect();
        let found = mean(&counts);
        let variance = counts
            .iter()
            .map(|count| (count - found).powi(2))
            .sum::<f64>()
            / 39_999.0;
        let wanted = expected + expected * expected / SHAPE;
        assert!(
            (found - expected).abs() < 4.0 * (wanted / 40_000.0).sqrt(),
            "{found}"
        );
        assert!(
            (variance / wanted - 1.0).abs() < 0.06,
            "{variance} for {wanted}"
        );
    }
}

#[test]
fn promotions_lower_the_price_and_raise_the_demand_by_its_elasticity() {
    let source: Demand = stage("{stores: 8, products: 5, days: 1456, promotions: 0.3, seed: 3}");
    let rows = source.generate(3).expect("generates");
    let promotion = numbers(&rows, "promotion");
    assert!(
        (mean(&promotion) - 0.3).abs() < 0.06,
        "{}",
        mean(&promotion)
    );
    let (demand, price, products) = (
        numbers(&rows, "demand"),
        numbers(&rows, "price"),
        texts(&rows, "product"),
    );
    for number in 0..5 {
        let weeks = 1456 / 7;
        let product = Product::draw(number, weeks, 0.3, &mut Draws::new(3, u64::from(number)));
        let name = format!("P{:03}", number + 1);
        let at = |discount: f64| {
            let paid = (product.price * (1.0 - discount) * 100.0).round() / 100.0;
            rows_where(rows.height(), |row| {
                products[row] == name && price[row] == paid
            })
        };
        let usual = mean_of(&demand, &at(0.0));
        for discount in [0.1, 0.2, 0.3] {
            let found = mean_of(&demand, &at(discount)) / usual;
            let expected = (1.0 - discount).powf(-product.elasticity) * DISPLAY;
            assert!(
                (found / expected - 1.0).abs() < 0.15,
                "{name} at -{discount}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn holidays_are_quiet_and_the_days_before_are_not() {
    let rows = generate::<Demand>("{stores: 10, products: 10, days: 1461, promotions: 0, seed: 4}");
    let demand = numbers(&rows, "demand");
    let holidays = rows.column("holiday").expect("there").is_not_null();
    let is_holiday = |row: usize| holidays.get(row) == Some(true);
    let last = rows.height() - 1;
    let on = rows_where(rows.height(), is_holiday);
    let before = rows_where(rows.height(), |row| {
        row < last && !is_holiday(row) && is_holiday(row + 1)
    });
    let all: Vec<usize> = (0..rows.height()).collect();
    let usual = mean_of(&demand, &all);
    assert!((mean_of(&demand, &on) / usual - 0.35).abs() < 0.06);
    assert!(mean_of(&demand, &before) / usual > 1.2);
}

#[test]
fn empty_shelves_hide_demand() {
    let short = |safety: f64| {
        let rows = generate::<Demand>(&format!(
            "{{stores: 5, products: 10, days: 365, safety: {safety}, seed: 5}}"
        ));
        let (stock, sales, demand) = (
            numbers(&rows, "stock"),
            numbers(&rows, "sales"),
            numbers(&rows, "demand"),
        );
        let (sold_out, promotion) = (numbers(&rows, "sold_out"), numbers(&rows, "promotion"));
        let mut lost = [0.0; 2];
        let mut wanted = [0.0; 2];
        for row in 0..rows.height() {
            assert_eq!(sales[row], demand[row].min(stock[row]));
            assert_eq!(sold_out[row] == 1.0, sales[row] == stock[row]);
            lost[promotion[row] as usize] += demand[row] - sales[row];
            wanted[promotion[row] as usize] += demand[row];
        }
        (mean(&sold_out), lost[0] / wanted[0], lost[1] / wanted[1])
    };
    let (out, lost, lost_on_promotion) = short(0.35);
    assert!((0.02..0.25).contains(&out), "{out}");
    assert!(lost > 0.0 && lost < 0.1, "{lost}");
    assert!(
        lost_on_promotion > 2.0 * lost,
        "{lost_on_promotion} and {lost}"
    );
    let (out_with_more, ..) = short(1.5);
    assert!(out_with_more < out / 3.0, "{out_with_more}");
}

#[test]
fn the_same_seed_gives_the_same_sales() {
    let first = generate::<Demand>("{stores: 2, products: 3, days: 30, seed: 9}");
    assert!(first.equals_missing(&generate::<Demand>(
        "{stores: 2, products: 3, days: 30, seed: 9}"
    )));
    assert!(!first.equals_missing(&generate::<Demand>(
        "{stores: 2, products: 3, days: 30, seed: 10}"
    )));
    // Another store changes nothing in the first.
    let one = generate::<Demand>("{stores: 1, products: 3, days: 30, seed: 9}");
    assert!(one.equals_missing(&first.head(Some(90))));
    assert_eq!(
        generate::<Demand>("{stores: 1, products: 1, days: 1}").height(),
        1
    );
}

#[test]
fn a_bad_day_is_refused() {
    let (_, problems) = check(&stage::<Demand>("{start: 2024-02-30}"), &Schema::default());
    assert_eq!(problems[0].code, "bad-date");
}
