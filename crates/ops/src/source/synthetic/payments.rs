//! `source.synthetic.payments`.

use chrono::{Datelike, NaiveDate};
use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, IntoColumn, IntoLazy, IntoSeries, LazyFrame,
    NamedFrom, NewChunkedArray, Series, StringChunked, TimeUnit,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};
use schemars::JsonSchema;
use serde::Deserialize;
use taktline_core::{
    CheckContext, Column, Error, Fingerprint, Problem, Result, Schema, Shape, Source,
    SourceContext, Stage, path, register_kind,
};

use crate::source::declared::{FileParams, UnknownFormat};

/// Generate card payments, some of them fraud.
///
/// After PaySim (E. A. Lopez-Rojas, A. Elmir, S. Axelsson: "PaySim: A financial mobile money simulator for fraud
/// detection", 28th European Modeling and Simulation Symposium, 2016). Customers cash in, cash out, pay merchants, pay
/// debits and transfer money to each other; shares and amounts by type are those of the published sample, rounded. Balances
/// are carried for every account. Fraud takes an account over: a TRANSFER of its balance to a mule, then a CASH_OUT of the
/// same amount by the mule soon after; `is_fraud` marks both.
///
/// So that no single rule finds it, and other than in PaySim: fraud takes the whole balance only at first and later more
/// often a part; its preferred hour drifts from night to morning over the period; a few attempts are blocked; mules have
/// ordinary payments too; and honest customers now and then empty their accounts. A payment without enough balance is
/// declined: the row is there, the balances stay. As in the published sample the balances of merchants are not known and
/// given as 0, and names of customers and agents begin with C, of merchants with M.
///
/// The same seed gives the same rows; they come sorted by time. With `file`, the payments of a file stand in for generated
/// ones, so that one pipeline serves for a trial and for real data.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Payments {
    /// Payments in all.
    #[schemars(range(min = 1, max = 100_000_000))]
    rows: u64,
    /// Customer accounts; a quarter of `rows` by default.
    #[schemars(range(min = 10, max = 100_000_000))]
    accounts: Option<u64>,
    /// The share of payments that are fraud; rounded to a whole number of payments.
    #[serde(default = "fraud_rate")]
    #[schemars(range(min = 0.0, max = 0.05))]
    fraud_rate: f64,
    /// How many days the payments cover.
    #[serde(default = "days")]
    #[schemars(range(min = 1, max = 3660))]
    days: u32,
    /// The first day: `2024-01-31`.
    #[serde(default = "start")]
    start: String,
    /// The seed; the pipeline's by default.
    seed: Option<u64>,
    /// A file of payments to read instead, in the format that its name says (`.csv`, `.parquet`, `.ndjson`, `.arrow`); it
    /// has at least the columns that the pipeline uses. Empty: none.
    #[serde(default)]
    file: String,
}

fn fraud_rate() -> f64 {
    0.002
}

fn days() -> u32 {
    30
}

fn start() -> String {
    "2024-01-01".into()
}

register_kind! {
    Payments, "source.synthetic.payments", version: 1,
    example: "- source.synthetic.payments: {rows: 200000, seed: 7}",
}

/// A type of payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    CashIn,
    CashOut,
    Debit,
    Payment,
    Transfer,
}

/// What is published about a type: its share of the payments, and its amounts as a log-normal distribution.
struct Profile {
    kind: Type,
    share: f64,
    /// The median amount.
    median: f64,
    /// The standard deviation of the amount's logarithm, from the published ratio of mean to median.
    spread: f64,
}

/// Shares of the published sample (6,362,620 payments); medians and spreads rounded from it.
const PROFILES: [Profile; 5] = [
    Profile {
        kind: Type::CashOut,
        share: 0.3517,
        median: 147_000.0,
        spread: 0.60,
    },
    Profile {
        kind: Type::Payment,
        share: 0.3381,
        median: 9_500.0,
        spread: 0.80,
    },
    Profile {
        kind: Type::CashIn,
        share: 0.2199,
        median: 143_000.0,
        spread: 0.57,
    },
    Profile {
        kind: Type::Transfer,
        share: 0.0838,
        median: 487_000.0,
        spread: 1.12,
    },
    Profile {
        kind: Type::Debit,
        share: 0.0065,
        median: 3_000.0,
        spread: 1.08,
    },
];

/// How busy each hour of the day is, against the others: nights are quiet, late mornings and evenings busy.
const HOURS: [f64; 24] = [
    0.9, 0.5, 0.3, 0.2, 0.2, 0.3, 0.7, 1.5, 2.8, 4.2, 5.3, 5.9, 6.0, 5.8, 5.5, 5.4, 5.7, 6.3, 6.9,
    6.8, 5.6, 4.0, 2.7, 1.6,
];
/// How busy a Saturday or Sunday is, against other days.
const WEEKEND: f64 = 0.85;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// No transfer or cash-out is larger, as in PaySim: ten million, in cents.
const LIMIT: i64 = 1_000_000_000;
/// Customers that are asked for a payment before one without enough balance makes it.
const TRIES: usize = 4;
/// How often an honest customer takes out or transfers all there is.
const EMPTIES: f64 = 0.005;
/// How often a take-over is stopped by the bank.
const BLOCKED: f64 = 0.03;
/// How often the mule gets to the money.
const CASHES_OUT: f64 = 0.92;

/// An account's place: customers first, then agents. Merchants are counted apart.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Party {
    Account(u32),
    Merchant(u32),
}

/// What happened, column by column; money in cents, so that balances are exact.
#[derive(Default)]
struct Ledger {
    at: Vec<i64>,
    kind: Vec<Type>,
    amount: Vec<i64>,
    account: Vec<u32>,
    before: Vec<i64>,
    after: Vec<i64>,
    counterparty: Vec<Party>,
    counterparty_before: Vec<i64>,
    counterparty_after: Vec<i64>,
    is_fraud: Vec<bool>,
}

impl Ledger {
    fn with_capacity(rows: usize) -> Self {
        Self {
            at: Vec::with_capacity(rows),
            kind: Vec::with_capacity(rows),
            amount: Vec::with_capacity(rows),
            account: Vec::with_capacity(rows),
            before: Vec::with_capacity(rows),
            after: Vec::with_capacity(rows),
            counterparty: Vec::with_capacity(rows),
            counterparty_before: Vec::with_capacity(rows),
            counterparty_after: Vec::with_capacity(rows),
            is_fraud: Vec::with_capacity(rows),
        }
    }
}

/// An account taken over: when, for whom, and what was taken.
struct Takeover {
    mule: u32,
    is_blocked: bool,
    taken: i64,
}

/// A step of a take-over, in its time.
struct FraudStep {
    at: i64,
    takeover: usize,
    is_cash_out: bool,
}

/// Accounts and what happens to them, payment by payment.
struct Simulation {
    random: ChaCha8Rng,
    /// Cents of every account: customers, then agents.
    balances: Vec<i64>,
    customers: u32,
    agents: u32,
    merchants: u32,
    start: i64,
    days: u32,
    ledger: Ledger,
}

impl Payments {
    /// The file to read instead, if there is one.
    fn stand_in(&self) -> Option<Result<FileParams<'_>, UnknownFormat<'_>>> {
        (!self.file.is_empty()).then(|| FileParams::by_name("file", &self.file, None))
    }

    fn first_day(&self) -> Option<NaiveDate> {
        NaiveDate::parse_from_str(&self.start, "%Y-%m-%d").ok()
    }

    fn simulate(&self, seed: u64, first_day: NaiveDate) -> Ledger {
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let customers = self
            .accounts
            .unwrap_or(self.rows / 4)
            .clamp(10, u64::from(u32::MAX / 4)) as u32;
        let mut simulation = Simulation {
            random: ChaCha8Rng::seed_from_u64(seed),
            balances: Vec::new(),
            customers,
            agents: customers / 50 + 2,
            merchants: customers / 10 + 5,
            start: first_day
                .signed_duration_since(NaiveDate::default())
                .num_days()
                * DAY,
            days: self.days,
            ledger: Ledger::with_capacity(rows),
        };
        let frauds = ((self.rows as f64 * self.fraud_rate).round() as usize).min(rows);
        simulation.open_accounts();
        let (mut takeovers, steps) = simulation.plan_fraud(frauds);
        let times =
            simulation.payment_times(rows - frauds, first_day.weekday().num_days_from_monday());
        let mut steps = steps.into_iter().peekable();
        for at in times {
            while let Some(step) = steps.next_if(|step| step.at <= at) {
                simulation.defraud(&step, &mut takeovers);
            }
            simulation.pay(at);
        }
        for step in steps {
            simulation.defraud(&step, &mut takeovers);
        }
        simulation.ledger
    }
}

impl Simulation {
    fn open_accounts(&mut self) {
        let agents = self.agents;
        let mut balances = Vec::with_capacity((self.customers + agents) as usize);
        for _ in 0..self.customers {
            balances.push(self.cents(150_000.0, 1.8));
        }
        // Agents hold the cash that customers bring in and take out.
        for _ in 0..agents {
            balances.push(self.cents(50_000_000.0, 0.8));
        }
        self.balances = balances;
    }

    /// An amount of a log-normal distribution, at least one cent.
    fn cents(&mut self, median: f64, spread: f64) -> i64 {
        let normal: f64 = StandardNormal.sample(&mut self.random);
        ((median * (spread * normal).exp() * 100.0).round() as i64).max(1)
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random::<f64>() < probability
    }

    /// A customer; some are far more active than others.
    fn customer(&mut self) -> u32 {
        let skewed = self.random.random::<f64>().powf(1.6);
        ((skewed * f64::from(self.customers)) as u32).min(self.customers - 1)
    }

    fn agent(&mut self) -> u32 {
        self.customers + self.random.random_range(0..self.agents)
    }

    fn merchant(&mut self) -> u32 {
        let skewed = self.random.random::<f64>().powi(2);
        ((skewed * f64::from(self.merchants)) as u32).min(self.merchants - 1)
    }

    fn another_customer(&mut self, than: u32) -> u32 {
        let other = self.customer();
        if other == than {
            (other + 1) % self.customers
        } else {
            other
        }
    }

    /// Sorted times of `count` honest payments over the period, busy hours more.
    fn payment_times(&mut self, count: usize, first_weekday: u32) -> Vec<i64> {
        // Spacings of a Poisson process, scaled to the period, are sorted uniform times without sorting.
        let mut reached = 0.0;
        let mut times: Vec<f64> = Vec::with_capacity(count);
        for _ in 0..count {
            let spacing: f64 = Exp1.sample(&mut self.random);
            reached += spacing;
            times.push(reached);
        }
        let last: f64 = Exp1.sample(&mut self.random);
        let total = reached + last;
        let busy: f64 = (0..self.days)
            .map(|day| day_weight(first_weekday, day) * HOURS.iter().sum::<f64>())
            .sum();
        let mut hour: u32 = 0;
        let mut before = 0.0;
        let mut weight = day_weight(first_weekday, 0) * HOURS[0];
        times
            .into_iter()
            .map(|time| {
                let target = time / total * busy;
                while before + weight < target && hour + 1 < self.days * 24 {
                    before += weight;
                    hour += 1;
                    weight = day_weight(first_weekday, hour / 24) * HOURS[(hour % 24) as usize];
                }
                let share = ((target - before) / weight).clamp(0.0, 1.0);
                let inside = ((share * HOUR as f64) as i64).min(HOUR - 1);
                self.start + i64::from(hour) * HOUR + inside - inside % SECOND
            })
            .collect()
    }

    /// Take-overs with exactly so many payments, and their steps sorted by time.
    fn plan_fraud(&mut self, payments: usize) -> (Vec<Takeover>, Vec<FraudStep>) {
        let end = self.start + i64::from(self.days) * DAY;
        let mules: Vec<u32> = (0..payments / 6 + 1).map(|_| self.customer()).collect();
        for mule in &mules {
            // A mule's account is opened for the purpose: there is little on it.
            self.balances[*mule as usize] = self.cents(2_000.0, 1.2);
        }
        let mut takeovers = Vec::new();
        let mut steps = Vec::with_capacity(payments);
        while steps.len() < payments {
            let mule = mules[self.random.random_range(0..mules.len())];
            let is_blocked = self.chance(BLOCKED);
            let at = self.fraud_time();
            let takeover = takeovers.len();
            takeovers.push(Takeover {
                mule,
                is_blocked,
                taken: 0,
            });
            steps.push(FraudStep {
                at,
                takeover,
                is_cash_out: false,
            });
            let normal: f64 = StandardNormal.sample(&mut self.random);
            let minutes = (15.0 * normal.exp()).clamp(1.0, 600.0);
            let delay = (minutes * 60.0) as i64 * SECOND;
            let cashes_out = self.chance(CASHES_OUT);
            if !is_blocked && cashes_out && at + delay < end && steps.len() < payments {
                steps.push(FraudStep {
                    at: at + delay,
                    takeover,
                    is_cash_out: true,
                });
            }
        }
        steps.sort_by_key(|step| (step.at, step.takeover, step.is_cash_out));
        (takeovers, steps)
    }

    /// When a take-over happens: half at any hour, half around an hour that drifts from 2 at night to 8 in the morning.
    fn fraud_time(&mut self) -> i64 {
        let days = f64::from(self.days);
        let day = (self.random.random::<f64>() * days).floor().min(days - 1.0);
        let hour = if self.chance(0.5) {
            self.random.random::<f64>() * 24.0
        } else {
            let normal: f64 = StandardNormal.sample(&mut self.random);
            (2.0 + 6.0 * day / days + 1.5 * normal).rem_euclid(24.0)
        };
        let inside = ((hour * HOUR as f64) as i64).min(DAY - 1);
        self.start + day as i64 * DAY + inside - inside % SECOND
    }

    /// An honest payment.
    fn pay(&mut self, at: i64) {
        let mut rest = self.random.random::<f64>();
        let profile = PROFILES
            .iter()
            .find(|profile| {
                rest -= profile.share;
                rest < 0.0
            })
            .unwrap_or(&PROFILES[0]);
        let mut amount = self.cents(profile.median, profile.spread);
        let kind = profile.kind;
        if matches!(kind, Type::Transfer | Type::CashOut) {
            amount = amount.min(LIMIT);
        }
        if kind == Type::CashIn {
            let account = self.customer();
            let agent = self.agent_with(amount);
            return self.record(
                at,
                kind,
                amount,
                account,
                Party::Account(agent),
                false,
                false,
            );
        }
        let mut account = self.customer();
        if matches!(kind, Type::Transfer | Type::CashOut) && self.chance(EMPTIES) {
            for _ in 0..TRIES {
                if self.balance(account) > 0 {
                    break;
                }
                account = self.customer();
            }
            let balance = self.balance(account);
            if balance > 0 {
                amount = balance.min(LIMIT);
            }
        } else {
            for _ in 1..TRIES {
                if self.balance(account) >= amount {
                    break;
                }
                account = self.customer();
            }
        }
        let counterparty = match kind {
            Type::Payment => Party::Merchant(self.merchant()),
            Type::Transfer => Party::Account(self.another_customer(account)),
            _ => Party::Account(self.agent()),
        };
        self.record(at, kind, amount, account, counterparty, false, false);
    }

    /// A step of a take-over.
    fn defraud(&mut self, step: &FraudStep, takeovers: &mut [Takeover]) {
        let Takeover {
            mule,
            is_blocked,
            taken,
        } = takeovers[step.takeover];
        if step.is_cash_out {
            let amount = taken.min(self.balance(mule)).max(1);
            let agent = self.agent();
            return self.record(
                step.at,
                Type::CashOut,
                amount,
                mule,
                Party::Account(agent),
                true,
                false,
            );
        }
        let mut victim = self.another_customer(mule);
        for _ in 1..TRIES {
            // They go where the money is.
            let other = self.another_customer(mule);
            if self.balance(other) > self.balance(victim) {
                victim = other;
            }
        }
        let passed = (step.at - self.start) as f64 / (i64::from(self.days) * DAY) as f64;
        let share = if self.chance(0.9 - 0.3 * passed) {
            1.0
        } else {
            self.random.random_range(0.35..0.95)
        };
        let amount = ((self.balance(victim) as f64 * share) as i64).clamp(1, LIMIT);
        if !is_blocked && self.balance(victim) >= amount {
            takeovers[step.takeover].taken = amount;
        }
        self.record(
            step.at,
            Type::Transfer,
            amount,
            victim,
            Party::Account(mule),
            true,
            is_blocked,
        );
    }

    fn balance(&self, account: u32) -> i64 {
        self.balances[account as usize]
    }

    fn agent_with(&mut self, amount: i64) -> u32 {
        let mut agent = self.agent();
        for _ in 1..TRIES {
            if self.balance(agent) >= amount {
                break;
            }
            agent = self.agent();
        }
        agent
    }

    /// Writes the payment down and moves the money, unless it is stopped or there is not enough.
    #[expect(
        clippy::too_many_arguments,
        reason = "a payment has that many parts, and this is the only place that puts them together"
    )]
    fn record(
        &mut self,
        at: i64,
        kind: Type,
        amount: i64,
        account: u32,
        counterparty: Party,
        is_fraud: bool,
        is_blocked: bool,
    ) {
        let is_inwards = kind == Type::CashIn;
        let (before, partner_before) = (self.balance(account), self.party_balance(counterparty));
        let covered = if is_inwards {
            partner_before >= amount
        } else {
            before >= amount
        };
        let moved = if covered && !is_blocked { amount } else { 0 };
        let signed = if is_inwards { moved } else { -moved };
        self.balances[account as usize] += signed;
        if let Party::Account(partner) = counterparty {
            self.balances[partner as usize] -= signed;
        }
        let ledger = &mut self.ledger;
        ledger.at.push(at);
        ledger.kind.push(kind);
        ledger.amount.push(amount);
        ledger.account.push(account);
        ledger.before.push(before);
        ledger.after.push(before + signed);
        ledger.counterparty.push(counterparty);
        ledger.counterparty_before.push(partner_before);
        ledger.counterparty_after.push(match counterparty {
            Party::Account(_) => partner_before - signed,
            Party::Merchant(_) => 0,
        });
        ledger.is_fraud.push(is_fraud);
    }

    fn party_balance(&self, party: Party) -> i64 {
        match party {
            Party::Account(account) => self.balance(account),
            Party::Merchant(_) => 0,
        }
    }
}

fn day_weight(first_weekday: u32, day: u32) -> f64 {
    if (first_weekday + day) % 7 >= 5 {
        WEEKEND
    } else {
        1.0
    }
}

/// Nine digits that no other index below 10^9 has: the multiplier shares no factor with 10^9.
fn digits(index: u32) -> u64 {
    (u64::from(index) + 1) * 382_650_737 % 1_000_000_000
}

fn label(kind: Type) -> &'static str {
    match kind {
        Type::CashIn => "CASH_IN",
        Type::CashOut => "CASH_OUT",
        Type::Debit => "DEBIT",
        Type::Payment => "PAYMENT",
        Type::Transfer => "TRANSFER",
    }
}

fn datetime() -> DataType {
    DataType::Datetime(TimeUnit::Microseconds, None)
}

/// The columns, in order.
fn columns() -> [(&'static str, DataType); 12] {
    [
        ("payment_id", DataType::Int64),
        ("at", datetime()),
        ("step", DataType::Int64),
        ("type", DataType::String),
        ("amount", DataType::Float64),
        ("account", DataType::String),
        ("balance_before", DataType::Float64),
        ("balance_after", DataType::Float64),
        ("counterparty", DataType::String),
        ("counterparty_balance_before", DataType::Float64),
        ("counterparty_balance_after", DataType::Float64),
        ("is_fraud", DataType::Boolean),
    ]
}

impl Ledger {
    fn into_frame(self, start: i64) -> Result<DataFrame> {
        let rows = self.at.len();
        let money = |name: &str, cents: Vec<i64>| {
            let amounts: Vec<f64> = cents
                .into_iter()
                .map(|cents| cents as f64 / 100.0)
                .collect();
            Series::new(name.into(), amounts).into_column()
        };
        // Each name is spelt once, however many payments it is in.
        let (mut accounts, mut merchants) = (0, 0);
        for (account, counterparty) in self.account.iter().zip(&self.counterparty) {
            accounts = accounts.max(account + 1);
            match counterparty {
                Party::Account(index) => accounts = accounts.max(index + 1),
                Party::Merchant(index) => merchants = merchants.max(index + 1),
            }
        }
        let customers: Vec<String> = (0..accounts)
            .map(|index| format!("C{:09}", digits(index)))
            .collect();
        let merchants: Vec<String> = (0..merchants)
            .map(|index| format!("M{:09}", digits(index)))
            .collect();
        let name = |party: &Party| match party {
            Party::Account(index) => customers[*index as usize].as_str(),
            Party::Merchant(index) => merchants[*index as usize].as_str(),
        };
        let accounts = StringChunked::from_iter_values(
            "account".into(),
            self.account
                .iter()
                .map(|index| customers[*index as usize].as_str()),
        );
        let counterparties = StringChunked::from_iter_values(
            "counterparty".into(),
            self.counterparty.iter().map(name),
        );
        let types = StringChunked::from_iter_values(
            "type".into(),
            self.kind.iter().map(|kind| label(*kind)),
        );
        let steps: Vec<i64> = self.at.iter().map(|at| (at - start) / HOUR + 1).collect();
        let ids: Vec<i64> = (1..=rows as i64).collect();
        let columns: Vec<PolarsColumn> = vec![
            Series::new("payment_id".into(), ids).into_column(),
            Series::new("at".into(), self.at)
                .cast(&datetime())?
                .into_column(),
            Series::new("step".into(), steps).into_column(),
            types.into_series().into_column(),
            money("amount", self.amount),
            accounts.into_series().into_column(),
            money("balance_before", self.before),
            money("balance_after", self.after),
            counterparties.into_series().into_column(),
            money("counterparty_balance_before", self.counterparty_before),
            money("counterparty_balance_after", self.counterparty_after),
            Series::new("is_fraud".into(), self.is_fraud).into_column(),
        ];
        Ok(DataFrame::new(rows, columns)?)
    }
}

impl Stage for Payments {
    fn check(&self, _: &[Schema], cx: &mut CheckContext<'_>) -> Schema {
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
        match self.stand_in() {
            Some(Ok(file)) => file.check(cx),
            Some(Err(unknown)) => unknown.report(cx),
            None => Schema::new(
                columns()
                    .into_iter()
                    .map(|(name, dtype)| Column::new(name, dtype))
                    .collect(),
            ),
        }
    }

    fn shape(&self) -> Shape<'_> {
        Shape::Source(self)
    }
}

impl Source for Payments {
    fn scan(&self, cx: &SourceContext<'_>) -> Result<LazyFrame> {
        if let Some(file) = self.stand_in() {
            return file?.scan(cx);
        }
        let first_day = self
            .first_day()
            .ok_or_else(|| Error::data(format!("`{}` is not a day", self.start)))?;
        let ledger = self.simulate(self.seed.unwrap_or(cx.seed), first_day);
        let start = first_day
            .signed_duration_since(NaiveDate::default())
            .num_days()
            * DAY;
        Ok(ledger.into_frame(start)?.lazy())
    }

    fn fingerprint(&self, cx: &SourceContext<'_>) -> Result<Fingerprint> {
        match self.stand_in() {
            Some(file) => file?.fingerprint(cx),
            None => Ok(Fingerprint::Params),
        }
    }

    fn explain(&self, error: Error, cx: &SourceContext<'_>) -> Error {
        match self.stand_in() {
            Some(Ok(file)) => file.explain(error, cx),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{DataFrame, Expr, JoinArgs, JoinType, col, lit};

    use super::*;
    use crate::columns::testing::{passes, stage};

    fn generate(params: &str) -> DataFrame {
        let payments: Payments = stage(params);
        let schema = passes(&payments, &Schema::default());
        let cx = SourceContext {
            seed: 3,
            directory: std::path::Path::new("."),
            run_key: None,
        };
        let frame = payments
            .scan(&cx)
            .expect("generates")
            .collect()
            .expect("generates");
        assert_eq!(*frame.schema().as_ref(), schema.to_polars());
        frame
    }

    fn share(frame: &DataFrame, condition: Expr) -> f64 {
        let kept = frame
            .clone()
            .lazy()
            .filter(condition)
            .collect()
            .expect("filters");
        kept.height() as f64 / frame.height() as f64
    }

    #[test]
    fn types_have_the_published_shares() {
        let frame = generate("{rows: 100000, seed: 1}");
        assert_eq!(frame.height(), 100_000);
        for profile in PROFILES {
            let found = share(&frame, col("type").eq(lit(label(profile.kind))));
            // Four standard errors, and the fraud on top.
            let error =
                4.0 * (profile.share * (1.0 - profile.share) / 100_000.0_f64).sqrt() + 0.002;
            assert!(
                (found - profile.share).abs() < error,
                "{}: {found} for {}",
                label(profile.kind),
                profile.share
            );
        }
    }

    #[test]
    fn fraud_has_the_rate_that_was_asked_for() {
        assert_eq!(
            share(&generate("{rows: 100000, seed: 1}"), col("is_fraud")),
            0.002
        );
        assert_eq!(
            share(
                &generate("{rows: 100000, fraud_rate: 0.001, seed: 2}"),
                col("is_fraud")
            ),
            0.001
        );
        assert_eq!(
            share(&generate("{rows: 1000, fraud_rate: 0.0}"), col("is_fraud")),
            0.0
        );
    }

    #[test]
    fn fraud_is_a_transfer_then_a_cash_out_of_the_same_amount() {
        let frame = generate("{rows: 200000, seed: 4}");
        let fraud = frame.lazy().filter(col("is_fraud"));
        let transfers = fraud
            .clone()
            .filter(col("type").eq(lit("TRANSFER")))
            .collect()
            .expect("filters");
        let cash_outs = fraud
            .clone()
            .filter(col("type").eq(lit("CASH_OUT")))
            .collect()
            .expect("filters");
        assert_eq!(transfers.height() + cash_outs.height(), 400);
        let paired = cash_outs
            .lazy()
            .join(
                transfers.lazy(),
                [col("account"), col("amount")],
                [col("counterparty"), col("amount")],
                JoinArgs::new(JoinType::Inner),
            )
            .filter(col("at").gt(col("at_right")))
            .collect()
            .expect("joins");
        assert!(paired.height() > 150, "{}", paired.height());
    }

    #[test]
    fn no_single_rule_finds_the_fraud() {
        let frame = generate("{rows: 200000, seed: 5}");
        let empties = col("balance_after")
            .eq(lit(0.0))
            .and(col("balance_before").gt(lit(0.0)));
        let honest = share(&frame, empties.clone().and(col("is_fraud").not()));
        let fraud = share(&frame, empties.and(col("is_fraud")));
        assert!(
            honest > fraud && fraud > 0.0005,
            "honest {honest}, fraud {fraud}"
        );
    }

    #[test]
    fn every_account_keeps_its_books() {
        let frame = generate("{rows: 20000, accounts: 500, seed: 6}");
        let text = |name: &str| {
            frame
                .column(name)
                .expect("there")
                .str()
                .expect("text")
                .clone()
        };
        let number = |name: &str| {
            frame
                .column(name)
                .expect("there")
                .f64()
                .expect("numbers")
                .clone()
        };
        let mut books = std::collections::HashMap::new();
        let sides = [
            (
                text("account"),
                number("balance_before"),
                number("balance_after"),
            ),
            (
                text("counterparty"),
                number("counterparty_balance_before"),
                number("counterparty_balance_after"),
            ),
        ];
        let amounts = number("amount");
        for row in 0..frame.height() {
            let mut moved = Vec::new();
            for (names, before, after) in &sides {
                let name = names.get(row).expect("a name").to_owned();
                let (before, after) = (
                    before.get(row).expect("known"),
                    after.get(row).expect("known"),
                );
                assert!(after >= 0.0, "row {row}: {name} owes money");
                if name.starts_with('C') {
                    let known = books.insert(name.clone(), after);
                    assert!(
                        known.is_none_or(|known| known == before),
                        "row {row}: {name} had {known:?}, not {before}"
                    );
                    moved.push(after - before);
                } else {
                    assert_eq!((before, after), (0.0, 0.0));
                }
            }
            let amount = amounts.get(row).expect("known");
            assert!(
                moved[0].abs() < 0.006 || (moved[0].abs() - amount).abs() < 0.006,
                "row {row}"
            );
            if let [one, other] = moved[..] {
                assert!(
                    (one + other).abs() < 0.006,
                    "row {row}: money is neither made nor lost"
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_rows_in_time() {
        let first = generate("{rows: 5000, seed: 9}");
        assert!(first.equals(&generate("{rows: 5000, seed: 9}")));
        assert!(!first.equals(&generate("{rows: 5000, seed: 10}")));
        // Without a seed of its own it takes the pipeline's.
        assert!(generate("{rows: 500}").equals(&generate("{rows: 500, seed: 3}")));
        let at = first
            .column("at")
            .expect("there")
            .as_materialized_series()
            .to_physical_repr()
            .into_owned();
        let at: Vec<i64> = at.i64().expect("whole").into_no_null_iter().collect();
        assert!(at.is_sorted());
        // 2024-01-01 and thirty days.
        let start = 19_723 * DAY;
        assert!(at[0] >= start && at[4999] < start + 30 * DAY);
    }

    #[test]
    fn the_smallest_set_is_possible_and_a_bad_day_is_refused() {
        assert_eq!(generate("{rows: 1, accounts: 10, days: 1}").height(), 1);
        let payments: Payments = stage("{rows: 10, start: 2024-02-30}");
        let (_, problems) = crate::columns::testing::check(&payments, &Schema::default());
        assert_eq!(problems[0].code, "bad-date");
    }

    #[test]
    fn a_file_stands_in_for_generated_payments() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = generate("{rows: 2000, seed: 1}");
        for name in ["payments.csv", "payments.parquet", "payments.ndjson"] {
            let path = directory.path().join(name);
            crate::files::write_file(&path, made.clone()).expect("written");
            let params = format!("{{rows: 10, file: {}}}", path.display());
            assert!(generate(&params).equals(&made), "{name}");
        }
        let missing: Payments = stage("{rows: 10, file: no/such.csv}");
        let (_, problems) = crate::columns::testing::check(&missing, &Schema::default());
        assert_eq!(
            (problems[0].code, problems[0].path.clone()),
            ("missing-file", path!["file"])
        );
        let unknown: Payments = stage("{rows: 10, file: payments.xlsx}");
        let (_, problems) = crate::columns::testing::check(&unknown, &Schema::default());
        assert_eq!(problems[0].code, "unknown-format");
    }
}
