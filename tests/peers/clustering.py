"""Figures of scikit-learn's clusterings of the tumours, for crates/linfa/src/{k_means,gaussian_mixture,dbscan,optics}.rs.

pip install scikit-learn==1.9.1 pandas
"""

import numpy
from sklearn.cluster import DBSCAN, OPTICS, KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

cells, benign = load_breast_cancer(return_X_y=True, as_frame=True)  # the same rows as datasets/medical/wdbc.csv
cells.columns = [name.replace(" ", "_") for name in cells.columns]
names = ["mean_texture", "mean_smoothness", "mean_symmetry", "worst_texture", "mean_compactness"]
features = cells[names].to_numpy()
standard = (features - features.mean(axis=0)) / features.std(axis=0)
malignant = 1 - benign.to_numpy()
weights = 1.0 + numpy.arange(len(features)) % 3
rows = [0, 19, 100, 300, 568]


def show(name, values):
    print(name, [float(f"{value:.10g}") for value in numpy.atleast_1d(values)])


def sizes(labels):
    """Of the clusters, the largest first, and of the noise."""
    return sorted((int((labels == label).sum()) for label in set(labels) - {-1}), reverse=True), int((labels == -1).sum())


for clusters in (2, 3, 5, 8):
    means = KMeans(clusters, n_init=50, tol=1e-9, random_state=0).fit(standard)
    weighted = KMeans(clusters, n_init=50, tol=1e-9, random_state=0).fit(standard, sample_weight=weights)
    show(f"k-means, {clusters} clusters, inertia without and with weights", [means.inertia_, weighted.inertia_])

for covariance in ("full", "diag"):
    for clusters in (2, 3):
        mixture = GaussianMixture(
            clusters, covariance_type=covariance, n_init=20, tol=1e-9, max_iter=10_000, random_state=0
        ).fit(standard)
        order = numpy.argsort(-mixture.weights_)
        name = f"mixture, {covariance}, {clusters} clusters,"
        show(f"{name} log-likelihood, bic, aic", [mixture.score(standard), mixture.bic(standard), mixture.aic(standard)])
        show(f"{name} shares", mixture.weights_[order])
        show(f"{name} means", mixture.means_[order].ravel())
        show(f"{name} probabilities of the first", mixture.predict_proba(standard)[rows][:, order[0]])
        show(f"{name} densities", mixture.score_samples(standard)[rows])

for eps, least in ((0.8, 5), (0.6, 4), (1.0, 10)):
    found = DBSCAN(eps=eps, min_samples=least).fit(standard)
    core = numpy.zeros(len(standard), bool)
    core[found.core_sample_indices_] = True
    print("dbscan", eps, least, "sizes", sizes(found.labels_), "cores", int(core.sum()), "of cores", sizes(found.labels_[core]))
found = DBSCAN(eps=0.8, min_samples=10).fit(standard, sample_weight=weights)
print("dbscan, weighted", sizes(found.labels_), "cores", len(found.core_sample_indices_))

for least, xi, smallest, reach in ((5, 0.05, None, numpy.inf), (10, 0.03, 20, numpy.inf), (5, 0.05, 8, 1.0)):
    found = OPTICS(min_samples=least, xi=xi, min_cluster_size=smallest, max_eps=reach).fit(standard)
    print("optics", least, xi, smallest, reach, "sizes", sizes(found.labels_))
    print("  ordering starts", found.ordering_[:20].tolist(), "sum of finite reachabilities", found.reachability_[numpy.isfinite(found.reachability_)].sum())
    print("  checksum of the ordering", int((found.ordering_ * numpy.arange(len(standard))).sum() % 1_000_003))
    print("  predecessors", int((found.predecessor_ * numpy.arange(len(standard))).sum()), "labelled", int((found.labels_ >= 0).sum()))
    # Row by row, the clusters numbered by size.
    values, counts = numpy.unique(found.labels_[found.labels_ >= 0], return_counts=True)
    print("  rows of the clusters", {int(count): int(numpy.flatnonzero(found.labels_ == value).sum()) for value, count in zip(values, counts)})
