"""Every setting of macnn: its type, default, unit and where the default comes from.

The command line builds its options from this file, so a setting is described once.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator


def setting(default: Any, flag: str, text: str, *, source: str = "ours", **limits: Any) -> Any:
    """Declare a setting: its default, its flag, what it is (with unit), and who says so."""
    return Field(
        default, description=text, json_schema_extra={"flag": flag, "source": source}, **limits
    )


class Section(BaseModel):
    """A table of the configuration file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class DataSettings(Section):
    """Which images, and how they reach the network."""

    root: Path | None = setting(
        None, "--data", "Folder of the data set, or a CSV manifest; see 'macnn data layouts'."
    )
    dataset: Literal[
        "auto",
        "cub",
        "aircraft",
        "aircraft-family",
        "aircraft-manufacturer",
        "cars",
        "flowers",
        "pets",
        "dogs",
        "folders",
        "manifest",
    ] = setting("auto", "--dataset", "Layout of the data set; auto recognises it.")
    image_size: int = setting(
        224,
        "--img-size",
        "Side of the square network input, in pixels.",
        source="paper: 448",
        ge=16,
    )
    resize_mode: Literal["crop", "pad", "squash"] = setting(
        "crop",
        "--resize-mode",
        "How a photograph becomes square: crop the centre of the short side (loses the ends), "
        "pad with grey (loses resolution), squash (changes proportions).",
    )
    augment: Literal["none", "flip", "strong"] = setting(
        "flip",
        "--augment",
        "Training augmentation: none; flip (the paper's); strong (random resized crop, flip, "
        "colour jitter).",
    )
    batch_size: int = setting(
        16, "--batch-size", "Images per optimiser step, over all processes.", ge=1
    )
    workers: int = setting(0, "--workers", "Loader processes; 0 loads in the main process.", ge=0)
    validation: float = setting(
        0.1,
        "--validation",
        "Share of the training images, per class, held out for validation, where the data set has "
        "no validation images of its own; 0 for none, its own are then trained on.",
        ge=0,
        lt=1,
    )
    test: float = setting(
        0.2,
        "--test-share",
        "Share of the images, per class, held out for testing, where the data set has no splits.",
        ge=0,
        lt=1,
    )
    split_seed: int = setting(0, "--split-seed", "Seed of the splits made here.", ge=0)
    skip_bad_images: float = setting(
        0.0,
        "--skip-bad-images",
        "Share of the images that may be unreadable: they are named and left out. 0 stops at the "
        "first.",
        ge=0,
        lt=1,
    )
    cache: Path | None = setting(
        None,
        "--cache",
        "Folder written by 'macnn data cache' to read images from; none reads their files.",
    )

    @field_validator("root", "cache")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """A saved configuration then means the same from any folder."""
        if path is None or path == Path("none"):
            return None
        if not str(path.absolute()).isprintable():
            raise ValueError("its name does not print; rename the folder, or link to it")
        return path.absolute()


class ModelSettings(Section):
    """The network."""

    backbone: str = setting(
        "tiny", "--backbone", "'tiny' (packaged) or any torchvision classification network by name."
    )
    tap: str | None = setting(
        None,
        "--tap",
        "Node of the backbone whose output is the feature map; by default the last spatial one "
        "(for VGG the ReLU before the last pooling, as in the paper).",
    )
    weights: str | None = setting(
        None,
        "--weights",
        "Backbone weights: a .safetensors or .pth file, 'imagenet' (torchvision's own, downloaded "
        "once), or 'none' for random ones; 'tiny' brings its own.",
    )
    parts: int = setting(
        4, "--parts", "Number of parts N; 0 is the global-average-pool baseline.", ge=0, le=16
    )
    hidden: int | None = setting(
        None,
        "--hidden",
        "Hidden width of the channel-grouping layers; by default the number of channels.",
        source="released network",
        ge=1,
    )
    activation: Literal["sigmoid", "softplus_tanh"] = setting(
        "sigmoid", "--activation", "Squashing g of the attention maps.", source="paper: sigmoid"
    )
    power: float = setting(
        8.0,
        "--power",
        "Exponent of the squashed response; larger is sharper.",
        source="paper: 1; released network: 4",
        gt=0,
    )
    gain: float = setting(
        1.0,
        "--gain",
        "Standard deviation of a part's response in front of the squashing, after the measured "
        "feature scale.",
        gt=0,
    )
    map_gradient: bool = setting(
        False,
        "--map-gradient",
        "Whether L_cls also reaches the convolutions through the attention maps, as in the paper; "
        "without, the maps say where to look and L_cls what to look for.",
        source="paper: yes",
    )
    part_features: Literal["normalised", "plain"] = setting(
        "plain",
        "--part-features",
        "Part features in front of the classifiers: as pooled, where a part that is not there says "
        "less, or at unit root mean square, as the baseline's always are.",
    )


class PretrainSettings(Section):
    """Part pre-training: clustering, and fitting the grouping layers to the clusters."""

    restarts: int = setting(64, "--restarts", "k-means restarts; the best inertia wins.", ge=1)
    keep: float = setting(
        0.5,
        "--keep",
        "Share of the channels of each cluster that form its part: the core nearest to its mean; "
        "the others belong to no part.",
        source="paper: 1",
        gt=0,
        le=1,
    )
    fit_steps: int = setting(
        300, "--fit-steps", "Steps that fit the grouping layers to the indicators.", ge=1
    )
    fit_rate: float = setting(1e-3, "--fit-rate", "Adam learning rate of that fit.", gt=0)


class TrainSettings(Section):
    """Alternating optimisation (PAPER.md 7)."""

    rounds: int = setting(6, "--rounds", "Alternations at most.", ge=1)
    epochs: int = setting(
        2,
        "--epochs",
        "Epochs of each convolution phase; the baseline trains rounds x epochs.",
        ge=1,
    )
    grouping_steps: int = setting(
        10, "--grouping-steps", "Steps of each grouping phase at most; 0 skips it.", ge=0
    )
    tolerance: float = setting(
        0.0,
        "--tolerance",
        "Stop alternating when neither loss changes by more than this share over a round; 0 never.",
        ge=0,
    )
    rate: float = setting(0.01, "--rate", "Base learning rate (SGD).", source="third party", gt=0)
    conv_multiplier: float = setting(
        0.05,
        "--conv-multiplier",
        "Rate of the convolutions over the base rate.",
        source="released network: 0.1",
        ge=0,
    )
    warm_up: float = setting(
        0.25,
        "--warm-up",
        "Share of all convolution steps over which the rate of the convolutions rises from 0.",
        ge=0,
        le=1,
    )
    schedule: Literal["cosine", "step", "constant"] = setting(
        "cosine",
        "--schedule",
        "How rates fall over training: half a cosine, to a tenth after each third, not at all.",
    )
    layer_rates: str = setting(
        "",
        "--layer-rates",
        "Further factors on the rates of single layers: PREFIX=FACTOR,... of parameter names, "
        "longest prefix first; backbone.body.features.0=0 freezes the first convolution.",
    )
    clip_norm: float = setting(
        0.0,
        "--clip-norm",
        "Largest norm of the gradient, beyond it is scaled down; 0 is off.",
        ge=0,
    )
    accumulate: int = setting(
        1,
        "--accumulate",
        "Pieces a batch is worked on in, one after the other, to save memory; rates and batch size "
        "mean the same.",
        ge=1,
    )
    ema: float = setting(
        0.0,
        "--ema",
        "Decay per step of the moving average of the weights, which is then what is evaluated and "
        "saved; 0 is off.",
        ge=0,
        lt=1,
    )
    grouping_rate: float = setting(
        1e-5, "--grouping-rate", "Adam learning rate of the grouping phase.", gt=0
    )
    momentum: float = setting(0.9, "--momentum", "SGD momentum.", source="third party", ge=0, lt=1)
    weight_decay: float = setting(
        5e-4, "--weight-decay", "SGD weight decay.", source="third party", ge=0
    )
    distance_weight: float = setting(
        1.0, "--distance-weight", "Weight of Dis in L_cng.", source="paper: 1", ge=0
    )
    distance_unit: Literal["map", "cell"] = setting(
        "map",
        "--distance-unit",
        "Unit of length in Dis: the longer side of the map, or one cell.",
        source="silent in the paper",
    )
    diversity_weight: float = setting(
        2.0, "--diversity-weight", "Weight lambda of Div in L_cng.", source="paper: 2", ge=0
    )
    margin: float = setting(0.02, "--margin", "Margin of Div.", source="paper", ge=0)
    anchor_weight: float = setting(
        20.0,
        "--anchor-weight",
        "Weight of the anchor in the convolution phase: it holds every map where "
        "part pre-training found its part, while L_cls changes the features; 0 is the paper's.",
        source="ours; paper: 0",
        ge=0,
    )
    feature_cache: Literal["auto", "device", "host", "disk", "off"] = setting(
        "auto",
        "--feature-cache",
        "Where features of the fixed convolutions are kept during a grouping phase: computed once "
        "per phase, of every image and its mirror image. auto takes the first place that has room, "
        "if the phase reads more images than that.",
    )
    cache_budget: float = setting(
        0.5, "--cache-budget", "Share of the free memory or disk that this may take.", gt=0, le=1
    )
    conv_grouping_weight: float = setting(
        0.0,
        "--conv-grouping-weight",
        "Weight of L_cng beside L_cls in the convolution phase.",
        source="paper: 0",
        ge=0,
    )


class PartCNNSettings(Section):
    """Joint recognition on part crops (PAPER.md 8)."""

    epochs: int = setting(8, "--stream-epochs", "Epochs over the training images.", ge=1)
    stream_size: int | None = setting(
        None,
        "--stream-size",
        "Side, in pixels, at which every stream sees its crop; by default the --img-size of the "
        "run that found the parts.",
        source="paper: 224",
        ge=32,
    )
    part_share: float = setting(
        96 / 448,
        "--part-share",
        "Side of the square around a part, as a share of the photograph's.",
        source="paper: 96/448; released network: 128/448",
        gt=0,
        le=1,
    )
    object_threshold: float = setting(
        0.3,
        "--object-threshold",
        "Share of the largest channel sum from which on a cell belongs to the object, whose "
        "bounding square one stream sees.",
        source="released network: 0.1",
        gt=0,
        lt=1,
    )
    share_streams: bool = setting(
        False, "--share-streams", "One backbone for all streams instead of one each."
    )


class RunSettings(Section):
    """Where and how a run happens."""

    output: Path | None = setting(None, "--output", "Run folder to write.")
    seed: int = setting(0, "--seed", "Seed of everything random.", ge=0)
    device: str = setting("auto", "--device", "auto, cpu, cuda or cuda:N.")
    threads: int | None = setting(None, "--threads", "CPU threads; by default PyTorch's.", ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32",
        "--precision",
        "Precision of the convolutions; weights and losses stay fp32, fp16 scales the loss.",
    )
    compile: bool = setting(False, "--compile", "Compile the backbone with torch.compile.")
    deterministic: bool = setting(
        False,
        "--deterministic",
        "Only deterministic algorithms: the same bytes again on the same machine and versions.",
    )
    kernels: Literal["auto", "triton", "reference"] = setting(
        "auto", "--kernels", "Implementation of the operators."
    )

    process_timeout: int = setting(
        600,
        "--process-timeout",
        "Seconds until a process that does not answer the others counts as lost, for torchrun to "
        "start all again.",
        ge=1,
    )
    save_every: int = setting(
        0, "--save-every", "Steps between checkpoints; 0 saves after every round only.", ge=0
    )
    keep_checkpoints: int = setting(
        2, "--keep-checkpoints", "How many of the newest checkpoints to keep beside the best.", ge=1
    )
    tensorboard: bool = setting(
        False,
        "--tensorboard",
        "Write the metrics of training for TensorBoard too, to tensorboard/ in the run folder; "
        "needs the extra of that name.",
    )

    @field_validator("output")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """A saved configuration then means the same from any folder."""
        return None if path is None else path.absolute()


class Settings(Section):
    """All settings, section by section as in a configuration file."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    pretrain: PretrainSettings = PretrainSettings()
    train: TrainSettings = TrainSettings()
    part_cnn: PartCNNSettings = PartCNNSettings()
    run: RunSettings = RunSettings()
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def sources(self) -> dict[str, str]:
        """Where each value came from, by dotted path; empty unless `resolve` made the settings."""
        return self._sources

    def __eq__(self, other: object) -> bool:
        """Equal values are equal settings, wherever they came from."""
        return isinstance(other, Settings) and self.__dict__ == other.__dict__


def paths() -> dict[str, Any]:
    """Every setting by its dotted path, such as `data.image_size`, to its pydantic field."""
    found = {}
    for section, outer in Settings.model_fields.items():
        fields = outer.annotation.model_fields  # type: ignore[union-attr]
        found.update({f"{section}.{name}": field for name, field in fields.items()})
    return found
