"""Every line that can delete, shorten, replace or overwrite a file is listed in CONTRIBUTING.md."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("macnn", "cli", "kernels", "tools")

# Whatever they are called on, and whether they are called or handed on to be called.
NAMES = {
    "unlink", "rmtree", "rmdir", "removedirs", "rename", "renames", "truncate", "ftruncate",
    "write_text", "write_bytes", "save_file", "savez", "savez_compressed", "savetxt",
    "tofile", "to_csv", "imsave", "imwrite", "save_image", "write_png", "write_jpeg", "mkstemp",
    "mkdtemp", "TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "copyfile", "copytree",
    "symlink_to", "hardlink_to", "link_to", "symlink", "extractall", "unpack_archive",
    "SummaryWriter", "FileHandler", "mmap",
}  # fmt: skip
# Only in these modules: elsewhere the names mean something else.
QUALIFIED = {
    "os.remove", "os.replace", "os.link", "os.write", "os.pwrite", "os.sendfile", "os.mknod",
    "os.mkfifo", "shutil.move", "shutil.copy", "shutil.copy2", "torch.save", "numpy.save",
    "sqlite3.connect", "shelve.open",
}  # fmt: skip
# What macnn/files.py offers to delete with: whoever calls it says what.
OFFERED = {"cut", "discard_tree", "discard_files", "clear_leftovers", "move_files"}
# Ours take files and go through macnn/files.py; these of others give bytes.
HARMLESS = {"safetensors.torch.save", "macnn.report.save.save"}
# Their functions that open take the file before the mode; a path's take the mode.
OPENERS = {"os", "io", "gzip", "bz2", "lzma", "tarfile", "zipfile", "PIL"}
READING = {"O_RDONLY", "O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY"}
WRITING = re.compile(r"[rwabt+]*[wa+][rwabt+]*")  # "x" makes a file, and touches none that is there


def writes(source):
    """The calls in a source that may change files, counted by function: {"f": {"unlink": 1}}."""
    return _Scan().all_of(ast.parse(source))


class _Scan(ast.NodeVisitor):
    def __init__(self):
        self.found, self.place = {}, []
        self.imported, self.streams = {}, set()

    def all_of(self, tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                self.imported |= {a.asname or a.name: a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                self.imported |= {a.asname or a.name: f"{module}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Assign) and ast.unparse(node.value).endswith("BytesIO()"):
                self.streams |= {ast.unparse(target) for target in node.targets}
        self.visit(tree)
        return self.found

    def visit_FunctionDef(self, node):
        self.place.append(node.name)
        self.generic_visit(node)
        self.place.pop()

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef  # noqa: N815

    def visit_AnnAssign(self, node):
        self.visit(node.value) if node.value else None

    def visit_Attribute(self, node):
        self._refer(node, node.attr)
        self.generic_visit(node)

    def visit_Name(self, node):
        if node.id in self.imported:
            self._refer(node, self.imported[node.id].rpartition(".")[2])

    def _refer(self, node, name):
        full = self._full(node)
        if full in QUALIFIED:
            self._note(full)
        elif name in (OFFERED if full.startswith("macnn.files.") else NAMES):
            self._note(name)

    def visit_Call(self, node):
        full = self._full(node.func)
        last = full.rpartition(".")[2]
        method = isinstance(node.func, ast.Attribute)
        if last in ("open", "fdopen", "ZipFile") and self._opens_to_write(node, full, method):
            self._note(last)
        elif method and full not in HARMLESS | QUALIFIED:
            # str.replace takes two; dataclasses.replace is no method, those of others take names.
            path_replace = last == "replace" and len(node.args) == 1 and not node.keywords
            # Pillow's, PyTorch's and ONNX's take a file and at most what to write into it.
            to_file = (
                last in ("save", "savefig") and 0 < len(node.args) < 3 and not self._to_stream(node)
            )
            mapped = last == "from_file" and "shared" in {k.arg for k in node.keywords}
            if path_replace or to_file or mapped:
                self._note(last)
        if last in ("memmap", "open_memmap") and self._mode(node, 2, default="r+") != "r":
            self._note(last)
        self.generic_visit(node)

    def _note(self, call):
        where = ".".join(self.place) or "<module>"
        self.found.setdefault(where, Counter())[call] += 1

    def _full(self, node):
        """The dotted name of a function, through the imports."""
        head, dot, rest = ast.unparse(node).partition(".")
        return f"{self.imported.get(head, head)}{dot}{rest}"

    def _to_stream(self, node):
        return ast.unparse(node.args[0]) in self.streams

    def _opens_to_write(self, node, full, method):
        if full == "os.open":
            flags = {n.attr for n in ast.walk(node.args[1]) if isinstance(n, ast.Attribute)}
            names = any(isinstance(n, ast.Name) and n.id != "os" for n in ast.walk(node.args[1]))
            return names or not flags <= READING
        free = not method or full.partition(".")[0] in OPENERS
        return WRITING.fullmatch(self._mode(node, 1 if free else 0, default="r")) is not None

    @staticmethod
    def _mode(node, position, default):
        """The mode of a call that opens; "w" where it is not written out."""
        given = [k.value for k in node.keywords if k.arg == "mode"] + node.args[position:][:1]
        if not given:
            return default
        return given[0].value if isinstance(given[0], ast.Constant) else "w"


def listed():
    """The same by file and function, from the table in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Deleting and replacing\n")[2].partition("\n## ")[0]
    rows = [row.strip("|").split("|") for row in section.splitlines() if row.startswith("| `")]
    found = {}
    for where, calls, why in rows:
        assert why.strip(), where
        counts = Counter()
        for call, times in re.findall(r"`([\w.]+)`(?: x(\d+))?", calls):
            counts[call] += int(times or 1)
        found[where.strip().strip("`")] = counts
    return found


def test_every_line_that_can_delete_or_replace_a_file_is_listed_with_its_reason():
    found = {}
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for function, calls in writes(file.read_text(encoding="utf-8")).items():
                found[f"{file.relative_to(ROOT)}: {function}"] = calls
    known = listed()
    unlisted = [
        f"{place}: {dict(found[place])}" for place in found if found[place] != known.get(place)
    ]
    gone = [f"{place}: {dict(known[place])}" for place in known if found.get(place) != known[place]]
    assert not unlisted, "not in CONTRIBUTING.md: use macnn/files.py, or say why it may"
    assert not gone, "in CONTRIBUTING.md, but not in the code"


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("file.unlink()", "unlink"),
        ("file.unlink(missing_ok=True)", "unlink"),
        ("os.unlink(file)", "unlink"),
        ("list(map(Path.unlink, files))", "unlink"),
        ("import os; os.remove(file)", "os.remove"),
        ("from os import remove; remove(file)", "os.remove"),
        ("import os; list(map(os.remove, files))", "os.remove"),
        ("from os import remove as away; away(file)", "os.remove"),
        ("import shutil; shutil.rmtree(folder)", "rmtree"),
        ("from shutil import rmtree; rmtree(folder)", "rmtree"),
        ("from shutil import rmtree as clean; clean(folder)", "rmtree"),
        ("clean = shutil.rmtree", "rmtree"),
        ("folder.rmdir()", "rmdir"),
        ("os.removedirs(folder)", "removedirs"),
        ("file.rename(other)", "rename"),
        ("os.renames(file, other)", "renames"),
        ("file.replace(other)", "replace"),
        ("import os; os.replace(file, other)", "os.replace"),
        ("stream.truncate(3)", "truncate"),
        ("os.ftruncate(descriptor, 3)", "ftruncate"),
        ("file.write_text('x')", "write_text"),
        ("file.with_suffix('.json').write_bytes(b'x')", "write_bytes"),
        ("open(file, 'w')", "open"),
        ("open(file, mode='ab')", "open"),
        ("open(file, mode)", "open"),
        ("import io; io.open(file, 'w+b')", "open"),
        ("file.open('r+')", "open"),
        ("file.open(mode=mode)", "open"),
        ("import os; os.open(file, os.O_WRONLY)", "open"),
        ("import os; os.open(file, os.O_RDONLY | os.O_TRUNC)", "open"),
        ("import os; os.open(file, flags)", "open"),
        ("import os; os.fdopen(descriptor, 'wb')", "fdopen"),
        ("from safetensors.torch import save_file; save_file(tensors, file)", "save_file"),
        ("figure.savefig(file, format='png')", "savefig"),
        ("image.save(file, format='PNG')", "save"),
        ("image.save(Path(root, 'a.jpg'))", "save"),
        ("import torch; torch.save(tensors, file)", "torch.save"),
        ("import torch; torch.export.save(program, file)", "save"),
        ("import numpy as np; np.save(file, array)", "numpy.save"),
        ("array.tofile(file)", "tofile"),
        ("import tempfile; tempfile.mkstemp()", "mkstemp"),
        ("from tempfile import TemporaryDirectory; TemporaryDirectory()", "TemporaryDirectory"),
        ("tempfile.NamedTemporaryFile()", "NamedTemporaryFile"),
        ("import shutil; shutil.move(file, other)", "shutil.move"),
        ("import shutil; shutil.copy2(file, other)", "shutil.copy2"),
        ("shutil.copytree(folder, other)", "copytree"),
        ("from macnn.files import discard_files; discard_files(folder, names)", "discard_files"),
        ("from macnn import files; files.cut(file, 0)", "cut"),
        ("file.symlink_to(other)", "symlink_to"),
        ("file.hardlink_to(other)", "hardlink_to"),
        ("torch.from_file(name, shared=True, size=3)", "from_file"),
        ("from torch.utils.tensorboard import SummaryWriter; SummaryWriter(f)", "SummaryWriter"),
        ("import numpy as np; np.memmap(file, np.uint8, 'r+')", "memmap"),
        ("import numpy as np; np.memmap(file, np.uint8)", "memmap"),
        ("import zipfile; zipfile.ZipFile(file, 'w')", "ZipFile"),
        ("archive.extractall(folder)", "extractall"),
    ],
)  # fmt: skip
def test_a_planted_line_is_found(line, call):
    body = "\n".join(f"    {statement}" for statement in line.split("; "))
    assert writes(f"def f():\n{body}\n") == {"f": {call: 1}}


@pytest.mark.parametrize(
    "line",
    [
        "text.replace('a', 'b')",
        "from dataclasses import replace; replace(spec, parts=3)",
        "signature.replace(parameters=found)",
        "names.remove('a')",
        "open(file)",
        "open(file, 'rb')",
        "file.open(encoding='utf-8', newline='')",
        "import os; os.open(file, os.O_RDONLY | os.O_CLOEXEC)",
        "import os; os.fdopen(descriptor, 'rb')",
        "from PIL import Image; Image.open(file, formats=FORMATS)",
        "from macnn.files import write_text; write_text(file, 'x')",
        "from macnn import files; files.write_text(file, 'x')",
        "from safetensors.torch import save; save(tensors)",
        "encoded = io.BytesIO(); picture.save(encoded, format='PNG')",
        "encoded = io.BytesIO(); figure.savefig(encoded, format='png')",
        "saver.save('macnn', 3, network, {})",
        "import numpy as np; np.memmap(file, np.uint8, 'r')",
        "import zipfile; zipfile.ZipFile(file)",
        "file.open('xb')",
        "import os; os.fdopen(descriptor, mode='rb')",
        "writer: SummaryWriter | None = None",
        "def rename(): pass",
    ],
)
def test_a_line_that_changes_no_file_is_not_found(line):
    assert writes("\n".join(line.split("; "))) == {}
