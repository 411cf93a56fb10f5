"""Ways to use every command: on its page under docs/commands; its --help shows the first two."""

# By command: what for, and what to type after its name.
_ARGUMENTS: dict[str, dict[str, str]] = {
    "pretrain-parts": {
        "On class folders, with pretrained weights": (
            "--data birds --backbone resnet50 --weights pretrained --output runs/parts"
        ),
        "Six parts from larger images, loaded by eight processes": (
            "--data CUB_200_2011 --backbone vgg19 --weights vgg19.pth --img-size 448 --parts 6 "
            "--workers 8 --output runs/parts"
        ),
    },
    "train": {
        "From found parts": "--init runs/parts --output runs/macnn",
        "Go on where a stopped run was, or begin": (
            "--init runs/parts --output runs/macnn --resume auto"
        ),
        "The baseline to compare with: the same budget, no parts": (
            "--init runs/parts --parts 0 --output runs/baseline"
        ),
    },
    "train-part-cnn": {
        "From a trained network": "--init runs/macnn --output runs/part-cnn",
        "Crops from photographs of twice the size": (
            "--init runs/macnn --img-size 448 --output runs/part-cnn"
        ),
    },
    "eval": {
        "On the test images": "--checkpoint runs/macnn",
        "As JSON, on the validation images, with the best weights of the run": (
            "--checkpoint runs/macnn/checkpoints/best --split validation --json"
        ),
        "Also cover parts, one at a time, to see which classifiers depend on them": (
            "--checkpoint runs/macnn --specialisation"
        ),
    },
    "report": {
        "Compared with a baseline": "--run runs/macnn --baseline runs/baseline",
        "After the images have moved": "--run runs/macnn --data /mnt/birds",
    },
    "predict": {
        "A folder and a file, the three most probable classes, parts drawn in": (
            "--checkpoint runs/macnn holiday extra.jpg --top 3 --save-overlays seen"
        ),
        "A list of files on stdin, one JSON object per line": "--checkpoint runs/macnn - --json",
    },
    "export": {
        "For PyTorch alone": "--checkpoint runs/macnn --format torch-export --output exported",
        "For ONNX Runtime; needs the extra 'onnx'": (
            "--checkpoint runs/macnn --format onnx --output exported"
        ),
    },
    "backbones": {
        "Vision transformers of timm, an extra": "'timm/*vit*'",
        "Where one can be tapped, and how well its channels group on your images": (
            "resnet50 --weights pretrained --data birds"
        ),
        "All its layers, shapes alone": "resnet50 --all",
    },
    "demo": {
        "See it work": "",
        "Again with other birds, as JSON": "--seed 1 --output runs/demo-1 --json",
    },
    "doctor": {
        "Is all well here?": "",
        "Of another device, for a bug report": "--device cuda:1 --json",
    },
    "data layouts": {
        "What --data understands": "",
        "The same for a program": "--json",
    },
    "data check": {
        "Before the first training": "birds",
        "Where two layouts fit": "CUB_200_2011 --dataset cub --json",
    },
    "data cache": {
        "For training at 448 px with --cache birds.cache": (
            "--data birds --img-size 448 --output birds.cache"
        ),
        "Leave out up to one image in a hundred that cannot be read": (
            "--data birds --set data.skip_bad_images=0.01 --output birds.cache"
        ),
    },
    "data synth": {
        "The birds of the demo": "--output birds",
        "Fewer and smaller ones": "--images-per-class 30 --size 112 --output birds",
    },
    "config show": {
        "What a preset changes": "--preset paper",
        "Every setting of a run, with unit, default and reason": (
            "--config runs/macnn/config.toml --all"
        ),
    },
    "config validate": {
        "A file of your own": "mine.toml",
        "That of a run, before it is used again": "runs/macnn/config.toml",
    },
    "bench ops": {
        "What this machine does": "",
        "One thread of the CPU, for comparison": (
            "--device cpu --threads 1 --repeats 100 --output ops.json"
        ),
    },
    "bench train": {
        "What this machine does": "",
        "A network and size of your own, in bfloat16": (
            "--backbone resnet50 --img-size 448 --batch-size 32 --precision bf16 --json"
        ),
    },
    "bench scale": {
        "How cost grows here": "",
        "The same with one thread, into a file": "--device cpu --threads 1 --output scale.json",
    },
}
EXAMPLES = {
    command: tuple((what, f"macnn {command} {rest}".rstrip()) for what, rest in examples.items())
    for command, examples in _ARGUMENTS.items()
}


def epilog(command: str) -> str | None:
    """The first examples of a command, below its --help; None where there are none."""
    lines = [f"[dim]{what}:[/dim]\n  {line}" for what, line in EXAMPLES.get(command, ())[:2]]
    return "\n".join(lines) or None
