"""What stands behind `eval`: a checkpoint in, figures, pictures and a page out."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from macnn import distributed
from macnn.commands.report import run as report_page
from macnn.config import Settings
from macnn.data.samples import Split
from macnn.errors import DiskError
from macnn.evaluation.evaluate import evaluate
from macnn.evaluation.predictions import write_predictions
from macnn.evaluation.published import Protocol
from macnn.events import Listener
from macnn.files import write_json
from macnn.model import PartLocator, PooledClassifier
from macnn.report import page
from macnn.report.parts import draw_parts
from macnn.report.plots import confusion_picture
from macnn.report.save import save
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.contents import refuse_links
from macnn.runs.images import warn_of_other_images
from macnn.runs.models import load_model
from macnn.runs.session import session
from macnn.runs.setup import check_classes, open_images, open_loader, prepare, to_device

FITTING: frozenset[Split] = frozenset({"train", "validation"})


def run(
    checkpoint: Checkpoint,
    settings: Settings,
    *,
    split: Split,
    baseline: Path | None = None,
    protocol: Protocol = "ours",
    specialisation: bool = False,
    listen: Listener,
) -> dict[str, Any]:
    """Evaluate a checkpoint on one split; returns what is also written to report/eval-SPLIT.json.

    Localisation is fitted on the training images, held-out ones included unless measured on. The
    page that shows it all compares with the run folder `baseline`, evaluated before. With the
    published `protocol` it is also measured where parts land as others publish it, and with
    `specialisation` what every part's classifier loses as parts are covered.

    Raises:
        MacnnError: bad data, checkpoint or baseline, or nothing to measure what was asked for.
        DiskError: the report cannot be written.
    """
    with session(settings):
        checkpoint.say_where_from(listen)
        run = checkpoint.run
        refuse_links(run)
        compared = page.read_baseline(baseline, split) if baseline else None
        device = prepare(settings)
        model = to_device(load_model(checkpoint), settings, device)
        images = open_images(settings, listen)
        if not isinstance(model, PartLocator):
            check_classes(images, checkpoint.class_names)
        warn_of_other_images(run, images, listen)
        measured = open_loader(settings, images.split(split))
        fitting = open_loader(settings, images.split(*(FITTING - {split} or FITTING)))
        result = evaluate(
            model,
            measured,
            fitting,
            split=split,
            margin=settings.train.margin,
            protocol=protocol,
            specialisation=specialisation,
            listen=listen,
        )

        drawn = None if isinstance(model, PooledClassifier) else draw_parts(model, measured)
        report = run / "report"
        files = []
        content: dict[str, Any] = {"kind": checkpoint.kind, "step": checkpoint.step}
        content |= result.as_json()
        content["baseline"] = compared and asdict(compared)
        content["skip_bad_images"] = settings.data.skip_bad_images
        content["failed"] = [bad.reason for bad in images.split(split).failed]
        if distributed.rank() > 0:
            return content
        try:
            if drawn is not None:
                files.append(report / f"parts-{split}.png")
                save(drawn, files[-1])
            if result.classification is not None:
                files.append(report / f"confusion-{split}.png")
                save(confusion_picture(result.classification), files[-1])
            report.mkdir(parents=True, exist_ok=True)
            files.append(report / f"predictions-{split}.safetensors")
            write_predictions(files[-1], result.predictions)
            files += [report / f"eval-{split}.json", page.page_of(run, split)]
            content["files"] = [str(file) for file in files]
            write_json(files[-2], content)
        except OSError as error:
            raise DiskError(f"{report}: cannot be written ({error})") from None
        report_page(run, settings, split=split, baseline=compared)
        return content
