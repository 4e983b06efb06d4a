"""Reference figures for the tests of rankings (src/metrics/retrieval.rs), from scikit-learn.

    pip install scikit-learn
    python ranking.py
"""

import numpy as np
from sklearn import metrics

relevance = np.array([[3.0, 2.0, 0.0, 1.0, 0.0, 2.0, 0.0]])
scores = np.array([[0.4, 0.9, 0.8, 0.1, 0.5, 0.3, 0.7]])
for k in (3, 5, None):
    print("ndcg", k, repr(float(metrics.ndcg_score(relevance, scores, k=k))))
    print("ndcg of 2^relevance - 1", k, repr(float(metrics.ndcg_score(2**relevance - 1, scores, k=k))))
print("average precision", repr(float(metrics.average_precision_score(relevance[0] > 0, scores[0]))))
