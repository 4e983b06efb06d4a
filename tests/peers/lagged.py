"""Figures of scikit-learn for crates/linfa/src/lagged.rs: recursive forecasts of a linear regression, and quantiles of their errors.

pip install scikit-learn==1.9.1
"""

import datetime

import numpy
from sklearn.linear_model import LinearRegression

LAGS, ROLLING, HORIZON, HELD_OUT, LEVEL = [1, 2, 7], [7], 5, 40, 0.8
REACH = 7


def series(count):
    """Two years of days with a weekly course and noise; integers, so that any language has the same."""
    noise, values = 12345, []
    for day in range(count):
        noise = (noise * 1103515245 + 12345) % 2147483648
        course = [30, 12, 5, 0, 8, 25, 60][day % 7]
        values.append(100 + course + day // 20 + noise // 65536 % 21)
    return numpy.array(values, dtype=float)


def row(before, day):
    weekday = (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).weekday()
    return [*(before[-lag] for lag in LAGS), *(before[-steps:].mean() for steps in ROLLING), *(float(weekday == part) for part in range(7))]


def learn(values):
    rows = [row(values[:step], step) for step in range(REACH, len(values))]
    return LinearRegression().fit(rows, values[REACH:])


def ahead(model, values):
    before = values.copy()
    for _ in range(HORIZON):
        before = numpy.append(before, model.predict([row(before, len(before))]))
    return before[len(values):]


values = series(400)
point = ahead(learn(values), values)
head = learn(values[:-HELD_OUT])
errors = [[] for _ in range(HORIZON)]
for start in range(len(values) - HELD_OUT, len(values)):
    for step, said in enumerate(ahead(head, values[:start])):
        if start + step < len(values):
            errors[step].append(values[start + step] - said)
bounds = []
for step in range(HORIZON):
    ordered = sorted(errors[step])
    place = int((len(ordered) + 1) * (1 - LEVEL) / 2 + 1e-9)
    bounds.append((point[step] + ordered[place - 1], point[step] + ordered[-place]))
for name, figures in [("point", point), ("lower", [low for low, _ in bounds]), ("upper", [high for _, high in bounds])]:
    print(name, [float(f"{figure:.12g}") for figure in figures])
