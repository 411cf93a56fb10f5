"""What is reported of a phase: means of losses over images, and the state of the maps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from macnn import distributed
from macnn.evaluation.attention_metrics import AttentionFigures, AttentionMetrics
from macnn.text import shown
from macnn.training.saved import LARGEST


class Meters:
    """Sums over the images of this process, on the device; reading them waits for it."""

    def __init__(self, margin: float, device: torch.device) -> None:
        """Start empty; `margin` is that of Div."""
        self.device = device
        self.maps_seen = AttentionMetrics(margin)
        self.sums: dict[str, Tensor] = {}  # float64 (2,): sum over images, images

    def add(self, images: int, attention: Tensor | None = None, **means: Tensor) -> None:
        """Add means over `images` images, and their maps (B, N, H, W)."""
        if attention is not None:
            self.maps_seen.update(attention.detach())
        for name, mean in means.items():
            value = mean.detach().double() * images
            both = torch.stack((value, torch.full_like(value, images)))
            self.sums[name] = self.sums[name] + both if name in self.sums else both

    def means(self, *, everywhere: bool) -> dict[str, float]:
        """Means so far by name, over all processes or over this one's images."""
        summed = {
            n: distributed.all_reduce(s) if everywhere else s for n, s in sorted(self.sums.items())
        }
        return {name: (both[0] / both[1]).item() for name, both in summed.items()}

    def maps(self, *, everywhere: bool) -> AttentionFigures | None:
        """Figures of the maps so far; None if there were none."""
        if self.maps_seen.sums is None:
            return None
        return self.maps_seen.compute(everywhere=everywhere)

    def summary(self) -> dict[str, float]:
        """What is worth watching, of this process's images: means, and how far apart parts are."""
        figures = self.means(everywhere=False)
        maps = self.maps(everywhere=False)
        if maps is not None and maps.peak_distance is not None:
            figures["peaks apart"] = maps.peak_distance
        if maps is not None:
            figures["div"] = sum(maps.diversity) / len(maps.diversity)
        return figures

    def state_dict(self) -> dict[str, Tensor]:
        """All there is to save, one row per process. Every process calls this."""
        named = dict(self.sums)
        if self.maps_seen.sums is not None:
            named["/attention"] = self.maps_seen.sums
        return {name: torch.stack(_rows(value)) for name, value in named.items()}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Continue from saved sums; with another number of processes the first one has all.

        Raises:
            ValueError: they are no sums over images.
        """
        for name, every in state_dict.items():
            if not (every.abs() <= LARGEST).all() or not (every[:, -1] >= 1).all():
                raise ValueError(f"'{shown(name)}' is no sum over images")
        for name, every in state_dict.items():
            if len(every) == distributed.world_size():
                own = every[distributed.rank()].to(self.device)
            else:
                own = every.sum(0).to(self.device) * (distributed.rank() == 0)
            if name == "/attention":
                self.maps_seen.sums = own
            else:
                self.sums[name] = own


def _rows(value: Tensor) -> list[Tensor]:
    return [row[0] for row in distributed.all_gather(value[None])]
