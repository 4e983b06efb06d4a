"""The features of benches/fraud-features.yaml by hand, in polars or in pandas.

    pip install polars pandas
    python benches/peers/fraud_features.py polars|polars-streaming|pandas payments.csv features.parquet

polars has `rolling` group-bys over sorted rows, put back in order: the faster of the right ways to write the windows there.
Prints a line of JSON: engine, seconds, peak memory in MB, rows and the sums that benches/fraud_features.rs prints.
"""

import json
import math
import resource
import sys
import time

NEEDED = ["at", "type", "amount", "account", "balance_before", "balance_after"]
CHECKED = ["payments_24h", "spent_24h", "largest_24h", "received_24h", "at_hour_sin", "log_balance"]


def with_polars(path: str, engine: str):
    import polars as pl

    hour = pl.col("at").dt.hour().cast(pl.Float64) * (2 * math.pi / 24)
    day = (pl.col("at").dt.weekday() % 7).cast(pl.Float64) * (2 * math.pi / 7)
    frame = (
        pl.scan_csv(path, try_parse_dates=True)
        .unique(subset="payment_id", keep="first", maintain_order=True)
        .drop_nulls(NEEDED)
        .with_columns(
            log_amount=(pl.col("amount") + 1).log(),
            share_of_balance=pl.min_horizontal(pl.col("amount") / (pl.col("balance_before") + 1), 2.0),
            empties_account=pl.when(
                (pl.col("balance_before") > 0) & (pl.col("balance_after") <= 0.01 * pl.col("balance_before"))
            )
            .then(1)
            .otherwise(0),
            moves_money_out=pl.when(pl.col("type").is_in(["TRANSFER", "CASH_OUT"])).then(1).otherwise(0),
            log_balance=(pl.max_horizontal(pl.col("balance_before"), 0.0) + 1).log(),
            at_hour_sin=hour.sin(),
            at_hour_cos=hour.cos(),
            at_day_of_week_sin=day.sin(),
            at_day_of_week_cos=day.cos(),
        )
        .with_row_index("row")
        .collect(engine=engine)
    )
    windows = {
        "account": [
            pl.len().cast(pl.Int64).alias("payments_24h"),
            pl.col("amount").sum().alias("spent_24h"),
            pl.col("amount").max().alias("largest_24h"),
        ],
        "counterparty": [pl.len().cast(pl.Int64).alias("received_24h")],
    }
    for group, aggregates in windows.items():
        frame = frame.sort(group, "at", maintain_order=True)
        rolled = (
            frame.lazy().rolling("at", period="24h", group_by=group).agg(aggregates).drop(group, "at").collect(engine=engine)
        )
        frame = pl.concat([frame, rolled], how="horizontal")
    return frame.sort("row")


def with_pandas(path: str):
    import numpy as np
    import pandas as pd

    frame = pd.read_csv(path, parse_dates=["at"])
    frame = frame.drop_duplicates(subset="payment_id", keep="first").dropna(subset=NEEDED)
    amount, before, after = frame["amount"], frame["balance_before"], frame["balance_after"]
    hour = frame["at"].dt.hour * (2 * math.pi / 24)
    day = (frame["at"].dt.day_of_week + 1) % 7 * (2 * math.pi / 7)
    frame = frame.assign(
        log_amount=np.log(amount + 1),
        share_of_balance=np.minimum(amount / (before + 1), 2.0),
        empties_account=((before > 0) & (after <= 0.01 * before)).astype("int64"),
        moves_money_out=frame["type"].isin(["TRANSFER", "CASH_OUT"]).astype("int64"),
        log_balance=np.log(np.maximum(before, 0.0) + 1),
        at_hour_sin=np.sin(hour),
        at_hour_cos=np.cos(hour),
        at_day_of_week_sin=np.sin(day),
        at_day_of_week_cos=np.cos(day),
    ).reset_index(drop=True)
    windows = {
        "account": {"payments_24h": "count", "spent_24h": "sum", "largest_24h": "max"},
        "counterparty": {"received_24h": "count"},
    }
    for group, aggregates in windows.items():
        ordered = frame.sort_values([group, "at"], kind="stable")
        rolling = ordered.groupby(group, sort=True).rolling("24h", on="at")["amount"]
        for name, how in aggregates.items():
            # The groups come back in the order of their keys, each in time: the order of `ordered`. Of rows of one time pandas'
            # window sees those before, the others' all of them: the last of these rows has it right.
            rolled = pd.Series(getattr(rolling, how)().to_numpy(), index=ordered.index)
            frame[name] = rolled.groupby([ordered[group], ordered["at"]]).transform("last")
    return frame


engine, path, output = sys.argv[1:]
began = time.perf_counter()
if engine == "pandas":
    data = with_pandas(path)
    data.to_parquet(output)
else:
    data = with_polars(path, "streaming" if engine == "polars-streaming" else "in-memory")
    data.write_parquet(output)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
sums = {name: float(data[name].sum()) for name in CHECKED}
print(json.dumps({"engine": engine, "seconds": round(seconds, 3), "peak_mb": round(peak), "rows": len(data), "sums": sums}))
