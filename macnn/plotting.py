"""matplotlib in its default style: all that macnn uses of it is imported from here.

matplotlib reads a `matplotlibrc` of the current folder when it is first imported, and that folder
may be a download. So where there is such a file, it is imported from another folder.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path

_NO_CODE = Path(__file__).parent / "report" / "templates"  # "" may be on the path of imports
_settings_here = "matplotlib" not in sys.modules and os.path.lexists("matplotlibrc")

with chdir(_NO_CODE) if _settings_here else nullcontext():
    import matplotlib
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator
    from matplotlib.typing import LineStyleType

__all__ = ["Axes", "Figure", "Line2D", "LineStyleType", "MaxNLocator", "default_style", "font_file"]


@contextmanager
def default_style() -> Iterator[None]:
    """Draw in matplotlib's own style inside, whatever the user's is; also a decorator."""
    with matplotlib.style.context("default"), warnings.catch_warnings():
        # A class name in a script that the font lacks shows as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def font_file(style: str = "") -> Path:
    """DejaVu Sans, which comes with matplotlib and knows most scripts; style as in "Bold"."""
    name = f"DejaVuSans-{style}.ttf" if style else "DejaVuSans.ttf"
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
