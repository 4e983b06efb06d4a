"""Figures of LightGBM that the unit tests of model.boost.trees (crates/linfa/src/boost.rs) are held against: categories, losses, orders,
quantiles, classes, gaps, a rule about a feature, importance, each on every third row of a shipped set, learned from the others. Beside each
what says nothing or is wrong.

pip install lightgbm==4.7.0 scikit-learn==1.9.1 pandas==3.1.1 && python tests/peers/boosting.py
"""

from pathlib import Path

import numpy
import pandas
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_pinball_loss, ndcg_score, root_mean_squared_error, roc_auc_score

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

for alpha in (0.05, 0.5, 0.95):
    model = LGBMRegressor(objective="quantile", alpha=alpha, **settings).fit(learn[columns], truth)
    constant = numpy.full(len(judge), truth.quantile(alpha))
    squared = LGBMRegressor(**settings).fit(learn[columns], truth).predict(judge[columns])
    print("concrete quantile", alpha, "pinball loss", round(mean_pinball_loss(wanted, model.predict(judge[columns]), alpha=alpha), 3),
          "of a constant", round(mean_pinball_loss(wanted, constant, alpha=alpha), 3),
          "of means", round(mean_pinball_loss(wanted, squared, alpha=alpha), 3))
model = LGBMRegressor(objective="l1", **settings).fit(learn[columns], truth)
print("concrete absolute MAE", round(mean_absolute_error(wanted, model.predict(judge[columns])), 3),
      "of a constant", round(mean_absolute_error(wanted, numpy.full(len(judge), truth.median())), 3))

# More cement never makes it weaker.
for name, direction in [("rising", 1), ("falling", -1)]:
    rules = [direction if column == "cement" else 0 for column in columns]
    model = LGBMRegressor(monotone_constraints=rules, **settings).fit(learn[columns], truth)
    print("concrete", name, "with cement RMSE", round(root_mean_squared_error(wanted, model.predict(judge[columns])), 3))

# Cells that are missing, all over the table or of one kind of rows, in both parts; then what comes of taking a gap for a number.
everywhere = (numpy.arange(len(concrete))[:, None] + 3 * numpy.arange(len(columns))) % 7 == 0
of_28_days = numpy.zeros_like(everywhere)
of_28_days[:, columns.index("age")] = concrete["age"] == 28
for name, is_gap in [("everywhere", everywhere), ("of 28 days", of_28_days)]:
    with_gaps, gaps = parts(concrete[columns].astype(float).mask(is_gap))
    model = LGBMRegressor(**settings).fit(with_gaps, truth)
    filled = LGBMRegressor(**settings).fit(with_gaps.fillna(-1), truth).predict(gaps.fillna(-1))
    print("concrete with gaps", name, round(is_gap.mean(), 3), "RMSE", round(root_mean_squared_error(wanted, model.predict(gaps)), 3),
          "gaps always low", round(root_mean_squared_error(wanted, filled), 3),
          "gaps taken for large", round(root_mean_squared_error(wanted, model.predict(gaps.fillna(1e5))), 3))

for kind in ("gain", "split"):
    model = LGBMRegressor(importance_type=kind, **settings).fit(learn[columns], truth)
    shares = pandas.Series(model.feature_importances_ / model.feature_importances_.sum(), columns)
    print("concrete importance by", kind, shares.sort_values(ascending=False).round(4).to_dict())

# More than two classes: grades of concrete, 20 MPa each, and what applicants own, by the categories of the other answers.
grades = concrete.drop(columns="compressive_strength").assign(grade=numpy.digitize(concrete["compressive_strength"], [20, 40, 60]))
credit = pandas.read_csv(data / "finance/german-credit.csv")
others = [text for text in credit.select_dtypes(exclude="number").columns if text != "property"]
for rows, target in [(grades, "grade"), (credit.astype({text: "category" for text in others}), "property")]:
    learned, judged = parts(rows)
    model = LGBMClassifier(**settings | {"n_estimators": 60, "learning_rate": 0.05}).fit(learned.drop(columns=target), learned[target])
    chances = model.predict_proba(judged.drop(columns=target))
    shares = numpy.tile(learned[target].value_counts(normalize=True)[model.classes_], (len(judged), 1))
    print(target, "of", len(model.classes_), "accuracy", round(accuracy_score(judged[target], model.classes_[chances.argmax(axis=1)]), 4),
          "log loss", round(log_loss(judged[target], chances), 4), "of shares", round(log_loss(judged[target], shares), 4),
          "accuracy of the most frequent", round((judged[target] == model.classes_[shares[0].argmax()]).mean(), 4))

# The strongest mixes of an age: grades of 20 MPa, the rows of an age together.
concrete["grade"] = (concrete["compressive_strength"] // 20).astype(int)
learn, judge = (part.sort_values("age", kind="stable") for part in parts(concrete))
mixes = [name for name in columns if name != "age"]
model = LGBMRanker(**settings | {"n_estimators": 100}).fit(learn[mixes], learn["grade"], group=learn.groupby("age").size().tolist())
judge = judge.assign(score=model.predict(judge[mixes]))
gains = [ndcg_score([2.0 ** rows["grade"] - 1], [rows["score"]], k=10) for _, rows in judge.groupby("age") if len(rows) > 1 and rows["grade"].max() > 0]
print("concrete NDCG@10", round(numpy.mean(gains), 4), "over", len(gains), "ages")
