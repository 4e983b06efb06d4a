"""Networks in PyTorch, for crates/torch-runtime/tests/training/pytorch.rs: the same first weights, the same rows in one batch, the
same optimizer; what the weights are after some steps, and what the network then says.

The rows are some of the shipped tumours (mlp), digits (cnn) and days of a bakery (lstm, gru).

Writes tests/data/networks/*.safetensors, with taktline's names.

pip install torch==2.13.0 numpy pandas safetensors && python tests/peers/networks.py
"""

import gzip
import pathlib

import numpy
import pandas
import torch
from safetensors.torch import save_file
from torch import nn

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "tests/data/networks"
DATA = ROOT / "datasets"
STEPS = 5
CELL = {nn.LSTM: "lstm", nn.GRU: "gru"}

torch.set_num_threads(1)
torch.manual_seed(7)


class Last(nn.Module):
    """A recurrent layer that gives its last step."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, rows):
        return self.layer(rows)[0][:, -1]


def named(network, names):
    """The network's tensors by taktline's names."""
    tensors = {}
    for module, name in zip(network, names, strict=True):
        if name is None:
            continue
        if isinstance(module, Last):
            layer = module.layer
            tensors |= {
                f"{name}.weight_input": layer.weight_ih_l0,
                f"{name}.weight_recurrent": layer.weight_hh_l0,
                f"{name}.bias_input": layer.bias_ih_l0,
                f"{name}.bias_recurrent": layer.bias_hh_l0,
            }
            continue
        tensors |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
        if isinstance(module, nn.BatchNorm2d):
            tensors |= {f"{name}.running_mean": module.running_mean, f"{name}.running_variance": module.running_var}
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def write(file, network, names, inputs, targets, loss, optimizer, rows=None):
    """Learns, and writes what the weights were and became. `rows` are the inputs in taktline's layout."""
    tensors = {"inputs": (inputs if rows is None else rows).contiguous(), "targets": targets}
    tensors |= {f"initial.{name}": tensor for name, tensor in named(network, names).items()}
    optimizer = optimizer(network.parameters())
    losses = []
    network.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(network(inputs).squeeze(1) if targets.is_floating_point() else network(inputs), targets)
        value.backward()
        if file == "gru":
            nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        losses.append(value.detach())
    network.eval()
    tensors |= {f"final.{name}": tensor for name, tensor in named(network, names).items()}
    with torch.no_grad():
        outputs = network(inputs)
    tensors["outputs"] = torch.softmax(outputs, 1) if not targets.is_floating_point() else outputs
    tensors["losses"] = torch.stack(losses)
    save_file(tensors, FOLDER / f"{file}.safetensors")
    print(file, [f"{loss:.6f}" for loss in losses])


def standardised(values):
    """Each column with mean 0 and deviation 1: what taktline makes of a target before it is learned."""
    return (values - values.mean(0)) / values.std(0)


def tensor(numbers):
    return torch.tensor(numpy.ascontiguousarray(numbers), dtype=torch.float32)


def tumours():
    """48 of the rows with six measurements, and whether they are malignant."""
    rows = pandas.read_csv(DATA / "medical/wdbc.csv").iloc[::11][:48]
    names = ["mean_radius", "mean_texture", "mean_smoothness", "mean_concavity", "mean_symmetry", "worst_texture"]
    return tensor(standardised(rows[names].to_numpy())), torch.tensor((rows["diagnosis"] == "M").to_numpy().astype("int64"))


def digits():
    """The first eight of each of 0, 1 and 2 as 8 x 8 pixels in two channels: the mean and the largest of nine pixels."""

    def read(name, header):
        return numpy.frombuffer(gzip.decompress((DATA / "mnist" / name).read_bytes()), "uint8", offset=header)

    labels = read("digits-10k-labels-idx1-ubyte.gz", 8)
    images = read("digits-10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    rows = numpy.sort(numpy.concatenate([numpy.flatnonzero(labels == digit)[:8] for digit in range(3)]))
    # Without the outermost two pixels, which are nearly always black.
    blocks = images[rows, 2:26, 2:26].reshape(-1, 8, 3, 8, 3) / 255
    channels = numpy.stack([blocks.mean((2, 4)), blocks.max((2, 4))], 1)
    return tensor(channels), torch.tensor(labels[rows].astype("int64"))


def days():
    """32 times seven days of one product in one shop (demand, promotion, holiday), and the demand of the day after them."""
    rows = pandas.read_csv(DATA / "retail/bakery_data.csv.gz")
    rows["demand"] = pandas.read_csv(DATA / "retail/bakery_target.csv.gz")["demand"]
    rows = rows[(rows["store"] == 17) & (rows["product"] == 101)][: 32 * 8]
    table = rows[["demand", "promotion_currentweek", "is_holiday"]].to_numpy(dtype=float)
    table[:, 0] = standardised(table[:, 0])
    weeks = table.reshape(32, 8, 3)
    return tensor(weeks[:, :7]), tensor(standardised(weeks[:, 7, 0]))


FOLDER.mkdir(parents=True, exist_ok=True)

table, labels = tumours()
write(
    "mlp",
    nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 2)),
    ["0.dense", None, "1.dense", None, "2.dense"],
    table,
    labels,
    nn.CrossEntropyLoss(),
    lambda weights: torch.optim.Adam(weights, lr=0.01, betas=(0.9, 0.999), eps=1e-7),
)

images, labels = digits()
write(
    "cnn",
    nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4, eps=1e-3, momentum=0.1), nn.Flatten(), nn.Linear(36, 3),
    ),
    ["0.conv", None, None, "2.batch_norm", None, "4.dense"],
    images,
    labels,
    nn.CrossEntropyLoss(),
    lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9, nesterov=True),
    rows=images.permute(0, 2, 3, 1),
)

sequences, values = days()
for cell, optimizer, loss in (
    (nn.LSTM, lambda weights: torch.optim.AdamW(weights, lr=0.01, weight_decay=0.05, eps=1e-7), nn.MSELoss()),
    (nn.GRU, lambda weights: torch.optim.SGD(weights, lr=0.1), nn.HuberLoss(delta=0.7)),
):
    write(
        CELL[cell],
        nn.Sequential(Last(cell(3, 5, batch_first=True)), nn.Linear(5, 1)),
        [f"0.{CELL[cell]}", "1.dense"],
        sequences,
        values,
        loss,
        optimizer,
    )
