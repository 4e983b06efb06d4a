"""Reference figures for the tests of survival metrics (src/metrics/survival.rs), from lifelines.

    pip install lifelines
    python survival.py
"""

from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index

# The same integer generator as `rows` in src/metrics/survival.rs.
state, rows = 12345, []


def draw():
    global state
    state = (state * 1103515245 + 12345) % 2**31
    return state >> 12


for _ in range(300):
    risk = draw() % 20
    time = 1 + (draw() % 60) // (1 + risk // 5)
    rows.append((time, draw() % 3 > 0, risk))
times, events, risks = zip(*rows)

# lifelines wants what is higher for the later event.
print("concordance", repr(float(concordance_index(times, [-risk for risk in risks], events))))
survival = KaplanMeierFitter().fit(times, events)
print("survival at 10", repr(float(survival.predict(10))))
print("survival at 30", repr(float(survival.predict(30))))
