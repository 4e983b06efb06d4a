"""Figures of scikit-learn's support vector machines, for crates/linfa/src/svm.rs.

pip install scikit-learn==1.9.1 pandas
"""

import numpy
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import log_loss
from sklearn.svm import SVC, SVR, OneClassSVM

cells, benign = load_breast_cancer(return_X_y=True, as_frame=True)  # the same rows as datasets/medical/wdbc.csv
cells.columns = [name.replace(" ", "_") for name in cells.columns]
names = ["mean_texture", "mean_smoothness", "mean_symmetry", "worst_texture", "mean_compactness"]
features = cells[names].to_numpy()
standard = (features - features.mean(axis=0)) / features.std(axis=0)
malignant = 1 - benign.to_numpy()
radius = cells["mean_radius"].to_numpy()
# Every third tumour: enough to tell a wrong solver, and solved in no time.
third = numpy.arange(len(features)) % 3 == 0
standard, malignant, radius, weights = standard[third], malignant[third], radius[third], 1.0 + numpy.arange(third.sum()) % 3
rows = [0, 7, 33, 100, 189]
exact = {"tol": 1e-8}


def show(name, values):
    print(name, [float(f"{value:.8g}") for value in values])


show("rbf", SVC(C=2, **exact).fit(standard, malignant).decision_function(standard)[rows])
show("rbf, weighted", SVC(C=2, gamma=0.3, **exact).fit(standard, malignant, sample_weight=weights).decision_function(standard)[rows])
show("linear", SVC(kernel="linear", C=1, **exact).fit(standard, malignant).decision_function(standard)[rows])
show("polynomial", SVC(kernel="poly", C=1, degree=2, gamma=0.5, coef0=1, **exact).fit(standard, malignant).decision_function(standard)[rows])
show("regression", SVR(C=2, epsilon=0.2, **exact).fit(standard, radius).predict(standard)[rows])
show("one class", OneClassSVM(nu=0.1, gamma=0.2, **exact).fit(standard).decision_function(standard)[rows])

# Probabilities of the two thirds that were not learned from. Folds are drawn at random, so each figure is of ten seeds.
everyone = (features - features.mean(axis=0)) / features.std(axis=0)
truth = 1 - benign.to_numpy()[~third]
for kernel, params in {"rbf": {"C": 2}, "linear": {"C": 1}}.items():
    fitted = [SVC(kernel=kernel, probability=True, random_state=seed, **params, **exact).fit(standard, malignant) for seed in range(10)]
    losses = [log_loss(truth, each.predict_proba(everyone[~third])) for each in fitted]
    print(f"log loss, {kernel}: {numpy.mean(losses):.4f}, deviation {numpy.std(losses, ddof=1):.4f}")
