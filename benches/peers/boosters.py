"""Three gradient boosters on the real tables under datasets/, each as it comes: `model.boost.trees`, LightGBM, perpetual.

    python benches/peers/boosters.py TAKT

The same five folds of shuffled rows for all; each engine's defaults (perpetual: budget 0.5, its own), text as categories. Prints a Markdown
table: the mean over the folds, and seconds to learn (takt: of its whole run, process and all). Needs `lightgbm==4.7.0 perpetual==2.3.0 pandas scikit-learn`.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightgbm
import numpy
import pandas
from perpetual import PerpetualBooster
from sklearn.metrics import roc_auc_score

DATASETS = Path(__file__).resolve().parents[2] / "datasets"
FOLDS = 5


def tables():
    credit = pandas.read_csv(DATASETS / "finance/german-credit.csv")
    yield "German credit", credit, credit.columns[-1], "roc_auc"
    tumours = pandas.read_csv(DATASETS / "medical/wdbc.csv")
    target = next(name for name in tumours if not pandas.api.types.is_numeric_dtype(tumours[name]))
    yield "breast tumours", tumours.drop(columns=[name for name in tumours if name in ("id",)]), target, "roc_auc"
    yield "concrete", pandas.read_csv(DATASETS / "manufacturing/concrete.csv"), "compressive_strength", "rmse"
    yield "solder", pandas.read_csv(DATASETS / "manufacturing/solder.csv"), "skips", "rmse"


def ours(takt, table, part, target, metric):
    judged = "classification" if metric == "roc_auc" else "regression"
    with tempfile.TemporaryDirectory() as folder:
        table.assign(part=numpy.where(part, "test", "train")).to_csv(f"{folder}/rows.csv", index=False)
        spec = f"""pipeline: boosters
columns: {{{target}: {{role: target}}}}
stages:
  - source.csv: {{path: rows.csv}}
  - split.column: {{column: part}}
  - model.boost.trees: {{}}
  - evaluate.{judged}: {{}}
"""
        Path(folder, "p.yaml").write_text(spec)
        began = time.perf_counter()
        run = subprocess.run([takt, "-C", folder, "--format", "json", "run", "p.yaml"], capture_output=True, text=True)
        took = time.perf_counter() - began
        if run.returncode:
            raise SystemExit(run.stderr)
        return dict(json.loads(run.stdout)["evaluations"][0][1]["metrics"])[metric], took


def theirs(engine, table, part, target, metric):
    features = table.drop(columns=target)
    for name in features:
        if not pandas.api.types.is_numeric_dtype(features[name]):
            features[name] = features[name].astype("category")
    truth = table[target]
    if metric == "roc_auc":
        truth = (truth == sorted(truth.unique())[-1]).astype(int)
    began = time.perf_counter()
    if engine == "LightGBM":
        kind = lightgbm.LGBMClassifier if metric == "roc_auc" else lightgbm.LGBMRegressor
        model = kind(verbose=-1, random_state=1).fit(features[~part], truth[~part])
    else:
        model = PerpetualBooster(objective="LogLoss" if metric == "roc_auc" else "SquaredLoss", budget=0.5)
        model.fit(features[~part], truth[~part])
    took = time.perf_counter() - began
    if metric == "roc_auc":
        return roc_auc_score(truth[part], model.predict_proba(features[part])[:, 1]), took
    return float(numpy.sqrt(((model.predict(features[part]) - truth[part]) ** 2).mean())), took


def main():
    takt = sys.argv[1]
    print("| table | rows | metric | model.boost.trees | LightGBM 4.7 | perpetual 2.3 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, table, target, metric in tables():
        fold = numpy.random.default_rng(1).permutation(len(table)) % FOLDS
        engines = {
            "model.boost.trees": lambda part: ours(takt, table, part, target, metric),
            "LightGBM": lambda part: theirs("LightGBM", table, part, target, metric),
            "perpetual": lambda part: theirs("perpetual", table, part, target, metric),
        }
        cells = []
        for work in engines.values():
            found = [work(fold == number) for number in range(FOLDS)]
            value, took = numpy.mean([one for one, _ in found]), numpy.mean([took for _, took in found])
            cells.append(f"{value:.4f}, {took:.2f} s")
        print(f"| {name} | {len(table):,} | {metric} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
