//! `source.synthetic.engines`.

use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{Column, Result, register_kind};

use super::{
    Generator,
    draws::{Draws, Walk},
    generated_source,
};

/// Generate the flights of turbofan engines from their first to their failure.
///
/// After C-MAPSS (A. Saxena, K. Goebel, D. Simon, N. Eklund: "Damage propagation modeling for aircraft engine run-to-failure
/// simulation", International Conference on Prognostics and Health Management, 2008). Each engine starts with some wear;
/// its damage grows exponentially, faster and faster, until the engine fails. 21 sensors see the damage through noise, each
/// in its own measure and direction; six of them never change. A row is a flight (`cycle`), engines come one after the other,
/// and `remaining_useful_life` is the number of flights left: 0 in the last one.
///
/// It is a stand-in for the simulator, not the simulator itself: at sea level the levels, spans and noise of the sensors and
/// the lives of the engines (206 flights in the mean, about 130 to 360) are those of the published set FD001, rounded. With
/// `operating_points: 6` each flight is at one of the six published combinations of altitude (1,000 ft), Mach number and
/// throttle (%); levels follow by the standard atmosphere and the usual corrections of gas turbines to inlet temperature and
/// pressure. With `faults: 2` either the compressor or the fan of an engine wears, which some sensors tell apart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Engines {
    /// Engines; each has about 206 rows.
    #[schemars(range(min = 1, max = 500_000))]
    units: u32,
    /// At how many points the engines operate: 1 (sea level) or 6.
    #[serde(default = "one")]
    #[schemars(extend("enum" = [1, 6]))]
    operating_points: u8,
    /// How many parts may wear: 1 (high-pressure compressor) or 2 (or else the fan).
    #[serde(default = "one")]
    #[schemars(extend("enum" = [1, 2]))]
    faults: u8,
    /// The share of engines whose rows end before they fail, somewhere between a third of their life and all but the end of it.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    censored: f64,
    /// The seed; the pipeline's by default.
    seed: Option<u64>,
}

fn one() -> u8 {
    1
}

register_kind! {
    Engines, "source.synthetic.engines", version: 1,
    example: "- source.synthetic.engines: {units: 100, operating_points: 6, censored: 0.3, seed: 7}",
}

generated_source!(Engines);

/// Where an engine flies.
struct Point {
    /// In 1,000 ft.
    altitude: f64,
    mach: f64,
    /// In %.
    throttle: f64,
    /// The fan's demanded speed, in % of its speed at full throttle.
    demand: f64,
}

const POINTS: [Point; 6] = [
    point(0.0, 0.0, 100.0, 100.0),
    point(10.0, 0.25, 100.0, 100.0),
    point(20.0, 0.7, 100.0, 100.0),
    point(25.0, 0.62, 60.0, 84.93),
    point(35.0, 0.84, 100.0, 100.0),
    point(42.0, 0.84, 100.0, 100.0),
];

const fn point(altitude: f64, mach: f64, throttle: f64, demand: f64) -> Point {
    Point {
        altitude,
        mach,
        throttle,
        demand,
    }
}

/// Degrees Rankine at sea level.
const STANDARD_TEMPERATURE: f64 = 518.67;

impl Point {
    /// Inlet temperature and pressure against those at sea level at rest, by the International Standard Atmosphere.
    fn inlet(&self) -> (f64, f64) {
        // The temperature falls by 3.566 °R every 1,000 ft up to 36,089 ft.
        let troposphere = self.altitude.min(36.089);
        let temperature = 1.0 - 3.566 * troposphere / STANDARD_TEMPERATURE;
        let pressure = temperature.powf(5.2559) * (-(self.altitude - troposphere) / 20.806).exp();
        let ram = 1.0 + 0.2 * self.mach * self.mach;
        (temperature * ram, pressure * ram.powf(3.5))
    }
}

/// How a sensor's level depends on where the engine flies.
#[derive(Clone, Copy)]
enum Quantity {
    InletTemperature,
    Temperature,
    InletPressure,
    Pressure,
    Speed,
    CorrectedSpeed,
    Flow,
    Demand,
    CorrectedDemand,
    Ratio,
}

struct Sensor {
    name: &'static str,
    quantity: Quantity,
    /// Of a new engine at sea level.
    level: f64,
    /// What a worn-out compressor adds to the level.
    compressor: f64,
    /// What a worn-out fan adds to the level.
    fan: f64,
    /// The standard deviation of the noise.
    noise: f64,
}

const fn sensor(
    name: &'static str,
    quantity: Quantity,
    level: f64,
    compressor: f64,
    fan: f64,
    noise: f64,
) -> Sensor {
    Sensor {
        name,
        quantity,
        level,
        compressor,
        fan,
        noise,
    }
}

/// The sensors in the order of the published files, with levels of the published set FD001, rounded. Temperatures in °R,
/// pressures in psia, speeds in rpm, flows in lbm/s.
const SENSORS: [Sensor; 21] = [
    sensor("t2", Quantity::InletTemperature, 518.67, 0.0, 0.0, 0.0),
    sensor("t24", Quantity::Temperature, 642.2, 1.8, 1.6, 0.34),
    sensor("t30", Quantity::Temperature, 1585.5, 20.0, 17.0, 4.6),
    sensor("t50", Quantity::Temperature, 1401.0, 32.0, 28.0, 4.2),
    sensor("p2", Quantity::InletPressure, 14.62, 0.0, 0.0, 0.0),
    sensor("p15", Quantity::Pressure, 21.61, 0.0, 0.0, 0.001),
    sensor("p30", Quantity::Pressure, 554.1, -3.1, 9.0, 0.44),
    sensor("nf", Quantity::Speed, 2388.04, 0.24, 0.3, 0.035),
    sensor("nc", Quantity::Speed, 9045.0, 70.0, 75.0, 14.0),
    sensor("epr", Quantity::Ratio, 1.3, 0.0, 0.0, 0.0),
    sensor("ps30", Quantity::Pressure, 47.3, 1.0, 0.9, 0.12),
    sensor("phi", Quantity::Pressure, 522.1, -2.7, 8.0, 0.37),
    sensor("nrf", Quantity::CorrectedSpeed, 2388.04, 0.24, 0.3, 0.035),
    sensor("nrc", Quantity::CorrectedSpeed, 8127.0, 60.0, 65.0, 13.0),
    sensor("bpr", Quantity::Ratio, 8.41, 0.125, -0.2, 0.018),
    sensor("far_b", Quantity::Ratio, 0.03, 0.0, 0.0, 0.0),
    sensor("ht_bleed", Quantity::Temperature, 391.6, 5.2, 4.6, 0.75),
    sensor("nf_demand", Quantity::Demand, 2388.0, 0.0, 0.0, 0.0),
    sensor(
        "nrf_demand",
        Quantity::CorrectedDemand,
        100.0,
        0.0,
        0.0,
        0.0,
    ),
    sensor("w31", Quantity::Flow, 38.97, -0.62, 0.5, 0.09),
    sensor("w32", Quantity::Flow, 23.38, -0.37, 0.3, 0.055),
];

impl Sensor {
    /// The factor that takes the level at sea level to the one at this point.
    fn factor(&self, point: &Point) -> f64 {
        let (theta, delta) = point.inlet();
        let demand = point.demand / 100.0;
        match self.quantity {
            Quantity::InletTemperature => theta,
            Quantity::InletPressure => delta,
            // What the compressors add to the inlet's temperature and pressure falls with the square of the speed.
            Quantity::Temperature => {
                let inlet = STANDARD_TEMPERATURE / self.level.max(STANDARD_TEMPERATURE);
                theta * (inlet + (1.0 - inlet) * demand * demand)
            }
            Quantity::Pressure => delta * demand * demand,
            Quantity::Speed | Quantity::Demand => theta.sqrt() * demand,
            Quantity::CorrectedSpeed | Quantity::CorrectedDemand => demand,
            Quantity::Flow => delta / theta.sqrt() * demand,
            Quantity::Ratio => 1.0,
        }
    }
}

/// The mean life in flights, and the standard deviation of its logarithm.
const LIFE: f64 = 206.0;
const LIFE_SPREAD: f64 = 0.22;

/// How one engine wears.
struct Wear {
    /// Flights to failure.
    life: u32,
    /// Damage before the first flight, from 0 (new) to 1 (failed).
    initial: f64,
    /// How sudden the end is.
    rate: f64,
    exponent: f64,
    is_fan: bool,
}

impl Wear {
    fn draw(faults: u8, draws: &mut Draws) -> Self {
        let logarithm = LIFE.ln() - LIFE_SPREAD * LIFE_SPREAD / 2.0 + LIFE_SPREAD * draws.normal();
        Self {
            life: logarithm.exp().round().clamp(30.0, 1000.0) as u32,
            initial: draws.between(0.0, 0.1),
            rate: draws.between(3.0, 5.0),
            exponent: 1.4 + 0.1 * draws.normal(),
            is_fan: faults == 2 && draws.chance(0.5),
        }
    }

    /// Damage after so many flights: `exp(a t^b)`, after Saxena et al., scaled from the initial wear to 1 at failure.
    fn damage(&self, cycle: u32) -> f64 {
        let done = f64::from(cycle) / f64::from(self.life);
        let grown = (self.rate * done.powf(self.exponent)).exp_m1() / self.rate.exp_m1();
        self.initial + (1.0 - self.initial) * grown
    }
}

impl Generator for Engines {
    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn columns(&self) -> Vec<Column> {
        let settings = ["altitude", "mach", "throttle"];
        let reals = settings
            .into_iter()
            .chain(SENSORS.iter().map(|sensor| sensor.name));
        [
            Column::new("unit", DataType::Int64),
            Column::new("cycle", DataType::Int64),
        ]
        .into_iter()
        .chain(reals.map(|name| Column::new(name, DataType::Float64)))
        .chain([Column::new("remaining_useful_life", DataType::Int64)])
        .collect()
    }

    fn generate(&self, seed: u64) -> Result<DataFrame> {
        let factors: Vec<[f64; 6]> = SENSORS
            .iter()
            .map(|sensor| [0, 1, 2, 3, 4, 5].map(|point: usize| sensor.factor(&POINTS[point])))
            .collect();
        let (mut units, mut cycles, mut lives) = (Vec::new(), Vec::new(), Vec::new());
        let mut settings: [Vec<f64>; 3] = Default::default();
        let mut readings: Vec<Vec<f64>> = SENSORS.iter().map(|_| Vec::new()).collect();
        for unit in 0..self.units {
            // A stream each: more engines do not change those before.
            let mut draws = Draws::new(seed, u64::from(unit));
            let wear = Wear::draw(self.faults, &mut draws);
            let last = if draws.chance(self.censored) {
                let share = draws.between(1.0 / 3.0, 0.95);
                ((f64::from(wear.life) * share) as u32).max(1)
            } else {
                wear.life
            };
            let mut unevenness = Walk::new(0.01, 5.0, &mut draws);
            for cycle in 1..=last {
                let place = if self.operating_points == 1 {
                    0
                } else {
                    draws.below(POINTS.len())
                };
                let point = &POINTS[place];
                let damage = wear.damage(cycle) + unevenness.next(&mut draws);
                units.push(i64::from(unit) + 1);
                cycles.push(i64::from(cycle));
                lives.push(i64::from(wear.life - cycle));
                settings[0].push(rounded(point.altitude + 0.0022 * draws.normal(), 4));
                settings[1].push(rounded(point.mach + 0.0003 * draws.normal(), 4));
                settings[2].push(point.throttle);
                for ((sensor, readings), factors) in SENSORS.iter().zip(&mut readings).zip(&factors)
                {
                    let span = if wear.is_fan {
                        sensor.fan
                    } else {
                        sensor.compressor
                    };
                    let noise = if sensor.noise > 0.0 {
                        sensor.noise * draws.normal()
                    } else {
                        0.0
                    };
                    let reading = factors[place] * (sensor.level + span * damage + noise);
                    readings.push(rounded(reading, 4));
                }
            }
        }
        let rows = units.len();
        let [altitude, mach, throttle] = settings;
        let mut columns = vec![
            Series::new("unit".into(), units).into_column(),
            Series::new("cycle".into(), cycles).into_column(),
            Series::new("altitude".into(), altitude).into_column(),
            Series::new("mach".into(), mach).into_column(),
            Series::new("throttle".into(), throttle).into_column(),
        ];
        columns.extend(
            SENSORS
                .iter()
                .zip(readings)
                .map(|(sensor, readings)| Series::new(sensor.name.into(), readings).into_column()),
        );
        columns.push(Series::new("remaining_useful_life".into(), lives).into_column());
        Ok(DataFrame::new(rows, columns)?)
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::synthetic::testing::{correlation, deviation, generate, mean, numbers};

    #[test]
    fn inlets_are_those_of_the_published_points() {
        // T2 and P2 of the published set FD002.
        let published = [
            (518.67, 14.62),
            (489.05, 10.52),
            (491.19, 9.35),
            (462.54, 7.05),
            (449.44, 5.48),
            (445.00, 3.91),
        ];
        for (point, (temperature, pressure)) in POINTS.iter().zip(published) {
            let found = SENSORS[0].level * SENSORS[0].factor(point);
            assert!(
                (found - temperature).abs() < 0.05,
                "{found} for {temperature}"
            );
            let found = SENSORS[4].level * SENSORS[4].factor(point);
            assert!((found - pressure).abs() < 0.06, "{found} for {pressure}");
        }
    }

    #[test]
    fn every_engine_flies_until_it_fails() {
        let rows = generate::<Engines>("{units: 400, seed: 1}");
        let (units, cycles) = (numbers(&rows, "unit"), numbers(&rows, "cycle"));
        let left = numbers(&rows, "remaining_useful_life");
        let mut lives = Vec::new();
        for row in 0..rows.height() {
            let is_last = row + 1 == rows.height() || units[row + 1] != units[row];
            if is_last {
                assert_eq!(left[row], 0.0);
                lives.push(cycles[row]);
            } else {
                assert_eq!(
                    (cycles[row + 1], left[row + 1]),
                    (cycles[row] + 1.0, left[row] - 1.0)
                );
            }
        }
        assert_eq!(lives.len(), 400);
        // Four standard errors.
        assert!(
            (mean(&lives) - 206.0).abs() < 4.0 * 46.0 / 20.0,
            "{}",
            mean(&lives)
        );
        assert!(
            (deviation(&lives) - 46.0).abs() < 7.0,
            "{}",
            deviation(&lives)
        );
    }

    #[test]
    fn sensors_at_sea_level_have_the_published_distribution() {
        let rows = generate::<Engines>("{units: 300, seed: 2}");
        // Means and standard deviations of the published set FD001.
        for (name, published, spread) in [
            ("t24", 642.68, 0.50),
            ("t30", 1590.5, 6.13),
            ("t50", 1408.9, 9.00),
            ("p30", 553.37, 0.885),
            ("nc", 9065.2, 22.08),
            ("nrc", 8143.8, 19.08),
            ("ps30", 47.54, 0.267),
            ("phi", 521.41, 0.738),
            ("bpr", 8.442, 0.0375),
            ("ht_bleed", 393.2, 1.55),
            ("w31", 38.82, 0.181),
            ("w32", 23.29, 0.108),
        ] {
            let values = numbers(&rows, name);
            let (mean, deviation) = (mean(&values), deviation(&values));
            assert!(
                (mean - published).abs() < 0.4 * spread,
                "{name}: mean {mean}"
            );
            assert!(
                (0.7..1.3).contains(&(deviation / spread)),
                "{name}: standard deviation {deviation} for {spread}"
            );
        }
        for name in ["t2", "p2", "epr", "far_b", "nf_demand", "nrf_demand"] {
            let values = numbers(&rows, name);
            assert!(values.iter().all(|value| *value == values[0]), "{name}");
        }
    }

    #[test]
    fn sensors_see_the_damage_grow() {
        let rows = generate::<Engines>("{units: 100, seed: 3}");
        let left = numbers(&rows, "remaining_useful_life");
        for sensor in &SENSORS {
            if sensor.compressor == 0.0 || sensor.noise == 0.0 {
                continue;
            }
            // Damage grows as life is used up, so that the correlation has the other sign than the span.
            let found = correlation(&numbers(&rows, sensor.name), &left);
            assert!(
                found * sensor.compressor.signum() < -0.4,
                "{}: {found}",
                sensor.name
            );
        }
    }

    #[test]
    fn six_points_and_two_faults() {
        let rows = generate::<Engines>("{units: 200, operating_points: 6, faults: 2, seed: 4}");
        let altitudes = numbers(&rows, "altitude");
        for point in &POINTS {
            let there = altitudes
                .iter()
                .filter(|at| (*at - point.altitude).abs() < 0.5)
                .count();
            let share = there as f64 / rows.height() as f64;
            assert!(
                (share - 1.0 / 6.0).abs() < 0.01,
                "{}: {share}",
                point.altitude
            );
        }
        // At sea level and near the end, the pressure behind the compressor tells the two faults apart.
        let (left, pressure) = (
            numbers(&rows, "remaining_useful_life"),
            numbers(&rows, "p30"),
        );
        let ends: Vec<f64> = (0..rows.height())
            .filter(|row| left[*row] < 10.0 && altitudes[*row] < 0.5)
            .map(|row| pressure[row])
            .collect();
        let high = ends.iter().filter(|pressure| **pressure > 557.0).count();
        assert!(ends.len() > 200 && high > ends.len() / 3 && high < ends.len() * 2 / 3);
    }

    #[test]
    fn records_may_end_before_the_failure() {
        let rows = generate::<Engines>("{units: 300, censored: 0.4, seed: 5}");
        let (units, left) = (
            numbers(&rows, "unit"),
            numbers(&rows, "remaining_useful_life"),
        );
        let ends: Vec<f64> = (0..rows.height())
            .filter(|row| row + 1 == rows.height() || units[row + 1] != units[*row])
            .map(|row| left[row])
            .collect();
        let early = ends.iter().filter(|left| **left > 0.0).count() as f64 / 300.0;
        assert!((early - 0.4).abs() < 0.115, "{early}");
    }

    #[test]
    fn the_same_seed_gives_the_same_flights() {
        let first = generate::<Engines>("{units: 3, seed: 9}");
        assert!(first.equals(&generate::<Engines>("{units: 3, seed: 9}")));
        assert!(!first.equals(&generate::<Engines>("{units: 3, seed: 10}")));
        let more = generate::<Engines>("{units: 5, seed: 9}");
        assert!(first.equals(&more.head(Some(first.height()))));
        assert!(
            generate::<Engines>("{units: 1}").equals(&generate::<Engines>("{units: 1, seed: 3}"))
        );
    }
}
