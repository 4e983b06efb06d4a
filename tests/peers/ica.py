"""Independent components by scikit-learn, for crates/ops/src/features/ica/tests.rs.

pip install scikit-learn==1.9.1 pandas
"""

import numpy
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import FastICA

cells, _ = load_breast_cancer(return_X_y=True, as_frame=True)  # the same rows as datasets/medical/wdbc.csv
names = ["mean radius", "mean texture", "area error", "concavity error", "fractal dimension error"]
features = cells[names].to_numpy()
NORMAL = 0.3745672074914382  # the mean of log cosh of a standard normal variable

for function, components in (("logcosh", 5), ("exp", 5), ("cube", 5), ("logcosh", 2)):
    found = FastICA(components, fun=function, whiten="unit-variance", tol=1e-12, max_iter=10_000, random_state=0)
    sources = found.fit_transform(features)
    # The farthest from normal first, the largest weight positive.
    order = numpy.argsort(-((numpy.log(numpy.cosh(sources)).mean(axis=0) - NORMAL) ** 2))
    weights = found.components_[order]
    signs = numpy.sign(weights[numpy.arange(components), numpy.abs(weights).argmax(axis=1)])
    print(function, components, "after", found.n_iter_)
    for component in range(components):
        print("  ", [float(f"{value:.10g}") for value in sources[[0, 19, 100, 300, 568]][:, order[component]] * signs[component]])
