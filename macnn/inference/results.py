"""What a prediction says, by name."""

from dataclasses import dataclass
from typing import Any

from macnn.data.samples import Box


@dataclass(frozen=True)
class ClassScore:
    """A class by its name, and its probability."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a model says about one picture.

    Attributes:
        source: Name of the file, None for a picture that came from memory.
        classes: The most probable classes, best first.
        parts: One box per part, in pixels of the stored picture (upright as its EXIF tag says): a
            square around the part's centre in the network input, cut off at the picture's border.
    """

    source: str | None
    classes: tuple[ClassScore, ...]
    parts: tuple[Box, ...]

    @property
    def name(self) -> str:
        """The most probable class."""
        return self.classes[0].name

    @property
    def probability(self) -> float:
        """The probability of that class."""
        return self.classes[0].probability

    def as_json(self) -> dict[str, Any]:
        """JSON-able values, boxes to a hundredth of a pixel."""
        return {
            "source": self.source,
            "classes": [
                {"name": score.name, "probability": round(score.probability, 6)}
                for score in self.classes
            ],
            "parts": [
                {"part": number, **{side: round(v, 2) for side, v in vars(box).items()}}
                for number, box in enumerate(self.parts, start=1)
            ],
        }


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be read, and why in one line that names it."""

    source: str
    problem: str
