"""ROC AUC of scikit-learn's isolation forest on the tumours, for crates/linfa/src/isolation_forest.rs.

pip install scikit-learn==1.9.1
"""

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

measures, benign = load_breast_cancer(return_X_y=True)  # the same rows as datasets/medical/wdbc.csv
for seed in range(5):
    forest = IsolationForest(n_estimators=200, random_state=seed).fit(measures)
    print(seed, round(roc_auc_score(benign == 0, -forest.score_samples(measures)), 4))
