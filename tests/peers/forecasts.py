"""Forecasts of statsmodels for tests/forecasts.rs, of real demand: five series of the bakery shops.

    pip install statsmodels==0.15.0 pandas && python tests/peers/forecasts.py tests/data/forecasts

Writes `weeks.csv` (each series by the week, whole weeks only), and what statsmodels forecasts, with half the widths of the intervals of 90 %:
`weeks-statsmodels.csv` by exponential smoothing of all weeks but the last 8, `days-statsmodels.csv` by MSTL of all days but the last 28.

Smoothings have additive errors and estimated first states, within the bounds that R and augurs keep; `auto` is the one with the least corrected Akaike
criterion. The decomposition follows Bandara, Hyndman and Bergmeir (2021) with the windows and jumps of R's `forecast::mstl`; statsmodels'
own `MSTL` lets no jump depend on the season, so the loop over the seasons is here, and each step of it is statsmodels' `STL`.
"""

import math
import pathlib
import sys
import warnings

import numpy
import pandas
from scipy.optimize import minimize
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.seasonal import STL

SERIES = [(17, 101), (19, 110), (50, 101), (47, 101), (20, 101)]
WEEKS, DAYS, LEVEL = 8, 28, 0.9
SEASONS = {"mstl_week": [7], "mstl_week_year": [7, 365]}
BOUNDS = {"smoothing_level": (1e-4, 1 - 1e-4), "smoothing_trend": (1e-4, 1 - 1e-4), "damping_trend": (0.8, 0.98)}

warnings.simplefilter("ignore")


def smooth(values, trend, damped):
    """The likeliest smoothing. statsmodels' own search ends early: a simplex goes on from the best of several places."""
    model = ETSModel(pandas.Series(values), error="add", trend=trend, damped_trend=damped)
    names = model.param_names
    place = {name: names.index(name) for name in names}

    def cost(params):
        if trend and params[place["smoothing_trend"]] > params[place["smoothing_level"]]:
            return math.inf
        return -model.loglike(params)

    found = []
    for alpha in [0.1, 0.4, 0.8]:
        start = model.start_params
        start[place["smoothing_level"]] = alpha
        if trend:
            start[place["smoothing_trend"]] = 0.01
        found.append(model.fit(start_params=start, maxiter=20_000, disp=False))
    params = max(found, key=lambda fitted: fitted.llf).params
    for _ in range(5):
        bounds = [BOUNDS.get(name, (None, None)) for name in names]
        settings = {"xatol": 1e-9, "fatol": 1e-10, "maxiter": 20_000, "maxfev": 40_000}
        params = minimize(cost, params, method="Nelder-Mead", bounds=bounds, options=settings).x
    return model.smooth(params)


def best(values):
    candidates = [smooth(values, None, False), smooth(values, "add", False), smooth(values, "add", True)]
    return min(candidates, key=lambda fitted: fitted.aicc)


def ahead(fitted, known, horizon):
    """The forecasts and half the widths of their intervals."""
    frame = fitted.get_prediction(known, known + horizon - 1).summary_frame(alpha=1 - LEVEL)
    point = frame["mean"].to_numpy()
    return point, frame["pi_upper"].to_numpy() - point


def odd(number):
    return number + 1 - number % 2


def decompose(values, seasons):
    """What is left without the seasons, and the course of each."""
    rest, courses = values.copy(), [numpy.zeros(len(values)) for _ in seasons]
    for _ in range(1 if len(seasons) == 1 else 2):
        for place, season in enumerate(seasons):
            rest += courses[place]
            window = 7 + 4 * (place + 1)
            trend = odd(math.ceil(1.5 * season / (1 - 1.5 / window)))
            # statsmodels wants a low-pass window longer than the season; R's, and that of augurs, is the least odd one as long.
            windows = {"seasonal": window, "trend": trend, "low_pass": odd(season + 1)}
            jumps = {f"{name}_jump": math.ceil(length / 10) for name, length in windows.items()}
            stl = STL(rest, period=season, seasonal_deg=0, **windows, **jumps)
            courses[place] = stl.fit(inner_iter=2, outer_iter=0).seasonal
            rest -= courses[place]
    return rest, courses


def by_weeks(values):
    known = values[:-WEEKS]
    kinds = {"level": (None, False), "trend": ("add", False), "damped": ("add", True)}
    smoothings = {name: smooth(known, *kind) for name, kind in kinds.items()} | {"auto": best(known)}
    for name, fitted in smoothings.items():
        learned = dict(zip(fitted.model.param_names, (float(f"{number:.5g}") for number in fitted.params)))
        print(f"{name}: log-likelihood {fitted.llf:.4f}, corrected criterion {fitted.aicc:.3f}, {learned}", file=sys.stderr)
    return {name: ahead(fitted, len(known), WEEKS) for name, fitted in smoothings.items()}


def by_days(values):
    known, forecasts = values[:-DAYS], {}
    for name, seasons in SEASONS.items():
        rest, courses = decompose(known, seasons)
        point, half = ahead(best(rest), len(known), DAYS)
        repeated = [numpy.resize(course[-season:], DAYS) for season, course in zip(seasons, courses)]
        forecasts[name] = point + sum(repeated), half
    return forecasts


def write(name, tables):
    pandas.concat(tables).to_csv(pathlib.Path(sys.argv[1], name), index=False, float_format="%.8g")


def table(rows, forecasts):
    rows = rows.copy()
    for name, (point, half) in forecasts.items():
        rows[name], rows[f"{name}_half"] = point, half
    return rows


demand = pandas.read_csv("datasets/retail/bakery_data.csv.gz", parse_dates=["date"])[["date", "store", "product"]]
demand["demand"] = pandas.read_csv("datasets/retail/bakery_target.csv.gz")["demand"]
weeks, weeks_ahead, days_ahead = [], [], []
for store, product in SERIES:
    days = demand[(demand["store"] == store) & (demand["product"] == product)].sort_values("date")
    print(f"store {store}, product {product}", file=sys.stderr)
    days_ahead.append(table(days.drop(columns="demand").tail(DAYS), by_days(days["demand"].to_numpy(dtype=float))))
    # The last week is not whole.
    totals = days.set_index("date")["demand"].resample("7D").sum()[:-1]
    series = pandas.DataFrame({"week": totals.index, "store": store, "product": product, "demand": totals.to_numpy()})
    weeks.append(series)
    weeks_ahead.append(table(series.drop(columns="demand").tail(WEEKS), by_weeks(totals.to_numpy(dtype=float))))
write("weeks.csv", weeks)
write("weeks-statsmodels.csv", weeks_ahead)
write("days-statsmodels.csv", days_ahead)
