"""Figures of scikit-learn for crates/linfa/src/calibrate.rs.

pip install scikit-learn==1.9.1 pandas
"""

import numpy
import pandas
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB

cells = pandas.read_csv("datasets/medical/wdbc.csv")
names = ["mean_texture", "mean_smoothness", "mean_symmetry", "worst_texture", "mean_compactness"]
features = cells[names].to_numpy()
malignant = (cells["diagnosis"] == "M").to_numpy().astype(int)
rows = numpy.arange(len(cells))
train, held, test = rows % 3 == 0, rows % 3 == 1, rows % 3 == 2
weights = 1.0 + rows % 4


def show(name, values):
    print(name, [float(f"{value:.12g}") for value in values])


class Odds(GaussianNB):
    """Naive Bayes that gives its log odds as its decision, which is what Platt's curve is put over here."""

    def decision_function(self, rows):
        probability = self.predict_proba(rows).clip(numpy.finfo(float).eps, 1 - numpy.finfo(float).eps)
        return numpy.log(probability[:, 1] / probability[:, 0])


def judge(name, base, method, sample_weight=None):
    base = base.fit(features[train], malignant[train], sample_weight=None if sample_weight is None else sample_weight[train])
    model = CalibratedClassifierCV(FrozenEstimator(base), method=method)
    model.fit(features[held], malignant[held], sample_weight=None if sample_weight is None else sample_weight[held])
    probability = model.predict_proba(features[test])[:, 1]
    show(name, [*probability[[0, 1, 6, 90, 188]], probability.sum()])


judge("sigmoid", Odds(), "sigmoid")
judge("sigmoid, weighted", Odds(), "sigmoid", weights)
judge("isotonic", GaussianNB(), "isotonic")
judge("isotonic, weighted", GaussianNB(), "isotonic", weights)
judge("temperature", Odds(), "temperature")

# Three classes by the size of a cell; isotonic, each against the others.
size = numpy.digitize(cells["mean_radius"], [12.0, 15.0])
base = GaussianNB().fit(features[train], size[train])
model = CalibratedClassifierCV(FrozenEstimator(base), method="isotonic").fit(features[held], size[held])
probability = model.predict_proba(features[test])
show("three classes", [*probability[0], *probability[90], *probability.sum(axis=0)])

said = [0.1, 0.2, 0.2, 0.35, 0.4, 0.6, 0.8, 0.9]
meant = [0, 1, 0, 0, 1, 0, 1, 1]
curve = IsotonicRegression(out_of_bounds="clip").fit(said, meant, sample_weight=[1, 2, 1, 1, 3, 1, 1, 2])
show("places", curve.X_thresholds_)
show("values", curve.y_thresholds_)
show("between", curve.predict([0.0, 0.15, 0.3, 0.7, 1.0]))


class OddsOfEach(GaussianNB):
    """The log odds of each class against the others."""

    def decision_function(self, rows):
        probability = self.predict_proba(rows).clip(numpy.finfo(float).eps, 1 - numpy.finfo(float).eps)
        return numpy.log(probability / (1 - probability))


class Logs(GaussianNB):
    """The logs of the probabilities: scikit-learn's own temperature adds 1e-12 to each before it takes them."""

    def decision_function(self, rows):
        return numpy.log(self.predict_proba(rows).clip(numpy.finfo(float).eps))


# Out of fold, judged by every third tumour: the squared error of the probabilities, summed over the classes. Folds are drawn at random, so each
# figure is of thirty draws; then the error before, and where the classifier is calibrated by the rows that it has learned from.
all_features = cells.columns.drop("diagnosis")
shapes = [name for name in all_features if not any(size in name for size in ("radius", "perimeter", "area"))]
bases = {"sigmoid": (Odds, OddsOfEach), "isotonic": (GaussianNB, GaussianNB), "temperature": (Odds, Logs)}
for what, chosen, truth in (("two classes", all_features, malignant), ("three classes", shapes, size)):
    records, is_test = cells[chosen].to_numpy(), rows % 3 == 0
    indicators = numpy.eye(truth.max() + 1)[truth[is_test]]

    def error(model):
        return ((model.predict_proba(records[is_test]) - indicators) ** 2).sum(axis=1).mean()

    learned = records[~is_test], truth[~is_test]
    shares = numpy.bincount(learned[1]) / len(learned[1])
    print(what, "shares", round(((shares - indicators) ** 2).sum(axis=1).mean(), 5), "not calibrated", round(error(GaussianNB().fit(*learned)), 5))
    for method, of_classes in bases.items():
        base = of_classes[truth.max() - 1]()
        folds = [StratifiedKFold(5, shuffle=True, random_state=seed) for seed in range(30)]
        errors = [error(CalibratedClassifierCV(base, method=method, ensemble=False, cv=fold).fit(*learned)) for fold in folds]
        known = CalibratedClassifierCV(FrozenEstimator(base.fit(*learned)), method=method).fit(*learned)
        print(what, method, round(numpy.mean(errors), 6), "deviation", round(numpy.std(errors, ddof=1), 6), "by its own rows", round(error(known), 6))
