"""Networks in PyTorch, for crates/torch-runtime/tests/training/pytorch.rs: the same first weights, the same rows in one batch, the
same optimizer; what the weights are after some steps, and what the network then says.

Writes tests/data/networks/*.safetensors, with taktline's names.

pip install torch==2.13.0 numpy safetensors
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

FOLDER = pathlib.Path("tests/data/networks")
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
    """Mean 0, deviation 1: what taktline makes of a target before it is learned."""
    return (values - values.mean()) / values.std(unbiased=False)


FOLDER.mkdir(parents=True, exist_ok=True)

table = torch.randn(48, 6)
labels = (table[:, 0] + table[:, 1] * table[:, 2] > 0).long() + (table[:, 3] > 1).long()
write(
    "mlp",
    nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3)),
    ["0.dense", None, "1.dense", None, "2.dense"],
    table,
    labels,
    nn.CrossEntropyLoss(),
    lambda weights: torch.optim.Adam(weights, lr=0.01, betas=(0.9, 0.999), eps=1e-7),
)

images = torch.randn(24, 2, 8, 8)
write(
    "cnn",
    nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4, eps=1e-3, momentum=0.1), nn.Flatten(), nn.Linear(36, 3),
    ),
    ["0.conv", None, None, "2.batch_norm", None, "4.dense"],
    images,
    (torch.arange(24) % 3),
    nn.CrossEntropyLoss(),
    lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9, nesterov=True),
    rows=images.permute(0, 2, 3, 1),
)

sequences = torch.randn(32, 7, 3)
values = standardised(sequences[:, 0, 0] + sequences[:, 5, 1])
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
