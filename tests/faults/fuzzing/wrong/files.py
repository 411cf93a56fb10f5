"""What may lie in the place of a file, and damage to any."""

import os


def odd_file(draw, file):
    """Put something in the place of a file that is no such file."""
    kind = draw.choice(("pipe", "zeros", "folder", "loop", "nowhere", "sparse", "socket", "other"))
    if file.is_dir() and not file.is_symlink():
        return f"{file.name}: a folder"
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "zeros":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file.name)
    elif kind == "nowhere":
        file.symlink_to("nowhere")
    elif kind == "sparse":
        with file.open("wb") as stream:
            stream.truncate(2**41)
    elif kind == "socket":
        os.mknod(file, 0o140666)
    else:
        file.symlink_to("/etc/passwd")
    return f"{file.name}: {kind}"


def flipped(draw, content, within):
    """A few bytes of the first ones changed."""
    changed = bytearray(content)
    for _ in range(draw.randrange(1, 6)):
        changed[draw.randrange(min(within, len(changed)))] = draw.randrange(256)
    return bytes(changed)
