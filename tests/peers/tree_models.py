"""Figures of scikit-learn's trees, forests and AdaBoost and of LightGBM on every third tumour or mix of concrete, learned from the others, for
crates/linfa/src/{adaboost,boost,decision_tree,random_forest}.rs.

pip install scikit-learn==1.9.1 lightgbm==4.7.0 pandas && python tests/peers/tree_models.py
"""

import numpy
import pandas
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

measures, benign = load_breast_cancer(return_X_y=True)  # the same rows as datasets/medical/wdbc.csv
malignant = benign == 0
is_test = numpy.arange(len(measures)) % 3 == 0
learn, judge = ~is_test, is_test
for seed in range(5):
    forest = RandomForestClassifier(200, random_state=seed).fit(measures[learn], malignant[learn])
    area = roc_auc_score(malignant[judge], forest.predict_proba(measures[judge])[:, 1])
    print("forest", seed, round(area, 4))
boost = LGBMClassifier(n_estimators=200, reg_lambda=1.0, min_child_samples=20, verbose=-1)
boost.fit(measures[learn], malignant[learn])
print("boost", round(roc_auc_score(malignant[judge], boost.predict_proba(measures[judge])[:, 1]), 4))

# Of five features with at most 255 different values, so that bins are values; no two cuts gain the same.
few = numpy.round(measures[:, [0, 1, 4, 7, 21]] * [2, 2, 500, 400, 1.5])
grade = numpy.digitize(measures[:, 0], [12.0, 15.0])
weights = 1.0 + numpy.arange(len(measures)) % 3
rows = [1, 4, 58, 301, 568]  # of those learned from
for name, target, features in (("two classes", malignant.astype(int), few), ("three classes", grade, few[:, 1:])):
    for depth in (1, 2):
        boost = AdaBoostClassifier(DecisionTreeClassifier(max_depth=depth), n_estimators=30, learning_rate=0.7, random_state=0)
        boost.fit(features[learn], target[learn], sample_weight=weights[learn])
        print("adaboost,", name, "depth", depth, "distinct", [len(set(column)) for column in features.T])
        print("  votes", [float(f"{vote:.9g}") for vote in boost.estimator_weights_[:6]], "errors", [float(f"{error:.9g}") for error in boost.estimator_errors_[:3]])
        print("  probabilities of the last class", [float(f"{share:.9g}") for share in boost.predict_proba(features)[rows][:, -1]])
        right = (boost.predict(features[judge]) == target[judge]).mean()
        print("  right", right)
boost = AdaBoostClassifier(n_estimators=100, random_state=0).fit(measures[learn], malignant[learn])
print("adaboost", round(roc_auc_score(malignant[judge], boost.predict_proba(measures[judge])[:, 1]), 4))

# Without a cut there is nothing to vote about.
for kinds in ([0, 1, 0, 1], [0, 1, 0, 0]):
    try:
        print("constant feature", kinds, AdaBoostClassifier(random_state=0).fit([[2.0]] * 4, kinds).predict_proba([[2.0], [9.0]]).tolist())
    except ValueError as error:
        print("constant feature", kinds, error)

# Trees whose nodes have one best cut: of every seed the same leaves.
for name, target, features, depth, least in (("two classes", malignant.astype(int), few, 4, 20), ("three classes", grade, few[:, 1:], 6, 10)):
    for seed in range(10):
        tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=least, random_state=seed)
        tree.fit(features[learn], target[learn], sample_weight=weights[learn])
        shares = tree.predict_proba(features)[:, -1]
        found = [tree.get_n_leaves(), *(float(f"{share:.9g}") for share in [*shares[rows], shares[learn].sum()])]
        assert seed == 0 or found == first, "equal gains"
        first = found
    print("tree,", name, "leaves", found[0], "shares of the last class, and their sum", found[1:], "right", (tree.predict(features[judge]) == target[judge]).mean())
for seed in range(5):
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=10, random_state=seed).fit(measures[learn], malignant[learn])
    print("tree of all features", seed, round(roc_auc_score(malignant[judge], tree.predict_proba(measures[judge])[:, 1]), 4))


def away(predicted, truth):
    return numpy.sqrt(((predicted - truth) ** 2).mean())


concrete = pandas.read_csv("datasets/manufacturing/concrete.csv")
strength = concrete.pop("compressive_strength").to_numpy()
mixes = concrete.to_numpy(dtype=float)
judge = numpy.arange(len(mixes)) % 3 == 0
learn = ~judge
weights = 1.0 + numpy.arange(len(mixes)) % 3
rows = [1, 4, 58, 301, 1028]  # of those learned from
for depth, least, of_rows in ((4, 10, None), (4, 10, weights[learn]), (6, 5, None), (6, 5, weights[learn])):
    tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=least, random_state=0).fit(mixes[learn], strength[learn], sample_weight=of_rows)
    said = tree.predict(mixes)
    print("concrete, depth", depth, "weighted" if of_rows is not None else "", "leaves", tree.get_n_leaves())
    print("  ", [float(f"{value:.10g}") for value in [*said[rows], said[learn].sum()]], "away", float(f"{away(said[judge], strength[judge]):.7g}"))
for seed in range(5):
    forest = RandomForestRegressor(200, max_features=3, random_state=seed).fit(mixes[learn], strength[learn])
    print("concrete, forest", seed, round(away(forest.predict(mixes[judge]), strength[judge]), 4))
# What a feature is worth to a forest: the share of what its cuts gained.
names = concrete.columns
for what, choice in (("3 features a cut", 3), ("any feature", None)):
    forests = [RandomForestRegressor(200, max_features=choice, random_state=seed, n_jobs=2).fit(mixes[learn], strength[learn]) for seed in range(10)]
    found = numpy.array([forest.feature_importances_ for forest in forests])
    for name, of_seeds in zip(names, found.T):
        print("importance,", what, name, round(of_seeds.mean(), 4), "deviation", round(of_seeds.std(ddof=1), 4))
