"""Figures of LightGBM that the unit tests of model.boost.trees (crates/linfa/src/boost.rs) are held against: categories, Huber's loss, orders,
quantiles, each on every third row of a shipped set, learned from the others.

pip install lightgbm==4.7.0 scikit-learn==1.9.1 pandas==3.1.1 && python tests/peers/boosting.py
"""

from pathlib import Path

import numpy
import pandas
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.metrics import mean_absolute_error, ndcg_score, root_mean_squared_error, roc_auc_score

data = Path(__file__).parents[2] / "datasets"
settings = {"n_estimators": 200, "reg_lambda": 1.0, "min_child_samples": 20, "verbose": -1, "deterministic": True, "num_threads": 2}


def parts(frame):
    is_test = numpy.arange(len(frame)) % 3 == 0
    return frame[~is_test], frame[is_test]


# Categories as they are, and as numbers in the order of the alphabet.
credit = pandas.read_csv(data / "finance/german-credit.csv")
bad = credit.pop("creditability") == "bad"
texts = credit.select_dtypes(exclude="number").columns
for name, change in [("categories", lambda column: column.astype("category")), ("numbers", lambda column: column.astype("category").cat.codes)]:
    (learn, judge), (truth, wanted) = parts(credit.assign(**{text: change(credit[text]) for text in texts})), parts(bad)
    model = LGBMClassifier(**settings | {"n_estimators": 60, "learning_rate": 0.05}).fit(learn, truth)
    print("credit", name, "ROC AUC", round(roc_auc_score(wanted, model.predict_proba(judge)[:, 1]), 4))

concrete = pandas.read_csv(data / "manufacturing/concrete.csv")
learn, judge = parts(concrete)
columns = [name for name in concrete if name != "compressive_strength"]
truth, wanted = learn["compressive_strength"], judge["compressive_strength"]
model = LGBMRegressor(objective="huber", alpha=3.0, **settings).fit(learn[columns], truth)
print("concrete huber RMSE", round(root_mean_squared_error(wanted, model.predict(judge[columns])), 3),
      "MAE", round(mean_absolute_error(wanted, model.predict(judge[columns])), 3))
model = LGBMRegressor(**settings).fit(learn[columns], truth)
print("concrete squared RMSE", round(root_mean_squared_error(wanted, model.predict(judge[columns])), 3))
ends = [LGBMRegressor(objective="quantile", alpha=alpha, **settings).fit(learn[columns], truth).predict(judge[columns]) for alpha in (0.05, 0.95)]
print("concrete coverage of 0.9", round(numpy.mean((ends[0] <= wanted) & (wanted <= ends[1])), 3))

# The strongest mixes of an age: grades of 20 MPa, the rows of an age together.
concrete["grade"] = (concrete["compressive_strength"] // 20).astype(int)
learn, judge = (part.sort_values("age", kind="stable") for part in parts(concrete))
mixes = [name for name in columns if name != "age"]
model = LGBMRanker(**settings | {"n_estimators": 100}).fit(learn[mixes], learn["grade"], group=learn.groupby("age").size().tolist())
judge = judge.assign(score=model.predict(judge[mixes]))
gains = [ndcg_score([2.0 ** rows["grade"] - 1], [rows["score"]], k=10) for _, rows in judge.groupby("age") if len(rows) > 1 and rows["grade"].max() > 0]
print("concrete NDCG@10", round(numpy.mean(gains), 4), "over", len(gains), "ages")
