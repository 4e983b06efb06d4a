"""The digit-inspection network in PyTorch eager, for comparison with `takt run`.

Reads the same images, trains the same network with the same batch size and optimiser settings, and prints one line of
JSON: the seconds of each epoch, the accuracy on the last 20 %. Needs `torch==2.13.0` and `numpy`.
"""

import argparse
import gzip
import json
import time

import numpy as np
import torch
from torch import nn


def read_idx(path):
    """An IDX file as an array of bytes."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
        magic = file.read(4)
        shape = [int.from_bytes(file.read(4), "big") for _ in range(magic[3])]
        return np.frombuffer(file.read(), dtype=np.uint8).reshape(shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--rows", type=int, default=8000, help="training images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    images = torch.from_numpy(read_idx(arguments.images).astype(np.float32) / 255.0).unsqueeze(1)
    labels = torch.from_numpy(read_idx(arguments.labels).astype(np.int64))
    train_images, train_labels = images[: arguments.rows], labels[: arguments.rows]

    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10),
    )
    if arguments.channels_last:
        network = network.to(memory_format=torch.channels_last)
        train_images = train_images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7)
    loss_of = nn.CrossEntropyLoss()

    seconds = []
    for _ in range(arguments.epochs):
        started = time.perf_counter()
        total, right = 0.0, 0
        order = torch.randperm(len(train_labels))
        for batch in order.split(arguments.batch_size):
            inputs, wanted = train_images[batch], train_labels[batch]
            optimizer.zero_grad()
            logits = network(inputs)
            loss = loss_of(logits, wanted)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
            right += (logits.argmax(1) == wanted).sum().item()
        seconds.append(time.perf_counter() - started)

    accuracy = None
    if arguments.rows < len(labels):
        with torch.no_grad():
            answers = network(images[arguments.rows :]).argmax(1)
        accuracy = (answers == labels[arguments.rows :]).float().mean().item()
    print(json.dumps({
        "engine": "pytorch", "threads": torch.get_num_threads(), "rows": len(train_labels),
        "seconds_per_epoch": seconds, "loss": total / len(train_labels), "accuracy": accuracy,
    }))


if __name__ == "__main__":
    main()
