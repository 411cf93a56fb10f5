"""The tables of the pages, each a function of the contents of files in docs/figures."""

from pathlib import Path
from typing import Any

import torch
from rich.text import Text

from macnn.commands.bench.cases import Shape, cases
from macnn.commands.demo import compare
from macnn_cli.console import out
from macnn_cli.demo import show

NAMES = {
    "parts": "parts found",
    "macnn": "trained",
    "part-cnn": "part CNN",
    "baseline": "global average pooling",
}
AOT = Path(__file__).parents[1] / "docs" / "performance" / "aot.md"
GPU_BANDWIDTH = 4.0e12  # bytes/s a copy is assumed to reach on an H200
ATTENTION = (0.80, "80 %; 3 x eager, 1.3 x torch.compile")
GOALS = {  # share of that bandwidth, and what is asked in words
    "channel_peaks forward": (0.85, "85 % of copy bandwidth"),
    "part_attention forward": ATTENTION,
    "part_attention backward": ATTENTION,
    "grouping_loss forward": (None, "10 x eager"),
}


def demo_screen(figures: dict[str, Any]) -> str:
    """What `macnn demo` prints, indented as Markdown wants it."""
    folder = "runs/demo/macnn/report"
    results = figures["first"]
    results["macnn"]["files"] = [f"{folder}/parts-test.png", f"{folder}/report-test.html"]
    with out.capture() as printed:
        show(compare(results))
    plain = Text.from_ansi(printed.get()).plain  # on a terminal there would be colours
    return "".join(f"    {line.rstrip()}\n" for line in plain.splitlines())


def demo_seeds(figures: dict[str, Any]) -> str:
    """Every seed of the demo, and their means."""
    columns = [
        figures["baseline"]["accuracy"],
        figures["macnn"]["accuracy"],
        figures["macnn"]["pck10"],
        figures["macnn"]["peak_collision_rate"],
    ]
    rows = [
        [str(seed), *(f"{column['runs'][i]:.3f}" for column in columns)]
        for i, seed in enumerate(figures["seeds"])
    ]
    rows.append(["mean", *map(_value, columns)])
    return _markdown(["seed", "baseline", "parts summed", "PCK 0.1", "peak collision rate"], rows)


def networks(figures: dict[str, Any]) -> str:
    """Every network: accuracy and where its parts land."""
    seeds = ", ".join(map(str, figures["seeds"]))
    error = figures["macnn"]["standard_error"]["mean"]
    rows = []
    for key in sorted(figures["first"], key=[*NAMES].index):
        own = figures[key]
        best = (figures["first"][key]["localisation"] or {}).get("one_to_one", [])
        rows.append(
            [
                NAMES[key],
                *(_value(own.get(name)) for name in ("accuracy", "pck10", "pck15")),
                ", ".join(f"{m['landmark']} {m['pck15']:.3f}" for m in best),
                *(_value(own.get(name)) for name in ("regression_error", "nmi", "ari")),
            ]
        )
    heads = ["", "accuracy", "PCK 0.1", "PCK 0.15", f"PCK 0.15 of its parts, seed {seeds[0]}"]
    several = f"seeds {seeds}, mean and standard deviation" if "," in seeds else f"seed {seeds}"
    return (
        f"{figures['images']} test images, {several}; one standard error of an accuracy is "
        f"{error:.3f}.\n\n" + _markdown([*heads, "regression error", "NMI", "ARI"], rows)
    )


def joint(figures: dict[str, Any]) -> str:
    """A part CNN stream by stream, beside the network that found its parts and the baseline."""
    streams, locator = figures["part-cnn"], figures["macnn"]
    best = figures["first"]["macnn"]["localisation"]["best"]
    landmarks = {f"part {m['part']}": f", {m['landmark']}" for m in best}
    rows = [
        [name + landmarks.get(name, ""), _value(alone), _value(locator["alone"].get(name))]
        for name, alone in streams["alone"].items()
    ]
    rows.append(["**all**", _value(streams["accuracy"]), _value(locator["accuracy"])])
    rows.append(["global average pooling", _value(figures["baseline"]["accuracy"]), ""])
    return _markdown(["classifier", "part CNN", "locator"], rows)


def factors(figures: dict[str, Any]) -> str:
    """Every factor of tools/experiments.toml on held-out images, with its options."""
    rows = []
    for name, factor in figures["factors"].items():
        seeds = [sorted(best.values(), reverse=True) for best in factor["best"]]
        places = [f"{sum(seed) / len(seed):.2f}" for seed in zip(*seeds, strict=True)]
        rows.append(
            [
                name,
                f"`{factor['arguments']}`" if factor["arguments"] else "",
                *(_value(factor.get(key)) for key in ("accuracy", "pck10", "pck15")),
                " ".join(places),
                _value(factor.get("peak_collision_rate")),
            ]
        )
    scores = ["accuracy", "PCK 0.1", "PCK 0.15", "parts, best to worst", "peak collision rate"]
    return _markdown(["factor", "options", *scores], rows)


def frozen(figures: dict[str, Any]) -> str:
    """Every way to find parts, a table for each network, data set and side."""
    names = ("peak_collision_rate", "pck10", "pck15", "nmi", "ari", "regression_error", "accuracy")
    heads = ["collisions", "PCK 0.1", "PCK 0.15", "NMI", "ARI", "regression error", "linear probe"]
    views: dict[str, list[list[str]]] = {}
    for row in figures["rows"]:
        view = f"**{row['network']}, {row['data']}, {row['size']} px**"
        cells = [row["way"], *(f"{row[name]:.3f}" for name in names)]
        views.setdefault(view, []).append(cells)
    return "\n".join(f"{view}\n\n{_markdown(['', *heads], rows)}" for view, rows in views.items())


def operators(figures: dict[str, Any]) -> str:
    """`macnn bench ops` against the plain module."""
    rows = []
    for row in figures["rows"]:
        time, share = row["times"]["operator"], row["of_copy_bandwidth"]
        rows.append(
            [
                f"{row['operator']} {row['direction']}",
                f"{1e3 * time['median']:.2f}",
                f"{1e3 * time['low']:.2f} to {1e3 * time['high']:.2f}",
                f"{1e3 * row['times']['plain']['median']:.2f}",
                f"{row['speedup']['plain']:.2f}",
                "-" if share is None else f"{100 * share:.0f} %",
            ]
        )
    heads = ["operator", "ms", "quartiles", "plain, ms", "times faster", "share of copy bandwidth"]
    known = figures["environment"]
    return (
        _markdown(heads, rows) + f"\nThreads: {known['threads']}; Python {known['python']}, torch "
        f"{known['packages']['torch']}, commit `{known['commit'][:7]}`; copy bandwidth "
        f"{figures['copy_bandwidth'] / 1e9:.1f} GB/s.\n"
    )


def phases(figures: dict[str, Any]) -> str:
    """`macnn bench train`: every phase against the plain module and the bare backbone."""
    rows = [
        [
            row["phase"],
            f"{row['images_per_second']:.0f}",
            *(_ratio(row["ratios"].get(name)) for name in ("plain", "backbone")),
            ", ".join(f"{name} {1e3 * part:.0f}" for name, part in row["split"].items()),
        ]
        for row in figures["phases"]
    ]
    heads = ["phase", "images/s", "times plain", "times backbone", "a step, ms"]
    known = figures["environment"]
    share = figures["data"]["share"]
    return (
        _markdown(heads, rows) + f"\nWaiting for data with {figures['workers']} workers: "
        f"{100 * share:.0f} % of a convolution epoch. Threads: {known['threads']}; torch "
        f"{known['packages']['torch']}, commit `{known['commit'][:7]}`.\n"
    )


def curves(figures: dict[str, Any]) -> str:
    """`macnn bench scale`: milliseconds of every operator over one size at a time."""
    text = []
    for axis in dict.fromkeys(row["axis"] for row in figures["curves"]):
        points = [row for row in figures["curves"] if row["axis"] == axis]
        heads = [f"ms, by {axis}", *(str(row["size"]) for row in points)]
        names = points[0]["seconds"]
        rows = [[n, *(f"{1e3 * row['seconds'][n]:.2f}" for row in points)] for n in names]
        text.append(_markdown(heads, rows))
    known = figures["environment"]
    base = ", ".join(f"{name} {size}" for name, size in figures["base"].items())
    return "\n".join(text) + (
        f"\nAround {base}; threads: {known['threads']}; torch {known['packages']['torch']}, "
        f"commit `{known['commit'][:7]}`.\n"
    )


def channel_statistics(figures: dict[str, Any]) -> str:
    """`macnn bench scale`: channel statistics by number of images."""
    shape = figures["statistics_shape"]
    features = f"{shape['channels']} channels, {shape['height']} x {shape['width']} cells"
    rows = [
        [
            f"{row['images']:,}",
            f"{row['seconds']:.2f}",
            f"{1e6 * row['seconds'] / row['images']:.0f}",
            f"{row['memory_growth_bytes'] / 1e6:.1f}",
        ]
        for row in figures["statistics"]
    ]
    return (
        _markdown(["images", "seconds", "µs per image", "memory growth, MB"], rows)
        + f"\nGenerated features, {features}.\n"
    )


def processes(figures: dict[str, Any]) -> str:
    """`macnn bench scale`: channel statistics and a training step by number of processes."""
    alone = figures["processes"][0]
    rows = [
        [
            str(row["processes"]),
            f"{1e3 * row['statistics_seconds']:.0f}",
            f"{alone['statistics_seconds'] / row['statistics_seconds']:.2f}",
            f"{1e3 * row['step_seconds']:.0f}",
            f"{row['processes'] * alone['step_seconds'] / row['step_seconds']:.2f}",
        ]
        for row in figures["processes"]
    ]
    heads = [
        "processes",
        "statistics, ms",
        "times faster",
        "step, ms",
        "times the images per second",
    ]
    return _markdown(heads, rows)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def exports(figures: dict[str, Any]) -> str:
    """How far each format is from its original."""
    rows = [
        [name, f"{apart['logit']:.1e}", str(apart["other_classes"]), str(apart["other_boxes"])]
        for name, apart in figures["formats"].items()
    ]
    heads = ["", "largest difference of a logit", "other top-1"]
    return _markdown([*heads, f"boxes over 0.1 px away, of {figures['boxes']}"], rows)


def gpu_goals() -> str:
    """The bytes each operator must move, what they take at least, and what is asked of it."""
    rows = []
    for case in cases(Shape(), torch.device("cpu")):
        if case.bytes is None:
            continue
        name = f"{case.operator} {case.direction}"
        share, goal = GOALS.get(name, (None, ""))
        floor = case.bytes / GPU_BANDWIDTH
        rows.append(
            [
                name,
                f"{case.bytes / 1e6:.1f}",
                f"{1e6 * floor:.1f}",
                goal,
                f"{1e6 * floor / share:.1f}" if share else "",
            ]
        )
    return _markdown(["operator", "MB", "floor, µs", "goal", "goal, µs"], rows)


def compiled_for_sm_90() -> str:
    """The table of one target from what `python -m tools.aot` wrote."""
    return AOT.read_text(encoding="utf-8").split("### sm_90\n\n")[1].split("\n\n")[0]


def spills() -> str:
    """The kernels that spill registers, target by target."""
    rows = []
    for section in AOT.read_text(encoding="utf-8").split("### ")[1:]:
        target, _, table = section.partition("\n")
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        found = [line for line in lines[3:] if line and line[3] != "0"]
        rows += [[target, f"{o} {k}", n, bad, size] for o, k, n, bad, *_, size in found] or [
            [target, "none", "", "", ""]
        ]
    return _markdown(["target", "kernel", "configurations", "of them spill", "spilled"], rows)


def _value(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    mean, deviation = figure["mean"], figure["std"]
    return f"{mean:.3f}" if deviation is None else f"{mean:.3f} ± {deviation:.3f}"


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
