"""Golden results of pandas, NumPy and scikit-learn for tests/differential.rs.

    pip install pandas==3.1.1 pyarrow==26.0.1 scikit-learn==1.9.1
    python tests/peers/differential.py tests/data/differential

For each case a folder: the input tables as Parquet, the stages as YAML, and what the peer made of the same rows, or what
the refusal says. Where pandas cannot tell null from not-a-number, a case holds only one of the two; from "not-a-number" on,
columns are backed by Arrow, which can. Deliberate differences are told at the case.
"""

import datetime as dt
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn import decomposition, feature_extraction, preprocessing

folder = Path(sys.argv[1])


def case(name: str, inputs: dict, stages: str, expected: pd.DataFrame | pa.Table):
    here = fresh(name, inputs)
    lines = head(name, inputs)
    lines += ["  " + line for line in stages.strip().splitlines()]
    lines += ["  - sink.parquet: {path: found.parquet}", ""]
    (here / "pipeline.yaml").write_text("\n".join(lines), encoding="utf-8")
    keep_expected(here / "expected.parquet", expected)


def branches(name: str, inputs: dict, outputs: dict):
    """Several results of the same input, each as `name=(stages, expected)`: one run makes them all."""
    here = fresh(name, inputs)
    lines = head(name, inputs)
    for output, (stages, expected) in outputs.items():
        number = 0
        for line in stages.strip().splitlines():
            if line.startswith("- "):
                number += 1
                lines += ["  " + line, f"    id: {output}_{number}"]
                if number == 1 and "\n  from:" not in stages:
                    lines.append(f"    from: {next(iter(inputs))}")
            else:
                lines.append("  " + line)
        lines += [f"  - sink.parquet: {{path: found_{output}.parquet}}", f"    id: sink_{output}"]
        keep_expected(here / f"expected_{output}.parquet", expected)
    (here / "pipeline.yaml").write_text("\n".join([*lines, ""]), encoding="utf-8")


def refused(name: str, inputs: dict, stages: str, *texts: str):
    """A run that must end with an error that says all of these."""
    here = fresh(name, inputs)
    lines = head(name, inputs)
    lines += ["  " + line for line in stages.strip().splitlines()]
    lines += ["  - sink.parquet: {path: found.parquet}", ""]
    (here / "pipeline.yaml").write_text("\n".join(lines), encoding="utf-8")
    (here / "refused.txt").write_text("\n".join([*texts, ""]), encoding="utf-8")


def fresh(name: str, inputs: dict) -> Path:
    here = folder / name
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    for table, rows in inputs.items():
        pq.write_table(rows, here / f"{table}.parquet", compression="none")
    return here


def head(name: str, inputs: dict) -> list[str]:
    lines = [f"pipeline: {name.replace('_', '-')}", "stages:"]
    for table in inputs:
        lines += [f"  - source.parquet: {{path: {table}.parquet}}", f"    id: {table}"]
    return lines


def keep_expected(path: Path, expected: pd.DataFrame | pa.Table):
    if isinstance(expected, pd.DataFrame):
        expected = pa.Table.from_pandas(expected, preserve_index=False)
    pq.write_table(expected.replace_schema_metadata(None), path, compression="none")


def table(**columns) -> pa.Table:
    """Columns as `name=(values, type)`."""
    return pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()})


def frame(rows: pa.Table) -> pd.DataFrame:
    return rows.to_pandas()


F, I, T, D, S = pa.float64(), pa.int64(), pa.string(), pa.date32(), pa.timestamp("us")
BERLIN = pa.timestamp("us", tz="Europe/Berlin")


def at(*texts):
    return [None if text is None else dt.datetime.fromisoformat(text) for text in texts]


# Rows with everything that is awkward but NaN: nulls, ties, unicode, a group of one, a group of null, signs, large numbers.
AWKWARD = table(
    id=(list(range(1, 13)), I),
    group=(["a", "a", "b", "b", "b", "ß", None, "a", "b", None, "日本", "a"], T),
    x=([1.0, None, 3.0, 3.0, -2.5, 1e15, 4.0, 1.0, None, -0.0, 7.25, 2.0], F),
    n=([5, 5, None, -3, 0, 7, 7, None, 2, 2, 9, 5], I),
    flag=([True, None, False, True, True, False, None, True, False, True, False, True], pa.bool_()),
)
# A source without rows is refused: the rows of the empty frame go on the way.
NOTHING = "- clean.filter: {where: id < 0}\n"
EMPTY = AWKWARD.slice(0, 0)
ONE = AWKWARD.slice(0, 1)
ALL_NULL = table(id=([1, 2, 3], I), group=(["a", "b", "a"], T), x=([None, None, None], F), n=([1, 2, 3], I), flag=([True] * 3, pa.bool_()))


# --- cleaning

for name, rows in {"awkward": AWKWARD, "one": ONE}.items():
    data = frame(rows)
    case(f"fill_mean_{name}", {"rows": rows}, "- clean.fill_null: {columns: x, with: mean}", data.assign(x=data.x.fillna(data.x.mean())))
    case(f"fill_median_{name}", {"rows": rows}, "- clean.fill_null: {columns: x, with: median}", data.assign(x=data.x.fillna(data.x.median())))

data = frame(AWKWARD)
known = data[data.group.notna()]
case(
    "fill_mean_by_group",
    {"rows": pa.Table.from_pandas(known, preserve_index=False)},
    "- clean.fill_null: {columns: x, with: mean, by: group}",
    known.assign(x=known.x.fillna(known.groupby("group").x.transform("mean"))),
)
case("fill_mode", {"rows": AWKWARD}, "- clean.fill_null: {columns: [x], with: mode}", data.assign(x=data.x.fillna(data.x.mode().min())))
for with_, fill in {"forward": "ffill", "backward": "bfill"}.items():
    case(f"fill_{with_}", {"rows": AWKWARD}, f"- clean.fill_null: {{columns: x, with: {with_}}}", data.assign(x=getattr(data.x, fill)()))
    grouped = getattr(data.groupby("group", dropna=False).x, fill)()
    case(f"fill_{with_}_by_group", {"rows": AWKWARD}, f"- clean.fill_null: {{columns: x, with: {with_}, by: group}}", data.assign(x=grouped))
gaps = table(t=([0, 1, 2, 3, 4, 5, 6, 7], I), x=([None, 1.0, None, None, 4.0, 10.0, None, None], F))
case(
    "fill_linear",
    {"rows": gaps},
    "- clean.fill_null: {columns: x, with: linear}",
    frame(gaps).assign(x=frame(gaps).x.interpolate(method="linear", limit_area="inside")),
)
case("fill_forward_empty", {"rows": AWKWARD}, NOTHING + "- clean.fill_null: {columns: x, with: forward}", EMPTY)
case("fill_linear_all_null", {"rows": ALL_NULL}, "- clean.fill_null: {columns: x, with: linear}", ALL_NULL)

for keep, pandas_keep in {"first": "first", "last": "last", "none": False}.items():
    case(
        f"drop_duplicates_{keep}",
        {"rows": AWKWARD},
        f"- clean.drop_duplicates: {{on: [group, n], keep: {keep}}}",
        AWKWARD.take(data.drop_duplicates(["group", "n"], keep=pandas_keep).index.to_numpy()),
    )
case("drop_nulls", {"rows": AWKWARD}, "- clean.drop_nulls: {columns: [group, x]}", AWKWARD.take(data.dropna(subset=["group", "x"]).index.to_numpy()))
case("drop_nulls_empty", {"rows": AWKWARD}, NOTHING + "- clean.drop_nulls: {columns: [group, x]}", EMPTY)
case(
    "sort",
    {"rows": AWKWARD},
    "- clean.sort: {by: [group, {column: x, descending: true}]}",
    AWKWARD.take(data.sort_values(["group", "x"], ascending=[True, False], kind="stable", na_position="last").index.to_numpy()),
)

spread = table(
    x=([1.0, 2.0, 2.0, 3.0, 3.5, 4.0, 4.0, 5.0, 100.0, -50.0, None], F),
    group=(["a", "a", "a", "a", "a", "b", "b", "b", "b", "b", "a"], T),
)
values = frame(spread).x
first, third = np.nanquantile(values, [0.25, 0.75])
reach = 1.5 * (third - first)
case("clip_iqr", {"rows": spread}, "- clean.clip_outliers: {columns: x, method: iqr}", frame(spread).assign(x=values.clip(first - reach, third + reach)))
mean, deviation = values.mean(), values.std(ddof=0)
inside = values.where((values - mean).abs() <= 1.5 * deviation)
case("clip_z_score_null", {"rows": spread}, "- clean.clip_outliers: {columns: x, method: z_score, limit: 1.5, action: 'null'}", frame(spread).assign(x=inside))
low, high = np.nanquantile(values, [0.1, 0.9])
case("clip_quantile", {"rows": spread}, "- clean.clip_outliers: {columns: x, method: quantile, low: 0.1, high: 0.9}", frame(spread).assign(x=values.clip(low, high)))

texts = table(text=([" Straße ", "ÉCOLE", "e\u0301cole", "日本 語", "", None, "a  b"], T))
series = frame(texts).text
case("trim", {"rows": texts}, "- clean.trim: {columns: [text]}", frame(texts).assign(text=series.str.strip()))
case("replace_regex", {"rows": texts}, r"- clean.replace: {columns: text, pattern: '\s+', with: '_', regex: true}", frame(texts).assign(text=series.str.replace(r"\s+", "_", regex=True)))
case("normalize_nfc", {"rows": texts}, "- clean.normalize_text: {columns: [text], form: nfc}", frame(texts).assign(text=series.str.normalize("NFC")))
case("normalize_nfkc_fold", {"rows": texts}, "- clean.normalize_text: {columns: [text], form: nfkc, case: fold}", frame(texts).assign(text=series.str.normalize("NFKC").str.casefold()))
case(
    "map_values",
    {"rows": AWKWARD},
    "- clean.map_values: {columns: {group: {a: eins, b: zwei, 日本: drei}}, default: andere}",
    data.assign(group=data.group.map({"a": "eins", "b": "zwei", "日本": "drei"}).where(data.group.isna() | data.group.isin(["a", "b", "日本"]), "andere")),
)

# The hour from 2 to 3 of 2024-10-27 comes twice in Berlin, that of 2024-03-31 never.
local = table(at=(["2024-03-30 12:00", "2024-10-27 01:30", "2024-10-27 02:30", "2024-10-27 03:30", "2024-07-01 00:00", None], T))
moments = pd.to_datetime(frame(local)["at"])
for ambiguous, first_time in {"earliest": True, "latest": False}.items():
    zoned = moments.dt.tz_localize("Europe/Berlin", ambiguous=np.full(len(moments), first_time))
    case(
        f"parse_dates_{ambiguous}",
        {"rows": local},
        f"- clean.parse_dates: {{columns: [at], formats: ['%Y-%m-%d %H:%M'], zone: Europe/Berlin, ambiguous: {ambiguous}}}",
        pa.table({"at": pa.array(zoned, BERLIN)}),
    )
skipped = table(at=(["2024-03-31 01:59", "2024-03-31 02:30", "2024-03-31 03:00"], T))
zoned = pd.to_datetime(frame(skipped)["at"]).dt.tz_localize("Europe/Berlin", nonexistent="NaT")
case(
    "parse_dates_skipped_hour",
    {"rows": skipped},
    "- clean.parse_dates: {columns: [at], formats: ['%Y-%m-%d %H:%M'], zone: Europe/Berlin, nonexistent: 'null'}",
    pa.table({"at": pa.array(zoned, BERLIN)}),
)

readings = table(
    at=(at("2024-01-01 00:10", "2024-01-01 00:50", "2024-01-01 03:00", "2024-01-01 04:59"), S),
    x=([1.0, 3.0, 5.0, None], F),
)
hourly = frame(readings).set_index("at").x.resample("1h")
case(
    "resample_time",
    {"rows": readings},
    "- clean.resample_time: {over: at, every: 1h, aggregate: {x: avg(x), readings: count()}, fill_columns: {readings: zero}}",
    pd.DataFrame({"at": hourly.mean().index, "x": hourly.mean().to_numpy(), "readings": hourly.size().to_numpy()}),
)
case(
    "resample_time_forward",
    {"rows": readings},
    "- clean.resample_time: {over: at, every: 1h, aggregate: {x: sum(x)}, fill: forward}",
    # A sum over nothing is a gap in pandas only with min_count; a slot with rows keeps its own sum.
    pd.DataFrame({"at": hourly.size().index, "x": hourly.sum().where(hourly.size() > 0).ffill().to_numpy()}),
)
# A day of 23 hours (2024-03-31) and one of 25 (2024-10-27).
for name, day in {"spring": "2024-03-30", "autumn": "2024-10-26"}.items():
    stamps = pd.date_range(day, periods=72, freq="h", tz="Europe/Berlin")
    rows = pa.table({"at": pa.array(stamps, BERLIN), "x": pa.array(np.arange(72.0))})
    daily = pd.Series(np.arange(72.0), index=stamps).resample("1D")
    case(
        f"resample_days_{name}",
        {"rows": rows},
        "- clean.resample_time: {over: at, every: 1d, aggregate: {x: sum(x), hours: count()}}",
        pa.table({"at": pa.array(daily.sum().index, BERLIN), "x": pa.array(daily.sum().to_numpy()), "hours": pa.array(daily.size().to_numpy())}),
    )

# --- joining and aggregating

left = table(id=([1, 2, 3, 4, 5], I), key=(["a", "b", "a", "c", "ß"], T))
right = table(key=(["a", "a", "c", "ß", "z"], T), y=([10.0, 11.0, None, 13.0, 14.0], F))
for how in ["left", "inner"]:
    case(f"join_{how}", {"left": left, "right": right}, f"- features.join: {{on: key, how: {how}}}\n  from: [left, right]", frame(left).merge(frame(right), on="key", how=how))
case("join_right_empty", {"left": left, "right": right}, "- clean.filter: {where: y < 0}\n- features.join: {on: key, how: left}\n  from: [left, filter]", frame(left).merge(frame(right.slice(0, 0)), on="key", how="left").astype({"y": "float64"}))
case(
    "join_semi",
    {"left": left, "right": right},
    "- features.join: {on: key, how: semi}\n  from: [left, right]",
    frame(left)[frame(left).key.isin(frame(right).key)],
)

trades = table(at=(at("2024-01-01 10:00", "2024-01-01 10:05", "2024-01-01 10:05", "2024-01-01 11:00"), S), symbol=(["x", "x", "y", "x"], T), id=([1, 2, 3, 4], I))
quotes = table(
    at=(at("2024-01-01 09:59", "2024-01-01 10:05", "2024-01-01 10:05", "2024-01-01 10:07", "2024-01-01 10:30"), S),
    symbol=(["x", "x", "x", "y", "x"], T),
    price=([1.0, 2.0, 3.0, 4.0, 5.0], F),
)
for direction in ["backward", "forward", "nearest"]:
    for tolerance in [None, "10m"]:
        limit = f", tolerance: {tolerance}" if tolerance else ""
        merged = pd.merge_asof(
            frame(trades), frame(quotes), on="at", by="symbol", direction=direction, tolerance=pd.Timedelta("10min") if tolerance else None
        )
        case(
            f"join_asof_{direction}{'_near' if tolerance else ''}",
            {"trades": trades, "quotes": quotes},
            f"- features.join_asof: {{on: at, by: symbol, direction: {direction}{limit}}}\n  from: [trades, quotes]",
            merged,
        )

grouped = data.groupby("group", dropna=False, sort=False)
case(
    "aggregate",
    {"rows": AWKWARD},
    "- features.aggregate:\n"
    "    by: group\n"
    "    aggregate: {rows: count(), known: count(x), kinds: count(distinct n), total: sum(x), mean: avg(x), least: min(x), most: max(x), spread: stddev(x), middle: median(x)}",
    grouped.agg(
        rows=("id", "size"), known=("x", "count"), kinds=("n", "nunique"), total=("x", "sum"), mean=("x", "mean"), least=("x", "min"), most=("x", "max"), spread=("x", "std"), middle=("x", "median")
    ).reset_index(),
)
case(
    "aggregate_quantile",
    {"rows": spread},
    "- features.aggregate: {by: group, aggregate: {q10: 'quantile(x, 0.1)', q90: 'quantile(x, 0.9)'}}",
    frame(spread).groupby("group", sort=False).x.quantile([0.1, 0.9]).unstack().set_axis(["q10", "q90"], axis=1).reset_index(),
)
case(
    "pivot",
    {"rows": AWKWARD},
    "- clean.drop_nulls: {columns: [group, n]}\n- clean.filter: {where: \"group in ('a', 'b')\"}\n- features.pivot: {by: n, column: group, values: [a, b], aggregate: {total: sum(x)}}",
    (
        lambda known: known.assign(**{f"total={kind}": known.x.where(known.group == kind) for kind in "ab"})
        .groupby("n", sort=False)[["total=a", "total=b"]]
        .sum()
        .reset_index()
        .astype({"n": "int64"})
    )(
        data[data.group.isin(["a", "b"])].dropna(subset=["n"])
    ),
)

# --- windows

series = table(
    at=(at("2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 06:00", "2024-01-02 05:00", "2024-01-02 06:00", "2024-01-09 00:00"), S),
    group=(["a", "a", "b", "a", "a", "b"], T),
    x=([1.0, 2.0, 10.0, None, 4.0, 20.0], F),
)
windows = frame(series).groupby("group").rolling("24h", on="at").x
order = frame(series).sort_values(["group", "at"], kind="stable").index
rolled = pd.DataFrame({"total": windows.sum().to_numpy(), "known": windows.count().to_numpy(), "mean": windows.mean().to_numpy(), "most": windows.max().to_numpy()}, index=order).sort_index()
case(
    "rolling_time",
    {"rows": series},
    "- features.rolling: {by: group, over: at, window: 24h, aggregate: {total: sum(x), known: count(x), mean: avg(x), most: max(x)}}",
    frame(series).join(rolled.assign(total=rolled.total.fillna(0.0), known=rolled.known.astype("int64"))),
)
windows = frame(series).groupby("group").rolling(2, min_periods=1).x
rolled = pd.DataFrame({"total": windows.sum().fillna(0.0).to_numpy(), "spread": windows.std().to_numpy()}, index=order).sort_index()
case(
    "rolling_rows",
    {"rows": series},
    "- features.rolling: {by: group, over: at, window: {rows: 2}, aggregate: {total: sum(x), spread: stddev(x)}}",
    frame(series).join(rolled),
)
by_group = frame(series).groupby("group").x
case("lag", {"rows": series}, "- features.lag: {by: group, over: at, columns: x, steps: [1, 2]}", frame(series).assign(x_lag_1=by_group.shift(1), x_lag_2=by_group.shift(2)))
case("lead", {"rows": series}, "- features.lead: {by: group, over: at, columns: x}", frame(series).assign(x_lead_1=by_group.shift(-1)))
case(
    "diff",
    {"rows": series},
    "- features.diff: {by: group, over: at, columns: x, measure: [difference, ratio]}",
    frame(series).assign(x_diff_1=by_group.diff(), x_change_1=by_group.pct_change(fill_method=None)),
)

# --- calendars: around both days on which clocks are set, a leap day and a year's end

stamps = pd.DatetimeIndex(
    ["2024-03-31 00:59:59", "2024-03-31 01:00:00", "2024-10-27 00:30:00", "2024-10-27 01:30:00", "2024-02-29 23:30:00", "2024-12-31 23:30:00", "2023-01-01 12:00:00"], tz="UTC"
)
local = stamps.tz_convert("Europe/Berlin")
case(
    "calendar_zone",
    {"rows": pa.table({"at": pa.array(stamps, pa.timestamp("us", tz="UTC"))})},
    "- features.calendar: {column: at, parts: [hour, day, day_of_week, day_of_year, week, month, quarter, year], zone: Europe/Berlin}",
    pd.DataFrame(
        {
            "at": stamps, "at_hour": local.hour, "at_day": local.day, "at_day_of_week": local.day_of_week + 1, "at_day_of_year": local.day_of_year,
            "at_week": local.isocalendar().week.to_numpy().astype("int64"), "at_month": local.month, "at_quarter": local.quarter, "at_year": local.year,
        }
    ),
)

# --- fitted features: null is passed over and kept, as scikit-learn does with NaN; NaN itself teaches nothing and is refused

numbers = table(x=([1.0, 2.0, 2.0, 4.0, 8.0, 16.0, -3.0], F), y=([5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0], F), z=([0.5, -1.5, 2.25, 0.0, 0.0, 9.0, 1.0], F))
with_null = table(x=([1.0, None, 2.0, 4.0, 8.0, 16.0, -3.0], F))
for name, rows, columns in [("", numbers, ["x", "y", "z"]), ("_null", with_null, ["x"]), ("_one", numbers.slice(2, 1), ["x", "y", "z"])]:
    data = frame(rows)
    listed = "[" + ", ".join(columns) + "]"
    scaled = lambda scaler: pd.DataFrame(scaler.fit_transform(data[columns].to_numpy()), columns=columns)
    keep = lambda frame: pa.table({name: pa.array(frame[name].to_numpy(), F, from_pandas=True) for name in frame})
    case(f"standardize{name}", {"rows": rows}, f"- features.standardize: {{columns: {listed}}}", keep(scaled(preprocessing.StandardScaler())))
    case(f"min_max{name}", {"rows": rows}, f"- features.min_max: {{columns: {listed}}}", keep(scaled(preprocessing.MinMaxScaler())))
    case(f"robust_scale{name}", {"rows": rows}, f"- features.robust_scale: {{columns: {listed}}}", keep(scaled(preprocessing.RobustScaler())))
varied = numbers.select(["x", "z"])
data = frame(varied)
power = preprocessing.PowerTransformer(method="yeo-johnson").fit_transform(data.to_numpy())
case("power", {"rows": varied}, "- features.power: {columns: [x, z]}", pd.DataFrame(power, columns=["x", "z"]))
components = decomposition.PCA(n_components=2)
projected = components.fit_transform(data.to_numpy())
# scikit-learn fixes the sign by the largest score or weight, by version; ours: the largest weight is positive.
signs = np.sign(components.components_[np.arange(2), np.abs(components.components_).argmax(axis=1)])
case("pca", {"rows": varied}, "- features.pca: {columns: [x, z], components: 2}", pd.DataFrame(projected * signs, columns=["pca_1", "pca_2"]))
products = preprocessing.PolynomialFeatures(degree=2, include_bias=False).fit_transform(data.to_numpy())
case("polynomial", {"rows": varied}, "- features.polynomial: {columns: [x, z], degree: 2}", pd.DataFrame(products, columns=["x", "z", "x^2", "x*z", "z^2"]))
edges = np.quantile(data.x, [0.25, 0.5, 0.75])
case("bin_quantile", {"rows": varied}, "- features.bin: {columns: [x], method: quantile, bins: 4}", data.assign(x=np.searchsorted(np.unique(edges), data.x, side="left")))
edges = np.linspace(data.x.min(), data.x.max(), 5)[1:-1]
case("bin_width", {"rows": varied}, "- features.bin: {columns: [x], method: width, bins: 4}", data.assign(x=np.searchsorted(edges, data.x, side="left")))

kinds = table(kind=(["b", "a", "ß", "a", "b", "日本", "b"], T))
data = frame(kinds)
hot = preprocessing.OneHotEncoder(sparse_output=False).fit(data)
case(
    "one_hot",
    {"rows": kinds},
    "- features.one_hot: {columns: [kind]}",
    pd.DataFrame(hot.transform(data), columns=[f"kind={kind}" for kind in hot.categories_[0]]),
)
case("ordinal", {"rows": kinds}, "- features.ordinal: {columns: [kind]}", pd.DataFrame(preprocessing.OrdinalEncoder().fit_transform(data), columns=["kind"]))
case("frequency", {"rows": kinds}, "- features.frequency: {columns: [kind]}", data.assign(kind=data.kind.map(data.kind.value_counts(normalize=True))))

known = table(
    part=(["train"] * 8 + ["test"] * 3, T),
    kind=(["a", "a", "a", "b", "b", "c", "c", "c", "a", "b", "nowhere"], T),
    y=([1.0, 2.0, 6.0, 4.0, 4.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0], F),
)
data = frame(known)
train, test = data[data.part == "train"], data[data.part == "test"]
for smooth in ["auto", 5.0]:
    encoder = preprocessing.TargetEncoder(smooth=smooth, target_type="continuous").fit(train[["kind"]], train.y)
    # Training rows get other folds' means, which depend on the seed: only the test rows are compared.
    case(
        f"target_encode_{str(smooth).replace('.0', '')}",
        {"rows": known},
        f"- split.column: {{column: part, train: [train], test: [test]}}\n"
        f"- features.target_encode: {{columns: [kind], target: y, smooth: {smooth}}}\n"
        f"- clean.filter: {{where: partition = 'test'}}\n- clean.select: {{columns: [kind]}}",
        pd.DataFrame({"kind": encoder.transform(test[["kind"]])[:, 0], "partition": "test"}),
    )

reviews = table(text=(["Good coffee, good price", "Bad coffee", "the price of tea in China: good?", "", "Größe ß 日本語 coffee"], T))
for name, options, params in [
    ("words", {"ngram_range": (1, 2)}, "ngrams: [1, 2]"),
    ("characters", {"analyzer": "char", "ngram_range": (2, 3)}, "unit: char, ngrams: [2, 3]"),
    ("rare", {"min_df": 2, "sublinear_tf": True}, "min_df: 2, sublinear_tf: true"),
]:
    weights = feature_extraction.text.TfidfVectorizer(**options).fit_transform(frame(reviews).text).toarray()
    # The vector is as long as `max_features` allows; the peer's has no room to spare.
    size = weights.shape[1]
    case(f"tf_idf_{name}", {"rows": reviews}, f"- features.tf_idf: {{column: text, {params}, max_features: {size}}}", pa.table({"text": pa.array(list(weights), pa.list_(F))}))
