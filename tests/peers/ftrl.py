"""Follow the regularised leader, row by row as in McMahan et al. (2013), algorithm 1, for crates/linfa/src/ftrl.rs; and what scikit-learn's
linear models reach on every third row, learned from the others.

pip install scikit-learn==1.9.1 pandas && python tests/peers/ftrl.py
"""

import numpy
import pandas
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss, roc_auc_score

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

# Quality: logistic regression has the optimum that this method walks to, stochastic gradients are a walk without its steps.
answers = pandas.get_dummies(pandas.read_csv("datasets/finance/german-credit.csv").drop(columns="creditability")).astype(float)
bad = pandas.read_csv("datasets/finance/german-credit.csv")["creditability"] == "bad"
for what, features, truth in (("cells", cells, malignant == 1), ("credits", answers, bad.to_numpy())):
    features = ((features - features.mean()) / features.std(ddof=0)).to_numpy()
    is_test = numpy.arange(len(features)) % 3 == 0

    def loss(model):
        return log_loss(truth[is_test], model.fit(features[~is_test], truth[~is_test]).predict_proba(features[is_test])[:, 1])

    print(what, features.shape, "log loss of shares", round(log_loss(truth[is_test], numpy.full(is_test.sum(), truth[~is_test].mean())), 4))
    for cost in (0.01, 0.1, 1.0):
        print(what, "logistic regression, C", cost, round(loss(LogisticRegression(C=cost, max_iter=5000)), 4))
    losses = [loss(SGDClassifier(loss="log_loss", random_state=seed)) for seed in range(10)]
    print(what, "stochastic gradients", round(numpy.mean(losses), 4), "deviation", round(numpy.std(losses, ddof=1), 4))
