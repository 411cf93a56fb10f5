"""Plain fine-tuning of a whole network, as one would do it without macnn: the floor to beat.

python tools/fine_tuning.py DATA WEIGHTS NETWORK OUTPUT.json [--size 224] [--seed 0] [--epochs 16]

AdamW at 3e-4 (the classifier ten times that), cosine schedule, label smoothing 0.1, random resized
crops and mirroring, batch norms trained, batches of 16. DATA is in the layout of CUB-200-2011;
test images are seen once, at the end. NETWORK is `timm/NAME` or one of torchvision's.
"""

import argparse
import json
import logging
import math
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

log = logging.getLogger("macnn.fine_tuning")
LR, HEAD, SMOOTHING, BATCH = 3e-4, 10.0, 0.1, 16


class Cub(Dataset):
    """Images of one split that are there, with labels from 0, in the order of the lists."""

    def __init__(self, root: Path, train: bool, transform: v2.Transform) -> None:
        def table(name: str) -> dict[str, str]:
            lines = (root / name).read_text("utf-8").splitlines()
            return dict(line.split(maxsplit=1) for line in lines if line.strip())

        files, labels = table("images.txt"), table("image_class_labels.txt")
        split = {key: value == "1" for key, value in table("train_test_split.txt").items()}
        there = [key for key in files if (root / "images" / files[key]).exists()]
        self.classes = sorted({int(labels[key]) for key in there})
        self.samples = [
            (root / "images" / files[key], self.classes.index(int(labels[key])))
            for key in there
            if split[key] == train
        ]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        file, label = self.samples[index]
        return self.transform(decode_image(str(file), ImageReadMode.RGB)), label


def network(name: str, weights: Path, classes: int) -> tuple[nn.Module, nn.Module, dict]:
    """A pretrained network with a new classifier, that classifier, and its normalisation."""
    tensors = load_file(weights)
    if name.startswith("timm/"):
        whole = timm.create_model(name.removeprefix("timm/"))
        whole.load_state_dict(tensors)
        whole.reset_classifier(classes)
        config = whole.pretrained_cfg
        return whole, whole.get_classifier(), {"mean": config["mean"], "std": config["std"]}
    whole = models.get_model(name)
    whole.load_state_dict(tensors)
    if name.startswith("squeezenet"):
        whole.classifier[1] = nn.Conv2d(512, classes, 1)
        last = whole.classifier[1]
    else:
        raise SystemExit(f"{name}: say here which layer its classifier is")
    return whole, last, {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def main() -> None:
    """Train, test once, and write the accuracy and every test image's logits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, kind in (("data", Path), ("weights", Path), ("network", str), ("output", Path)):
        parser.add_argument(name, type=kind)
    for name, default in (("size", 224), ("seed", 0), ("epochs", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    size = given.size

    training = Cub(given.data, True, v2.Identity())
    model, classifier, normalisation = network(given.network, given.weights, len(training.classes))
    end = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(**normalisation)]
    training.transform = v2.Compose(
        [v2.RandomResizedCrop(size, (0.5, 1), antialias=True), v2.RandomHorizontalFlip(), *end]
    )
    testing = Cub(
        given.data, False, v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size), *end])
    )
    loader = DataLoader(training, BATCH, shuffle=True, drop_last=True)
    model.to(memory_format=torch.channels_last)
    new = set(classifier.parameters())
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p not in new], "lr": LR},
            {"params": list(new), "lr": LR * HEAD},
        ]
    )
    steps = given.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for epoch in range(given.epochs):
        model.train()
        total = 0.0
        for images, labels in loader:
            images = images.contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(model(images), labels, label_smoothing=SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        log.info("epoch %d: loss %.3f", epoch + 1, total / len(loader))

    model.eval()
    with torch.no_grad():
        answers = [(model(images), labels) for images, labels in DataLoader(testing, BATCH)]
    logits, labels = (torch.cat(each) for each in zip(*answers, strict=True))
    right = logits.argmax(dim=1) == labels
    log.info("test accuracy %.4f of %d", right.double().mean(), len(right))
    settings = {name: str(value) for name, value in vars(given).items() if name != "output"}
    content = {**settings, "accuracy": right.double().mean().item(), "right": right.int().tolist()}
    given.output.write_text(json.dumps(content) + "\n", "utf-8")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
