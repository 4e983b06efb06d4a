"""The work of benches/groceries.yaml by hand, in polars (in-memory or streaming engine) or in pandas.

    pip install polars pandas pyarrow
    python benches/peers/groceries.py polars|polars-streaming|pandas FOLDER OUTPUT

Prints a line of JSON: engine, seconds, peak memory in MB, rows and sums of the result, which must be the same for every engine.
"""

import json
import resource
import sys
import time

FUEL = 6534178
KEYS = ["household_id", "department", "week"]
COLUMNS = ["household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "retail_disc", "coupon_disc", "week"]


def with_polars(folder: str, output: str, engine: str):
    import polars as pl

    read = lambda table: pl.scan_parquet(f"{folder}/{table}.parquet")
    weekly = (
        read("transactions")
        .filter((pl.col("quantity") > 0) & (pl.col("product_id") != FUEL))
        .join(read("products"), on="product_id", how="left")
        .drop_nulls("department")
        .join(read("promotions"), on=["product_id", "store_id", "week"], how="left")
        .with_columns(
            discount=pl.col("retail_disc") + pl.col("coupon_disc"),
            displayed=(pl.col("display_location").is_not_null() & (pl.col("display_location") != "0")).fill_null(False).cast(pl.Float64),
            mailed=(pl.col("mailer_location").is_not_null() & (pl.col("mailer_location") != "0")).fill_null(False).cast(pl.Float64),
        )
        .group_by(KEYS)
        .agg(
            spent=pl.col("sales_value").sum(),
            units=pl.col("quantity").sum(),
            baskets=pl.col("basket_id").n_unique(),
            saved=pl.col("discount").sum(),
            displayed=pl.col("displayed").mean(),
            mailed=pl.col("mailed").mean(),
        )
        .sort(KEYS)
        .collect(engine=engine)
    )
    rolled = weekly.rolling("week", period="4i", group_by=["household_id", "department"]).agg(
        spent_4w=pl.col("spent").sum(), displayed_4w=pl.col("displayed").mean(), weeks_4w=pl.len().cast(pl.Int64)
    )
    result = pl.concat([weekly, rolled.drop(KEYS)], how="horizontal")
    result.write_parquet(output)
    return result.height, {name: float(result[name].sum()) for name in result.columns[3:]}


def with_pandas(folder: str, output: str):
    import pandas as pd

    purchases = pd.read_parquet(f"{folder}/transactions.parquet", columns=COLUMNS)
    products = pd.read_parquet(f"{folder}/products.parquet", columns=["product_id", "department"])
    promotions = pd.read_parquet(f"{folder}/promotions.parquet")
    rows = purchases[(purchases["quantity"] > 0) & (purchases["product_id"] != FUEL)]
    rows = rows.merge(products, on="product_id", how="left").dropna(subset=["department"])
    rows = rows.merge(promotions, on=["product_id", "store_id", "week"], how="left")
    rows["discount"] = rows["retail_disc"] + rows["coupon_disc"]
    rows["displayed"] = (rows["display_location"].notna() & (rows["display_location"] != "0")).astype(float)
    rows["mailed"] = (rows["mailer_location"].notna() & (rows["mailer_location"] != "0")).astype(float)
    weekly = rows.groupby(KEYS, sort=True, as_index=False).agg(
        spent=("sales_value", "sum"),
        units=("quantity", "sum"),
        baskets=("basket_id", "nunique"),
        saved=("discount", "sum"),
        displayed=("displayed", "mean"),
        mailed=("mailed", "mean"),
    )
    # pandas has windows of time or of rows: a week becomes a day so that a window of four weeks is one of four days.
    weekly["at"] = pd.Timestamp("2017-01-01") + pd.to_timedelta(weekly["week"], unit="D")
    windows = weekly.groupby(["household_id", "department"], sort=True).rolling("4D", on="at")
    rolled = windows.agg({"spent": "sum", "displayed": "mean", "units": "count"}).reset_index(drop=True)
    weekly["spent_4w"], weekly["displayed_4w"] = rolled["spent"], rolled["displayed"]
    weekly["weeks_4w"] = rolled["units"].astype("int64")
    result = weekly.drop(columns="at")
    result.to_parquet(output)
    return len(result), {name: float(result[name].sum()) for name in result.columns[3:]}


engine, folder, output = sys.argv[1:]
began = time.perf_counter()
if engine == "pandas":
    rows, sums = with_pandas(folder, output)
else:
    rows, sums = with_polars(folder, output, "streaming" if engine == "polars-streaming" else "in-memory")
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"engine": engine, "seconds": round(seconds, 3), "peak_mb": round(peak), "rows": rows, "sums": sums}))
