"""The features of benches/fraud-features.yaml by polars-Python, with `rolling` group-bys over sorted rows, put back in order:
the faster of the right ways to write the windows there. Prints seconds, peak memory in MB and the sums that benches/fraud_features.rs prints.

    pip install polars && python benches/peers/fraud_features.py payments.csv
"""

import math
import resource
import sys
import time

import polars as pl


def features(path: str) -> pl.DataFrame:
    hour = pl.col("at").dt.hour().cast(pl.Float64) * (2 * math.pi / 24)
    day = (pl.col("at").dt.weekday() % 7).cast(pl.Float64) * (2 * math.pi / 7)
    frame = (
        pl.scan_csv(path, try_parse_dates=True)
        .unique(subset="payment_id", keep="first", maintain_order=True)
        .drop_nulls(["at", "type", "amount", "account", "balance_before", "balance_after"])
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
        .collect()
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
        rolled = frame.lazy().rolling("at", period="24h", group_by=group).agg(aggregates).drop(group, "at").collect()
        frame = pl.concat([frame, rolled], how="horizontal")
    return frame.sort("row")


began = time.perf_counter()
data = features(sys.argv[1])
took = time.perf_counter() - began
names = ["payments_24h", "spent_24h", "largest_24h", "received_24h", "at_hour_sin", "log_balance"]
sums = ",".join(f"{name}={float(data[name].sum()):.6e}" for name in names)
print(f"{took:.4f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} {data.height},{sums}")
