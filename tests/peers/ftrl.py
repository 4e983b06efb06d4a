"""Follow the regularised leader, row by row as in McMahan et al. (2013), algorithm 1, for crates/linfa/src/ftrl.rs.

pip install scikit-learn==1.9.1 pandas
"""

import numpy
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

cells, benign = load_breast_cancer(return_X_y=True, as_frame=True)  # the same rows as datasets/medical/wdbc.csv
cells.columns = [name.replace(" ", "_") for name in cells.columns]
names = ["mean_texture", "mean_smoothness", "mean_symmetry", "worst_texture", "mean_compactness"]
features = cells[names].to_numpy()
standard = (features - features.mean(axis=0)) / features.std(axis=0)
rows = numpy.hstack([standard, numpy.ones((len(standard), 1))])
malignant = 1 - benign.to_numpy()

for alpha, beta, l1, l2, passes in [(0.1, 1.0, 0.0, 0.0, 1), (0.5, 1.0, 2.0, 0.5, 3)]:
    l1, l2 = numpy.array([l1] * 5 + [0.0]), numpy.array([l2] * 5 + [0.0])  # the intercept is free
    z, n = numpy.zeros(6), numpy.zeros(6)

    def coefficients():
        shrunk = z - numpy.sign(z) * l1
        return numpy.where(abs(z) <= l1, 0.0, -shrunk / ((beta + numpy.sqrt(n)) / alpha + l2))

    for _ in range(passes):
        for row, label in zip(rows, malignant):
            w = coefficients()
            gradient = (1 / (1 + numpy.exp(-row @ w)) - label) * row
            z += gradient - (numpy.sqrt(n + gradient**2) - numpy.sqrt(n)) / alpha * w
            n += gradient**2
    w = coefficients()
    print([float(f"{value:.10g}") for value in w], round(roc_auc_score(malignant, rows @ w), 4))
