"""Which synthetic species exist: every combination of one marking colour per part."""

from itertools import combinations_with_replacement, product
from math import prod

from macnn.errors import UsageError

PARTS = ("head", "wing", "breast", "tail")
COLOURS = ("red", "blue", "gold", "white")
_ADJECTIVES = ("headed", "winged", "breasted", "tailed")

Species = tuple[int, ...]
"""The index into `COLOURS` of each part's marking, in the order of `PARTS`."""


def all_species(classes: int) -> list[Species]:
    """The `classes` species of a full factorial: each part's colours meet all the others'.

    So every species has, for each part, a neighbour that differs from it in that part only.

    Raises:
        UsageError: `classes` is not a product of one number of colours per part.
    """
    # Counts from 2 to 4 factor a product in one way only, so no choice is hidden here.
    possible = {
        prod(counts): counts
        for counts in combinations_with_replacement(range(len(COLOURS), 1, -1), len(PARTS))
    }
    if classes not in possible:
        nearest = sorted(possible, key=lambda count: abs(count - classes))[:3]
        raise UsageError(
            f"classes: {classes} is not a product of {len(PARTS)} numbers of colours "
            f"from 2 to {len(COLOURS)}",
            hint=f"the nearest possible are {', '.join(map(str, sorted(nearest)))}",
        )
    return list(product(*(range(count) for count in possible[classes])))


def species_name(species: Species) -> str:
    """A name in the style of CUB-200-2011, such as "Red_headed_Blue_winged_...".

    Example:
        >>> species_name((0, 1, 1, 0))
        'Red_headed_Blue_winged_Blue_breasted_Red_tailed'
    """
    words = (f"{COLOURS[c].title()}_{a}" for c, a in zip(species, _ADJECTIVES, strict=True))
    return "_".join(words)
