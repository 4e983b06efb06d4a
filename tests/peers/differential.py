"""Golden results of pandas, NumPy, scikit-learn and Pillow for tests/differential.rs.

    pip install pandas==3.1.1 pyarrow==26.0.1 scikit-learn==1.9.1 pillow==13.0.0
    python tests/peers/differential.py tests/data/differential

For each case a folder: the input tables as Parquet, the stages as YAML, and what the peer made of the same rows, or what
the refusal says. Where pandas cannot tell null from not-a-number, a case holds only one of the two; from "not-a-number" on,
columns are backed by Arrow, which can. Deliberate differences are told at the case.
"""

import datetime as dt
import shutil
import struct
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn import decomposition, feature_extraction, preprocessing, tree

folder = Path(sys.argv[1])


# How files are written; the columns' types are told a second time only where they have a zone.
PARQUET = {"compression": "none"}


def write(rows: pa.Table, path: Path):
    small = "use_dictionary" in PARQUET
    pq.write_table(rows, path, store_schema=not small or any("tz=" in str(kind) for kind in rows.schema.types), **PARQUET)


def write_expected(path: Path, expected: pd.DataFrame | pa.Table):
    if isinstance(expected, pd.DataFrame):
        expected = pa.Table.from_pandas(expected, preserve_index=False)
    write(expected.replace_schema_metadata(None), path)


def pipeline(name: str, inputs: dict, stages: list[str]) -> Path:
    """Inputs are tables, or sources of files that the caller writes."""
    here = folder / name
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    lines = [f"pipeline: {name.replace('_', '-')}", "stages:"]
    for table, rows in inputs.items():
        source = rows if isinstance(rows, str) else f"source.parquet: {{path: {table}.parquet}}"
        lines += [f"  - {source}", f"    id: {table}"]
        if isinstance(rows, pa.Table):
            write(rows, here / f"{table}.parquet")
    lines += ["  " + line for line in stages]
    (here / "pipeline.yaml").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return here


def case(name: str, inputs: dict, stages: str, expected: pd.DataFrame | pa.Table):
    here = pipeline(name, inputs, [*stages.strip().splitlines(), "- sink.parquet: {path: found.parquet}"])
    write_expected(here / "expected.parquet", expected)


def branches(name: str, inputs: dict, outputs: dict):
    """Several results of the same inputs, each as `name=(stages, expected)`: one run makes them all."""
    lines = []
    for output, (stages, _) in outputs.items():
        number = 0
        for line in stages.strip().splitlines():
            lines.append(line)
            if line.startswith("- "):
                number += 1
                lines.append(f"  id: {output}_{number}")
                if number == 1 and "\n  from:" not in stages:
                    lines.append(f"  from: {next(iter(inputs))}")
        lines += [f"- sink.parquet: {{path: found_{output}.parquet}}", f"  id: sink_{output}"]
    here = pipeline(name, inputs, lines)
    for output, (_, expected) in outputs.items():
        write_expected(here / f"expected_{output}.parquet", expected)


def refused(name: str, inputs: dict, stages: str, *texts: str):
    """A run that must end with an error that says all of these."""
    here = pipeline(name, inputs, [*stages.strip().splitlines(), "- sink.parquet: {path: found.parquet}"])
    (here / "refused.txt").write_text("\n".join([*texts, ""]), encoding="utf-8")


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

# --- not-a-number, infinity and null side by side: columns backed by Arrow keep not-a-number and null apart, as we do

# Smaller files from here on; those of the cases above stay as they are, byte for byte.
PARQUET.update(compression="zstd", write_statistics=False, use_dictionary=False)


def arrow(rows: pa.Table) -> pd.DataFrame:
    return rows.to_pandas(types_mapper=pd.ArrowDtype)


def put(rows: pa.Table, /, **columns) -> pa.Table:
    """With these columns, each `name=(values, type)`, in the place of those that are there."""
    for name, (values, kind) in columns.items():
        values = pa.array(values, kind)
        rows = rows.set_column(rows.schema.get_field_index(name), name, values) if name in rows.column_names else rows.append_column(name, values)
    return rows


NAN, INF = float("nan"), float("inf")
# What infinities make of each other is what is compared.
np.seterr(all="ignore")
WILD = table(
    id=(list(range(1, 13)), I),
    at=(at(*(f"2024-03-0{day} 0{hour}:00" for day, hour in [(1, 0), (1, 1), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 0), (2, 0), (2, 1), (2, 2), (2, 3)])), S),
    group=(["a", "a", "b", "b", "a", "ß", "日本", None, None, "b", "a", "a"], T),
    x=([1.0, None, NAN, INF, -INF, -0.0, 0.0, 3.0, 3.0, NAN, None, 2.5], F),
    n=([1, None, 3, 3, 5, 0, -7, 2, 2, None, 9, 3], I),
    word=(["b", "a", "b", None, "É", "a", "b", "a", None, "", "日本", "z"], T),
)
wild = arrow(WILD)
# Nothing is said about what is largest of values of which one is not a number.
FINITE = put(WILD, x=([1.0, None, 4.0, INF, -INF, -0.0, 0.0, 3.0, 3.0, 8.0, None, 2.5], F))
NO_X = put(WILD, x=([None] * 12, F), word=([None] * 12, T))
FIRST = WILD.slice(0, 1)


def assigned(rows: pa.Table, /, **columns) -> pd.DataFrame:
    return arrow(rows).assign(**columns)


def texts_of(series: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"text": series})


def grouped_by(data: pd.DataFrame, *columns):
    return data.groupby(list(columns), dropna=False, sort=False)


# --- cleaning, again

branches(
    "fill_wild",
    {"rows": WILD},
    {
        "value": ("- clean.fill_null: {columns: x, value: 7}", assigned(WILD, x=wild.x.fillna(7.0))),
        "text": ("- clean.fill_null: {columns: [group, word], value: '?'}", assigned(WILD, group=wild.group.fillna("?"), word=wild.word.fillna("?"))),
        "forward": ("- clean.fill_null: {columns: [x, n, word], with: forward}", wild.assign(x=wild.x.ffill(), n=wild.n.ffill(), word=wild.word.ffill())),
        "backward": ("- clean.fill_null: {columns: [x, n], with: backward}", wild.assign(x=wild.x.bfill(), n=wild.n.bfill())),
        "mode": ("- clean.fill_null: {columns: word, with: mode}", wild.assign(word=wild.word.fillna(wild.word.mode().min()))),
        "median": (
            "- clean.fill_null: {columns: n, with: median}",
            wild.assign(n=wild.n.astype("double[pyarrow]").fillna(wild.n.median())),
        ),
    },
)
gaps = table(
    at=(at("2024-03-01 00:00", "2024-03-01 01:00", "2024-03-01 04:00", "2024-03-01 02:00", None, "2024-03-01 08:00", "2024-03-01 00:00", "2024-03-01 05:00", "2024-03-01 10:00"), S),
    group=(["a", "a", "a", "a", "a", "a", "ß", "ß", "ß"], T),
    x=([1.0, None, 5.0, None, None, None, None, None, 2.0], F),
    n=([1, None, None, 4, None, 6, None, 3, None], I),
)
data = frame(gaps)
timed = data[data["at"].notna()].sort_values(["group", "at"], kind="stable").set_index("at")
by_time = timed.groupby("group", group_keys=False).x.apply(lambda x: x.interpolate(method="time", limit_area="inside"))
by_time = pd.Series(by_time.to_numpy(), index=data[data["at"].notna()].sort_values(["group", "at"], kind="stable").index).reindex(data.index)
by_row = data.groupby("group", group_keys=False).x.apply(lambda x: x.interpolate(method="linear", limit_area="inside"))
in_time = data[data["at"].notna()].sort_values(["group", "at"], kind="stable")
branches(
    "fill_gaps",
    {"rows": gaps},
    {
        "linear_by": ("- clean.fill_null: {columns: x, with: linear, by: group}", data.assign(x=by_row)),
        "linear_over": ("- clean.fill_null: {columns: x, with: linear, by: group, over: at}", data.assign(x=by_time)),
        "forward_over": ("- clean.fill_null: {columns: n, with: forward, by: group, over: at}", data.assign(n=in_time.groupby("group").n.ffill().reindex(data.index))),
        "forward_limit": ("- clean.fill_null: {columns: n, with: forward, limit: 1}", data.assign(n=data.n.ffill(limit=1))),
        "backward_limit": ("- clean.fill_null: {columns: n, with: backward, by: group, limit: 1}", data.assign(n=data.groupby("group").n.bfill(limit=1))),
        "median_by": ("- clean.fill_null: {columns: n, with: median, by: group}", data.assign(n=data.n.fillna(data.groupby("group").n.transform("median")))),
        "mode_by": (
            "- clean.fill_null: {columns: n, with: mode, by: group}",
            data.assign(n=data.n.fillna(data.groupby("group").n.transform(lambda n: n.mode().min()))),
        ),
    },
)
for name, rows in {"nan": put(NO_X, x=([1.0, NAN] + [2.0] * 10, F)), "infinity": put(NO_X, x=([1.0, -INF] + [2.0] * 10, F)), "all_null": NO_X}.items():
    says = {"nan": "`x` is NaN in a training row", "infinity": "`x` is -inf in a training row", "all_null": "`x` has no value in the training rows to learn from"}
    refused(f"fill_mean_{name}", {"rows": rows}, "- clean.fill_null: {columns: x, with: mean}", "bad-data", says[name])
refused("fill_mode_empty", {"rows": WILD}, NOTHING + "- clean.fill_null: {columns: word, with: mode}", "bad-data", "`word` has no value in the training rows to learn from")

# Not-a-number equals itself here, and not null; so it does in pandas.
branches(
    "drop_duplicates_wild",
    {"rows": WILD},
    {
        "first": ("- clean.drop_duplicates: {on: x}", wild.drop_duplicates("x")),
        "last": ("- clean.drop_duplicates: {on: [x], keep: last}", wild.drop_duplicates("x", keep="last")),
        "none": ("- clean.drop_duplicates: {on: [x], keep: none}", wild.drop_duplicates("x", keep=False)),
        "two": ("- clean.drop_duplicates: {on: [word, group]}", wild.drop_duplicates(["word", "group"])),
        "all": ("- clean.select: {columns: [group, n]}\n- clean.drop_duplicates: {}", wild[["group", "n"]].drop_duplicates()),
    },
)
branches(
    "drop_nulls_wild",
    {"rows": WILD},
    {"x": ("- clean.drop_nulls: {columns: x}", wild.dropna(subset=["x"])), "all": ("- clean.drop_nulls: {}", wild.dropna())},
)


def ordered(data: pd.DataFrame, column: str, descending: bool, first: bool) -> pd.DataFrame:
    """Not-a-number is larger than every number, and null stands where it is told to, whatever the direction."""
    null = data[column].isna()
    keys = pd.DataFrame({"null": null != first, "nan": np.isnan(data[column].to_numpy(dtype=float, na_value=0.0)), "value": data[column].to_numpy(dtype=float, na_value=0.0)})
    keys.loc[keys.nan, "value"] = 0.0
    return data.iloc[keys.sort_values(["null", "nan", "value"], ascending=[True, not descending, not descending], kind="stable").index]


branches(
    "sort_wild",
    {"rows": WILD},
    {
        "up": ("- clean.sort: {by: x}", ordered(wild, "x", False, False)),
        "down": ("- clean.sort: {by: x, descending: true}", ordered(wild, "x", True, False)),
        "first": ("- clean.sort: {by: x, nulls: first}", ordered(wild, "x", False, True)),
        "down_first": ("- clean.sort: {by: {column: x, descending: true, nulls: first}}", ordered(wild, "x", True, True)),
        "words": ("- clean.sort: {by: [word, {column: n, descending: true}]}", wild.sort_values(["word", "n"], ascending=[True, False], kind="stable")),
    },
)

few = table(id=([3, 1, 2], I), x=([None] * 3, F), word=([None] * 3, T))
data = arrow(few)
nobody = "- clean.filter: {where: id < 0}\n"
single = "- clean.filter: {where: id = 1}\n"
branches(
    "rows_few",
    {"rows": few},
    {
        "sort": ("- clean.sort: {by: [word, x, id]}", data.sort_values(["word", "x", "id"])),
        "sort_empty": (nobody + "- clean.sort: {by: [word, x]}", data.iloc[:0]),
        "sort_one": (single + "- clean.sort: {by: word, nulls: first}", data.iloc[1:2]),
        "duplicates": ("- clean.drop_duplicates: {on: [x, word], keep: last}", data.drop_duplicates(["x", "word"], keep="last")),
        "duplicates_empty": (nobody + "- clean.drop_duplicates: {keep: none}", data.iloc[:0]),
        "duplicates_one": (single + "- clean.drop_duplicates: {keep: none}", data.iloc[1:2]),
        "nulls": ("- clean.drop_nulls: {columns: word}", data.dropna(subset=["word"])),
        "fill": ("- clean.fill_null: {columns: x, with: backward}\n- clean.fill_null: {columns: word, value: ß}", data.assign(word="ß")),
        "map_one": (single + "- clean.map_values: {columns: {id: {1: 10}}}", data.iloc[1:2].assign(id=10)),
        "join": ("- features.join: {on: word, how: full}\n  from: [rows, rows]", pd.concat([data, data.rename(columns={"id": "id_right", "x": "x_right"})])),
        "anti": ("- features.join: {on: word, how: anti}\n  from: [rows, rows]", data),
    },
)

branches(
    "filter",
    {"rows": WILD},
    {
        "null": ("- clean.filter: {where: x is null}", wild[wild.x.isna()]),
        "known": ("- clean.filter: {where: x is not null}", wild[wild.x.notna()]),
        "nan": ("- clean.filter: {where: isnan(x)}", wild[np.isnan(wild.x.to_numpy(dtype=float, na_value=0.0))]),
        "less": ("- clean.filter: {where: x < 2.5}", wild[(wild.x < 2.5).fillna(False)]),
        "zero": ("- clean.filter: {where: x = 0}", wild[(wild.x == 0).fillna(False)]),
        "number": ("- clean.filter: {where: n > 2 and group <> 'a'}", wild[((wild.n > 2) & (wild.group != "a")).fillna(False)]),
        "either": ("- clean.filter: {where: n > 2 or group = 'ß'}", wild[((wild.n > 2) | (wild.group == "ß")).fillna(False)]),
        "not": ("- clean.filter: {where: not (n > 2)}", wild[(~(wild.n > 2)).fillna(False)]),
        "in": ("- clean.filter: {where: \"word in ('a', 'É', '日本')\"}", wild[wild.word.isin(["a", "É", "日本"])]),
        "between": ("- clean.filter: {where: n between 2 and 3}", wild[wild.n.between(2, 3).fillna(False)]),
        "none": ("- clean.filter: {where: n > 100}", wild.iloc[:0]),
    },
)
branches(
    "columns",
    {"rows": WILD},
    {
        "rename": ("- clean.rename: {columns: {x: n, n: x, word: 語}}", wild.rename(columns={"x": "n", "n": "x", "word": "語"})),
        "select": ("- clean.select: {columns: [word, x]}", wild[["word", "x"]]),
        "drop": ("- clean.drop: {columns: [word, x]}", wild.drop(columns=["word", "x"])),
        "none": (NOTHING + "- clean.rename: {columns: {x: y}}\n- clean.drop: {columns: word}", wild.iloc[:0].rename(columns={"x": "y"}).drop(columns="word")),
    },
)

raw = table(
    whole=(["1", "-2", "007", "", None, "12345678901234567890", "1.5", "x"], T),
    real=(["1.5", "-2", "1e3", "", None, ".5", "abc", "-1.25E-2"], T),
    day=(["2024-02-29", "2023-02-29", "", None, "1969-12-31", "29.02.2024", "2024-12-31", "x"], T),
    x=([1.0, -2.0, NAN, INF, None, 300.0, -0.0, -INF], F),
    n=([1, -2, 127, 128, None, 255, 256, -129], I),
    flag=([True, False, None, True, False, True, False, True], pa.bool_()),
)
data = arrow(raw)
day = pd.to_datetime(frame(raw).day, format="%Y-%m-%d", errors="coerce")
whole = pd.to_numeric(frame(raw).whole, errors="coerce")
inside = whole.where((whole % 1 == 0) & whole.abs().lt(2.0**63))
known = data.x.to_numpy(dtype=float, na_value=np.nan)
branches(
    "cast",
    {"rows": raw},
    {
        "whole": ("- clean.select: {columns: whole}\n- clean.cast: {columns: {whole: i64}, on_error: null}", pa.table({"whole": pa.array(inside, I, from_pandas=True)})),
        "real": ("- clean.select: {columns: real}\n- clean.cast: {columns: {real: f64}, on_error: null}", pd.DataFrame({"real": pd.to_numeric(frame(raw).real, errors="coerce")})),
        "day": ("- clean.select: {columns: day}\n- clean.cast: {columns: {day: date}, on_error: null}", pa.table({"day": pa.array(day.dt.date, D, from_pandas=True)})),
        "time": ("- clean.select: {columns: day}\n- clean.cast: {columns: {day: datetime}, on_error: null}", pa.table({"day": pa.array(day, S)})),
        # What is not a whole number that fits becomes null, where astype would refuse or wrap around.
        "number": ("- clean.select: {columns: x}\n- clean.cast: {columns: {x: i16}, on_error: null}", pa.table({"x": pa.array(np.where(np.isfinite(known), known, 0).astype("int16"), pa.int16(), mask=~np.isfinite(known))})),
        "small": ("- clean.select: {columns: n}\n- clean.cast: {columns: {n: i8}, on_error: null}", data[["n"]].assign(n=data.n.where(data.n.between(-128, 127)).astype("int8[pyarrow]"))),
        "unsigned": ("- clean.select: {columns: n}\n- clean.cast: {columns: {n: u8}, on_error: null}", data[["n"]].assign(n=data.n.where(data.n.between(0, 255)).astype("uint8[pyarrow]"))),
        "text": ("- clean.select: {columns: n}\n- clean.cast: {columns: {n: text}}", data[["n"]].astype("string[pyarrow]")),
        "wide": ("- clean.select: {columns: [n, flag]}\n- clean.cast: {columns: {n: f64, flag: i64}}", data[["n", "flag"]].astype({"n": "double[pyarrow]", "flag": "int64[pyarrow]"})),
        "narrow": ("- clean.select: {columns: x}\n- clean.cast: {columns: {x: f32}}", data[["x"]].astype("float[pyarrow]")),
    },
)
refused("cast_nan", {"rows": WILD}, "- clean.cast: {columns: {x: i64}}", "error[")
branches(
    "cast_few",
    {"rows": NO_X},
    {
        "all_null": ("- clean.cast: {columns: {x: i64, word: f64}}", arrow(NO_X).astype({"x": "int64[pyarrow]", "word": "double[pyarrow]"})),
        "empty": (NOTHING + "- clean.cast: {columns: {x: i64, n: text}}", arrow(NO_X).iloc[:0].astype({"x": "int64[pyarrow]", "n": "string[pyarrow]"})),
    },
)

beside = table(y=([NAN, None, INF] + [0.5] * 9, F), 語=(["é"] * 11 + [None], T))
below = table(word=([None, "ß"], T), x=([NAN, None], F), new=([True, None], pa.bool_()))
branches(
    "align_and_union",
    {"rows": WILD, "beside": beside, "below": below},
    {
        "align": ("- clean.align: {}\n  from: [rows, beside]", pd.concat([wild, arrow(beside)], axis=1)),
        "union": ("- clean.union: {missing: null, source: from, labels: [eins, zwei]}\n  from: [rows, below]", pd.concat([wild.assign(**{"from": "eins"}), arrow(below).assign(**{"from": "zwei"})])),
        "twice": ("- clean.union: {}\n  from: [rows, rows]", pd.concat([wild, wild])),
    },
)
branches(
    "align_and_union_empty",
    {"rows": WILD, "beside": beside},
    {
        "align": (
            "- clean.filter: {where: id < 0}\n  from: rows\n- clean.filter: {where: y < -1}\n  from: beside\n- clean.align: {}\n  from: [align_1, align_2]",
            pd.concat([wild.iloc[:0], arrow(beside).iloc[:0]], axis=1),
        ),
        "union": ("- clean.filter: {where: id < 0}\n  from: rows\n- clean.union: {}\n  from: [union_1, rows]", wild),
    },
)
refused("align_lengths", {"rows": WILD, "below": below.select(["new"])}, "- clean.align: {}\n  from: [rows, below]", "error[")

spread = table(
    id=(list(range(1, 19)), I),
    group=(["a"] * 7 + ["b"] * 7 + ["c"] * 2 + [None] * 2, T),
    x=([1.0, 2.0, 2.0, 3.0, 40.0, INF, NAN, -50.0, 10.0, 11.0, 12.0, 13.0, None, -INF, 5.0, 1000.0, 3.0, 4.0], F),
    n=([3, 2, 2, 3, 40, 4, None, -50, 10, 11, 12, 13, 9, 9, 5, 1000, 3, None], I),
)
data = arrow(spread)
# Infinite values are outliers that teach nothing; not-a-number stays, as null does.
value = data.x.to_numpy(dtype=float, na_value=np.nan)
null = data.x.isna().to_numpy()
number = data.n.to_numpy(dtype=float, na_value=np.nan)


def fences(values) -> tuple[float, float]:
    first, third = np.quantile(values[np.isfinite(values)], [0.25, 0.75])
    return first - 1.5 * (third - first), third + 1.5 * (third - first)


def bounded(low, high) -> pa.Table:
    return put(spread, x=(pa.array(np.where(np.isnan(value), value, np.clip(value, low, high)), F, mask=null), F))


low, high = fences(value)
outside = (value < low) | (value > high)
mean, deviation = value[np.isfinite(value)].mean(), value[np.isfinite(value)].std()
least, most = np.quantile(value[np.isfinite(value)], [0.05, 0.9])
# A group of fewer than five finite values has the bounds of all rows.
by_group = []
for group in data.group:
    own = value[(data.group.isna() if pd.isna(group) else data.group.eq(group).fillna(False)).to_numpy(dtype=bool)]
    by_group.append(fences(own) if np.isfinite(own).sum() >= 5 else (low, high))
whole = fences(number)
branches(
    "clip_wild",
    {"rows": spread},
    {
        "iqr": ("- clean.clip_outliers: {columns: x}", bounded(low, high)),
        "z_score": ("- clean.clip_outliers: {columns: x, method: z_score, limit: 2}", bounded(mean - 2 * deviation, mean + 2 * deviation)),
        "quantile": ("- clean.clip_outliers: {columns: x, method: quantile, low: 0.05, high: 0.9}", bounded(least, most)),
        "drop": ("- clean.clip_outliers: {columns: x, action: drop}", data[~outside]),
        "null": ("- clean.clip_outliers: {columns: x, action: 'null'}", put(spread, x=(pa.array(value, F, mask=null | outside), F))),
        "by": ("- clean.clip_outliers: {columns: x, by: group, min_rows: 5}", bounded(*np.array(by_group).T)),
    },
)
low, high = whole
# Whole numbers stay so, and the bounds are rounded.
assert low % 1 not in (0, 0.5) and high % 1 not in (0, 0.5)
branches(
    "clip_few",
    {"rows": spread},
    {
        "whole": ("- clean.clip_outliers: {columns: n}", data.assign(n=data.n.clip(round(low), round(high)))),
        "one": ("- clean.filter: {where: id = 1}\n- clean.clip_outliers: {columns: [x, n], method: z_score}", spread.slice(0, 1)),
    },
)
refused("clip_all_null", {"rows": NO_X}, "- clean.clip_outliers: {columns: x, action: drop}", "bad-data", "`x` has no value in the training rows to learn from")
refused("clip_empty", {"rows": WILD}, NOTHING + "- clean.clip_outliers: {columns: x}", "bad-data", "`x` has no value in the training rows to learn from")

texts = table(text=([" Straße ", "ÉCOLE", "e\u0301cole", "ΟΔΟΣ", "İstanbul", "日本 語", "ｆｕｌｌ ①ﬁ", "\u00a0\tøÅñ\u2003", "한국어", "", None, "a  b", "naïve Ǆ"], T))
series = frame(texts).text
bare = series.map(feature_extraction.text.strip_accents_unicode, na_action="ignore")
composed = series.str.normalize("NFD").map(lambda text: "".join(letter for letter in text if not unicodedata.combining(letter)), na_action="ignore").str.normalize("NFC")
# pandas lets Arrow change the case of letters one by one; Python's own methods know final sigmas, and letters that become two.
branches(
    "texts",
    {"rows": texts},
    {
        "lower": ("- clean.normalize_text: {columns: [text], case: lower}", texts_of(series.map(str.lower, na_action="ignore").str.normalize("NFC"))),
        "upper": ("- clean.normalize_text: {columns: [text], case: upper}", texts_of(series.map(str.upper, na_action="ignore").str.normalize("NFC"))),
        "keep": ("- clean.normalize_text: {columns: [text], form: keep, case: fold}", texts_of(series.str.casefold())),
        "bare": ("- clean.normalize_text: {columns: [text], strip_accents: true}", texts_of(composed)),
        "bare_nfkc": ("- clean.normalize_text: {columns: [text], strip_accents: true, form: nfkc}", texts_of(bare.str.normalize("NFKC"))),
        "start": ("- clean.trim: {columns: text, side: start}", texts_of(series.str.lstrip())),
        "end": ("- clean.trim: {columns: text, side: end}", texts_of(series.str.rstrip())),
        "collapse": ("- clean.trim: {collapse: true}", texts_of(series.str.split().str.join(" "))),
        "empty": ("- clean.trim: {empty_to_null: true}", texts_of(series.str.strip().replace({"": None}))),
        "replace": ("- clean.replace: {columns: text, pattern: 'a', with: '$1.'}", texts_of(series.str.replace("a", "$1.", regex=False))),
        "groups": ("- clean.replace: {columns: text, pattern: '([a-zß])([a-zß])', with: '\\2\\1', regex: true}", texts_of(series.str.replace(r"([a-zß])([a-zß])", r"\2\1", regex=True))),
        "none": ("- clean.filter: {where: \"text = 'nowhere'\"}\n- clean.trim: {}\n- clean.normalize_text: {case: upper}\n- clean.replace: {columns: text, pattern: a}", texts.slice(0, 0)),
        "one": ("- clean.filter: {where: \"text = 'ÉCOLE'\"}\n- clean.normalize_text: {case: lower, strip_accents: true}", texts_of(series[1:2].str.lower().map(feature_extraction.text.strip_accents_unicode))),
    },
)
nothing = table(id=([1, 2], I), text=([None, None], T))
branches(
    "texts_all_null",
    {"rows": nothing},
    {
        "trim": ("- clean.trim: {collapse: true, empty_to_null: true}", nothing),
        "normalize": ("- clean.normalize_text: {case: fold, strip_accents: true, remove_control: true}", nothing),
        "replace": ("- clean.replace: {columns: text, pattern: '^$', with: x, regex: true}", nothing),
        "map": ("- clean.map_values: {columns: {text: {a: b}}}", nothing),
    },
)
branches(
    "map_wild",
    {"rows": WILD},
    {
        "keep": ("- clean.map_values: {columns: {x: {3.0: 4.0, 0.0: 9.0}}, unknown: keep}", wild.assign(x=wild.x.where(~wild.x.isin([3.0]), 4.0).where(~(wild.x == 0).fillna(False), 9.0))),
        "null": ("- clean.map_values: {columns: {n: {1: eins, 3: drei}}, unknown: null}", wild.assign(n=frame(WILD).n.map({1: "eins", 3: "drei"}))),
        "empty": (NOTHING + "- clean.map_values: {columns: {n: {1: eins}}}", wild.iloc[:0].assign(n=pd.Series([], dtype="string[pyarrow]"))),
    },
)

# --- dates and times, again

local = table(
    at=(["2024-03-31 02:30", "31.03.2024", " 2024-10-27 02:30 ", "", None, "2024-02-30 12:00", "2024-12-31 23:59", "1969-12-31 23:59", "x"], T),
    seconds=([0, -1, 1711846800, None, 1729989000, 1, 2, 3, 4], I),
)
data = frame(local)
first = pd.to_datetime(data["at"].str.strip(), format="%Y-%m-%d %H:%M", errors="coerce")
either = first.fillna(pd.to_datetime(data["at"].str.strip(), format="%d.%m.%Y", errors="coerce"))
forward = either.dt.tz_localize("Europe/Berlin", ambiguous="NaT", nonexistent="shift_forward")
seconds = pd.to_datetime(data.seconds, unit="s", utc=True)
branches(
    "parse_dates_more",
    {"rows": local},
    {
        "formats": (
            "- clean.select: {columns: at}\n- clean.parse_dates: {columns: at, formats: ['%Y-%m-%d %H:%M', '%d.%m.%Y'], on_error: null}",
            pa.table({"at": pa.array(either, S)}),
        ),
        "zone": (
            "- clean.select: {columns: at}\n"
            "- clean.parse_dates: {columns: at, formats: ['%Y-%m-%d %H:%M', '%d.%m.%Y'], zone: Europe/Berlin, ambiguous: 'null', nonexistent: forward, on_error: null}",
            pa.table({"at": pa.array(forward, BERLIN)}),
        ),
        "to_zone": (
            "- clean.select: {columns: at}\n"
            "- clean.parse_dates: {columns: at, formats: '%Y-%m-%d %H:%M', zone: Europe/Berlin, to_zone: UTC, ambiguous: 'null', nonexistent: 'null', on_error: null}",
            pa.table({"at": pa.array(first.dt.tz_localize("Europe/Berlin", ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC"), pa.timestamp("us", tz="UTC"))}),
        ),
        "day": (
            "- clean.select: {columns: at}\n- clean.parse_dates: {columns: at, to: date, formats: ['%Y-%m-%d %H:%M', '%d.%m.%Y'], on_error: null}",
            pa.table({"at": pa.array(either.dt.date, D, from_pandas=True)}),
        ),
        "seconds": (
            "- clean.select: {columns: seconds}\n- clean.parse_dates: {columns: seconds, unit: s, to_zone: Europe/Berlin}",
            pa.table({"seconds": pa.array(seconds.dt.tz_convert("Europe/Berlin"), BERLIN)}),
        ),
        "empty": ("- clean.filter: {where: seconds = 77}\n- clean.parse_dates: {columns: at}\n- clean.parse_dates: {columns: seconds, unit: ms}", pa.table({"at": pa.array([], S), "seconds": pa.array([], S)})),
    },
)

readings = table(
    at=(at("2024-01-31 23:50", "2024-01-31 23:50", "2024-02-01 02:10", "2024-02-01 05:00", "2024-03-01 00:00", "2024-01-31 00:00", "2024-02-03 12:00"), S),
    group=(["a", "a", "a", "a", "ß", None, None], T),
    x=([1.0, 3.0, NAN, INF, 5.0, None, 8.0], F),
    n=([1, None, 4, 2, None, 5, 9], I),
)
data = arrow(readings)


def resampled(every: str, /, **how) -> pd.DataFrame:
    """Each group on a grid of its own, in the order in which the groups appear; pandas resamples one at a time."""
    parts = []
    for group, rows in data.groupby("group", dropna=False, sort=False):
        slots = rows.set_index(pd.DatetimeIndex(rows["at"])).resample(every, closed="left", label="left")
        parts.append(pd.DataFrame({"group": group if isinstance(group, str) else None, **{name: make(slots) for name, make in how.items()}}).rename_axis("at").reset_index())
    return pd.concat(parts)


def total(slots):
    """A sum over nothing is 0, and over not-a-number is that; a slot without rows is a gap."""
    sums = [rows.x.dropna().astype(float).sum(skipna=False) if len(rows) else None for _, rows in slots]
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(sums, F)]))


count = lambda slots: slots.size()
mean = lambda slots: slots.n.apply(lambda n: n.mean() if n.notna().any() else np.nan).astype(float)
branches(
    "resample_by",
    {"rows": readings},
    {
        "flag": (
            "- clean.resample_time: {over: at, every: 3h, by: group, aggregate: {total: sum(x), rows: count()}, fill_columns: {rows: zero}, flag: gap}",
            resampled("3h", total=total, rows=count, gap=lambda slots: slots.size() == 0),
        ),
        "months": ("- clean.resample_time: {over: at, every: 1mo, by: group, aggregate: {mean: avg(n), rows: count()}}", resampled("MS", mean=mean, rows=count)),
        "weeks": (
            "- clean.resample_time: {over: at, every: 1w, by: group, aggregate: {mean: avg(n), rows: count()}}",
            resampled("W-MON", mean=mean, rows=count),
        ),
        "value": (
            "- clean.resample_time: {over: at, every: 1d, by: group, aggregate: {rows: count(), most: max(n)}, fill: value, value: -1}",
            resampled("1D", rows=lambda slots: slots.size().where(slots.size() > 0, -1), most=lambda slots: slots.n.max().where(slots.size() > 0, -1).astype("int64[pyarrow]")),
        ),
        "one": ("- clean.filter: {where: group = 'ß'}\n- clean.resample_time: {over: at, every: 1h, aggregate: {n: sum(n), x: sum(x), rows: count()}}", pd.DataFrame({"at": readings["at"][4:5].to_pylist(), "n": 0, "x": 5.0, "rows": 1})),
        "empty": ("- clean.filter: {where: n > 100}\n- clean.resample_time: {over: at, every: 1h, aggregate: {x: sum(x)}}", pa.table({"at": pa.array([], S), "x": pa.array([], F)})),
    },
)
steps = table(at=(at("2024-01-01 00:10", "2024-01-01 03:00", "2024-01-01 04:00", "2024-01-01 08:59"), S), x=([1.0, 7.0, None, -3.0], F))
slots = frame(steps).set_index("at").x.resample("1h")
# A null in a slot with rows stays, and is no end of a line.
filled = slots.mean().interpolate(method="linear", limit_area="inside")
filled[(slots.size() > 0) & slots.mean().isna()] = np.nan
case(
    "resample_linear",
    {"rows": steps},
    "- clean.resample_time: {over: at, every: 1h, aggregate: {x: avg(x)}, fill: linear}",
    pd.DataFrame({"at": filled.index, "x": filled.to_numpy()}),
)
# Slots of an hour on the days on which clocks are set.
for name, day in {"spring": "2024-03-31", "autumn": "2024-10-27"}.items():
    stamps = pd.date_range(day, periods=30, freq="50min", tz="Europe/Berlin")
    hourly = pd.Series(np.arange(30.0), index=stamps).resample("1h")
    case(
        f"resample_hours_{name}",
        {"rows": pa.table({"at": pa.array(stamps, BERLIN), "x": pa.array(np.arange(30.0))})},
        "- clean.resample_time: {over: at, every: 1h, aggregate: {x: sum(x), rows: count()}}",
        pa.table({"at": pa.array(hourly.sum().index, BERLIN), "x": pa.array(hourly.sum().to_numpy()), "rows": pa.array(hourly.size().to_numpy())}),
    )

# --- aggregates and wide tables, again

strict = lambda how: (lambda x: getattr(x.dropna().astype(float), how)(skipna=False))
groups = grouped_by(wild, "group")
finite = arrow(FINITE)
finite_groups = grouped_by(finite, "group")


def per_group(groups, kinds: dict, /, **how) -> pa.Table:
    """Columns as `name=(column, function)`, in the order in which the groups appear; not-a-number is kept apart from null."""
    parts = [(None if pd.isna(group) else group, rows) for (group,), rows in groups]
    values = {"group": [group for group, _ in parts], **{name: [make(rows[column]) for _, rows in parts] for name, (column, make) in how.items()}}
    return pa.table({name: pa.array([None if value is pd.NA else value for value in values[name]], kind) for name, kind in {"group": T, **kinds}.items()})


pairs = frame(AWKWARD)
both = grouped_by(pairs, "group")
several = lambda rows: len(rows[["x", "n"]].dropna()) > 1
branches(
    "aggregate_wild",
    {"rows": WILD, "finite": FINITE, "pairs": AWKWARD},
    {
        "nan": (
            "- features.aggregate: {by: group, aggregate: {rows: count(), known: count(x), kinds: count(distinct x), total: sum(x), mean: avg(x), first: first(x), last: last(x)}}",
            per_group(
                groups,
                {"rows": I, "known": I, "kinds": I, "total": F, "mean": F, "first": F, "last": F},
                rows=("id", len),
                known=("x", lambda x: x.notna().sum()),
                kinds=("x", lambda x: len(x.dropna().drop_duplicates())),
                total=("x", strict("sum")),
                mean=("x", strict("mean")),
                first=("x", lambda x: x.iloc[0]),
                last=("x", lambda x: x.iloc[-1]),
            ),
        ),
        "infinity": (
            "- features.aggregate: {by: group, aggregate: {total: sum(x), mean: avg(x), least: min(x), most: max(x), middle: median(x)}}\n  from: finite",
            per_group(
                finite_groups,
                {"total": F, "mean": F, "least": F, "most": F, "middle": F},
                total=("x", lambda x: x.sum()),
                mean=("x", lambda x: x.mean()),
                least=("x", lambda x: x.min()),
                most=("x", lambda x: x.max()),
                middle=("x", lambda x: x.astype(float).median()),
            ),
        ),
        "kinds": (
            "- features.aggregate: {by: group, aggregate: {often: mode(word), least: min(word), most: max(word), whole: sum(n), kinds: count(distinct word), many: count_if(n > 2), any: any_value(word), early: min(at), late: max(at)}}",
            per_group(
                groups,
                {"often": T, "least": T, "most": T, "whole": I, "kinds": I, "many": I, "any": T, "early": S, "late": S},
                often=("word", lambda word: word.mode().min() if word.notna().any() else None),
                least=("word", lambda word: word.min()),
                most=("word", lambda word: word.max()),
                whole=("n", lambda n: int(n.sum())),
                kinds=("word", lambda word: word.nunique()),
                many=("n", lambda n: int((n > 2).sum())),
                any=("word", lambda word: word.dropna().iloc[0] if word.notna().any() else None),
                early=("at", lambda at: at.min()),
                late=("at", lambda at: at.max()),
            ),
        ),
        "pairs": (
            "- features.aggregate: {by: group, aggregate: {corr: 'corr(x, n)', covar: 'covar(x, n)', variance: variance(n), often: mode(n), share: 'quantile(n, 0.4)'}}\n  from: pairs",
            pd.DataFrame(
                [
                    {"group": group if isinstance(group, str) else None, "corr": rows.x.corr(rows.n) if several(rows) else np.nan, "covar": rows.x.cov(rows.n) if several(rows) else np.nan, "variance": rows.n.var(), "often": rows.n.mode().min() if rows.n.notna().any() else np.nan, "share": rows.n.quantile(0.4)}
                    for (group,), rows in both
                ]
            ),
        ),
        "two": ("- features.aggregate: {by: [group, word], aggregate: {rows: count()}}", grouped_by(wild, "group", "word").size().rename("rows").reset_index()),
        "having": ("- features.aggregate: {by: group, aggregate: {rows: count()}, having: rows > 1}", groups.size().rename("rows").reset_index().query("rows > 1")),
    },
)
sums = "aggregate: {rows: count(), known: count(x), total: sum(x), mean: avg(x), least: min(x), most: max(x), spread: stddev(x), middle: median(x)}"
branches(
    "aggregate_few",
    {"rows": NO_X},
    {
        "empty": (NOTHING + f"- features.aggregate: {{by: group, {sums}}}", pa.table({"group": pa.array([], T), **{name: pa.array([], F) for name in ["rows", "known", "total", "mean", "least", "most", "spread", "middle"]}})),
        # Of no rows at all there is one group, if nothing parts them.
        "whole": (NOTHING + f"- features.aggregate: {{{sums}}}", pd.DataFrame({"rows": [0], "known": [0], "total": [0.0], **{name: pa.nulls(1, F).to_pandas() for name in ["mean", "least", "most", "spread", "middle"]}})),
        "all_null": (f"- features.aggregate: {{by: group, {sums}}}", arrow(NO_X).groupby("group", dropna=False, sort=False).agg(rows=("id", "size"), known=("x", "count"), total=("x", "sum"), mean=("x", "mean"), least=("x", "min"), most=("x", "max"), spread=("x", "std"), middle=("x", "median")).reset_index()),
        "one": ("- clean.filter: {where: id = 3}\n- features.aggregate: {by: group, aggregate: {total: sum(n), mean: avg(n), spread: stddev(n), variance: variance(n), middle: median(n)}}", pa.table({"group": ["b"], "total": [3], "mean": [3.0], "spread": pa.nulls(1, F), "variance": pa.nulls(1, F), "middle": [3.0]})),
    },
)

wide = wild.assign(word=wild.word.fillna("other"), rows=1)
kinds = sorted(wild.word.dropna().unique())
table_of = lambda column, how, fill: wide.assign(group=wide.group.fillna("?")).pivot_table(index="group", columns="word", values=column, aggfunc=how, fill_value=fill, sort=False, dropna=False, observed=False)
total_n = table_of("n", "sum", 0).reindex(columns=[*kinds, "other"], fill_value=0)
size = table_of("rows", "sum", 0).reindex(columns=[*kinds, "other"], fill_value=0)
mean_n = table_of("n", "mean", None).reindex(columns=[*kinds, "other"])
pivoted = pd.DataFrame({"group": [None if group == "?" else group for group in total_n.index]})
for kind in [*kinds, "other"]:
    pivoted[f"total={kind}"] = total_n[kind].fillna(0).to_numpy(dtype=float)
    pivoted[f"rows={kind}"] = size[kind].fillna(0).to_numpy(dtype=float)
    pivoted[f"mean={kind}"] = mean_n[kind].to_numpy(dtype=float, na_value=np.nan)
learned = pivoted.drop(columns=[name for name in pivoted if name.endswith("=other")])
branches(
    "pivot_learned",
    {"rows": WILD},
    {
        "ignore": ("- features.pivot: {by: group, column: word, aggregate: {total: sum(n), rows: count(), mean: avg(n)}, unknown: ignore}", learned),
        "null": ("- features.pivot: {by: group, column: word, aggregate: {total: sum(n), rows: count(), mean: avg(n)}}", learned),
        "other": (
            "- features.pivot: {by: group, column: word, values: ['', a, b, z, É, 日本], aggregate: {total: sum(n), rows: count(), mean: avg(n)}, unknown: other}",
            pivoted,
        ),
        "numbers": (
            "- clean.filter: {where: n >= 0}\n- features.pivot: {column: n, aggregate: {rows: count()}}",
            pd.DataFrame([{f"rows={number}": count for number, count in frame(WILD).n.dropna().astype("int64").pipe(lambda n: n[n >= 0]).value_counts().sort_index().items()}]),
        ),
        "given": (NOTHING + "- features.pivot: {by: group, column: word, values: [a], aggregate: {rows: count()}}", pa.table({"group": pa.array([], T), "rows=a": pa.array([], I)})),
    },
)
refused("pivot_empty", {"rows": WILD}, NOTHING + "- features.pivot: {by: group, column: word, aggregate: {rows: count()}}", "bad-data", "`word` has no value in the training rows to learn from")
refused("pivot_all_null", {"rows": NO_X}, "- features.pivot: {by: group, column: word, aggregate: {rows: count()}}", "bad-data", "`word` has no value in the training rows to learn from")

# --- joins, again: null keys equal nothing, where pandas takes them for equal

left = table(id=([1, 2, 3, 4, 5, 6], I), key=(["a", None, "ß", "a", "日本", "c"], T), n=([1, 1, 2, 2, None, 3], I), x=([NAN, None, INF, 1.0, 2.0, 3.0], F))
right = table(key=(["a", "ß", None, "a", "z", "日本", "c"], T), n=([1, 2, 1, 1, 9, None, 3], I), x=([0.5, NAN, 1.5, None, -INF, 2.5, 3.5], F))
L, R = arrow(left), arrow(right)


def joined(on: list, how: str) -> pd.DataFrame:
    """In the left order, partners in the right one; of a full join, what the right alone has comes last."""
    known = R.dropna(subset=on)
    rows = L.assign(left=range(len(L))).merge(known.assign(right=range(len(known))), on=on, how="left" if how == "full" else how, suffixes=("", "_right"))
    if how == "full":
        alone = R[~R.index.isin(known.reset_index().merge(L.dropna(subset=on), on=on)["index"])]
        rows = pd.concat([rows, alone.rename(columns={name: f"{name}_right" for name in R if name not in on})])
    return rows.drop(columns=["left", "right"]).reset_index(drop=True)


has = L.key.isin(R.key.dropna()) & L.key.notna()
branches(
    "join_wild",
    {"left": left, "right": right},
    {
        "full": ("- features.join: {on: key, how: full}\n  from: [left, right]", joined(["key"], "full")),
        "full_two": ("- features.join: {on: [key, n], how: full}\n  from: [left, right]", joined(["key", "n"], "full")),
        "inner_two": ("- features.join: {on: [key, n], how: inner}\n  from: [left, right]", joined(["key", "n"], "inner")),
        "left": ("- features.join: {on: key}\n  from: [left, right]", joined(["key"], "left")),
        "anti": ("- features.join: {on: key, how: anti}\n  from: [left, right]", L[~has]),
        "semi": ("- features.join: {on: key, how: semi}\n  from: [left, right]", L[has]),
        "names": (
            "- features.join: {left_on: key, right_on: key, select: x, prefix: r_}\n  from: [left, right]",
            joined(["key"], "left").drop(columns=["n_right"]).rename(columns={"x_right": "r_x"}),
        ),
    },
)
none = "- clean.filter: {where: n > 100}\n  from: "
double = {"n_right": "int64[pyarrow]", "x_right": "double[pyarrow]"}
empty_left = L.iloc[:0].merge(R, on="key", how="left", suffixes=("", "_right"))
branches(
    "join_empty",
    {"left": left, "right": right},
    {
        "left": (none + "left\n- features.join: {on: key}\n  from: [left_1, right]", empty_left.astype(double)),
        "full_left": (none + "left\n- features.join: {on: key, how: full}\n  from: [full_left_1, right]", L.iloc[:0].assign(n_right=L.n, x_right=L.x).pipe(lambda rows: pd.concat([rows.iloc[:0], R.rename(columns={"n": "n_right", "x": "x_right"})]))),
        "full_right": (none + "right\n- features.join: {on: key, how: full}\n  from: [left, full_right_1]", L.merge(R.iloc[:0], on="key", how="left", suffixes=("", "_right")).astype(double)),
        "inner_right": (none + "right\n- features.join: {on: key, how: inner}\n  from: [left, inner_right_1]", empty_left.astype(double)),
        "anti_right": (none + "right\n- features.join: {on: key, how: anti}\n  from: [left, anti_right_1]", L),
        "semi_right": (none + "right\n- features.join: {on: key, how: semi}\n  from: [left, semi_right_1]", L.iloc[:0]),
        "one": ("- clean.filter: {where: id = 1}\n  from: left\n- features.join: {on: key}\n  from: [one_1, right]", joined(["key"], "left").query("id == 1")),
    },
)

trades = table(
    at=(at("2024-03-01 10:05", None, "2024-03-01 10:00", "2024-03-01 10:05", "2024-03-01 09:00", "2024-03-01 10:10"), S),
    symbol=(["ß", "ß", "ß", None, "ß", "日本"], T),
    id=([1, 2, 3, 4, 5, 6], I),
)
quotes = table(
    at=(at("2024-03-01 10:05", "2024-03-01 09:30", None, "2024-03-01 10:00", "2024-03-01 10:00", "2024-03-01 10:00", "2024-03-01 10:20"), S),
    symbol=(["ß", "ß", "ß", None, "日本", "ß", "日本"], T),
    price=([1.0, NAN, 3.0, 4.0, INF, None, 7.0], F),
)


def nearest(direction: str, **options) -> pd.DataFrame:
    """A row without a time, or with a null in `by`, finds nobody; pandas wants the others in the order of time."""
    T_, Q = arrow(trades).astype({"at": "datetime64[us]"}), arrow(quotes).astype({"at": "datetime64[us]"})
    sound = T_.dropna(subset=["at", "symbol"]).sort_values("at", kind="stable")
    # Not-a-number would come back as null: the row's number is taken instead.
    of = Q.drop(columns="price").assign(quote=np.arange(len(Q), dtype=float)).dropna(subset=["at", "symbol"]).sort_values("at", kind="stable")
    # Of two equally near quotes we take the later, pandas the earlier.
    sound = sound.assign(at=sound["at"] + np.timedelta64(int(direction == "nearest"), "us")).astype({"symbol": object})
    found = pd.merge_asof(sound, of.astype({"symbol": object}), on="at", by="symbol", direction=direction, **options).set_index("id").quote.reindex(frame(trades).id)
    prices = quotes["price"].to_pylist()
    return put(trades, price=([None if np.isnan(place) else prices[int(place)] for place in found], F))


joins = {"backward": ("", {}), "forward": ("", {}), "nearest": ("", {}), "backward_before": (", allow_equal: false", {"allow_exact_matches": False}), "forward_after": (", allow_equal: false", {"allow_exact_matches": False}), "backward_near": (", tolerance: 5m", {"tolerance": pd.Timedelta("5min")})}
branches(
    "join_asof_wild",
    {"trades": trades, "quotes": quotes},
    {
        **{
            name: (f"- features.join_asof: {{on: at, by: symbol, direction: {name.split('_')[0]}{more}}}\n  from: [trades, quotes]", nearest(name.split("_")[0], **options))
            for name, (more, options) in joins.items()
        },
        "right_empty": ("- clean.filter: {where: price < -1}\n  from: quotes\n- features.join_asof: {on: at, by: symbol}\n  from: [trades, right_empty_1]", put(trades, price=([None] * 6, F))),
        "left_empty": ("- clean.filter: {where: id < 0}\n  from: trades\n- features.join_asof: {on: at, by: symbol}\n  from: [left_empty_1, quotes]", put(trades.slice(0, 0), price=([], F))),
    },
)

# --- windows, again: what left a window is forgotten, be it infinite or not a number; pandas makes null of both in its own


def window(rows: pd.DataFrame, place: int, count: int | None = None, length: str | None = None, current: bool = True) -> pd.DataFrame:
    """The rows that a row sees, null as pandas has it."""
    own = rows.iloc[place]
    group = rows[rows.group.isna() if pd.isna(own.group) else (rows.group == own.group).fillna(False)].sort_values("at", kind="stable")
    if length:
        start = own["at"] - pd.Timedelta(length)
        return group[(group["at"] > start) & (group["at"] <= own["at"])] if current else group[(group["at"] >= start) & (group["at"] < own["at"])]
    end = group.index.get_loc(place) + current
    return group.iloc[max(0, end - count) : end]


def windowed(rows: pa.Table, kinds: dict, columns: dict, **how) -> pa.Table:
    data = arrow(rows)
    for name, (column, make) in columns.items():
        values = [make(window(data, place, **how)[column]) for place in range(len(data))]
        rows = put(rows, **{name: ([None if value is pd.NA or value is None else value for value in values], kinds.get(name, F))})
    return rows


def some(how: str):
    """An aggregate that is null of nothing."""
    return lambda x: strict(how)(x) if x.notna().any() else None


def spread_of(x):
    x = x.dropna().astype(float)
    return x.std(skipna=False) if len(x) > 1 else None


moving = {"total": ("x", strict("sum")), "known": ("x", lambda x: int(x.notna().sum())), "mean": ("x", some("mean")), "spread": ("x", spread_of), "rows": ("id", len)}
sums = "aggregate: {total: sum(x), known: count(x), mean: avg(x), spread: stddev(x), rows: count()}"
bounds = {"least": ("x", some("min")), "most": ("x", some("max")), "middle": ("x", some("median"))}
whole = {"known": I, "rows": I}
# Long enough for values to leave the window again.
LONG = table(
    id=(list(range(1, 15)), I),
    at=(at(*(f"2024-03-31 0{hour // 2}:{hour % 2 * 3}0" for hour in [0, 1, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 19])), S),
    group=(["a"] * 12 + [None] * 2, T),
    x=([1.0, NAN, 2.0, None, 3.0, 1e16, 1.0, INF, 2.0, 3.0, -INF, INF, 5.0, 7.0], F),
)
LONG_FINITE = put(LONG, x=([1.0, 4.0, 2.0, None, 3.0, 1e16, 1.0, INF, 2.0, 3.0, -INF, INF, 5.0, 7.0], F))
branches(
    "rolling_wild",
    {"rows": LONG, "finite": LONG_FINITE},
    {
        "rows": (f"- features.rolling: {{by: group, over: at, window: {{rows: 2}}, {sums}}}", windowed(LONG, whole, moving, count=2)),
        "time": (f"- features.rolling: {{by: group, over: at, window: 1h, {sums}}}", windowed(LONG, whole, moving, length="1h")),
        "before": (f"- features.rolling: {{by: group, over: at, window: 1h, exclude_current: true, {sums}}}", windowed(LONG, whole, moving, length="1h", current=False)),
        "bounds": ("- features.rolling: {by: group, over: at, window: {rows: 3}, aggregate: {least: min(x), most: max(x), middle: median(x)}}\n  from: finite", windowed(LONG_FINITE, {}, bounds, count=3)),
        "bounds_time": ("- features.rolling: {by: group, over: at, window: 90m, aggregate: {least: min(x), most: max(x), middle: median(x)}}\n  from: finite", windowed(LONG_FINITE, {}, bounds, length="90min")),
        "empty": (NOTHING + f"- features.rolling: {{by: group, over: at, window: 1h, {sums}}}", windowed(LONG.slice(0, 0), whole, moving, length="1h")),
        "one": ("- clean.filter: {where: id = 2}\n" + f"- features.rolling: {{by: group, over: at, window: 1h, {sums}}}", windowed(LONG.slice(1, 1), whole, moving, length="1h")),
    },
)
in_order = wild.sort_values("at", kind="stable").groupby("group", dropna=False)
# The earlier value's place is taken from pandas, so that not-a-number stays what it is.
earlier = {step: in_order.id.shift(step).reindex(wild.index) for step in [1, 2, -1]}


def earlier_values(column: str, step: int, kind) -> pa.Array:
    values = WILD[column].to_pylist()
    return pa.array([None if pd.isna(place) else values[int(place) - 1] for place in earlier[step]], kind)


def changes(column: str, how, kind) -> pa.Array:
    pairs = zip(WILD[column].to_pylist(), earlier_values(column, 1, kind).to_pylist())
    return pa.array([None if now is None or before is None else how(np.float64(now), np.float64(before)) for now, before in pairs], F)


shifted = WILD.append_column("x_lag_1", earlier_values("x", 1, F)).append_column("word_lag_1", earlier_values("word", 1, T)).append_column("x_lag_2", earlier_values("x", 2, F)).append_column("word_lag_2", earlier_values("word", 2, T))
minus, share = (lambda now, before: now - before), (lambda now, before: (now - before) / before)
whole_rows = wild.sort_values("at", kind="stable")
branches(
    "shifts_wild",
    {"rows": WILD},
    {
        "lag": ("- features.lag: {by: group, over: at, columns: [x, word], steps: [1, 2]}", shifted),
        "lead": ("- features.lead: {by: group, over: at, columns: [n]}", WILD.append_column("n_lead_1", earlier_values("n", -1, I))),
        "diff": (
            "- features.diff: {by: group, over: at, columns: [x, n], measure: [difference, ratio]}",
            WILD.append_column("x_diff_1", changes("x", minus, F)).append_column("x_change_1", changes("x", share, F)).append_column("n_diff_1", changes("n", minus, I)).append_column("n_change_1", changes("n", share, I)),
        ),
        "ungrouped": ("- features.lag: {over: at, columns: n, steps: 3}", wild.assign(n_lag_3=whole_rows.n.shift(3))),
        "long": ("- features.lag: {over: at, columns: n, steps: 20}", wild.assign(n_lag_20=wild.n.shift(20))),
        "empty": (NOTHING + "- features.lag: {over: at, columns: n}\n- features.diff: {over: at, columns: x}", put(WILD, n_lag_1=([None] * 12, I), x_diff_1=([None] * 12, F)).slice(0, 0)),
        "one": ("- clean.filter: {where: id = 1}\n- features.lead: {over: at, columns: word}\n- features.diff: {over: at, columns: x}", put(WILD, word_lead_1=([None] * 12, T), x_diff_1=([None] * 12, F)).slice(0, 1)),
    },
)
branches(
    "shifts_all_null",
    {"rows": NO_X},
    {
        "lag": ("- features.lag: {over: at, columns: [x, word]}", put(NO_X, x_lag_1=([None] * 12, F), word_lag_1=([None] * 12, T))),
        "diff": ("- features.diff: {over: at, columns: x, measure: [difference, ratio]}", put(NO_X, x_diff_1=([None] * 12, F), x_change_1=([None] * 12, F))),
        "rolling": ("- features.rolling: {over: at, window: 24h, aggregate: {total: sum(x), mean: avg(x), known: count(x)}}", put(NO_X, total=([0.0] * 12, F), mean=([None] * 12, F), known=([0] * 12, I))),
    },
)

# --- calendars, again

stamps = pd.DatetimeIndex(["2024-03-31 00:59:59", "2024-03-31 01:00:00", "2024-10-27 00:30:00", "2024-10-27 01:30:00", "2024-02-28 23:30:00", "2024-12-31 22:59:59", "2023-01-01 12:00:00", "NaT", "1900-02-28 23:00:00"], tz="UTC")
local = stamps.tz_convert("Europe/Berlin")
moments = pa.table({"at": pa.array(stamps, pa.timestamp("us", tz="UTC")), "day": pa.array(stamps.tz_localize(None).date, D, from_pandas=True)})
naive = pd.DatetimeIndex(frame(moments).day)


def circle(name: str, turns) -> dict:
    """A point on a circle, from the top on; a month is as long as the longest, a year as the mean of the calendar."""
    return {f"{name}_sin": np.sin(2 * np.pi * turns), f"{name}_cos": np.cos(2 * np.pi * turns)}


def parts_of(**columns) -> pa.Table:
    """Beside the moments; null where there is no moment."""
    rows = moments
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(np.asarray(values, dtype=float), F, mask=np.asarray(stamps.isna())))
    return rows


branches(
    "calendar_more",
    {"rows": moments},
    {
        "cyclic": (
            "- features.calendar: {column: at, parts: [hour, minute, day_of_week, month, day, day_of_year], cyclic: true, zone: Europe/Berlin}",
            parts_of(
                **circle("at_hour", local.hour / 24), **circle("at_minute", local.minute / 60), **circle("at_day_of_week", local.day_of_week / 7), **circle("at_month", (local.month - 1) / 12),
                **circle("at_day", (local.day - 1) / 31), **circle("at_day_of_year", (local.day_of_year - 1) / 365.2425),
            ),
        ),
        "more": (
            "- features.calendar: {column: at, parts: [minute, second, days_in_month, is_weekend, is_month_start, is_month_end, hour_of_week], zone: Europe/Berlin}",
            parts_of(
                at_minute=local.minute, at_second=local.second, at_days_in_month=local.days_in_month, at_is_weekend=local.day_of_week >= 5, at_is_month_start=local.is_month_start, at_is_month_end=local.is_month_end,
                at_hour_of_week=local.day_of_week * 24 + local.hour,
            ),
        ),
        "days": (
            "- features.calendar: {column: day, parts: [year, quarter, week, day_of_year, is_month_end, is_holiday, is_workday], holidays: [2024-03-31, 2024-12-31]}",
            parts_of(
                day_year=naive.year, day_quarter=naive.quarter, day_week=naive.isocalendar().week.to_numpy(dtype=float, na_value=np.nan), day_day_of_year=naive.day_of_year, day_is_month_end=naive.is_month_end,
                day_is_holiday=naive.isin(pd.to_datetime(["2024-03-31", "2024-12-31"])), day_is_workday=(naive.day_of_week < 5) & ~naive.isin(pd.to_datetime(["2024-03-31", "2024-12-31"])),
            ),
        ),
        "empty": ("- clean.filter: {where: day is null and day is not null}\n- features.calendar: {column: at, parts: [hour, month]}", moments.append_column("at_hour", pa.nulls(9, I)).append_column("at_month", pa.nulls(9, I)).slice(0, 0)),
        "all_null": ("- clean.filter: {where: day is null}\n- features.calendar: {column: at, parts: [hour, is_weekend], cyclic: true}", moments.slice(7, 1).append_column("at_hour_sin", pa.nulls(1, F)).append_column("at_hour_cos", pa.nulls(1, F)).append_column("at_is_weekend", pa.nulls(1, F))),
    },
)

# --- expressions


def computed(kinds: dict, **columns) -> pa.Table:
    """Beside the rows; NumPy's not-a-number is kept apart from null, which stands where an input is null."""
    rows = WILD
    for name, (values, null) in columns.items():
        rows = put(rows, **{name: (pa.array(np.asarray(values), mask=np.asarray(null, dtype=bool)), kinds.get(name))})
    return rows


x, x_null = wild.x.to_numpy(dtype=float, na_value=1.0), wild.x.isna().to_numpy()
n, n_null = wild.n.to_numpy(dtype=float, na_value=1.0), wild.n.isna().to_numpy()
either = x_null | n_null
arithmetic = computed(
    {}, sum=(x + n, either), less=(x - n, either), product=(x * n, either), ratio=(x / n, either), power=(np.power(x, 2.0), x_null), sign=(np.sign(x), x_null), negative=(-x, x_null), size=(np.abs(x), x_null),
    ln=(np.log(x), x_null), ln10=(np.log10(n), n_null), ln2=(np.log2(n), n_null), exp=(np.exp(x), x_null), root=(np.sqrt(x), x_null), floor=(np.floor(x), x_null), ceil=(np.ceil(x), x_null), trunc=(np.trunc(x), x_null),
    sine=(np.sin(n), n_null), arc=(np.arcsin(n), n_null), angle=(np.arctan2(x, n), either), rest=(np.fmod(n, 3), n_null), whole=(n.astype("int64") * 3 - 1, n_null), nan=(np.isnan(x), x_null), degrees=(np.degrees(x), x_null),
)
word, group = wild.word, wild.group
stamp = pd.DatetimeIndex(frame(WILD)["at"])
full = lambda values: (values, np.zeros(12, bool))
text = lambda series: (series.fillna("").to_numpy(dtype=object), series.isna().to_numpy())
both_words = word.isna() | group.isna()
branches(
    "derive",
    {"rows": WILD},
    {
        "numbers": (
            '- features.derive: {sum: x + n, less: x - n, product: x * n, ratio: x / n, power: "power(x, 2)", sign: sign(x), negative: -x, size: abs(x), ln: ln(x), ln10: log10(n), ln2: log2(n), exp: exp(x), root: sqrt(x),'
            ' floor: floor(x), ceil: ceil(x), trunc: trunc(x), sine: sin(n), arc: asin(n), angle: "atan2(x, n)", rest: n % 3, whole: n * 3 - 1, nan: isnan(x), degrees: degrees(x)}',
            arithmetic,
        ),
        "choice": (
            "- features.derive: {first: 'coalesce(x, n, 0)', null: 'nullif(n, 3)', kind: \"case when n > 2 then 'large' when n is null then 'none' else 'small' end\", known: x is not null, either: n > 2 or x = 3, both: n > 2 and x = 3,"
            " not: not (n > 2), among: 'n in (1, 2, 3)', same: n is not distinct from 3, between: n between 1 and 3}",
            put(
                WILD,
                first=(wild.x.fillna(wild.n.astype("double[pyarrow]")).fillna(0.0), F),
                null=(wild.n.where((wild.n != 3).fillna(False)), I),
                kind=(["none" if pd.isna(n) else "large" if n > 2 else "small" for n in wild.n], T),
                known=(wild.x.notna(), pa.bool_()),
                either=((wild.n > 2) | (wild.x == 3), pa.bool_()),
                both=((wild.n > 2) & (wild.x == 3), pa.bool_()),
                among=(wild.n.isin([1, 2, 3]).astype("bool[pyarrow]").where(wild.n.notna()), pa.bool_()),
                same=((wild.n == 3).fillna(False), pa.bool_()),
                between=(wild.n.between(1, 3).where(wild.n.notna()), pa.bool_()),
                **{"not": (~(wild.n > 2), pa.bool_())},
            ),
        ),
        "texts": (
            "- features.derive: {upper: upper(word), lower: lower(word), length: length(word), part: 'substr(word, 1, 1)', left: 'left(group, -1)', filled: \"lpad(group, 3, '*')\", at_a: \"strpos(word, 'a')\", both: word || '-' || group,"
            " all: 'concat(word, group)', other: \"replace(word, 'b', 'ß')\", starts: \"starts_with(word, '日')\", like: word like '_', less: word < 'b', match: \"regexp_like(word, '^[a-z]$')\"}",
            computed(
                {}, upper=text(word.str.upper()), lower=text(word.str.lower()), length=(word.str.len().fillna(0).astype("int64"), word.isna()), part=text(word.str.slice(0, 1)), left=text(group.str.slice(0, -1)),
                filled=text(group.str.rjust(3, "*")), at_a=((word.str.find("a") + 1).fillna(0).astype("int64"), word.isna()), both=text(word + "-" + group), all=full((word.fillna("") + group.fillna("")).to_numpy(dtype=object)),
                other=text(word.str.replace("b", "ß", regex=False)), starts=(word.str.startswith("日").fillna(False).astype(bool), word.isna()), like=(word.str.len().eq(1).fillna(False).astype(bool), word.isna()),
                less=((word < "b").fillna(False).astype(bool), word.isna()), match=(word.str.match("^[a-z]$").fillna(False).astype(bool), word.isna()),
            ),
        ),
        "times": (
            "- features.derive: {day: \"date_trunc('day', at)\", week: \"date_trunc('week', at)\", month: \"date_trunc('month', at)\", hour: extract(hour from at), dow: extract(dow from at), isodow: extract(isodow from at),"
            " doy: extract(doy from at), epoch: extract(epoch from at), later: at + interval '36 hours', next: 'add_months(at, 12)', text: \"strftime(at, '%d.%m.%Y %H')\", days: \"date_diff('day', timestamp '2024-02-28 23:00', at)\"}",
            put(
                WILD, day=(stamp.floor("D"), S), week=(stamp.to_period("W").start_time, S), month=(stamp.to_period("M").start_time, S), hour=(stamp.hour, I), dow=((stamp.day_of_week + 1) % 7, I), isodow=(stamp.day_of_week + 1, I),
                doy=(stamp.day_of_year, I), epoch=((stamp - pd.Timestamp(0)).total_seconds(), F), later=(stamp + pd.Timedelta("36h"), S), next=(stamp + pd.DateOffset(months=12), S), text=(stamp.strftime("%d.%m.%Y %H"), T),
                days=((stamp.floor("D") - pd.Timestamp("2024-02-28")).days, I),
            ),
        ),
        "empty": (NOTHING + "- features.derive: {y: x + n, long: length(word)}", put(WILD, y=([0.0] * 12, F), long=([0] * 12, I)).slice(0, 0)),
        "one": ("- clean.filter: {where: id = 4}\n- features.derive: {y: x - x, long: length(word)}", put(WILD, y=([NAN] * 12, F), long=([None] * 12, I)).slice(3, 1)),
    },
)

# --- fitted features, again: learned from finite training rows, given rows that are not

PARTS = "- split.column: {column: part, train: [train], test: [test]}\n"
fitted = table(
    part=(["train"] * 10 + ["test"] * 7, T),
    x=([1.0, None, 2.0, 2.0, 4.0, 8.0, 16.0, -3.0, 0.5, 2.0, NAN, INF, -INF, None, 100.0, -0.0, 2.0], F),
    n=([5, 5, 7, None, 7, 9, 9, 1, 2, 3, 4, None, 1000, -1000, 9, 1, 5], I),
    y=([0.0, 1.0, 1.0, 5.0, 5.0, 9.0, 9.0, 0.0, 1.0, 2.0] + [0.0] * 7, F),
    kind=(["b", "a", None, "ß", "a", "b", "b", "日本", "a", "b", "b", "neu", None, "ß", "É", "a", ""], T),
    code=([10, 9, 9, None, -1, 10, 10, 9, 9, 10, 11, 9, None, -1, 10, 0, 9], I),
    flag=([True, False, None, True, True, False, True, True, False, True, None, True, False, True, True, False, True], pa.bool_()),
)
train = frame(fitted)[:10]
x, x_null = arrow(fitted).x.to_numpy(dtype=float, na_value=np.nan), arrow(fitted).x.isna().to_numpy()
n, n_null = frame(fitted).n.to_numpy(dtype=float), frame(fitted).n.isna().to_numpy()
numbers = train[["x", "n"]].to_numpy(dtype=float)


def beside_parts(**columns) -> pa.Table:
    """These columns and the part, as `clean.select` leaves them."""
    return pa.table({**columns, "partition": fitted["part"]})


def known(values, null) -> pa.Array:
    return pa.array(np.asarray(values, dtype=float), F, mask=np.asarray(null, dtype=bool))


def scaled(center, scale, shift=(0.0, 0.0)) -> pa.Table:
    """scikit-learn fits with null, but refuses to transform infinity: its figures are taken."""
    return beside_parts(x=known((x - center[0]) / scale[0] + shift[0], x_null), n=known((n - center[1]) / scale[1] + shift[1], n_null))


standard = preprocessing.StandardScaler().fit(numbers)
ranged = preprocessing.MinMaxScaler((-1, 1)).fit(numbers)
robust = preprocessing.RobustScaler(quantile_range=(10, 90)).fit(numbers)
span = scaled([0, 0], 1 / ranged.scale_, ranged.min_)
only = "- clean.select: {columns: [x, n]}"
branches(
    "scale_unseen",
    {"rows": fitted},
    {
        "standardize": (PARTS + "- features.standardize: {columns: [x, n]}\n" + only, scaled(standard.mean_, standard.scale_)),
        "min_max": (PARTS + "- features.min_max: {columns: [x, n], range: [-1, 1]}\n" + only, span),
        "clip": (
            PARTS + "- features.min_max: {columns: n, range: [-1, 1], clip: true}\n- clean.select: {columns: n}",
            beside_parts(n=known(np.clip(span["n"].to_numpy(), -1, 1), n_null)),
        ),
        "robust_scale": (PARTS + "- features.robust_scale: {columns: [x, n], quantiles: [0.1, 0.9]}\n" + only, scaled(robust.center_, robust.scale_)),
    },
)
bent = preprocessing.PowerTransformer(standardize=False).fit(numbers)
finite = ~np.isinf(x)
transformed = np.where(finite, bent.transform(np.column_stack([np.where(finite, x, 0), n]))[:, 0], x)
branches(
    "power_unseen",
    {"rows": fitted},
    {
        # An infinity keeps its sign.
        "plain": (PARTS + "- features.power: {columns: [x, n], standardize: false}\n" + only, beside_parts(x=known(transformed, x_null), n=known(bent.transform(np.column_stack([np.where(finite, x, 0), n]))[:, 1], n_null))),
    },
)

# scikit-learn's bins hold their lower edge; null and not-a-number become null, and what is beyond is in the end bin.
bin_null = np.isnan(x)
values = np.where(bin_null, 0, x)


def cut(edges, side: str) -> pa.Table:
    return beside_parts(x=pa.array(np.searchsorted(edges, values, side=side), I, mask=bin_null))


def bin_edges(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return preprocessing.KBinsDiscretizer(encode="ordinal", **options).fit(train[["x"]].dropna()).bin_edges_[0][1:-1]


def cuts(model, target) -> np.ndarray:
    rows = train.assign(target=target).dropna(subset=["x", "target"])
    thresholds = model.fit(rows[["x"]], rows.target).tree_
    return np.sort(thresholds.threshold[thresholds.children_left >= 0])


only = "- clean.select: {columns: x}"
by_edges = pd.cut(pd.Series(np.where(bin_null, np.nan, x)), [-np.inf, 0.0, 2.0, np.inf], labels=["<= 0", "(0, 2]", "> 2"], include_lowest=True)
branches(
    "bin_unseen",
    {"rows": fitted},
    {
        "quantile": (PARTS + f"- features.bin: {{columns: x, bins: 4, closed: left}}\n{only}", cut(bin_edges(n_bins=4, strategy="quantile", quantile_method="linear"), "right")),
        "width": (PARTS + f"- features.bin: {{columns: x, method: width, bins: 5, closed: left}}\n{only}", cut(bin_edges(n_bins=5, strategy="uniform"), "right")),
        "tree": (PARTS + f"- features.bin: {{columns: x, method: tree, bins: 4, min_samples: 2, target: y}}\n{only}", cut(cuts(tree.DecisionTreeRegressor(max_leaf_nodes=4, min_samples_leaf=2, random_state=0), train.y), "left")),
        "tree_classes": (
            PARTS + f"- clean.fill_null: {{columns: flag, value: false}}\n- features.bin: {{columns: x, method: tree, bins: 3, min_samples: 1, target: flag, task: classes}}\n{only}",
            cut(cuts(tree.DecisionTreeClassifier(max_leaf_nodes=3, random_state=0), train.flag.eq(True)), "left"),
        ),
        "edges": ("- clean.select: {columns: x}\n- features.bin: {edges: {x: [0, 2]}, as: label}", pa.table({"x": pa.array(by_edges.astype(object).where(by_edges.notna(), None), T)})),
    },
)

train_kinds, test_kinds = train.kind.dropna(), frame(fitted).kind
kind_null = test_kinds.isna()


def hot(names: dict, column: str = "kind") -> pa.Table:
    """Null stays null in all of them."""
    values = frame(fitted)[column]
    return beside_parts(**{name: pa.array(hits, I, mask=values.isna().to_numpy()) for name, hits in names.items()})


encoder = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train_kinds.to_frame())
coded = encoder.transform(test_kinds.to_frame().fillna("?"))
names = [f"kind={kind}" for kind in encoder.categories_[0]]
few = preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, sparse_output=False).fit(train_kinds.to_frame())
few_names = [f"kind={kind}" for kind in sorted(set(encoder.categories_[0]) - set(few.infrequent_categories_[0]))]
codes = sorted(train.code.dropna().astype(int).unique())
ordered_kinds = ["日本", "b", "a", "ß"]


def ordinal(categories, unknown: int | None = -1) -> pa.Array:
    places = preprocessing.OrdinalEncoder(categories=[categories], handle_unknown="use_encoded_value", unknown_value=-1).fit(pd.DataFrame({"kind": categories})).transform(test_kinds.to_frame().fillna("?"))[:, 0]
    return pa.array(places.astype(int), I, mask=(kind_null | (pd.Series(places).eq(-1) & (unknown is None))).to_numpy())


shares, counts = train_kinds.value_counts(normalize=True), train.code.value_counts()
only = "- clean.select: {columns: kind}"
branches(
    "categories_unseen",
    {"rows": fitted},
    {
        "one_hot_ignore": (PARTS + "- features.one_hot: {columns: kind, unknown: ignore}\n- clean.drop: {columns: [part, x, n, y, code, flag]}", hot(dict(zip(names, coded.T.astype(int))))),
        "one_hot_other": (
            PARTS + "- features.one_hot: {columns: kind, unknown: other}\n- clean.drop: {columns: [part, x, n, y, code, flag]}",
            hot({**dict(zip(names, coded.T.astype(int))), "kind=other": (coded.sum(axis=1) == 0).astype(int)}),
        ),
        "one_hot_code": (
            PARTS + "- features.one_hot: {columns: code, unknown: ignore}\n- clean.drop: {columns: [part, x, n, y, kind, flag]}",
            hot({f"code={code}": (frame(fitted).code == code).astype(int).to_numpy() for code in codes}, "code"),
        ),
        "one_hot_flag": (
            PARTS + "- features.one_hot: {columns: flag}\n- clean.drop: {columns: [part, x, n, y, kind, code]}",
            hot({"flag=false": frame(fitted).flag.eq(False).astype(int).to_numpy(), "flag=true": frame(fitted).flag.eq(True).astype(int).to_numpy()}, "flag"),
        ),
        "ordinal_other": (PARTS + f"- features.ordinal: {{columns: kind, unknown: other}}\n{only}", beside_parts(kind=ordinal(list(encoder.categories_[0])))),
        "ordinal_null": (PARTS + f"- features.ordinal: {{columns: kind, unknown: null}}\n{only}", beside_parts(kind=ordinal(list(encoder.categories_[0]), None))),
        "ordinal_order": (PARTS + f"- features.ordinal: {{columns: kind, order: {{kind: [日本, b, a, ß]}}, unknown: other}}\n{only}", beside_parts(kind=ordinal(ordered_kinds))),
        "ordinal_code": (
            PARTS + "- features.ordinal: {columns: code, unknown: null}\n- clean.select: {columns: code}",
            beside_parts(code=pa.array(frame(fitted).code.map({code: place for place, code in enumerate(codes)}), I, from_pandas=True)),
        ),
        "frequency": (PARTS + f"- features.frequency: {{columns: kind}}\n{only}", beside_parts(kind=known(test_kinds.map(shares).fillna(0.0), kind_null))),
        "count": (
            PARTS + "- features.frequency: {columns: code, as: count}\n- clean.select: {columns: code}",
            beside_parts(code=known(frame(fitted).code.map(counts).fillna(0), frame(fitted).code.isna())),
        ),
    },
)
# Of four categories the two most frequent stay; scikit-learn counts the column of the rest as a third.
case(
    "one_hot_few",
    {"rows": fitted},
    PARTS + "- features.one_hot: {columns: kind, unknown: ignore, max_categories: 2}\n- clean.drop: {columns: [part, x, n, y, code, flag]}",
    hot(dict(zip(few_names, few.transform(test_kinds.to_frame().fillna("?")).T.astype(int)))),
)
refused("one_hot_unknown", {"rows": fitted}, PARTS + "- features.one_hot: {columns: kind}", "`kind`", "`neu`")
refused("ordinal_unknown", {"rows": fitted}, PARTS + "- features.ordinal: {columns: kind}", "`kind`", "`neu`")

# Null is a category of its own, as it is in scikit-learn.
three = put(fitted, grade=(["low", "mid", "high", "low", "mid", "high", "low", "mid", "high", "low"] + ["low"] * 7, T))
rows = frame(three)
outcomes = {}
for name, target, kind, options in [
    ("amounts", rows.y, "continuous", "target: y, smooth: 2"),
    ("auto", rows.y, "continuous", "target: y"),
    ("binary", rows.code.eq(10), "binary", "target: ten, task: binary"),
    ("classes", rows.grade, "multiclass", "target: grade, task: multiclass"),
]:
    encoder = preprocessing.TargetEncoder(smooth=2.0 if "smooth" in options else "auto", target_type=kind).fit(rows[["kind"]][:10].astype(object).where(rows[["kind"]][:10].notna(), None), target[:10])
    means = encoder.transform(rows[["kind"]][10:].astype(object).where(rows[["kind"]][10:].notna(), None))
    names = ["kind"] if kind != "multiclass" else [f"kind={grade}" for grade in encoder.classes_]
    derived = '- features.derive: {ten: "coalesce(code = 10, false)"}\n' if name == "binary" else ""
    outcomes[name] = (
        f"{derived}{PARTS}- features.target_encode: {{columns: kind, {options}}}\n- clean.filter: {{where: partition = 'test'}}\n- clean.select: {{columns: [{', '.join(repr(name) for name in names)}]}}",
        pd.DataFrame(means, columns=names).assign(partition="test"),
    )
branches("target_encode_null", {"rows": three}, outcomes)

# Two columns that hang together, and one that does not.
cloud = table(a=([1.0, 2.0, 2.0, 4.0, 8.0, 16.0, -3.0], F), b=([2.5, 4.0, 3.5, 8.5, 15.0, 33.0, -6.0], F), c=([0.5, -1.5, 2.25, 0.0, 0.0, 9.0, 1.0], F))


def components(count, standardize: bool = False, whiten: bool = False) -> np.ndarray:
    values = frame(cloud).to_numpy()
    if standardize:
        values = preprocessing.StandardScaler().fit_transform(values)
    model = decomposition.PCA(n_components=count, whiten=whiten).fit(values)
    largest = model.components_[np.arange(model.n_components_), np.abs(model.components_).argmax(axis=1)]
    return model.transform(values) * np.sign(largest)


pca = lambda values, mark="_": pd.DataFrame(values, columns=[f"pca{mark}{number + 1}" for number in range(values.shape[1])])
branches(
    "pca_more",
    {"rows": cloud},
    {
        "whiten": ("- features.pca: {columns: [a, b, c], components: 3, whiten: true}", pca(components(3, whiten=True))),
        "standardize": ("- features.pca: {columns: [a, b, c], components: 2, standardize: true}", pca(components(2, standardize=True))),
        "both": ("- features.pca: {columns: [a, b, c], components: 2, standardize: true, whiten: true}", pca(components(2, True, True))),
        "share": ("- features.pca: {columns: [a, b, c], variance: 0.999}", pca(components(0.999), "=")),
    },
)
x, x_null = wild.x.to_numpy(dtype=float, na_value=1.0), wild.x.isna().to_numpy()
n, n_null = wild.n.to_numpy(dtype=float, na_value=1.0), wild.n.isna().to_numpy()
either = x_null | n_null
cubes = preprocessing.PolynomialFeatures(degree=3, include_bias=False).fit_transform(frame(cloud)[["a", "b"]])
branches(
    "products_wild",
    {"rows": WILD},
    {
        "polynomial": ("- features.polynomial: {columns: [x, n]}", computed({}, **{"x^2": (x * x, x_null), "x*n": (x * n, either), "n^2": (n * n, n_null)})),
        "mixed": ("- features.polynomial: {columns: [x, n], degree: 3, interaction_only: true}", computed({}, **{"x*n": (x * n, either)})),
        "interact": (
            "- features.interact: {columns: [[x, n], [group, word], [group, n]]}",
            computed({}, **{"x*n": (x * n, either), "group*word": text(group + "*" + word), "group*n": text(group + "*" + wild.n.astype("string[pyarrow]"))}),
        ),
        "empty": (NOTHING + "- features.polynomial: {columns: [x, n]}\n- features.interact: {columns: [[group, word]]}", put(WILD, **{"x^2": (x, F), "x*n": (x, F), "n^2": (x, F), "group*word": (["a"] * 12, T)}).slice(0, 0)),
    },
)
case("polynomial_cubes", {"rows": cloud.select(["a", "b"])}, "- features.polynomial: {columns: [a, b], degree: 3}", pd.DataFrame(cubes, columns=["a", "b", "a^2", "a*b", "b^2", "a^3", "a^2*b", "a*b^2", "b^3"]))
case("products_all_null", {"rows": NO_X}, "- features.interact: {columns: [[x, n], [group, word]]}", put(NO_X, **{"x*n": ([None] * 12, F), "group*word": ([None] * 12, T)}))

# Null is no text and stays null.
reviews = table(text=(["Good coffee, good price", None, "Bad coffee", "the price of tea in China: good?", "", "Größe ß 日本語 coffee", "GOOD good_2 x", None], T))
spoken = frame(reviews).text.dropna()


def vectors(weights) -> pa.Table:
    weights = iter(weights.toarray().tolist())
    return pa.table({"text": pa.array([None if text is None else next(weights) for text in reviews["text"].to_pylist()], pa.list_(F))})


outcomes = {}
for name, options, params in [
    ("plain", {}, ""),
    ("share", {"min_df": 0.4, "max_df": 0.6}, ", min_df: 0.4, max_df: 0.6"),
    ("words", {"stop_words": ["the", "of", "in"], "norm": "l1"}, ", stop_words: [the, of, in], norm: l1"),
    ("counts", {"use_idf": False, "norm": None, "lowercase": False}, ", use_idf: false, norm: none, lowercase: false"),
    ("inside", {"analyzer": "char_wb", "ngram_range": (3, 3), "smooth_idf": False}, ", unit: char_in_word, ngrams: [3, 3], smooth_idf: false"),
    ("frequent", {"max_features": 2}, ""),
]:
    weights = feature_extraction.text.TfidfVectorizer(**options).fit_transform(spoken)
    outcomes[name] = (f"- features.tf_idf: {{column: text, max_features: {weights.shape[1]}{params}}}", vectors(weights))
for name, options, params in [
    ("hashed", {}, ""),
    ("hashed_pairs", {"ngram_range": (1, 2), "alternate_sign": False, "norm": "l1"}, ", ngrams: [1, 2], signed: false, norm: l1"),
    ("hashed_characters", {"analyzer": "char", "ngram_range": (2, 2), "norm": None}, ", unit: char, ngrams: [2, 2], norm: none"),
]:
    outcomes[name] = (f"- features.hash_text: {{column: text, buckets: 16{params}}}", vectors(feature_extraction.text.HashingVectorizer(n_features=16, **options).fit_transform(spoken)))
branches("text_vectors", {"rows": reviews}, outcomes)
case("hash_text_all_null", {"rows": nothing}, "- features.hash_text: {column: text, buckets: 4}", nothing)

# Not-a-number and infinity teach nothing and are refused; scikit-learn passes over not-a-number, and refuses infinity.
learners = {
    "standardize": "- features.standardize: {columns: x}", "min_max": "- features.min_max: {columns: x}", "robust_scale": "- features.robust_scale: {columns: x}", "power": "- features.power: {columns: x}",
    "bin": "- features.bin: {columns: x}", "pca": "- features.pca: {columns: [x, id], components: 1}",
}
for name, stages in learners.items():
    for what, value in {"nan": NAN, "infinity": INF}.items():
        rows = table(id=([1, 2, 3], I), x=([1.0, 2.0, value], F))
        refused(f"{name}_{what}", {"rows": rows}, stages, "`x` is " + ("NaN" if what == "nan" else "inf"), "row 3")
    rows = table(id=([1, 2, 3], I), x=([None] * 3, F))
    says = "`x` is null in row 1" if name == "pca" else "`x` has no value in the training rows to learn from"
    refused(f"{name}_all_null", {"rows": rows}, stages, says)
    refused(f"{name}_empty", {"rows": rows}, NOTHING + stages, "in 0 training rows" if name == "pca" else says)
for name, params in {"one_hot": "columns: text", "ordinal": "columns: text", "frequency": "columns: text", "tf_idf": "column: text"}.items():
    says = "`text` has no term in the 0 training texts" if name == "tf_idf" else "`text` has no value in the training rows to learn from"
    refused(f"{name}_all_null", {"rows": nothing}, f"- features.{name}: {{{params}}}", says)
    refused(f"{name}_empty", {"rows": nothing}, NOTHING + f"- features.{name}: {{{params}}}", says)
single = table(id=([1], I), x=([2.5], F), y=([1.0], F), kind=(["ß"], T), text=(["good good tea"], T))
one_row = feature_extraction.text.TfidfVectorizer().fit_transform(["good good tea"]).toarray()
branches(
    "fitted_one",
    {"rows": single},
    {
        "power": ("- features.power: {columns: x}", put(single, x=([0.0], F))),
        "bin": ("- features.bin: {columns: x, bins: 3}", put(single, x=([0], I))),
        "tree": ("- features.bin: {columns: x, method: tree, target: y, min_samples: 1}", put(single, x=([0], I))),
        "one_hot": ("- features.one_hot: {columns: kind}", pa.table({**{name: single[name] for name in ["id", "x", "y", "text"]}, "kind=ß": [1]})),
        "ordinal": ("- features.ordinal: {columns: kind}", put(single, kind=([0], I))),
        "frequency": ("- features.frequency: {columns: kind}", put(single, kind=([1.0], F))),
        "pivot": ("- features.pivot: {by: id, column: kind, aggregate: {x: any_value(x)}}", pa.table({"id": [1], "x=ß": [2.5]})),
        "tf_idf": ("- features.tf_idf: {column: text, max_features: 2}", put(single, text=(one_row.tolist(), pa.list_(F)))),
        "polynomial": ("- features.polynomial: {columns: [x, y]}", put(single, **{"x^2": ([6.25], F), "x*y": ([2.5], F), "y^2": ([1.0], F)})),
    },
)
refused("pca_one", {"rows": single}, "- features.pca: {columns: [x, y], components: 1}", "nothing that varies in 1 training row")

# --- images: Pillow's filters on real numbers, rounded at the end; on bytes it rounds after each direction, too

random = np.random.default_rng(0)
edge = np.where(np.add.outer(np.arange(9), np.arange(13)) > 9, 255, 1)
images = np.stack([random.integers(0, 256, (9, 13)), random.integers(0, 256, (9, 13)), np.zeros((9, 13)), np.full((9, 13), 255), edge]).astype("uint8")


def resized(width: int, height: int, kind, scale: float = 1.0) -> pa.Table:
    made = [np.asarray(Image.fromarray(image.astype("float32")).resize((width, height), kind)).clip(0, 255) for image in images]
    # Where half a step decides, the last digit of a sum would; sizes and numbers are such that none does.
    assert all((np.abs(image % 1 - 0.5) > 1e-4).all() for image in made)
    return pa.table({"image": pa.array([(np.floor(image + 0.5) / scale).ravel().tolist() for image in made], pa.list_(F))})


filters = {"nearest": Image.Resampling.NEAREST, "triangle": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}
outcomes = {"unit": ("- clean.select: {columns: image}\n- features.image: {resize: {width: 5, height: 7}}", resized(5, 7, filters["triangle"], 255.0))}
for name, kind in filters.items():
    for width, height in [(7, 5), (17, 13), (1, 1), (13, 9)]:
        outcomes[f"{name}_{width}"] = (
            f"- clean.select: {{columns: image}}\n- features.image: {{resize: {{width: {width}, height: {height}, filter: {name}}}, scale: none}}",
            resized(width, height, kind),
        )
branches("image", {"files": "source.idx: {images: images.idx, labels: labels.idx}"}, outcomes)
(folder / "image" / "images.idx").write_bytes(struct.pack(">HBBIII", 0, 8, 3, *images.shape) + images.tobytes())
(folder / "image" / "labels.idx").write_bytes(struct.pack(">HBBI", 0, 8, 1, len(images)) + bytes(len(images)))
