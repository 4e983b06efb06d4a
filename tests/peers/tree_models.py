"""ROC AUC of scikit-learn's forest and AdaBoost and of LightGBM on every third tumour, learned from the others, for
crates/linfa/src/{adaboost,random_forest,boost}.rs.

pip install scikit-learn==1.9.1 lightgbm==4.7.0
"""

import numpy
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

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
