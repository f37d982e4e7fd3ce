"""The search of bench_search as Ray's tutorials write one: function, DataLoader, defaults.

The transforms run per image in the data set, as torchvision's own data sets do it.
"""

import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from trainables.data.loading import load


class Transformed(Dataset):
    """Image and target, both made when they are asked for."""

    def __init__(self, pixels):
        self.images = [Image.fromarray(image) for image in pixels.permute(0, 2, 3, 1).numpy()]
        self.input = transforms.ToTensor()
        flips = [transforms.RandomHorizontalFlip(1), transforms.RandomVerticalFlip(1)]
        self.target = transforms.Compose(
            [transforms.Resize((28, 28)), transforms.Grayscale(), *flips, transforms.ToTensor()]
        )

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return self.input(image), self.target(image)


def train_fc(config, train_pixels, validation_pixels):
    """One trial."""
    train = DataLoader(Transformed(train_pixels), batch_size=256, shuffle=True)
    validation = DataLoader(Transformed(validation_pixels), batch_size=256)
    layers = [
        nn.Flatten(),
        nn.Linear(3072, 128),
        nn.Dropout(config["dropout"]),
        nn.Linear(128, 784),
        nn.Sigmoid(),
    ]
    net = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(net.parameters(), lr=config["lr"])
    criterion = nn.MSELoss()
    for _ in range(config["epochs"]):
        net.train()
        for inputs, targets in train:
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets.flatten(1))
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            losses = [
                criterion(net(inputs), targets.flatten(1)).item() for inputs, targets in validation
            ]
        with tempfile.TemporaryDirectory() as directory:
            torch.save(
                (net.state_dict(), optimizer.state_dict()), Path(directory) / "checkpoint.pt"
            )
            checkpoint = tune.Checkpoint.from_directory(directory)
            tune.report({"loss": sum(losses) / len(losses)}, checkpoint=checkpoint)


def main(source, images, trials, epochs, storage):
    splits = load(source)
    trainable = tune.with_parameters(
        train_fc,
        train_pixels=splits.train.images[:images],
        validation_pixels=splits.validation.images[:1000],
    )
    tuner = tune.Tuner(
        trainable,
        param_space={
            "lr": tune.loguniform(1e-4, 1e-2),
            "dropout": tune.uniform(0, 0.5),
            "epochs": epochs,
        },
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=trials,
            scheduler=ASHAScheduler(
                max_t=epochs, grace_period=epochs
            ),  # nothing is stopped on any side
        ),
        run_config=tune.RunConfig(storage_path=storage),
    )
    print(tuner.fit().get_best_result().metrics["loss"])


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5])
