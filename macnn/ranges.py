"""Types of figures that are read back from files: finite, and within what they can be."""

from typing import Annotated, TypeVar

from pydantic import FailFast, Field, Strict

from macnn.bounds import COUNT, SCALE

T = TypeVar("T")

Share = Annotated[float, Strict(), Field(ge=0, le=1)]
Change = Annotated[float, Strict(), Field(ge=-1, le=1)]
Figure = Annotated[float, Strict(), Field(ge=-SCALE, le=SCALE)]
Count = Annotated[int, Strict(), Field(ge=0, le=COUNT)]
Name = Annotated[str, Strict(), Field(max_length=4096)]
Many = Annotated[tuple[T, ...], FailFast()]  # the first misfit is told, not millions
