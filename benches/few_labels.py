"""What solving jigsaw puzzles is worth where labels are few: the same network reads digits after twenty and after five labels of each,
from random weights and from those of `model.torch.jigsaw`, which saw 7,500 digits without their labels. 2,500 others are read.

    TAKT=target/release/takt python3 benches/few_labels.py [SEED…]      (default: 1 2 3)

Prints the accuracy of each network, and the means.
"""

import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
TAKT = pathlib.Path(os.environ.get("TAKT", ROOT / "target/release/takt")).resolve()
SEEDS = sys.argv[1:] or ["1", "2", "3"]
KNOWN, PIXELS = 7_500, 28 * 28

LAYERS = """
      - conv: {filters: 32, kernel: 3, padding: same, activation: relu}
      - max_pool: 2
      - conv: {filters: 64, kernel: 3, padding: same, activation: relu}
      - max_pool: 2
      - conv: {filters: 64, kernel: 3, padding: same, activation: relu}"""
PUZZLES = f"""
pipeline: puzzles
stages:
  - source.idx: {{images: many-images, labels: many-labels}}
  - features.image: {{}}
  - clean.drop: {{columns: label}}
  - model.torch.jigsaw:
      grid: 2
      orders: 24
      epochs: 10
      layers:{LAYERS}
    id: model
  - deploy.bundle: {{}}
"""
READER = f"""
pipeline: reader
columns: {{label: {{role: target}}, part: {{role: ignore}}}}
stages:
  - source.idx: {{images: few-images, labels: few-labels}}
    id: few
  - features.derive: {{part: "'train'"}}
    id: learned
  - source.idx: {{images: judged-images, labels: judged-labels}}
    id: judged
  - features.derive: {{part: "'test'"}}
    id: others
  - clean.union: {{}}
    from: [learned, others]
  - features.image: {{}}
  - split.column: {{column: part}}
  - model.torch.cnn:
      epochs: EPOCHS
      layers:{LAYERS}
      - flatten
      - dense: {{units: 64, activation: relu}}
      - dense: {{units: 10, activation: softmax}}
    id: model
  - evaluate.classification: {{}}
    id: quality
"""
START = "      initial_weights: puzzles.safetensors\n    id: model"


def whole(name):
    return gzip.decompress((ROOT / f"datasets/mnist/digits-10k-{name}.gz").read_bytes())


IMAGES, LABELS = whole("images-idx3-ubyte"), whole("labels-idx1-ubyte")


def write(name, rows):
    """These digits as IDX files of their own."""
    count = len(rows).to_bytes(4, "big")
    pixels = b"".join(IMAGES[16 + row * PIXELS : 16 + (row + 1) * PIXELS] for row in rows)
    pathlib.Path(f"{name}-images").write_bytes(IMAGES[:4] + count + IMAGES[8:16] + pixels)
    pathlib.Path(f"{name}-labels").write_bytes(LABELS[:4] + count + bytes(LABELS[8 + row] for row in rows))


def run(spec, seed):
    pathlib.Path("pipeline.yaml").write_text(spec, encoding="utf-8")
    found = subprocess.run([TAKT, "run", "pipeline.yaml", "--seed", seed, "--format", "json"], capture_output=True, text=True)
    if found.returncode:
        sys.exit(found.stderr)
    return json.loads(found.stdout)


def accuracy(spec, seed):
    return dict(dict(run(spec, seed)["evaluations"])["quality"]["metrics"])["accuracy"]


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    write("many", range(KNOWN))
    write("judged", range(KNOWN, 10_000))
    found = {}
    for seed in SEEDS:
        bundle = pathlib.Path(run(PUZZLES, seed)["bundle"])
        shutil.copy(bundle / "states/model.safetensors", "puzzles.safetensors")
        for each, epochs in ((20, 25), (5, 60)):
            rows = [row for row in range(KNOWN) if LABELS[8 : 8 + row].count(LABELS[8 + row]) < each]
            write("few", rows)
            reader = READER.replace("EPOCHS", str(epochs))
            for start, spec in (("random", reader), ("puzzles", reader.replace("    id: model", START, 1))):
                found.setdefault((each, start), []).append(accuracy(spec, seed))
    for (each, start), figures in found.items():
        print(f"{each:3} labels of each, from {start:8}: {', '.join(f'{figure:.4f}' for figure in figures)}; mean {statistics.mean(figures):.4f}")
