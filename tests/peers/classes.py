"""Figures of scikit-learn where there are more than two classes, for crates/linfa/src/{naive_bayes,random_forest,svm}.rs: three sizes of tumours
told from what says nothing of their size, and four grades of concrete, each on every third row, learned from the others.

pip install scikit-learn==1.9.1 pandas && python tests/peers/classes.py
"""

import warnings

import numpy
import pandas
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

warnings.filterwarnings("ignore", category=FutureWarning)

cells = pandas.read_csv("datasets/medical/wdbc.csv")
shapes = [name for name in cells.columns.drop("diagnosis") if not any(size in name for size in ("radius", "perimeter", "area"))]
concrete = pandas.read_csv("datasets/manufacturing/concrete.csv")
mixes = concrete.columns.drop("compressive_strength")
sets = {
    "shapes": (cells[shapes], numpy.digitize(cells["mean_radius"], [12, 15])),
    "mixes": (concrete[mixes], numpy.digitize(concrete["compressive_strength"], [20, 40, 60])),
}


def show(name, models):
    """Accuracy and logarithmic loss, mean and deviation."""
    figures = []
    for model in models:
        chances = model.fit(learn, truth).predict_proba(judge)
        figures.append((accuracy_score(wanted, chances.argmax(axis=1)), log_loss(wanted, chances)))
    if len(figures) == 1:
        print(what, name, [float(f"{figure:.12g}") for figure in figures[0]])
    else:
        print(what, name, numpy.mean(figures, axis=0).round(5), "deviation", numpy.std(figures, axis=0, ddof=1).round(5))


for what, (features, grade) in sets.items():
    is_test = numpy.arange(len(features)) % 3 == 0
    truth, wanted = grade[~is_test], grade[is_test]
    shares = numpy.bincount(truth) / len(truth)
    print(what, "shares", [round((wanted == shares.argmax()).mean(), 4), round(log_loss(wanted, numpy.tile(shares, (len(wanted), 1))), 4)])
    scaled = ((features - features.mean()) / features.std(ddof=0)).to_numpy()
    learn, judge = scaled[~is_test], scaled[is_test]
    show("gaussian naive Bayes", [GaussianNB()])
    for kernel, cost in (("rbf", 2.0), ("linear", 1.0)):
        if (what, kernel) == ("mixes", "linear"):
            continue
        machines = [SVC(kernel=kernel, C=cost, probability=True, random_state=seed, tol=1e-6) for seed in range(10)]
        show(f"{kernel}, each class against the others", [OneVsRestClassifier(machine) for machine in machines])
        show(f"{kernel}, each pair of classes", machines)
    learn, judge = (features[part].to_numpy(dtype=float) for part in (~is_test, is_test))
    show("forest", [RandomForestClassifier(100, random_state=seed, n_jobs=2) for seed in range(10)])
    show("a tree of it", [RandomForestClassifier(1, random_state=seed) for seed in range(10)])
