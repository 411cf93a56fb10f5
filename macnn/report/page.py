"""One page about an evaluated run, that opens offline."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from macnn.config import Settings
from macnn.data.samples import ImageSet, Split
from macnn.errors import DataError, UsageError
from macnn.evaluation.figures import AGAIN, Figures, read_figures
from macnn.evaluation.localisation import Match
from macnn.evaluation.metrics import Accuracy, Classification
from macnn.evaluation.predictions import Predictions
from macnn.report import charts
from macnn.report.contents import Contents
from macnn.report.pictures import Album
from macnn.report.selection import Pair, Verdict, judge, select
from macnn.report.style import part_colour, readable
from macnn.text import shown

_LONGEST = 2000  # characters of a text on the page


@dataclass(frozen=True)
class Baseline:
    """What the run is compared with: name of its folder, and its joint `Accuracy`."""

    name: str
    accuracy: Accuracy


@dataclass(frozen=True)
class Score:
    """A classifier by its name, its `Accuracy`, and the part it belongs to, 0 for none."""

    name: str
    accuracy: Accuracy
    part: int


@dataclass(frozen=True)
class Specimen:
    """A photograph with its parts; what was predicted is None without classifiers."""

    photograph: Markup
    overlays: list[Markup]
    truth: str
    predicted: str | None
    confidence: float | None
    right: bool | None


@dataclass(frozen=True)
class Part:
    """A part: number from 1, mean attention, crops, and its best landmark if it is known."""

    number: int
    mean: Markup
    crops: list[Markup]
    landmark: Match | None


@dataclass(frozen=True)
class Confusion:
    """Two classes side by side: a mistaken image, and one of the class it was taken for."""

    pair: Pair
    truth: str
    taken: str
    mistaken: Markup
    example: Markup | None


@dataclass(frozen=True)
class ClassRow:
    """A class in the table: `taken_for` is its most frequent confusion, with its images."""

    number: int
    name: str
    images: int
    accuracy: float | None
    taken_for: str
    mistaken: int


def page_of(folder: Path, split: Split) -> Path:
    """Where the page of a run folder goes."""
    return folder / "report" / f"report-{split}.html"


def read_baseline(run: Path, split: Split) -> Baseline:
    """The accuracy of another run on the same split, to compare with.

    Raises:
        UsageError: it was not evaluated on the split, or has no classifiers.
        DataError: its figures are damaged.
    """
    accuracy = read_figures(run, split).classification
    if accuracy is None:
        raise UsageError(
            f"{shown(run)}: has no accuracy to compare with", hint="name a trained run"
        )
    return Baseline(run.resolve().name, accuracy.joint)


def render(
    contents: Contents,
    images: ImageSet,
    settings: Settings,
    baseline: Baseline | None,
) -> str:
    """The page as HTML."""
    figures, predictions = contents.figures, contents.predictions
    album = Album(
        images,
        predictions,
        image_size=settings.data.image_size,
        mode=settings.data.resize_mode,
    )
    verdict = judge(predictions)
    selection = select(predictions, verdict)
    names = [readable(name) for name in images.class_names]
    accuracy = figures.classification
    has_parts = predictions.places is not None

    def specimens(places: list[int]) -> list[Specimen]:
        shown = places if has_parts else []
        return [_specimen(place, album, contents, verdict, names) for place in shown]

    return _template().render(
        contents=contents,
        figures=figures,
        data=images.name,
        classes=len(names),
        baseline=baseline,
        scores=_scores(accuracy, _count(contents)) if accuracy else [],
        colours=[part_colour(i) for i in range(_count(contents))],
        right=specimens(selection.right),
        wrong=specimens(selection.wrong),
        parts=_parts(album, contents, selection.gallery) if has_parts else [],
        confusions=[_confusion(pair, album, names) for pair in selection.pairs],
        matrix=charts.matrix(accuracy.confusion, images.class_names) if accuracy else None,
        reliability=charts.reliability(accuracy.reliability) if accuracy else None,
        class_rows=_class_rows(accuracy, names) if accuracy else [],
        learning=charts.panels(contents.metrics, charts.LEARNING),
        state=charts.panels(contents.metrics, charts.STATE) if has_parts else [],
        chart_size=(charts.WIDTH, charts.HEIGHT),
    )


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("macnn.report"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "fixed": _fixed}
    return environment.get_template("page.html")


def _printable(value: Any) -> Any:
    """Text as it may stand in a page, before its HTML is escaped; `Markup` is the page's own."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return shown(value, _LONGEST) if plain else value


def check_images(images: ImageSet, contents: Contents) -> None:
    """Check that figures, predictions and images are of one evaluation.

    Raises:
        DataError: they are not.
    """
    figures, predictions = contents.figures, contents.predictions
    if not _agree(figures, predictions):
        raise DataError(
            f"{shown(contents.name)}: report/eval-{figures.split}.json and its predictions are not "
            "of one evaluation",
            hint=AGAIN,
        )
    labels = torch.tensor([sample.label for sample in images.samples])
    samples = predictions.samples
    accuracy = figures.classification
    if (
        len(samples) != len(labels)
        or int(samples.max()) >= len(labels)
        or not labels[samples].equal(predictions.labels)
        or (accuracy is not None and len(accuracy.class_names) != len(images.class_names))
    ):
        raise DataError(
            f"{shown(images.root)}: not the images that {shown(contents.name)} was evaluated on",
            hint=f"name their folder with `data.root`, or {AGAIN}",
        )


def _agree(figures: Figures, predictions: Predictions) -> bool:
    """Whether figures and predictions have the same images, classes, classifiers and parts."""
    accuracy, place, maps = figures.classification, figures.localisation, figures.attention_metrics
    published, covered = figures.published, figures.specialisation
    scores, places = predictions.scores, predictions.places
    parts = None if places is None else places.attention.shape[1]
    return (
        figures.images == len(predictions.samples)
        and (maps and len(maps.distance)) == parts
        and (place is None or len(place.best) == parts)
        and (published is None or len(published.present) == parts)
        and (covered is None or len(covered.lost) == parts)
        and (accuracy and (len(accuracy.parts), len(accuracy.class_names)))
        == (None if scores is None else tuple(scores.classifier_logits.shape[1:]))
    )


def _count(contents: Contents) -> int:
    places = contents.predictions.places
    return 0 if places is None else places.attention.shape[1]


def _scores(accuracy: Classification, parts: int) -> list[Score]:
    numbers = {f"part {i}": i for i in range(1, parts + 1)}
    return [
        Score(name, score, numbers.get(name, 0))
        for name, score in zip(accuracy.classifiers, accuracy.parts, strict=True)
    ]


def _specimen(
    place: int, album: Album, contents: Contents, verdict: Verdict | None, names: list[str]
) -> Specimen:
    return Specimen(
        photograph=album.marked(place),
        overlays=album.overlays(place),
        truth=names[contents.predictions.labels[place]],
        predicted=names[verdict.predicted[place]] if verdict else None,
        confidence=verdict.confidence[place].item() if verdict else None,
        right=bool(verdict.right[place]) if verdict else None,
    )


def _parts(album: Album, contents: Contents, places: list[int]) -> list[Part]:
    place = contents.figures.localisation
    best = {match.part: match for match in place.best} if place else {}
    crops = zip(*map(album.crops, places), strict=True)
    return [
        Part(number, mean, list(each), best.get(number))
        for number, (mean, each) in enumerate(zip(album.means(), crops, strict=True), start=1)
    ]


def _confusion(pair: Pair, album: Album, names: list[str]) -> Confusion:
    return Confusion(
        pair,
        names[pair.truth],
        names[pair.taken],
        album.plain(pair.mistaken),
        None if pair.example is None else album.plain(pair.example),
    )


def _class_rows(accuracy: Classification, names: list[str]) -> list[ClassRow]:
    rows = []
    for i, counts in enumerate(accuracy.confusion):
        others = [0 if i == j else count for j, count in enumerate(counts)]
        most = max(others)
        taken_for = names[others.index(most)] if most else ""
        rows.append(ClassRow(i + 1, names[i], sum(counts), accuracy.per_class[i], taken_for, most))
    return rows


def _percent(share: float | None, digits: int = 1) -> Markup:
    return Markup("–" if share is None else f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%")


def _fixed(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
