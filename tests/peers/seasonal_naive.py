"""Figures of pandas for crates/linfa/src/seasonal_naive.rs, of the demand in two bakery shops without its last 28 days.

    pip install pandas scipy && python tests/peers/seasonal_naive.py
"""

import numpy
import pandas
from scipy.stats import norm

SEASON, HORIZON, LEVEL = 7, 28, 0.9

demand = pandas.read_csv("datasets/retail/bakery_data.csv.gz", parse_dates=["date"])[["date", "store", "product"]]
demand["demand"] = pandas.read_csv("datasets/retail/bakery_target.csv.gz")["demand"]
for store, product in ((17, 101), (20, 101)):
    days = demand[(demand["store"] == store) & (demand["product"] == product)].set_index("date")["demand"]
    days = days.asfreq("D")
    assert not days.isna().any()
    known = days[:-HORIZON]
    before = known.shift(SEASON)
    # One season after the other, each the last that is known.
    ahead = days.index[-HORIZON:]
    seasons = (numpy.arange(HORIZON) // SEASON) + 1
    point = [known[date - pandas.Timedelta(days=int(SEASON * count))] for date, count in zip(ahead, seasons)]
    deviation = numpy.sqrt(((known - before) ** 2).mean())
    half = norm.ppf(0.5 + LEVEL / 2) * deviation * numpy.sqrt(seasons)
    print("store", store, "product", product)
    print("  season", [float(value) for value in point[:SEASON]], "repeats", point == point[:SEASON] * (HORIZON // SEASON))
    print("  fitted", int(before.count()), float(before.sum()))
    print("  half", [float(f"{half[SEASON * season]:.10g}") for season in range(4)])
