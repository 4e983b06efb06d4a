"""Coefficients and intercepts of scikit-learn's linear models on the tumours, for crates/linfa/src/{linear_regression,elastic_net,glm}.rs.

pip install scikit-learn==1.9.1
"""

import numpy
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import ElasticNet, LinearRegression, TweedieRegressor

tumours = load_breast_cancer()
names = [name.replace(" ", "_").removesuffix("_error") for name in tumours.feature_names]
features = ["mean_texture", "mean_smoothness", "mean_symmetry", "worst_concavity"]
records = tumours.data[:, [names.index(name) for name in features]]
records = (records - records.mean(axis=0)) / records.std(axis=0)
target = tumours.data[:, names.index("worst_area")] / 100
weights = 1.0 + numpy.arange(len(target)) % 3


def show(what, model, **fit):
    model.fit(records, target, **fit)
    print(what, [float(f"{number:.9g}") for number in [*model.coef_, model.intercept_]])


show("least squares", LinearRegression())
show("least squares, weighted", LinearRegression(), sample_weight=weights)
for share in (0.0, 0.5, 1.0):
    net = ElasticNet(alpha=0.5, l1_ratio=share, tol=1e-12, max_iter=100_000)
    show(f"elastic net, l1_share {share}", net)
show("elastic net, weighted", ElasticNet(alpha=0.5, tol=1e-12, max_iter=100_000), sample_weight=weights)
for power in (0, 1, 1.5, 2, 3):
    glm = TweedieRegressor(power=power, alpha=0.1, link="log", tol=1e-10, max_iter=10_000)
    show(f"tweedie, power {power}", glm)
glm = TweedieRegressor(power=1, alpha=0.1, link="log", tol=1e-10, max_iter=10_000)
show("poisson, weighted", glm, sample_weight=weights)
