"""Reference figures for the metrics' tests, from scikit-learn.

    pip install scikit-learn
    python metrics.py
"""

import numpy as np
from sklearn import metrics

print("three classes")
truths = [0, 0, 0, 1, 1, 2, 2, 2, 2]
predictions = [0, 0, 1, 1, 2, 2, 2, 0, 3]
for average in ("macro", "weighted"):
    figures = metrics.precision_recall_fscore_support(truths, predictions, average=average, zero_division=0)
    print("   ", average, "precision, recall, f1", *map(repr, map(float, figures[:3])))
print("    balanced accuracy", metrics.balanced_accuracy_score(truths, predictions))

print("ties")
scores = np.array([0.9, 0.8, 0.8, 0.8, 0.6, 0.5, 0.5, 0.3, 0.2, 0.2])
truths = np.array([1, 1, 0, 1, 0, 1, 0, 0, 0, 1])
for weights in (None, 1 + np.arange(10) % 3):
    print("    roc auc", metrics.roc_auc_score(truths, scores, sample_weight=weights))
    print("    average precision", metrics.average_precision_score(truths, scores, sample_weight=weights))
    print("    log loss", metrics.log_loss(truths, scores, sample_weight=weights))
    print("    brier", metrics.brier_score_loss(truths, scores, sample_weight=weights))

# The same integer generator as `many_rows` in src/classification.rs: 5,000 rows, scores on a grid of 1/64 with many ties.
print("many rows")
state, rows = 12345, []
for _ in range(5000):
    state = (state * 1103515245 + 12345) % 2**31
    score = (state >> 12) % 65 / 64
    state = (state * 1103515245 + 12345) % 2**31
    rows.append((score, (state >> 12) % 1000 < 300 * score * score))
scores, truths = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
false_alarms, recall, _ = metrics.roc_curve(truths, scores, drop_intermediate=False)
print("    prevalence", truths.mean())
print("    roc auc", metrics.roc_auc_score(truths, scores))
print("    average precision", metrics.average_precision_score(truths, scores))
print("    recall at 5 % false alarms", recall[false_alarms <= 0.05].max())
print("    log loss", metrics.log_loss(truths, scores), "brier", metrics.brier_score_loss(truths, scores))
flagged = scores >= 0.5
print("    precision", metrics.precision_score(truths, flagged), "recall", metrics.recall_score(truths, flagged))
print("    f1", metrics.f1_score(truths, flagged), "balanced", metrics.balanced_accuracy_score(truths, flagged))
places = np.minimum((scores * 10).astype(int), 9)
apart = [(places == place).sum() * abs(scores[places == place].mean() - truths[places == place].mean()) for place in range(10)]
print("    expected calibration error", sum(apart) / len(scores))
constant = np.full(len(truths), truths.mean())
print("    log loss of the share", metrics.log_loss(truths, constant), "brier", metrics.brier_score_loss(truths, constant))
