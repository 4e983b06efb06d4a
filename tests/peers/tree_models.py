"""ROC AUC of scikit-learn's forest and of LightGBM on every third tumour, learned from the others, for
crates/linfa/src/{random_forest,boost}.rs.

pip install scikit-learn==1.9.1 lightgbm==4.7.0
"""

import numpy
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

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
