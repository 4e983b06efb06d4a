"""Reference figures for the tests of clusterings (src/metrics/clusters.rs), from scikit-learn.

    pip install scikit-learn
    python clusters.py
"""

import numpy as np
from sklearn import metrics

# The same integer generator as `points` in src/metrics/clusters.rs: 90 points of two numbers around three centres.
state, points = 12345, []
for row in range(90):
    point = []
    for axis in range(2):
        state = (state * 1103515245 + 12345) % 2**31
        noise = (state >> 12) % 1000 / 1000
        point.append([0.0, 0.8, 2.0][row % 3] * (1 + axis) + noise)
    points.append(point)
points = np.array(points)
truths = np.arange(90) % 3
# Every seventh row is in the wrong cluster; cluster 5 holds one row alone.
labels = np.where(np.arange(90) % 7 == 0, (truths + 1) % 3, truths)
labels[89] = 5

print("silhouette", repr(float(metrics.silhouette_score(points, labels))))
print("silhouette of row 0", repr(float(metrics.silhouette_samples(points, labels)[0])))
print("davies bouldin", repr(float(metrics.davies_bouldin_score(points, labels))))
print("calinski harabasz", repr(float(metrics.calinski_harabasz_score(points, labels))))
print("adjusted rand", repr(float(metrics.adjusted_rand_score(truths, labels))))
print("normalized mutual information", repr(float(metrics.normalized_mutual_info_score(truths, labels))))
