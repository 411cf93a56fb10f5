"""Wrong JSON, TOML and lists out of right ones; each says what it did."""

import json

DEEP = 10_000  # levels
# JSON values that somebody may have written in the place of another, as they stand in a file.
VALUES = (
    "null", "{}", "[]", '""', '"x"', '"' + "x" * 10_000 + '"', r'"\u001b[31m\u202e<b>=1|\r\n"',
    r'"a\u0000b"', r'"\ud800"', '"../../.."', '"/dev/zero"', '"none"', "-1", "0", "1", "3", "0.5",
    "2147483648", "9223372036854775808", "1180591620717411303424", "9" * 5000, "1e308", "-1e308",
    "1e999", "NaN", "-Infinity", "true", "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP,
    "[" + "0," * 100_000 + "0]", "[[1, 2], [3]]", '{"x": 1}', '["a", "a"]', "[-1, 0]",
)  # fmt: skip
# The same for fields of lists.
FIELDS = (
    "", "-1", "0", "1", "1.5", "nan", "inf", "-1e308", "9" * 5000, "٣", "../../../etc/passwd",
    "/dev/zero", "/etc/passwd", "\x1b[2J", "\x1b]0;x\x07", "\u202egnp.exe", "a\0b", "x" * 5000,
    "=1+1", "<b>&", '"', "'", ",", ";", "\t", "\r", "#", "//", ".", "..", "~", "$HOME", "\ud800",
    "[bold]x[/bold]", "a b c d e f",
    "<a>" * DEEP, "&x;", "<!DOCTYPE a [<!ENTITY x SYSTEM '/etc/passwd'>]>",
)  # fmt: skip


def shorten(value):
    """A value for people."""
    said = value if isinstance(value, str) else repr(value)
    return said if len(said) < 40 else f"{said[:30]}... ({len(said)})"


def json_text(draw, content):
    """Wrong JSON out of right: one place of it, or all."""
    tree = json.loads(content)
    places = list(_places(tree))
    draw_from = draw.random()
    if draw_from < 0.08 or not places:
        return damaged(draw, content)
    holder, key, path = draw.choice(places)
    token = draw.choice(VALUES)
    if draw_from < 0.16:
        del holder[key]
        return _dumped(tree), f"without {path}"
    if draw_from < 0.22 and isinstance(holder, dict):
        holder["@@more@@"] = "@@value@@"
        more = draw.choice((key, "__class__", "x" * 10_000, "\x1b[31m", ""))
        text = _dumped(tree).replace(b'"@@more@@"', json.dumps(more).encode())
        return text.replace(b'"@@value@@"', token.encode()), f"{path}: beside it {shorten(more)}"
    holder[key] = "@@value@@"
    return _dumped(tree).replace(b'"@@value@@"', token.encode()), f"{path} = {shorten(token)}"


def _places(tree, path=""):
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(entries):
        yield tree, key, f"{path}.{shorten(str(key))}"
        if isinstance(value, dict | list):
            yield from _places(value, f"{path}.{key}")


def _dumped(tree):
    return json.dumps(tree, indent=1).encode()


def damaged(draw, content):
    """A file that as a whole is not what it was."""
    token = draw.choice(VALUES)
    return draw.choice(
        (
            (b"", "empty"),
            (content[: draw.randrange(len(content) + 1)], "cut off"),
            (content + content, "twice"),
            (content + b"\0", "a NUL at its end"),
            (b"\xef\xbb\xbf" + content, "a byte order mark"),
            (b"\xff\xfe" + content, "not UTF-8"),
            (content.decode("utf-8", "replace").encode("utf-16"), "UTF-16"),
            (b" " * 2**20 + content, "a megabyte of spaces"),
            (token.encode(), f"all of it {shorten(token)}"),
            (bytes(draw.randrange(256) for _ in range(64)), "random bytes"),
        )
    )


def json_lines(draw, content):
    """Wrong lines of JSON: one of them wrong by itself, or the file."""
    if draw.random() < 0.3:
        return lines(draw, content)
    rows = content.split(b"\n")
    at = draw.randrange(len(rows) - 1)
    rows[at], what = json_text(draw, rows[at])
    return b"\n".join(row.replace(b"\n", b"") for row in rows), f"line {at + 1}: {what}"


def lines(draw, content):
    """A wrong list: of lines, of fields between spaces or commas."""
    chosen = draw.random()
    if chosen < 0.1:
        return damaged(draw, content)
    rows = content.decode("utf-8", "replace").split("\n")
    at = draw.randrange(len(rows))
    comma = "," in rows[at]
    fields = rows[at].split("," if comma else " ")
    place, token = draw.randrange(len(fields)), draw.choice(FIELDS)
    what = f"line {at + 1}, field {place + 1}"
    if chosen < 0.2:
        del rows[at]
        what = f"without line {at + 1}"
    elif chosen < 0.25:
        rows.insert(at, rows[at])
        what = f"line {at + 1} twice"
    elif chosen < 0.3:
        rows[at] = rows[at] + "x" * 200_000
        what = f"line {at + 1} of 200 kB"
    else:
        if chosen < 0.4:
            del fields[place]
            what = f"without {what}"
        elif chosen < 0.5:
            fields.insert(place, token)
            what = f"before {what}: {shorten(token)}"
        else:
            fields[place] = token
            what = f"{what}: {shorten(token)}"
        rows[at] = (",".join if comma else " ".join)(fields)
    return "\n".join(rows).encode("utf-8", "surrogatepass"), what


def toml_text(draw, content):
    """A wrong configuration out of a right one."""
    rows = content.decode().splitlines()
    settings = [at for at, row in enumerate(rows) if " = " in row]
    at = draw.choice(settings)
    key = rows[at].partition(" = ")[0]
    chosen = draw.random()
    if chosen < 0.15:
        return damaged(draw, content)
    if chosen < 0.25:
        more = draw.choice(
            ("a" + ".a" * DEEP + " = 1", "x = " + "[" * DEEP + "]" * DEEP, "[[data]]",
             "[model.parts]", "[" + "a." * DEEP + "a]", "x = " + "{a=" * DEEP + "1" + "}" * DEEP,
             "data = 3", "[data]", '"\\u0000" = 1', '"\\u001b[2J" = 1', "x = 1979-05-27T07:32:00Z",
             '"" = 1')
        )  # fmt: skip
        rows.insert(draw.randrange(len(rows) + 1), more)
        return "\n".join(rows).encode(), f"more: {shorten(more)}"
    value = draw.choice(
        ('""', '"x"', '"' + "x" * 10_000 + '"', '"\\u001b[31m\\u202e"', '"a\\u0000b"', "-1", "0",
         "1", "2147483648", "9223372036854775808", "9" * 5000, "1e308", "1e999", "nan", "inf",
         "-inf", "true", "[]", "[1, [2]]", "{}", "{a = 1}", "1979-05-27", "07:32:00", "0x10",
         '"/dev/zero"',
         '"../../.."', '"none"', "'''\n'''", "0.5", '["a"]')
    )  # fmt: skip
    rows[at] = f"{key} = {value}"
    return "\n".join(rows).encode(), f"{key} = {shorten(value)}"
