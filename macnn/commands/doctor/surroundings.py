"""What is there: versions, GPU, kernels, weights, disk and memory. Nothing is computed."""

import shutil
from pathlib import Path
from typing import Any

import torch

from macnn.commands.doctor.finding import Finding
from macnn.model.tiny import tiny_weights_path
from macnn_kernels import backend

LEAST_DISK = 10**9  # bytes; a run of VGG-19 keeps two checkpoints of about as much
LEAST_MEMORY = 2 * 10**9  # bytes
OPTIONAL = ("triton", "timm")  # only on Linux; an extra
DRIVER_TOOL = "nvidia-smi"  # comes with the driver: where it is, a GPU is expected


def look_around(folder: Path, device: torch.device, environment: dict[str, Any]) -> list[Finding]:
    """Look at everything that needs no computing.

    Args:
        folder: where runs would be written.
        device: where training would run.
        environment: of `macnn.runs.folder.environment`.
    """
    return [
        _versions(environment),
        _gpu(),
        _kernels(device),
        _packaged_weights(),
        _downloaded_weights(),
        _disk(folder),
        _memory(),
    ]


def _versions(environment: dict[str, Any]) -> Finding:
    own = {"macnn": environment["macnn"], "Python": environment["python"]}
    text = ", ".join(
        f"{name} {version}" for name, version in (own | environment["packages"]).items()
    )
    found = environment["packages"].items()
    missing = [k for k, v in found if v == "not installed" and k not in OPTIONAL]
    remedy = f"install {', '.join(missing)}" if missing else None
    return Finding("versions", not missing, text, remedy)


def _gpu() -> Finding:
    if torch.cuda.is_available():
        found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        names = ", ".join(
            f"cuda:{i} {p.name}, {p.total_memory / 1e9:.0f} GB, sm_{p.major}{p.minor}"
            for i, p in enumerate(found)
        )
        return Finding("GPU", True, f"{names}; CUDA {torch.version.cuda}")
    if shutil.which(DRIVER_TOOL) is None:
        return Finding("GPU", True, "none; everything runs on the CPU")
    if torch.version.cuda is None:
        remedy = "install a PyTorch that is built for CUDA"
    else:
        remedy = f"see '{DRIVER_TOOL}'; the driver must support CUDA {torch.version.cuda}"
    text = f"there is a driver, but PyTorch {torch.__version__} finds no usable GPU"
    return Finding("GPU", False, text, remedy)


def _kernels(device: torch.device) -> Finding:
    try:
        choice = backend.choose(device)
    except ValueError as error:
        remedy = "use `run.kernels=auto`, or unset MACNN_KERNELS"
        return Finding("kernels", False, str(error), remedy)
    name = "Triton" if choice.use_triton else "PyTorch reference"
    return Finding("kernels", True, f"{name} on {device}: {choice.reason}")


def _packaged_weights() -> Finding:
    file = tiny_weights_path()
    found = file.is_file()
    text = f"of the backbone 'tiny': {'found' if found else f'{file} is missing'}"
    return Finding("weights", found, text, None if found else "install macnn again")


def _downloaded_weights() -> Finding:
    folder = Path(torch.hub.get_dir(), "checkpoints")
    names = sorted(file.name for file in folder.glob("*.pth"))
    text = ", ".join(names) or "none yet; `model.weights=pretrained` downloads what it needs"
    return Finding("weights", True, f"from torchvision, in {folder}: {text}")


def _disk(folder: Path) -> Finding:
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    return Finding(
        "disk",
        free >= LEAST_DISK,
        f"{free / 1e9:.1f} GB free at {there}",
        None if free >= LEAST_DISK else "free some space, or put `run.output` on another disk",
    )


def _memory() -> Finding:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(line for line in lines if line.startswith("MemAvailable:"))
    free = int(available.split()[1]) * 1024
    return Finding(
        "memory",
        free >= LEAST_MEMORY,
        f"{free / 1e9:.1f} GB free; PyTorch uses {torch.get_num_threads()} CPU threads",
        None if free >= LEAST_MEMORY else "end other programs, or lower `data.batch_size`",
    )
