"""Draw the package from its imports into docs/design.md: `python docs/draw.py`. With --check, say whether it is so.

A room is a folder of the package, or a module at its top. An arrow is an import from one room into another, those for
type checking included. The layers stand in docs/design.md, by hand; a room imports from its own layer and those below.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ignite_vision"
PAGE = ROOT / "docs" / "design.md"
DOORS = ("__init__", "__main__", "_version")  # they export, start and name the package: anyone's, and no room
BEGIN, END = "<!-- drawn by docs/draw.py -->\n", "<!-- end -->"


def layers() -> list[list[str]]:
    """The rooms of each layer, from the top, as docs/design.md has them."""
    block = re.search(r"```layers\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block, "docs/design.md has no block of layers"
    return [line.split() for line in block[1].splitlines()]


def rooms() -> dict[str, list[Path]]:
    """Room -> its files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in DOORS:
            found.setdefault(room, []).append(path)
    return found


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, wherever in it: `ignite_vision.data.images`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("ignite_vision.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ignite_vision":
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if is_module(name) else str(node.module) for name in inside}
    return found - {"ignite_vision"}


def is_module(name: str) -> bool:
    """Whether a dotted name is a module or a folder of ours."""
    place = ROOT / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file()


@functools.cache
def arrows() -> frozenset[tuple[str, str]]:
    """(room, a room that it imports from)."""
    found = set()
    for room, paths in rooms().items():
        for path in paths:
            others = {name.split(".")[1] for name in imported(path)}
            found |= {(room, other) for other in others - {room, *DOORS, "recipes"}}
    return frozenset(found)


def faults() -> list[str]:
    """What contradicts the layers: a room without one, an arrow that goes up, a circle."""
    depth = {room: number for number, names in enumerate(layers()) for room in names}
    found = [f"{room} has no layer in docs/design.md" for room in rooms() if room not in depth]
    found += [f"{room} is in docs/design.md but not in the package" for room in depth if room not in rooms()]
    found += [f"{a} imports from {b}, above it" for a, b in sorted(arrows()) if depth.get(b, 0) < depth.get(a, 0)]
    return found + [" imports from ".join(circle) for circle in circles()]


def circles() -> list[list[str]]:
    """Rooms that import from each other, all the way around."""
    graph = {room: sorted(b for a, b in arrows() if a == room) for room in rooms()}
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(room: str, above: list[str]) -> None:
        if room in above:
            found.append([*above[above.index(room) :], room])
        elif room not in done:
            for other in graph.get(room, ()):
                visit(other, [*above, room])
            done.add(room)

    for room in graph:
        visit(room, [])
    return found


def drawing() -> str:
    """A table of the rooms from the top: what each is, its files, and which it imports from."""
    contents, lines = rooms(), ["| room | what | files | imports from |", "|---|---|---|---|"]
    order = [room for room in itertools.chain(*layers()) if room in contents]
    for room in order:
        below = [other for other in order if (room, other) in arrows()]
        first = PACKAGE / room / "__init__.py"
        what = title(first if first.exists() else PACKAGE / f"{room}.py")
        lines.append(f"| `{room}` | {what} | {len(contents[room])} | {', '.join(below)} |")
    count = len(contents), len(arrows())
    return "\n".join([*lines, "", f"{count[0]} rooms, {count[1]} arrows, none of them up, no circle."]) + "\n"


def title(path: Path) -> str:
    """The first sentence of a file's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return text.rstrip(".")


def page() -> str:
    """docs/design.md with the drawing as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END, 1)[1]
    return f"{before}{BEGIN}{drawing()}{END}{after}"


def main() -> int:
    """Write the page, or with --check compare it. 1 if something is not as the page says."""
    wrong = faults()
    if "--check" in sys.argv[1:]:
        stale = page() != PAGE.read_text(encoding="utf-8")
        wrong += ["docs/design.md is not drawn from the imports: python docs/draw.py"] if stale else []
    else:
        PAGE.write_text(page(), encoding="utf-8")
    for line in wrong:
        print(line, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
