"""Figures of scikit-learn for crates/linfa/src/lagged.rs: recursive forecasts of a linear regression, and quantiles of their errors, of a made
series and of the demand in two bakery shops.

    pip install scikit-learn==1.9.1 pandas && python tests/peers/lagged.py
"""

import datetime

import numpy
import pandas
from sklearn.linear_model import LinearRegression

EPOCH = datetime.date(1970, 1, 1)


def series(count):
    """Two years of days with a weekly course and noise; integers, so that any language has the same."""
    noise, values = 12345, []
    for day in range(count):
        noise = (noise * 1103515245 + 12345) % 2147483648
        course = [30, 12, 5, 0, 8, 25, 60][day % 7]
        values.append(100 + course + day // 20 + noise // 65536 % 21)
    return numpy.array(values, dtype=float)


class Lagged:
    def __init__(self, first, lags, rolling, months, horizon, held_out, level):
        self.first, self.lags, self.rolling, self.months = first, lags, rolling, months
        self.horizon, self.held_out, self.level = horizon, held_out, level
        self.reach = max(lags + rolling)

    def row(self, before):
        date = EPOCH + datetime.timedelta(days=self.first + len(before))
        parts = [float(date.weekday() == part) for part in range(7)]
        if self.months:
            parts += [float(date.month == part) for part in range(1, 13)]
        return [*(before[-lag] for lag in self.lags), *(before[-steps:].mean() for steps in self.rolling), *parts]

    def learn(self, values):
        rows = [self.row(values[:step]) for step in range(self.reach, len(values))]
        return LinearRegression().fit(rows, values[self.reach :])

    def ahead(self, model, values):
        before = values.copy()
        for _ in range(self.horizon):
            before = numpy.append(before, model.predict([self.row(before)]))
        return before[len(values) :]

    def forecast(self, values):
        point = self.ahead(self.learn(values), values)
        head = self.learn(values[: -self.held_out])
        errors = [[] for _ in range(self.horizon)]
        for start in range(len(values) - self.held_out, len(values)):
            for step, said in enumerate(self.ahead(head, values[:start])):
                if start + step < len(values):
                    errors[step].append(values[start + step] - said)
        lower, upper = [], []
        for step in range(self.horizon):
            ordered = sorted(errors[step])
            place = int((len(ordered) + 1) * (1 - self.level) / 2 + 1e-9)
            lower.append(point[step] + ordered[place - 1])
            upper.append(point[step] + ordered[-place])
        return {"point": point, "lower": lower, "upper": upper}


def show(name, figures):
    print(name, [float(f"{figure:.12g}") for figure in figures])


for name, figures in Lagged(0, [1, 2, 7], [7], False, 5, 40, 0.8).forecast(series(400)).items():
    show(name, figures)

demand = pandas.read_csv("datasets/retail/bakery_data.csv.gz", parse_dates=["date"])[["date", "store", "product"]]
demand["demand"] = pandas.read_csv("datasets/retail/bakery_target.csv.gz")["demand"]
for store, product in ((17, 101), (20, 101)):
    days = demand[(demand["store"] == store) & (demand["product"] == product)]
    assert (days["date"].diff().dropna() == pandas.Timedelta(days=1)).all()
    first = (days["date"].iloc[0].date() - EPOCH).days
    values = days["demand"].to_numpy(dtype=float)
    model = Lagged(first, [1, 7, 14], [7, 28], True, 28, 84, 0.9)
    found = model.forecast(values[:-28])
    print("store", store, "product", product, "from day", first, "days", len(values))
    for name, figures in found.items():
        # Steps 1, 2, 7, 14 and 28 ahead, and the sum of all.
        show(f"  {name}", [*(figures[step - 1] for step in (1, 2, 7, 14, 28)), sum(figures)])
    print("  away", float(f"{numpy.abs(found['point'] - values[-28:]).mean():.6g}"))
