"""Trains the packaged weights of the small backbone: `python -m tools.tiny_weights`.

The labels are part attributes of synthetic birds: for each of the four parts, which colour it is
marked with. There are no boxes, no keypoints and no classes. A quarter of the channels belongs to
each part; where the quarter responds, its features must tell the colour, and each of its channels
is drawn towards the place where the quarter peaks. So channels of one part fire at one place.
"""

import argparse
import hashlib
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from macnn.data.synth.classes import COLOURS, PARTS
from macnn.data.synth.picture import draw_picture
from macnn.model.tiny import CHANNELS, MEAN, STD, TinyNet, tiny_weights_path

SIZE = 112  # network input, pixels
DRAWN = 224  # pixels; birds are drawn larger and resized, as photographs are
SEED = 2017  # of the birds, the weights and the order; the demo's birds have other seeds
ROUNDS = 7  # training images per combination of attributes
EPOCHS = 6
BATCH = 32
RATE = 3e-3
COMPACTNESS = 4.0  # weight of the spread of the channels at the end of training

Species = tuple[int, ...]
log = logging.getLogger("macnn.tiny_weights")


@dataclass(frozen=True)
class Birds:
    """Images uint8 (n, 3, 112, 112) and the colour index of each part, int64 (n, 4)."""

    images: Tensor
    attributes: Tensor


class AttributeHeads(nn.Module):
    """One linear classifier per part, on the features of its quarter of the channels.

    `forward` takes features (B, C, H, W) and gives logits (B, 4, colours) and the spread (), the
    mean squared distance of the channels' responses from their quarter's peak, in map sides.
    """

    def __init__(self) -> None:
        super().__init__()
        own = CHANNELS // len(PARTS)
        self.norm = nn.LayerNorm(own, elementwise_affine=False)
        self.heads = nn.ModuleList(nn.Linear(own, len(COLOURS)) for _ in PARTS)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Classify the attributes and measure the spread."""
        quarters = features.unflatten(1, (len(PARTS), -1))  # (B, 4, C/4, H, W)
        maps = _shares(quarters.mean(dim=2))  # (B, 4, H, W)
        pooled = self.norm(torch.einsum("bnyx,bncyx->bnc", maps, quarters))
        logits = torch.stack([head(pooled[:, n]) for n, head in enumerate(self.heads)], dim=1)
        distance = _squared_distance_to_peak(maps.detach())
        return logits, (_shares(quarters) * distance.unsqueeze(2)).sum(dim=(3, 4)).mean()


def train() -> tuple[TinyNet, list[float]]:
    """Train from scratch; returns the network and the accuracy per part on unseen birds."""
    torch.manual_seed(SEED)
    order = torch.Generator().manual_seed(SEED)
    birds = draw_birds(ROUNDS, first=1)
    network, heads = TinyNet().to(memory_format=torch.channels_last), AttributeHeads()
    parameters = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=1e-3)
    steps = EPOCHS * (len(birds.images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.2)
    for epoch in range(EPOCHS):
        losses = []
        for chosen in torch.randperm(len(birds.images), generator=order).split(BATCH):
            if len(chosen) < BATCH:
                continue
            flipped = torch.rand(BATCH, 1, 1, 1, generator=order) < 0.5
            images = birds.images[chosen]
            logits, spread = heads(network(normalise(images.where(flipped, images.flip(3)))))
            loss = F.cross_entropy(logits.flatten(0, 1), birds.attributes[chosen].flatten())
            # Compactness comes in slowly: a part must be found before it can be drawn together.
            share = schedule.last_epoch / steps
            optimiser.zero_grad()
            (len(PARTS) * (loss + COMPACTNESS * share * spread)).backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        log.info("epoch %d of %d: loss %.4f", epoch + 1, EPOCHS, sum(losses) / len(losses))
    return network, accuracy(network, heads, draw_birds(1, first=0))


@torch.no_grad()
def accuracy(network: TinyNet, heads: AttributeHeads, birds: Birds) -> list[float]:
    """Share of `birds` whose attribute is recognised, per part."""
    network.eval()
    right = [
        heads(network(normalise(images)))[0].argmax(dim=2) == attributes
        for images, attributes in zip(
            birds.images.split(64), birds.attributes.split(64), strict=True
        )
    ]
    return [round(share, 4) for share in torch.cat(right).double().mean(dim=0).tolist()]


def draw_birds(rounds: int, first: int) -> Birds:
    """Draw `rounds` birds of every combination of attributes, numbered from `first`."""
    combinations = list(product(range(len(COLOURS)), repeat=len(PARTS)))
    numbers = range(first, first + rounds)
    plan = [(species, number) for number in numbers for species in combinations]
    with ProcessPoolExecutor() as pool:
        images = list(pool.map(_draw, plan, chunksize=64))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return Birds(pixels, torch.tensor([species for species, _ in plan]))


def normalise(images: Tensor) -> Tensor:
    """Bring uint8 images to the mean and standard deviation of `TinyNet`."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def _draw(task: tuple[Species, int]) -> np.ndarray:
    species, number = task
    rng = np.random.default_rng((SEED, number, *species))
    names = tuple(COLOURS[index] for index in species)
    picture = draw_picture(names, rng, colours=COLOURS, size=DRAWN)
    return np.asarray(picture.image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _shares(maps: Tensor) -> Tensor:
    """Maps (..., H, W), not negative, divided by their sums."""
    return maps / (maps.sum(dim=(-2, -1), keepdim=True) + 1e-3)


def _squared_distance_to_peak(maps: Tensor) -> Tensor:
    """For maps (..., H, W): squared distance of every cell to the peak, in map sides."""
    height, width = maps.shape[-2:]
    peak = maps.flatten(-2).argmax(dim=-1)[..., None, None]
    y = (torch.arange(height).view(-1, 1) - peak // width) / height
    x = (torch.arange(width).view(1, -1) - peak % width) / width
    return y.square() + x.square()


def main() -> None:
    """Train, then write the weights and beside them a JSON file that discloses them."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=tiny_weights_path())
    output: Path = parser.parse_args().output
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    network, accuracies = train()
    facts = {
        "command": "python -m tools.tiny_weights",
        "data": "synthetic birds, drawn by macnn.data.synth",
        "labels": "marking colour of each part",
        "seed": SEED,
        "training_images": ROUNDS * len(COLOURS) ** len(PARTS),
        "epochs": EPOCHS,
        "accuracy": dict(zip(PARTS, accuracies, strict=True)),
        "torch": torch.__version__,
    }
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, output, {name: json.dumps(fact) for name, fact in facts.items()})
    content = output.read_bytes()
    facts |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    output.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    log.info("%s: accuracy %s", output, accuracies)


if __name__ == "__main__":
    main()
