"""The tasks of benches/models.rs in scikit-learn, LightGBM and PyTorch eager, on the arrays that it wrote.

    python benches/peers/models.py FOLDER [TASK...]

Prints the same lines of JSON. Arrays are in memory before the clock starts. Needs `scikit-learn==1.9.1 lightgbm==4.7.0 torch==2.13.0`.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy


def read(folder, task):
    numbers = numpy.load(folder / f"{task}-numbers.npy")
    truth = numpy.load(folder / f"{task}-truth.npy")
    learned = json.loads((folder / f"{task}.json").read_text())["learned"]
    return numbers[:learned], truth[:learned], numbers[learned:], truth[learned:]


def best_of(rounds, work):
    seconds, made = math.inf, None
    for _ in range(rounds):
        began = time.perf_counter()
        made = work()
        seconds = min(seconds, time.perf_counter() - began)
    return seconds, made


def classes(task, model, rounds, quality, folder):
    numbers, truth, judged, wanted = read(folder, task)
    fit, model = best_of(rounds, lambda: model.fit(numbers, truth.astype(bool)))
    predict, chances = best_of(rounds, lambda: model.predict_proba(judged)[:, 1])
    from sklearn.metrics import log_loss, roc_auc_score

    return fit, predict, (log_loss if quality == "log loss" else roc_auc_score)(wanted, chances)


def logistic_regression(folder):
    from sklearn.linear_model import LogisticRegression

    return classes("logistic_regression", LogisticRegression(C=1.0), 3, "log loss", folder)


def naive_bayes(folder):
    from sklearn.naive_bayes import GaussianNB

    return classes("naive_bayes", GaussianNB(), 3, "log loss", folder)


def decision_tree(folder):
    from sklearn.tree import DecisionTreeClassifier

    return classes("decision_tree", DecisionTreeClassifier(max_depth=12, random_state=1), 3, "ROC AUC", folder)


def random_forest(folder):
    from sklearn.ensemble import RandomForestClassifier

    return classes("random_forest", RandomForestClassifier(100, n_jobs=-1, random_state=1), 2, "ROC AUC", folder)


def gradient_boosting(folder):
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(n_estimators=100, learning_rate=0.1, num_leaves=31, min_child_samples=20, reg_lambda=1.0, n_jobs=-1, verbose=-1)
    return classes("gradient_boosting", model, 2, "ROC AUC", folder)


def svm_rbf(folder):
    # As there: probabilities by a logistic curve over five folds, and one machine on all rows.
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    model = CalibratedClassifierCV(SVC(C=1.0, cache_size=1000), ensemble=False, cv=5, n_jobs=-1)
    return classes("svm_rbf", model, 2, "ROC AUC", folder)


def k_means(folder):
    from sklearn.cluster import KMeans

    numbers, _, _, _ = read(folder, "k_means")
    fit, model = best_of(2, lambda: KMeans(8, n_init=3, random_state=1).fit(numbers))
    predict, distances = best_of(2, lambda: model.transform(numbers).min(axis=1))
    return fit, predict, (distances**2).mean()


def pca(folder):
    from sklearn.decomposition import PCA

    numbers, _, judged, _ = read(folder, "pca")
    fit, model = best_of(3, lambda: PCA(10).fit(numbers))
    predict, components = best_of(3, lambda: model.transform(judged))
    return fit, predict, components.var(axis=0).sum() / judged.var(axis=0).sum()


def network(folder, task, make, shape, epochs, is_picture):
    """An epoch, the first of each fit left out."""
    import torch

    numbers, truth, judged, wanted = read(folder, task)
    inputs, judged = (torch.from_numpy(part.astype(numpy.float32)).reshape(-1, *shape) for part in (numbers, judged))
    targets = torch.from_numpy(truth.astype(numpy.int64 if is_picture else numpy.float32))
    loss_of = torch.nn.CrossEntropyLoss() if is_picture else torch.nn.MSELoss()
    seconds, predicting = math.inf, math.inf
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = make(torch.nn)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
        for epoch in range(epochs):
            began = time.perf_counter()
            total = 0.0
            for batch in torch.randperm(len(targets)).split(32):
                optimizer.zero_grad()
                loss = loss_of(model(inputs[batch]), targets[batch])
                loss.backward()
                optimizer.step()
                total += loss.item()
            if epoch:
                seconds = min(seconds, time.perf_counter() - began)
        with torch.no_grad():
            took, answers = best_of(1, lambda: torch.cat([model(part) for part in judged.split(1000)]).numpy())
        predicting = min(predicting, took)
    if is_picture:
        return seconds, predicting, (answers.argmax(axis=1) == wanted).mean()
    return seconds, predicting, math.sqrt(((answers - wanted) ** 2).mean())


def cnn(folder):
    def make(nn):
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(),
            nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10),
        )

    return network(folder, "cnn", make, (1, 28, 28), 3, True)


def lstm(folder):
    def make(nn):
        class Last(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm, self.dense = nn.LSTM(8, 64, batch_first=True), nn.Linear(64, 1)

            def forward(self, steps):
                return self.dense(self.lstm(steps)[0][:, -1]).squeeze(1)

        return Last()

    return network(folder, "lstm", make, (50, 8), 4, False)


TASKS = [logistic_regression, naive_bayes, decision_tree, random_forest, gradient_boosting, svm_rbf, k_means, pca, cnn, lstm]
PEERS = {"gradient_boosting": "LightGBM", "cnn": "PyTorch eager", "lstm": "PyTorch eager"}


def main():
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    for task in TASKS:
        name = task.__name__
        if not wanted or name in wanted:
            fit, predict, quality = task(folder)
            print(json.dumps({"task": name, "engine": PEERS.get(name, "scikit-learn"), "fit": fit, "predict": predict, "quality": float(quality)}), flush=True)


if __name__ == "__main__":
    main()
