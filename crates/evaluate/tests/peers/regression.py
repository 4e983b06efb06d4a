"""Reference figures for the tests of regression metrics (src/metrics/errors.rs), from scikit-learn.

    pip install scikit-learn
    python regression.py
"""

import numpy as np
from sklearn import metrics

print("regression")
truths = np.array([3.0, 0.5, 2.0, 7.0, 4.25, 1.0, 0.75, 12.0])
predictions = np.array([2.5, 0.75, 2.0, 8.0, 3.0, 1.5, 1.0, 9.0])
for weights in (None, np.array([1.0, 2.0, 1.0, 0.5, 3.0, 1.0, 0.0, 2.0])):
    print("  weights", weights)
    some = dict(sample_weight=weights)
    for name, value in [
        ("rmse", metrics.root_mean_squared_error(truths, predictions, **some)),
        ("mae", metrics.mean_absolute_error(truths, predictions, **some)),
        ("median absolute error", metrics.median_absolute_error(truths, predictions, **some)),
        ("r2", metrics.r2_score(truths, predictions, **some)),
        ("mape", metrics.mean_absolute_percentage_error(truths, predictions, **some)),
        ("pinball 0.8", metrics.mean_pinball_loss(truths, predictions, alpha=0.8, **some)),
        ("poisson", metrics.mean_poisson_deviance(truths, predictions, **some)),
        ("gamma", metrics.mean_gamma_deviance(truths, predictions, **some)),
        ("tweedie 1.5", metrics.mean_tweedie_deviance(truths, predictions, power=1.5, **some)),
        ("d2 poisson", metrics.d2_tweedie_score(truths, predictions, power=1, **some)),
        ("d2 gamma", metrics.d2_tweedie_score(truths, predictions, power=2, **some)),
        ("d2 tweedie 1.5", metrics.d2_tweedie_score(truths, predictions, power=1.5, **some)),
    ]:
        print("   ", name, repr(float(value)))
