"""Figures of numpy and scipy for crates/linfa/src/robust_z.rs: how far tumours lie from the medians of their features.

    pip install scipy pandas && python tests/peers/robust_z.py
"""

import numpy
import pandas
from scipy.stats import median_abs_deviation, rankdata

cells = pandas.read_csv("datasets/medical/wdbc.csv").drop(columns="diagnosis")
values = cells.to_numpy()
medians, deviations = numpy.median(values, axis=0), median_abs_deviation(values, axis=0, scale="normal")
deviates = numpy.abs(values - medians) / deviations
measures = deviates.max(axis=1)
scores = rankdata(measures) / (len(measures) + 1)
rows = [0, 19, 100, 300, 568]


def show(name, figures):
    print(name, [float(f"{figure:.13g}") for figure in figures])


show("medians of the first three", medians[:3])
show("deviations of the first three", deviations[:3])
show("measures, and their sum", [*measures[rows], measures.sum()])
show("scores, and their sum", [*scores[rows], scores.sum()])
print("deviates in", [cells.columns[place] for place in deviates.argmax(axis=1)[rows]])
print("beyond 3.5", int((measures > 3.5).sum()), "beyond 8", int((measures > 8).sum()))
show("next to 3.5 and 8", [*sorted(measures, key=lambda measure: abs(measure - 3.5))[:1], *sorted(measures, key=lambda measure: abs(measure - 8))[:1]])
