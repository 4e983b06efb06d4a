"""TorchScript files for tests/torchscript.rs, and what PyTorch says with them: writes tests/data/torchscript/.

`digits.pt` is a small network that was traced, trained on the first 8,000 pictures of datasets/mnist; `ratio.pt` was scripted, takes
two arguments and gives a tuple; `weights.pt` is no TorchScript but what torch.save writes.

pip install torch==2.13.0 numpy
"""

import gzip
import json
import pathlib

import numpy
import torch
from torch import nn

FOLDER = pathlib.Path("tests/data/torchscript")
FOLDER.mkdir(parents=True, exist_ok=True)
torch.manual_seed(7)
torch.set_num_threads(1)

with gzip.open("datasets/mnist/digits-10k-images-idx3-ubyte.gz") as file:
    pictures = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 1, 28, 28)
with gzip.open("datasets/mnist/digits-10k-labels-idx1-ubyte.gz") as file:
    labels = torch.from_numpy(numpy.frombuffer(file.read(), numpy.uint8, offset=8).astype(numpy.int64))
pictures = torch.from_numpy(pictures.astype(numpy.float32) / 255)

digits = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(300, 10),
)
optimizer = torch.optim.Adam(digits.parameters(), lr=0.003)
for _ in range(3):
    for rows in torch.randperm(8000).split(32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(digits(pictures[rows]), labels[rows]).backward()
        optimizer.step()
digits.eval()
with torch.no_grad():
    probabilities = torch.softmax(digits(pictures[8000:]).double(), 1)
accuracy = (probabilities.argmax(1) == labels[8000:]).double().mean().item()
print("accuracy on the last 2,000:", accuracy)
torch.jit.save(torch.jit.trace(digits, pictures[:2]), FOLDER / "digits.pt")
torch.save(digits[0].state_dict(), FOLDER / "weights.pt")


class Ratio(nn.Module):
    """What stands in a table is looked up and divided by the mean of some numbers; and that mean."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 1)

    def forward(self, item: torch.Tensor, numbers: torch.Tensor):
        mean = numbers.mean(1)
        return self.table(item).squeeze(2).squeeze(1) / mean, mean


ratio = Ratio().eval()
torch.jit.save(torch.jit.script(ratio), FOLDER / "ratio.pt")
items, numbers = torch.tensor([[0], [3], [4]]), torch.tensor([[1.0, 3.0], [2.0, 2.5], [8.0, 1.0]])
with torch.no_grad():
    told = ratio(items, numbers)
golden = {
    "accuracy": accuracy,
    "probabilities": [[float(f"{value:.9g}") for value in row] for row in probabilities[:5].tolist()],
    "ratios": [float(f"{value:.9g}") for value in told[0].tolist()],
}
(FOLDER / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


class Mean(nn.Module):
    """What it says of a row depends on the others of its batch."""

    def forward(self, numbers: torch.Tensor):
        return (numbers - numbers.mean(0)).sum(1)


class Raises(nn.Module):
    """Refuses whatever comes."""

    def forward(self, numbers: torch.Tensor):
        if numbers.size(0) > 0:
            raise ValueError("boom")
        return numbers


torch.jit.save(torch.jit.script(Mean().eval()), FOLDER / "mean.pt")
torch.jit.save(torch.jit.script(Raises().eval()), FOLDER / "raises.pt")
torch.jit.save(torch.jit.script(nn.Linear(2, 1).double().eval()), FOLDER / "double.pt")
