"""Which synthetic species exist: every combination of one marking colour per part."""

from itertools import combinations_with_replacement, product
from math import prod

from macnn.errors import UsageError

PARTS = ("head", "wing", "breast", "tail")
COLOURS = ("red", "blue", "gold", "white", "black")
_ADJECTIVES = ("headed", "winged", "breasted", "tailed")

Species = tuple[str, ...]
"""The colour of each part's marking, in the order of `PARTS`."""


def all_species(classes: int) -> list[Species]:
    """The `classes` species of a full factorial: each part's colours meet all the others'.

    So every species has, for each part, a neighbour that differs from it in that part only.

    Raises:
        UsageError: `classes` is not a product of one number of colours per part.
    """
    # Four counts from 2 to 5 have different products, whatever their order: no choice is hidden.
    possible = {
        prod(counts): counts
        for counts in combinations_with_replacement(range(len(COLOURS), 1, -1), len(PARTS))
    }
    if classes not in possible:
        nearest = sorted(sorted(possible, key=lambda count: abs(count - classes))[:3])
        raise UsageError(
            f"classes: {classes} is not a product of {len(PARTS)} numbers of colours, "
            f"each 2 to {len(COLOURS)}",
            hint=f"ask for one of {', '.join(map(str, nearest))}",
        )
    return list(product(*(COLOURS[:count] for count in possible[classes])))


def species_name(species: Species) -> str:
    """A name in the style of CUB-200-2011.

    Example:
        >>> species_name(("red", "blue", "blue", "red"))
        'Red_headed_Blue_winged_Blue_breasted_Red_tailed'
    """
    pairs = zip(species, _ADJECTIVES, strict=True)
    return "_".join(f"{colour.title()}_{adjective}" for colour, adjective in pairs)
