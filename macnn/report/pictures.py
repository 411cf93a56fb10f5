"""Photographs and maps as data URIs: a page that carries them needs no other file."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image, ImageColor
from torch import Tensor

from macnn.data.images import read_image
from macnn.data.loaders import through
from macnn.data.samples import ImageSet
from macnn.data.transforms import ResizeMode, geometry
from macnn.defaults import PART_SHARE
from macnn.evaluation.predictions import Places, Predictions
from macnn.model.alignment import part_centres
from macnn.report.overlays import TILE, mark, overlay, photograph
from macnn.report.style import part_colour

_CROP_PIXELS = 112
_MAP_PIXELS = 56
_QUALITY = 82

Box = tuple[float, float, float, float]  # left, top, right, bottom


class Album:
    """Draws the evaluated images, by their place in the predictions.

    A photograph shows what the network saw of it, at a size fit to look at.
    """

    def __init__(
        self, images: ImageSet, predictions: Predictions, *, image_size: int, mode: ResizeMode
    ) -> None:
        """Take the images and settings of the evaluation."""
        self._images = images
        self._geometry = geometry(TILE, mode)
        self._predictions = predictions
        self._image_size = image_size

    def plain(self, place: int) -> Markup:
        """A photograph."""
        return jpeg(photograph(self._view(place)))

    def marked(self, place: int) -> Markup:
        """A photograph with a dot where each part looks."""
        dots = [(part_colour(i), point) for i, point in enumerate(self._centres(place))]
        return jpeg(mark(photograph(self._view(place)), dots))

    def overlays(self, place: int) -> list[Markup]:
        """A photograph through the attention of every part."""
        view = self._view(place)
        return [
            jpeg(overlay(view, each, part_colour(i))) for i, each in enumerate(self._maps(place))
        ]

    def crops(self, place: int) -> list[Markup]:
        """The surroundings of every part, from the stored image."""
        stored = Image.fromarray(self._stored(place).movedim(0, -1).contiguous().numpy())
        side = PART_SHARE * min(stored.size)
        size = (_CROP_PIXELS, _CROP_PIXELS)
        return [
            jpeg(stored.resize(size, Image.Resampling.LANCZOS, box=_around(x, y, side, stored)))
            for x, y in self._places.centres[place].tolist()
        ]

    def means(self) -> list[Markup]:
        """The attention of every part, averaged over all images: its colour on nothing."""
        mean = self._resampled(self._places.attention.float().mean(0, keepdim=True))[0]
        return [tint(each, part_colour(i)) for i, each in enumerate(mean)]

    @property
    def _places(self) -> Places:
        assert self._predictions.places is not None, "only pages of models with parts show them"
        return self._predictions.places

    def _stored(self, place: int) -> Tensor:
        return read_image(self._images.samples[self._predictions.samples[place]].path)

    def _view(self, place: int) -> Tensor:
        return through(self._geometry, self._stored(place))[0]

    def _cells(self, place: int) -> Tensor:
        """The maps (1, N, H, W) of an image, cell by cell."""
        return self._places.attention[place : place + 1].float()

    def _maps(self, place: int) -> Tensor:
        return self._resampled(self._cells(place))[0]

    def _centres(self, place: int) -> Sequence[Sequence[float]]:
        pixels = self._places.grid.to_pixels(part_centres(self._cells(place))[0])
        points: list[list[float]] = (pixels / self._image_size).tolist()
        return points

    def _resampled(self, maps: Tensor) -> Tensor:
        return self._places.grid.resample(maps, self._image_size, _MAP_PIXELS)


def jpeg(picture: Image.Image) -> Markup:
    """A picture as a small JPEG."""
    return _uri("jpeg", picture, quality=_QUALITY, optimize=True)


def tint(attention: Tensor, colour: str) -> Markup:
    """A map (H, W) as a PNG of one colour, transparent where the map is weakest."""
    low, high = attention.min(), attention.max()
    share = (attention - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    pixels = np.empty((*attention.shape, 4), dtype=np.uint8)
    pixels[..., :3] = ImageColor.getrgb(colour)
    pixels[..., 3] = (255 * share).round().byte().numpy()
    return _uri("png", Image.fromarray(pixels), optimize=True)


def _uri(kind: str, picture: Image.Image, **options: object) -> Markup:
    encoded = io.BytesIO()
    picture.save(encoded, format=kind, **options)
    return Markup(f"data:image/{kind};base64,{base64.b64encode(encoded.getvalue()).decode()}")


def _around(x: float, y: float, side: float, stored: Image.Image) -> Box:
    """A square of this side around a point, moved so that it lies within the image."""
    left = min(max(x - side / 2, 0), stored.width - side)
    top = min(max(y - side / 2, 0), stored.height - side)
    return left, top, left + side, top + side
