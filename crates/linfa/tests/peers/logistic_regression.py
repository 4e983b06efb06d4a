"""Reference figures for crates/linfa/src/logistic_regression.rs, from scikit-learn.

    pip install scikit-learn pandas
    python logistic_regression.py

Prints, for each case, the coefficients, intercepts and the probabilities of three rows. Features are standardised with the
population standard deviation, so that the penalty treats them alike.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

cells = pd.read_csv(Path(__file__).parents[4] / "datasets" / "medical" / "wdbc.csv")
names = ["mean_radius", "mean_texture", "mean_smoothness", "mean_symmetry", "worst_area"]
features = cells[names].to_numpy()
features = (features - features.mean(axis=0)) / features.std(axis=0)
diagnosis = cells["diagnosis"].to_numpy()
third = np.digitize(cells["mean_concavity"], [0.03, 0.1])
weights = 1.0 + np.arange(len(cells)) % 3


def report(case, model, target, sample_weight=None):
    model.fit(features, target, sample_weight=sample_weight)
    assert model.n_iter_.max() < model.max_iter
    print(f"{case}: classes {list(model.classes_)}")
    for row, intercept in zip(model.coef_, model.intercept_):
        print("   ", ", ".join(f"{value:.7f}" for value in [*row, intercept]))
    for row in model.predict_proba(features[[0, 100, 500]]):
        print("    probabilities", ", ".join(f"{value:.7f}" for value in row))


# newton-cholesky does not do multinomial in every version; lbfgs with a tight tolerance reaches the same minimum.
settings = {"tol": 1e-12, "max_iter": 100_000}
report("plain", LogisticRegression(solver="newton-cholesky", **settings), diagnosis)
report("balanced, C = 0.5", LogisticRegression(solver="newton-cholesky", C=0.5, class_weight="balanced", **settings), diagnosis)
report("row weights, M counts 3", LogisticRegression(solver="newton-cholesky", class_weight={"M": 3.0}, **settings), diagnosis, weights)
report("three classes", LogisticRegression(solver="newton-cg", **settings), third)
