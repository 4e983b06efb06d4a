"""Networks in PyTorch, for crates/torch-runtime/tests/training/pytorch.rs: the same first weights, the same rows in one batch, the
same optimizer; what the weights are after some steps, and what the network then says.

The rows are some of the shipped tumours (mlp, autoencoder), digits (cnn) and days of a bakery (lstm, gru); for recommenders what shops of
bakeries sell by the day of the week.

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


class Factorization(nn.Module):
    """A level, biases, and the product of factors; what squares of factors and biases cost is told beside it."""

    def __init__(self, users, items, factors):
        super().__init__()
        self.users, self.items = drawn(users, factors), drawn(items, factors)
        self.user_bias, self.item_bias = drawn(users, 1), drawn(items, 1)
        self.level = nn.Parameter(torch.full((1,), 0.1))

    def forward(self, pairs):
        parts = [table[places] for table, places in zip(self.tables(), pairs.T.repeat(2, 1))]
        of_user, of_item, user_bias, item_bias = parts
        told = (of_user * of_item).sum(1) + user_bias[:, 0] + item_bias[:, 0] + self.level
        return told, torch.cat(parts, 1).square().sum(1)

    def tables(self):
        return self.users, self.items, self.user_bias, self.item_bias


class Towers(nn.Module):
    """Users and items through dense layers of their own, and the product of what those end in."""

    def __init__(self, users, items, factors, units):
        super().__init__()
        self.users, self.items = drawn(users, factors), drawn(items, factors)
        tower = lambda: nn.Sequential(nn.Linear(factors, units), nn.ReLU(), nn.Linear(units, factors))
        self.user_tower, self.item_tower = tower(), tower()
        self.last = nn.Linear(1, 1)

    def forward(self, pairs):
        user, item = self.user_tower(self.users[pairs[:, 0]]), self.item_tower(self.items[pairs[:, 1]])
        return self.last((user * item).sum(1, keepdim=True))[:, 0], torch.zeros(len(pairs))

    def tables(self):
        return self.users, self.items


def drawn(rows, numbers):
    return nn.Parameter(torch.randn(rows, numbers) / 2)


def named(network, names):
    """The network's tensors by taktline's names, in the order of its layers."""
    if isinstance(names, dict):
        return {name: tensor.detach().clone() for name, tensor in names.items()}
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


def write_begun(file, network, names, tensors, loss, optimizer, answer):
    """The same for a kind that reads no file of weights: `start` are all of them, one after the other. `answer` gives tensors to compare."""
    tensors["start"] = torch.cat([tensor.flatten() for tensor in named(network, names).values()])
    optimizer = optimizer(network.parameters())
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(network)
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    with torch.no_grad():
        tensors |= answer(network)
    tensors |= {f"final.{name}": tensor for name, tensor in named(network, names).items()}
    tensors["losses"] = torch.stack(losses)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, FOLDER / f"{file}.safetensors")
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


def sales():
    """The mean demand of one product in shops on days of the week, of two in five pairs: shop, day (from 1) and demand."""
    rows = pandas.read_csv(DATA / "retail/bakery_data.csv.gz")
    rows["demand"] = pandas.read_csv(DATA / "retail/bakery_target.csv.gz")["demand"]
    rows = rows[rows["product"] == 101]
    days = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
    means = rows.groupby(["store", "weekday"])["demand"].mean()
    shops = sorted(rows["store"].unique())
    pairs = [(place, day) for place in range(len(shops)) for day in range(7) if (3 * place + day) % 5 < 2]
    demand = numpy.array([means[shops[place], days[day]] for place, day in pairs])
    return torch.tensor([(shops[place], day + 1) for place, day in pairs]), tensor(standardised(demand))


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

table, _ = tumours()
halves = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2), nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 6))
errors = lambda network: (network(table) - table).square().mean(1)
write_begun(
    "autoencoder",
    halves,
    ["0.dense", None, "1.dense", "2.dense", None, "3.dense"],
    {"inputs": table},
    lambda network: errors(network).mean(),
    lambda weights: torch.optim.Adam(weights, lr=0.01, betas=(0.9, 0.999), eps=1e-7),
    lambda network: {"code": network[:3](table), "errors": errors(network)},
)

pairs, demand = sales()
# Names are in the order of texts, and the first place is for what was not seen.
places = torch.zeros_like(pairs)
for column, names in enumerate(sorted({str(int(name)) for name in column}) for column in pairs.T):
    places[:, column] = torch.tensor([names.index(str(int(name))) + 1 for name in pairs[:, column]])
users, items = (int(most) + 1 for most in places.amax(0))


def cost(share):
    def loss(network):
        told, squares = network(places)
        return nn.functional.mse_loss(told, demand) + share * squares.mean()

    return loss


def told(network):
    """What it says of all pairs, never beyond what was learned, and of what it never saw."""
    for table in network.tables():
        table[0] = 0.0
    return {"outputs": network(places)[0].clamp(demand.min(), demand.max()), "unseen": network(torch.zeros(1, 2, dtype=torch.int64))[0]}


of_sales = {"pairs": pairs, "targets": demand}
network = Factorization(users, items, 3)
write_begun(
    "factorization",
    network,
    {f"0.factorization.{name}": tensor for name, tensor in network.named_parameters()},
    dict(of_sales),
    cost(0.05),
    lambda weights: torch.optim.SGD(weights, lr=0.5, momentum=0.9),
    told,
)
network = Towers(users, items, 3, 4)
sides = [(network.users, network.user_tower), (network.items, network.item_tower)]
write_begun(
    "two_tower",
    network,
    {
        name: tensor
        for branch, (table, tower) in enumerate(sides)
        for name, tensor in {
            f"0.branches.{branch}.0.branches.0.0.embedding.weight": table,
            f"0.branches.{branch}.1.dense.weight": tower[0].weight,
            f"0.branches.{branch}.1.dense.bias": tower[0].bias,
            f"0.branches.{branch}.2.dense.weight": tower[2].weight,
            f"0.branches.{branch}.2.dense.bias": tower[2].bias,
        }.items()
    }
    | {"1.dense.weight": network.last.weight, "1.dense.bias": network.last.bias},
    dict(of_sales),
    cost(0.0),
    lambda weights: torch.optim.Adam(weights, lr=0.02, betas=(0.9, 0.999), eps=1e-7),
    told,
)
