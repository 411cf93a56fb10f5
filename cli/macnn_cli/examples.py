"""Ways to use every command: on its page under docs/commands; its --help shows the first two."""

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "pretrain-parts": (
        (
            "On class folders, with ImageNet weights",
            "macnn pretrain-parts --data birds --backbone resnet50 --weights imagenet "
            "--output runs/parts",
        ),
        (
            "Six parts from larger images, loaded by eight processes",
            "macnn pretrain-parts --data CUB_200_2011 --backbone vgg19 --weights vgg19.pth "
            "--img-size 448 --parts 6 --workers 8 --output runs/parts",
        ),
    ),
    "train": (
        (
            "From found parts",
            "macnn train --init runs/parts --output runs/macnn",
        ),
        (
            "Go on where a stopped run was, or begin",
            "macnn train --init runs/parts --output runs/macnn --resume auto",
        ),
        (
            "The baseline to compare with: the same budget, no parts",
            "macnn train --init runs/parts --parts 0 --backbone-lr-scale 0.1 "
            "--output runs/baseline",
        ),
    ),
    "train-part-cnn": (
        (
            "From a trained network",
            "macnn train-part-cnn --init runs/macnn --output runs/part-cnn",
        ),
        (
            "Crops from photographs of twice the size",
            "macnn train-part-cnn --init runs/macnn --img-size 448 --output runs/part-cnn",
        ),
    ),
    "eval": (
        (
            "On the test images",
            "macnn eval --checkpoint runs/macnn",
        ),
        (
            "As JSON, on the validation images, with the best weights of the run",
            "macnn eval --checkpoint runs/macnn/checkpoints/best --split validation --json",
        ),
    ),
    "report": (
        (
            "Compared with a baseline",
            "macnn report --run runs/macnn --baseline runs/baseline",
        ),
        (
            "After the images have moved",
            "macnn report --run runs/macnn --data /mnt/birds",
        ),
    ),
    "predict": (
        (
            "A folder and a file, the three most probable classes, parts drawn in",
            "macnn predict --checkpoint runs/macnn holiday extra.jpg --top 3 --save-overlays seen",
        ),
        (
            "A list of files on stdin, one JSON object per line",
            "macnn predict --checkpoint runs/macnn - --json",
        ),
    ),
    "export": (
        (
            "For PyTorch alone",
            "macnn export --checkpoint runs/macnn --format torch-export --output exported",
        ),
        (
            "For ONNX Runtime; needs the extra 'onnx'",
            "macnn export --checkpoint runs/macnn --format onnx --output exported",
        ),
    ),
    "demo": (
        (
            "See it work",
            "macnn demo",
        ),
        (
            "Again with other birds, as JSON",
            "macnn demo --seed 1 --output runs/demo-1 --json",
        ),
    ),
    "doctor": (
        (
            "Is all well here?",
            "macnn doctor",
        ),
        (
            "Of another device, for a bug report",
            "macnn doctor --device cuda:1 --json",
        ),
    ),
    "data layouts": (
        (
            "What --data understands",
            "macnn data layouts",
        ),
        (
            "The same for a program",
            "macnn data layouts --json",
        ),
    ),
    "data check": (
        (
            "Before the first training",
            "macnn data check birds",
        ),
        (
            "Where two layouts fit",
            "macnn data check CUB_200_2011 --dataset cub --json",
        ),
    ),
    "data cache": (
        (
            "For training at 448 px with --cache birds.cache",
            "macnn data cache --data birds --img-size 448 --output birds.cache",
        ),
        (
            "Leave out up to one image in a hundred that cannot be read",
            "macnn data cache --data birds --set data.skip_bad_images=0.01 --output birds.cache",
        ),
    ),
    "data synth": (
        (
            "The birds of the demo",
            "macnn data synth --output birds",
        ),
        (
            "Fewer and smaller ones",
            "macnn data synth --classes 4 --images-per-class 30 --size 112 --output birds",
        ),
    ),
    "config show": (
        (
            "What a preset changes",
            "macnn config show --preset paper",
        ),
        (
            "Every setting of a run, with unit, default and reason",
            "macnn config show --config runs/macnn/config.toml --all",
        ),
    ),
    "config validate": (
        (
            "A file of your own",
            "macnn config validate mine.toml",
        ),
        (
            "That of a run, before it is used again",
            "macnn config validate runs/macnn/config.toml",
        ),
    ),
    "bench ops": (
        (
            "What this machine does",
            "macnn bench ops",
        ),
        (
            "One thread of the CPU, for comparison",
            "macnn bench ops --device cpu --threads 1 --repeats 100 --output ops.json",
        ),
    ),
    "bench train": (
        (
            "What this machine does",
            "macnn bench train",
        ),
        (
            "A network and size of your own, in bfloat16",
            "macnn bench train --backbone resnet50 --img-size 448 --batch-size 32 "
            "--precision bf16 --json",
        ),
    ),
    "bench scale": (
        (
            "How cost grows here",
            "macnn bench scale",
        ),
        (
            "The same with one thread, into a file",
            "macnn bench scale --device cpu --threads 1 --output scale.json",
        ),
    ),
}


def epilog(command: str) -> str | None:
    """The first examples of a command, below its --help; None where there are none."""
    lines = [f"[dim]{what}:[/dim]\n  {line}" for what, line in EXAMPLES.get(command, ())[:2]]
    return "\n".join(lines) or None
