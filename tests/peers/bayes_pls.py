"""Figures of scikit-learn for crates/linfa/src/{naive_bayes,pls}.rs.

pip install scikit-learn==1.9.1 pandas
"""

import numpy
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_breast_cancer
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB

cells, benign = load_breast_cancer(return_X_y=True, as_frame=True)  # the same rows as datasets/medical/wdbc.csv
cells.columns = [name.replace(" ", "_") for name in cells.columns]
names = ["mean_texture", "mean_smoothness", "mean_symmetry", "worst_texture", "mean_compactness"]
features = cells[names].to_numpy()
malignant = 1 - benign.to_numpy()
weights = 1.0 + numpy.arange(len(features)) % 3
counts = numpy.floor(features * [1, 100, 50, 1, 100])


def show(name, values):
    print(name, [float(f"{value:.10g}") for value in values])


def judge(name, model, rows, sample_weight=None):
    probability = model.fit(rows, malignant, sample_weight=sample_weight).predict_proba(rows)[:, 1]
    show(name, [*probability[[0, 19, 100, 300, 568]], probability.sum()])


judge("gaussian", GaussianNB(), features)
judge("gaussian, weighted", GaussianNB(), features, weights)
judge("gaussian, equal priors", GaussianNB(priors=[0.5, 0.5]), features)
judge("multinomial", MultinomialNB(alpha=1.0), counts)
judge("multinomial, weighted", MultinomialNB(alpha=0.5), counts, weights)
judge("bernoulli", BernoulliNB(alpha=1.0, binarize=0.1), features)
target = cells["mean_radius"].to_numpy()
for components in (1, 3, 5):
    model = PLSRegression(n_components=components).fit(features, target)
    show(f"pls {components}", [*model.coef_.ravel(), model.predict(features[:1]).ravel()[0]])
model = PLSRegression(n_components=2, scale=False).fit(features, target)
show("pls 2, unscaled", [*model.coef_.ravel(), model.predict(features[:1]).ravel()[0]])
