"""Networks in PyTorch that learn from the same real rows as taktline's, with the same layers, first weights and steps; how well they
say rows that they did not learn from.

Random numbers differ, so each case has a figure for each of ten seeds. First weights: Glorot's limits, biases at zero; recurrent layers
and their biases within 1 / √units; factors and embeddings within 0.05. Adam with an epsilon of 1e-7; rows are shuffled anew each epoch,
and the last batch of an epoch is as short as it comes.

Writes tests/data/networks/quality.json: of each case its params in taktline, its rows, and its figures; of some also those of networks
that learned nothing.

pip install torch==2.13.0 numpy pandas scikit-learn && datasets/pull movielens && python tests/peers/networks_quality.py [CASE…]

CASE is tumours, digits, made_up_digits, puzzles, ratings, choices, or bakeries: figures of the others stay as they are.
"""

import copy
import gzip
import itertools
import json
import math
import pathlib
import statistics
import sys

import numpy
import pandas
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT / "datasets"
SEEDS = range(1, 11)

torch.set_num_threads(1)


def written(value):
    """A value of params in YAML."""
    match value:
        case dict():
            return "{" + ", ".join(f"{name}: {written(own)}" for name, own in value.items()) + "}"
        case list():
            return "[" + ", ".join(written(own) for own in value) + "]"
        case _:
            return str(value)


def adam(rate):
    return {"adam": {"learning_rate": rate}}


# Layers.


def dense(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def stack(inputs, hidden, outputs):
    """Dense layers with ReLU, and one without."""
    layers = []
    for units in hidden:
        layers += [dense(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, dense(inputs, outputs))


def conv(channels, filters, stride=1):
    layer = nn.Conv2d(channels, filters, 3, stride, padding=1)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def table(rows, numbers):
    layer = nn.Embedding(rows, numbers)
    nn.init.uniform_(layer.weight, -0.05, 0.05)
    return layer


def forget_unknown(*tables):
    """The first row is for what was not seen in training."""
    with torch.no_grad():
        for each in tables:
            each.weight[0] = 0.0


# Networks. Each has `loss`, the mean over rows, and `answer`.


class Classifier(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def loss(self, inputs, labels):
        return nn.functional.cross_entropy(self.network(inputs), labels)

    def answer(self, inputs):
        return torch.softmax(self.network(inputs).double(), 1)


class Numbers(nn.Module):
    """What says numbers: it learns them in standard deviations from their mean."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def loss(self, inputs, targets):
        return nn.functional.mse_loss(self.network(inputs), targets)

    def answer(self, inputs):
        return self.network(inputs).double()


class Autoencoder(nn.Module):
    def __init__(self, numbers, hidden, code):
        super().__init__()
        self.network = nn.Sequential(stack(numbers, hidden, code), stack(code, hidden[::-1], numbers))

    def errors(self, inputs):
        return (self.network(inputs) - inputs).square().mean(1)

    def loss(self, inputs):
        return self.errors(inputs).mean()

    def answer(self, inputs):
        return self.errors(inputs).double()


class Variational(nn.Module):
    def __init__(self, numbers, hidden, code, deviation, beta):
        super().__init__()
        self.encoder, self.decoder = stack(numbers, hidden, 2 * code), stack(code, hidden[::-1], numbers)
        self.deviation, self.beta = deviation, beta

    def parts(self, inputs, is_drawn):
        """Half the squared errors over the variance, and the divergence of the code from the standard normal distribution."""
        mean, log_variance = self.encoder(inputs).chunk(2, 1)
        code = mean + torch.exp(log_variance / 2) * torch.randn_like(mean) if is_drawn else mean
        squares = (self.decoder(code) - inputs).square().sum(1) / (2 * self.deviation**2)
        return squares, (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2

    def loss(self, inputs):
        squares, divergence = self.parts(inputs, True)
        return (squares + self.beta * divergence).mean()

    def answer(self, inputs):
        squares, divergence = self.parts(inputs, False)
        return (squares + divergence).double()


class Fusion(nn.Module):
    """A picture and a list of numbers, each through layers of its own, then both together."""

    def __init__(self, numbers, hidden, classes):
        super().__init__()
        self.pictures = nn.Sequential(
            conv(1, 16), nn.ReLU(), nn.MaxPool2d(2), conv(16, 32), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.lists = nn.Sequential(dense(numbers, 32), nn.ReLU())
        self.both = stack(64, hidden, classes)

    def forward(self, rows):
        pictures, lists = rows[:, : 28 * 28].reshape(-1, 1, 28, 28), rows[:, 28 * 28 :]
        return self.both(torch.cat([self.pictures(pictures), self.lists(lists)], 1))


class Recurrent(nn.Module):
    """What is remembered at the end of a sequence, made into numbers."""

    def __init__(self, channels, units, numbers):
        super().__init__()
        # PyTorch starts both as taktline does.
        self.memory, self.last = nn.LSTM(channels, units, batch_first=True), nn.Linear(units, numbers)

    def forward(self, sequences):
        return self.last(self.memory(sequences)[0][:, -1])


class Factorization(nn.Module):
    def __init__(self, users, items, factors, regularization):
        super().__init__()
        self.users, self.items = table(users + 1, factors), table(items + 1, factors)
        self.user_bias, self.item_bias = nn.Embedding(users + 1, 1), nn.Embedding(items + 1, 1)
        nn.init.zeros_(self.user_bias.weight)
        nn.init.zeros_(self.item_bias.weight)
        self.level = nn.Parameter(torch.zeros(1))
        self.regularization = regularization

    def parts(self, pairs):
        user, item = pairs.unbind(1)
        return self.users(user), self.items(item), self.user_bias(user), self.item_bias(item)

    @staticmethod
    def product(users, items, user_bias, item_bias):
        return (users * items).sum(1, keepdim=True) + user_bias + item_bias

    def loss(self, pairs, ratings):
        parts = self.parts(pairs)
        squares = torch.cat(parts, 1).square().sum(1)
        return nn.functional.mse_loss(self.product(*parts) + self.level, ratings) + self.regularization * squares.mean()

    def answer(self, pairs):
        return (self.product(*self.parts(pairs)) + self.level).double()

    def finish(self):
        forget_unknown(self.users, self.items, self.user_bias, self.item_bias)


class Choices(Factorization):
    """The same for what was taken or not."""

    def loss(self, pairs, is_taken):
        parts = self.parts(pairs)
        squares = torch.cat(parts, 1).square().sum(1)
        each = nn.functional.binary_cross_entropy_with_logits(self.product(*parts) + self.level, is_taken)
        return each + self.regularization * squares.mean()


class Towers(Numbers):
    def __init__(self, users, items, factors, hidden):
        super().__init__(None)
        self.users, self.items = table(users + 1, factors), table(items + 1, factors)
        self.user_tower, self.item_tower = stack(factors, hidden, factors), stack(factors, hidden, factors)
        self.last = dense(1, 1)
        self.network = self.meet

    def meet(self, pairs):
        user, item = pairs.unbind(1)
        product = self.user_tower(self.users(user)) * self.item_tower(self.items(item))
        return self.last(product.sum(1, keepdim=True))

    def finish(self):
        forget_unknown(self.users, self.items)


class Puzzles(nn.Module):
    """Tells in which of 24 orders the four quarters of an image stand: the same convolutions see each of them."""

    def __init__(self, side):
        super().__init__()
        half = side // 2
        self.tile = nn.Sequential(conv(1, 32), nn.ReLU(), nn.MaxPool2d(2), conv(32, 64), nn.ReLU(), nn.Flatten())
        self.order = stack(4 * 64 * (half // 2) ** 2, [128], 24)

    def forward(self, images):
        rows = len(images)
        quarters = images.reshape(rows, 2, images.shape[1] // 2, 2, images.shape[2] // 2).permute(0, 1, 3, 2, 4)
        drawn = torch.randint(24, (rows,))
        places = ORDERS[drawn] + 4 * torch.arange(rows)[:, None]
        tiles = quarters.reshape(rows * 4, 1, *quarters.shape[3:])[places.flatten()]
        return self.order(self.tile(tiles).reshape(rows, -1)), drawn

    def loss(self, images):
        return nn.functional.cross_entropy(*self(images))

    def answer(self, images):
        told, drawn = self(images)
        return (told.argmax(1) == drawn).double()


ORDERS = torch.tensor(list(itertools.permutations(range(4))))


class Generator(nn.Module):
    """Images of 8 × 8 from noise and the class."""

    def __init__(self, noise, classes, filters):
        super().__init__()
        self.noise, self.start = noise, dense(noise + classes, 2 * 2 * 2 * filters)
        twice = lambda: nn.Upsample(scale_factor=2)
        self.image = nn.Sequential(
            twice(), conv(2 * filters, 2 * filters), nn.ReLU(), twice(), conv(2 * filters, filters), nn.ReLU(), conv(filters, 1), nn.Tanh(),
        )

    def forward(self, classes):
        drawn = torch.cat([torch.randn(len(classes), self.noise), classes], 1)
        return self.image(torch.relu(self.start(drawn)).reshape(len(classes), -1, 2, 2))


class Critic(nn.Module):
    """How real an image of a class seems."""

    def __init__(self, classes, filters):
        super().__init__()
        self.score = nn.Sequential(
            conv(1 + classes, filters, 2), nn.LeakyReLU(), conv(filters, 2 * filters, 2), nn.LeakyReLU(), nn.Flatten(), dense(2 * 2 * 2 * filters, 1),
        )

    def forward(self, images, classes):
        planes = classes[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return self.score(torch.cat([images, planes], 1))


# Training.


def learn(seed, params, make, *rows):
    """The network that `make` makes of the params, after all epochs over the rows."""
    torch.manual_seed(seed)
    network = make(params)
    optimizer = torch.optim.Adam(network.parameters(), lr=params["optimizer"]["adam"]["learning_rate"], eps=1e-7, fused=True)
    for _ in range(params["epochs"]):
        for batch in torch.randperm(len(rows[0])).split(params["batch_size"]):
            optimizer.zero_grad()
            network.loss(*(own[batch] for own in rows)).backward()
            optimizer.step()
    if hasattr(network, "finish"):
        network.finish()
    return network


def contend(seed, params, images, classes, count):
    """The generator, as its running mean, after all steps of the contest: Wasserstein distance with gradient penalty."""
    torch.manual_seed(seed)
    generator, critic = Generator(params["noise"], count, params["filters"]), Critic(count, params["filters"])
    mean = copy.deepcopy(generator)
    settings = params["optimizer"]["adam"]
    both = [
        torch.optim.Adam(network.parameters(), lr=settings["learning_rate"], betas=(settings["beta_1"], settings["beta_2"]), eps=1e-7)
        for network in (generator, critic)
    ]
    of_class = [torch.nonzero(classes == each)[:, 0] for each in range(count)]

    def drawn():
        labels = torch.randint(count, (params["batch_size"],))
        rows = torch.stack([of_class[label][torch.randint(len(of_class[label]), ())] for label in labels])
        return images[rows], nn.functional.one_hot(labels, count).float()

    for step in range(params["steps"]):
        for optimizer in both:
            optimizer.param_groups[0]["lr"] = settings["learning_rate"] * min(2 - 2 * step / params["steps"], 1)
        for _ in range(params["critic_steps"]):
            real, labels = drawn()
            with torch.no_grad():
                made_up = generator(labels)
            between = torch.lerp(made_up, real, torch.rand(len(real), 1, 1, 1)).requires_grad_()
            (slopes,) = torch.autograd.grad(critic(between, labels).sum(), between, create_graph=True)
            penalty = ((slopes.flatten(1).square().sum(1) + 1e-12).sqrt() - 1).square().mean()
            both[1].zero_grad()
            (params["gradient_penalty"] * penalty - critic(real, labels).mean() + critic(made_up, labels).mean()).backward()
            both[1].step()
        _, labels = drawn()
        both[0].zero_grad()
        (-critic(generator(labels), labels).mean()).backward()
        both[0].step()
        memory = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for own, other in zip(mean.parameters(), generator.parameters()):
                own.lerp_(other, 1 - memory)
    return mean


def answers(network, rows):
    with torch.no_grad():
        return torch.cat([network.answer(chunk) for chunk in rows.split(4096)]).numpy()


def tensor(numbers):
    return torch.tensor(numpy.ascontiguousarray(numbers), dtype=torch.float32)


def standardised(rows, learned_from):
    return tensor((rows - learned_from.mean(0)) / learned_from.std(0))


def deviations(targets):
    """Numbers as a network learns them, and what makes its answers into numbers again."""
    center, scale = targets.mean(), targets.std()
    return tensor((targets - center) / scale), lambda numbers: numbers * scale + center


def rmse(found, truth):
    return math.sqrt(numpy.square(found - truth).mean())


# Cases.

quality = {}


def note(case, figure, params, rows, figures, untrained=()):
    """`untrained` are the figures of the same networks before they learn, for a bound that those must not keep."""
    figures, untrained = ([round(float(number), 6) for number in numbers] for numbers in (figures, untrained))
    quality[case] = {"figure": figure, "params": written(params), "rows": rows, "figures": figures}
    if untrained:
        quality[case]["untrained"] = untrained
    print(f"{case}: {figure} {statistics.mean(figures):.4f} ± {statistics.stdev(figures):.4f}, {figures}; untrained {untrained}", flush=True)


def of_tumours():
    cells = pandas.read_csv(DATA / "medical/wdbc.csv")
    is_malignant = (cells.pop("diagnosis") == "M").to_numpy()
    numbers, is_third = cells.to_numpy(), numpy.arange(len(cells)) % 3 == 0

    ordinary = ~is_third & ~is_malignant
    rows = (
        "datasets/medical/wdbc.csv, all 30 measurements, standardised by the learning rows (deviation over n). Learned: benign rows whose "
        "index, from 0, is no multiple of 3. Judged: all others; malignant is the anomaly."
    )
    known, others = standardised(numbers[ordinary], numbers[ordinary]), standardised(numbers[~ordinary], numbers[ordinary])
    shared = {"hidden": [16], "bottleneck": 4, "epochs": 100, "batch_size": 32, "optimizer": adam(0.003)}
    variational = shared | {"deviation": 0.5, "beta": 1.0}
    is_anomaly = is_malignant[~ordinary]
    for case, params, make, measure in [
        ("autoencoder", shared, lambda params: Autoencoder(30, params["hidden"], params["bottleneck"]), "squared error"),
        (
            "vae",
            variational,
            lambda params: Variational(30, *(params[name] for name in ("hidden", "bottleneck", "deviation", "beta"))),
            "negative evidence bound",
        ),
    ]:
        areas, means = ([], []), ([], [])
        for seed in SEEDS:
            # Malignant rows lie so far out that a network that learned nothing finds them as well; how well it says benign ones it must learn.
            for place, epochs in enumerate([params["epochs"], 0]):
                found = answers(learn(seed, params | {"epochs": epochs}, make, known), others)
                areas[place].append(roc_auc_score(is_anomaly, found))
                means[place].append(found[~is_anomaly].mean())
        note(case, "ROC AUC", params, rows, *areas)
        note(f"{case}_benign", f"mean {measure}", params, rows + " Of the judged rows the benign ones alone.", *means)

    params = {"hidden": [16, 8], "epochs": 20, "batch_size": 32, "optimizer": adam(0.003)}
    rows = (
        "datasets/medical/wdbc.csv, all 30 measurements, standardised by the learning rows (deviation over n); target `diagnosis`, the "
        "score is the probability of M. Judged: rows whose index, from 0, is a multiple of 3. Learned: the others."
    )
    known, others = standardised(numbers[~is_third], numbers[~is_third]), standardised(numbers[is_third], numbers[~is_third])
    labels = torch.tensor(is_malignant[~is_third].astype("int64"))
    areas = []
    for seed in SEEDS:
        network = learn(seed, params, lambda params: Classifier(stack(30, params["hidden"], 2)), known, labels)
        areas.append(roc_auc_score(is_malignant[is_third], answers(network, others)[:, 1]))
    note("mlp", "ROC AUC", params, rows, areas)


def digits():
    """10,000 images of 28 × 28 from 0 to 1, and their labels."""

    def read(name, header):
        return numpy.frombuffer(gzip.decompress((DATA / "mnist" / name).read_bytes()), "uint8", offset=header)

    labels = read("digits-10k-labels-idx1-ubyte.gz", 8).astype("int64")
    return read("digits-10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28) / 255, labels


def of_digits():
    images, labels = digits()
    inputs = tensor(numpy.concatenate([images.reshape(-1, 28 * 28), images.mean(2)], 1))
    params = {
        "branches": [{"input": "image"}, {"input": "row_means"}],
        "task": "classification",
        "hidden": [64],
        "epochs": 3,
        "batch_size": 8,
        "optimizer": adam(0.003),
    }
    rows = (
        "datasets/mnist, pixels / 255 as `image` (28 x 28 x 1), and the mean of each of its 28 lines as the array `row_means`. Learned: "
        "rows 0 to 1,999. Judged: rows 8,000 to 9,999."
    )
    shares = []
    for seed in SEEDS:
        network = learn(seed, params, lambda params: Classifier(Fusion(28, params["hidden"], 10)), inputs[:2000], torch.tensor(labels[:2000]))
        shares.append((answers(network, inputs[8000:]).argmax(1) == labels[8000:]).mean())
    note("multimodal", "accuracy", params, rows, shares)


def of_made_up_digits():
    images, labels = digits()
    small = images[:, 2:26, 2:26].reshape(-1, 8, 3, 8, 3).mean((2, 4))
    learned = [row for row in range(2000) if labels[row] == 0 or (labels[:row] == labels[row]).sum() < 40]
    judged = [row for row in range(8000, 10_000) if labels[row] > 0]
    params = {
        "steps": 800,
        "filters": 16,
        "noise": 16,
        "critic_steps": 2,
        "gradient_penalty": 10.0,
        "batch_size": 64,
        "optimizer": {"adam": {"learning_rate": 0.002, "beta_1": 0.5, "beta_2": 0.9}},
    }
    reader = {"hidden": [32], "epochs": 20, "batch_size": 32, "optimizer": adam(0.003)}
    known, classes = tensor(small[learned] * 2 - 1)[:, None], torch.tensor(labels[learned])
    lacking = int((classes == 0).sum()) - 40
    made_up_classes = torch.arange(1, 10).repeat_interleave(lacking)
    rows = (
        "datasets/mnist, the middle 24 x 24 pixels of 28 x 28, the mean of each 3 x 3 of them / 255 as `image` (8 x 8 x 1). Learned: of rows 0 to "
        f"1,999 all zeros ({lacking + 40}) and the first 40 of each other digit. The generator makes up {lacking} of each of those (`ratio: 1`). Those "
        f"alone, as arrays of 64 numbers, are learned by an mlp {written(reader)}. Judged: rows 8,000 to 9,999 but zeros. The ends of the scale are those "
        "of all learned pixels, 0 and 1."
    )
    assert (small[learned].min(), small[learned].max()) == (0, 1)
    shares = []
    for seed in SEEDS:
        generator = contend(seed, params, known, classes, 10)
        with torch.no_grad():
            made_up = generator(nn.functional.one_hot(made_up_classes, 10).float()).reshape(-1, 64) / 2 + 0.5
        network = learn(seed, reader, lambda params: Classifier(stack(64, params["hidden"], 9)), made_up, made_up_classes - 1)
        shares.append((answers(network, tensor(small[judged].reshape(-1, 64))).argmax(1) + 1 == labels[judged]).mean())
    note("gan", "accuracy", params, rows, shares)


def of_puzzles():
    images, _ = digits()
    params = {"grid": 2, "orders": 24, "epochs": 3, "batch_size": 32, "optimizer": adam(0.001)}
    rows = (
        "datasets/mnist, pixels / 255 as `image` (28 x 28 x 1). Learned: rows 0 to 1,999, in all orders of their quarters. Judged: rows 8,000 to "
        "9,999, each in one order."
    )
    shares = []
    for seed in SEEDS:
        network = learn(seed, params, lambda _: Puzzles(28), tensor(images[:2000]))
        shares.append(answers(network, tensor(images[8000:])).mean())
    note("jigsaw", "share of puzzles solved", params, rows, shares)


def of_ratings():
    ratings = pandas.read_csv(DATA / "pulled/movielens-100k/ratings.csv")
    is_judged = numpy.arange(len(ratings)) % 5 == 0
    known = ratings[~is_judged]
    users, films = ({name: place for place, name in enumerate(sorted(known[column].unique()), 1)} for column in ("user", "film"))
    pairs = numpy.stack([ratings["user"].map(users).fillna(0), ratings["film"].map(films).fillna(0)], 1).astype("int64")
    stars = ratings["rating"].to_numpy(dtype=float)
    targets, stars_again = deviations(stars[~is_judged])
    learned = torch.tensor(pairs[~is_judged]), targets[:, None]
    rows = (
        "datasets/pulled/movielens-100k/ratings.csv. Judged: rows whose index after the header, from 0, is a multiple of 5. Learned: the "
        "others. Users and films that are only in judged rows are unknown; predictions stay within the learned ratings."
    )
    names = {"user": "user", "item": "film", "target": "rating", "feedback": "explicit"}
    factorization = names | {
        "network": "factorization", "factors": 32, "regularization": 0.04, "epochs": 12, "batch_size": 256, "optimizer": adam(0.002),
    }
    towers = names | {"network": "two_tower", "factors": 16, "hidden": [32], "epochs": 6, "batch_size": 256, "optimizer": adam(0.002)}
    for case, params, make in [
        (
            "recommender_matrix_factorisation",
            factorization,
            lambda params: Factorization(len(users), len(films), params["factors"], params["regularization"]),
        ),
        ("recommender_two_tower", towers, lambda params: Towers(len(users), len(films), params["factors"], params["hidden"])),
    ]:
        errors = []
        for seed in SEEDS:
            found = stars_again(answers(learn(seed, params, make, *learned), torch.tensor(pairs[is_judged])))[:, 0]
            errors.append(rmse(found.clip(stars[~is_judged].min(), stars[~is_judged].max()), stars[is_judged]))
        note(case, "RMSE", params, rows, errors)


def of_choices():
    ratings = pandas.read_csv(DATA / "pulled/movielens-100k/ratings.csv")
    is_judged = numpy.arange(len(ratings)) % 5 == 0
    is_liked = (ratings["rating"] >= 4).to_numpy()
    known, held_out = ratings[is_liked & ~is_judged], ratings[is_liked & is_judged]
    users, films = ({name: place for place, name in enumerate(sorted(known[column].unique()), 1)} for column in ("user", "film"))
    had, liked = ({user: set(rows["film"]) for user, rows in part.groupby("user")} for part in (known, held_out))
    # Of every fifth user all films that training does not have of them, and which of those they liked.
    shelves = {
        user: [(film, film in liked[user]) for film in films if film not in had[user]]
        for user in users
        if user % 5 == 0 and liked.get(user, set()) & set(films)
    }
    judged = torch.tensor([(users[user], films[film]) for user, shelf in shelves.items() for film, _ in shelf])

    def mean_area(scores):
        starts = numpy.cumsum([0] + [len(shelf) for shelf in shelves.values()])
        parts = zip(shelves.values(), starts, starts[1:])
        return numpy.mean([roc_auc_score([is_liked for _, is_liked in shelf], scores[start:end]) for shelf, start, end in parts])

    popularity = known["film"].value_counts()
    popular = mean_area(numpy.array([popularity[film] for shelf in shelves.values() for film, _ in shelf]))
    params = {
        "user": "user",
        "item": "film",
        "target": "rating",
        "feedback": "implicit",
        "relevant_from": 4,
        "network": "factorization",
        "factors": 16,
        "negatives": 2,
        "regularization": 0.01,
        "epochs": 4,
        "batch_size": 512,
        "optimizer": adam(0.01),
    }
    rows = (
        "datasets/pulled/movielens-100k/ratings.csv, ratings from 4 up. Judged: rows whose index after the header, from 0, is a multiple of 5, "
        "of users whose number is a multiple of 5. Learned: those whose index is none. Of each judged user all films of learned rows which are "
        "not in the user's own: the share of pairs of a judged film and another in the right order, on the mean over users. How often a film "
        f"is learned comes to {popular:.4f}."
    )
    taken = {(users[user], films[film]) for user, film in zip(known["user"], known["film"])}
    areas = ([], [])
    for seed in SEEDS:
        # Drawn once, before training; where twenty are taken, none.
        generator, pairs, is_taken = numpy.random.default_rng(seed), [], []
        for user, film in zip(known["user"].map(users), known["film"].map(films)):
            pairs.append((user, film))
            is_taken.append(1.0)
            for _ in range(params["negatives"]):
                drawn = (int(film) for film in generator.integers(1, len(films) + 1, 20))
                other = next((film for film in drawn if (user, film) not in taken), None)
                if other is not None:
                    pairs.append((user, other))
                    is_taken.append(0.0)
        learned = torch.tensor(pairs), torch.tensor(is_taken)[:, None]
        for place, epochs in enumerate([params["epochs"], 0]):
            make = lambda params: Choices(len(users), len(films), params["factors"], params["regularization"])
            found = answers(learn(seed, params | {"epochs": epochs}, make, *learned), judged)
            areas[place].append(mean_area(found[:, 0]))
    note("recommender_implicit", "mean ROC AUC of users", params, rows, *areas)


def of_bakeries():
    days = pandas.read_csv(DATA / "retail/bakery_data.csv.gz", usecols=["date", "store", "product"])
    days["demand"] = pandas.read_csv(DATA / "retail/bakery_target.csv.gz")["demand"]
    dates = sorted(days["date"].unique())
    first_judged = len(dates) * 8 // 10
    learned, judged = ([], []), ([], [])
    for _, series in days.groupby(["store", "product"]):
        assert series["date"].tolist() == dates
        demand = series["demand"].to_numpy()
        for day in range(28, len(demand) - 6, 7):
            if first_judged - 7 < day < first_judged:
                continue
            histories, weeks = judged if day >= first_judged else learned
            histories.append(demand[day - 28 : day])
            weeks.append(demand[day : day + 7])
    (known, coming), (others, truth) = ((numpy.stack(histories), numpy.stack(weeks)) for histories, weeks in (learned, judged))
    # Demand by the hundred: numbers about as large as a network wants them.
    known, others = tensor(known / 100)[:, :, None], tensor(others / 100)[:, :, None]
    targets, demand_again = deviations(coming)
    params = {"input": "history", "cell": "lstm", "units": [32], "epochs": 16, "batch_size": 64, "optimizer": adam(0.005)}
    rows = (
        f"datasets/retail/bakery_*.csv.gz, the {len(dates)} days of each store and product in order. Of each day d = 28, 35, 42, ... that six days "
        "follow: `history`, an array of the demand of days d - 28 to d - 1, divided by 100; the target, an array of the demand of days d to d + 6. "
        f"Learned: d + 6 < {first_judged} ({len(known)} rows). Judged: d >= {first_judged} ({len(others)} rows), all seven days of each together."
    )
    errors = []
    for seed in SEEDS:
        network = learn(seed, params, lambda params: Numbers(Recurrent(1, params["units"][0], 7)), known, targets)
        found = demand_again(answers(network, others))
        errors.append(rmse(found, truth))
    note("rnn_sequence", "RMSE", params, rows, errors)


file = ROOT / "tests/data/networks/quality.json"
cases = {
    "tumours": of_tumours,
    "digits": of_digits,
    "made_up_digits": of_made_up_digits,
    "puzzles": of_puzzles,
    "ratings": of_ratings,
    "choices": of_choices,
    "bakeries": of_bakeries,
}
if sys.argv[1:]:
    quality = json.loads(file.read_text(encoding="utf-8"))
for case in sys.argv[1:] or cases:
    cases[case]()
file.write_text(json.dumps(quality, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
