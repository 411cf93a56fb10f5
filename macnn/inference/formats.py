"""The formats a model is exported to: how each is written, and how its file is run again.

torch.export and ONNX files hold plain operations only, traced on the CPU: they need neither this
package nor Triton.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from macnn.errors import UsageError
from macnn.files import write_bytes
from macnn.inference.description import MODEL, FormatName, read_export
from macnn.inference.recogniser import Recogniser, Recognition, open_recogniser

Run = Callable[[Tensor], Recognition]


@dataclass(frozen=True)
class Format:
    """A format: its file, and how to write and run it.

    `write` takes the recogniser and the file, `run` the folder. `packages` must be installed, and
    come with the extra of that name.
    """

    file: str
    write: Callable[[Recogniser, Path], None]
    run: Callable[[Path], Run]
    packages: tuple[str, ...] = ()
    extra: str = ""

    def check(self) -> None:
        """Check that what the format needs is installed.

        Raises:
            UsageError: something is not.
        """
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise UsageError(
                f"{', '.join(missing)}: not installed", hint=f"pip install 'macnn[{self.extra}]'"
            )


class _Named(nn.Module):
    """A recogniser whose answer is a dictionary, so that exported outputs have names."""

    def __init__(self, recogniser: Recogniser) -> None:
        super().__init__()
        self.recogniser = recogniser

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        answer: Recognition = self.recogniser(images)
        return answer._asdict()


@torch.no_grad()
def _traced(recogniser: Recogniser) -> torch.export.ExportedProgram:
    # torch.export.save warns of weights that are not contiguous.
    module = _Named(recogniser).to(memory_format=torch.contiguous_format)
    side = recogniser.image_size
    example = torch.zeros(2, 3, side, side, dtype=torch.uint8)  # a batch of one would be fixed
    program = torch.export.export(
        module, (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
    )
    # For inference only: no operation that writes in place is left.
    functional: torch.export.ExportedProgram = program.run_decompositions({})
    return functional


def _write_safetensors(recogniser: Recogniser, file: Path) -> None:
    tensors = recogniser.model.state_dict()
    write_bytes(file, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def _run_safetensors(folder: Path) -> Run:
    return open_recogniser(read_export(folder))


def _write_torch_export(recogniser: Recogniser, file: Path) -> None:
    torch.export.save(_traced(recogniser), file)


def _run_torch_export(folder: Path) -> Run:
    module = torch.export.load(folder / FORMATS["torch-export"].file).module()
    return lambda images: Recognition(**module(images))


def _write_onnx(recogniser: Recogniser, file: Path) -> None:
    program = torch.onnx.export(
        _traced(recogniser),
        dynamo=True,
        input_names=["images"],
        output_names=list(Recognition._fields),
        dynamic_shapes={"images": {0: "batch"}},
        verbose=False,
    )
    assert program is not None
    program.save(str(file), external_data=False)


def _run_onnx(folder: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        folder / FORMATS["onnx"].file, providers=["CPUExecutionProvider"]
    )

    def run(images: Tensor) -> Recognition:
        answers = session.run(list(Recognition._fields), {"images": images.numpy()})
        return Recognition(*map(torch.from_numpy, answers))

    return run


FORMATS: dict[FormatName, Format] = {
    "safetensors": Format(MODEL, _write_safetensors, _run_safetensors),
    "torch-export": Format("model.pt2", _write_torch_export, _run_torch_export),
    "onnx": Format(
        "model.onnx", _write_onnx, _run_onnx, ("onnx", "onnxscript", "onnxruntime"), extra="onnx"
    ),
}
