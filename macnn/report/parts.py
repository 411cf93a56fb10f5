"""Pictures of where the parts of a model look."""

from dataclasses import replace

import torch
from PIL import Image

from macnn.data.loaders import Loader
from macnn.data.samples import ImageSet
from macnn.model import MACNN, PartCNN, PartLocator, Parts
from macnn.model.alignment import part_centres
from macnn.report.grids import Caption, attention_grid

SHOWN = 8  # photographs in a picture


@torch.no_grad()
def draw_parts(model: PartLocator | MACNN | PartCNN, loader: Loader) -> Image.Image:
    """Attention of every part on some photographs of a loader, and averaged over them.

    The photographs are taken at even distances; with classifiers the predicted class is named too.
    """
    images = _some(loader.dataset.images)
    chosen = replace(loader, dataset=replace(loader.dataset, images=images))
    (batch,) = chosen.batches([[(0, i) for i in range(len(images.samples))]])
    model.eval()
    output = model(batch.to(next(model.parameters()).device).images)
    size = model.image_size
    attention = model.grid.resample(output.attention.float().cpu(), size, size // 4)
    names = images.class_names
    predicted = (
        [None] * len(batch.labels)
        if isinstance(output, Parts)
        else [names[i] for i in output.logits.argmax(dim=1).tolist()]
    )
    captions = [
        Caption(names[label], guess)
        for label, guess in zip(batch.labels.tolist(), predicted, strict=True)
    ]
    centres = model.grid.to_pixels(part_centres(output.attention)) / size
    mean = attention.mean(dim=0)
    return attention_grid(batch.images, attention, centres, captions=captions, mean=mean)


def _some(images: ImageSet) -> ImageSet:
    count = len(images.samples)
    step = max(1, count // SHOWN)
    return replace(images, samples=images.samples[step // 2 :: step][:SHOWN])
