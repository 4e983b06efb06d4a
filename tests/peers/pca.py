"""Principal components by scikit-learn, for crates/ops/src/features/pca/tests.rs: of ten points, and of the tumours, where every third is
put into the components of the others.

pip install scikit-learn==1.9.1 pandas && python tests/peers/pca.py
"""

import numpy
import pandas
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

names = ["mean_radius", "mean_texture", "mean_concavity", "mean_symmetry", "worst_smoothness", "texture_error"]
cells = pandas.read_csv("datasets/medical/wdbc.csv")[names].to_numpy()
is_test = numpy.arange(len(cells)) % 3 == 0
points = numpy.column_stack([
    [2.5, 0.5, 2.2, 1.9, 3.1, 2.3, 2.0, 1.0, 1.5, 1.1],
    [2.4, 0.7, 2.9, 2.2, 3.0, 2.7, 1.6, 1.1, 1.6, 0.9],
    [1.0, 3.0, 0.5, 2.0, 1.5, 2.2, 0.1, 4.0, 3.1, 2.7],
])


def show(name, values):
    print(name, [float(f"{value:.13g}") for value in values])


def judge(what, train, rows, places, components, standardize=False, whiten=False):
    if standardize:
        scaler = StandardScaler().fit(train)
        train, rows = scaler.transform(train), scaler.transform(rows)
    found = PCA(components, whiten=whiten).fit(train)
    # The largest weight of each component is positive.
    weights = found.components_
    signs = numpy.sign(weights[numpy.arange(len(weights)), numpy.abs(weights).argmax(axis=1)])
    show(what + ", variances", found.explained_variance_)
    show(what + ", shares", found.explained_variance_ratio_)
    for component, values in enumerate((found.transform(rows) * signs).T):
        show(f"{what}, component {component + 1}", values[places])


first, some = [0, 1, 2], [0, 19, 100, 150, 189]
judge("points", points, points, first, 2)
judge("points, all", points, points, first, 3)
judge("points, standardized", points, points, first, 3, standardize=True)
judge("cells", cells[~is_test], cells[is_test], some, 2)
judge("cells, standardized", cells[~is_test], cells[is_test], some, 3, standardize=True)
judge("cells, standardized, whitened", cells[~is_test], cells[is_test], some, 3, standardize=True, whiten=True)
judge("cells, standardized, 0.9 of the variance", cells[~is_test], cells[is_test], some[:1], 0.9, standardize=True)
