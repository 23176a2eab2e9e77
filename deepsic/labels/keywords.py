"""Labels as keywords that photo programs read: `dc:subject` of XMP."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from xml.etree import ElementTree

from deepsic.errors import MetadataWarning

__all__ = ["with_keywords"]

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_META = "adobe:ns:meta/"
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = '<?xpacket end="w"?>'


def with_keywords(xmp: bytes | None, keywords: Sequence[str]) -> bytes | None:
    """XMP with keywords added to those that it has; what else it holds stays.

    XMP that can't be read comes back as it is (`MetadataWarning`).
    """
    if not keywords:
        return xmp
    try:
        root = _parsed(xmp)
        bag = _bag(root)
        known = {item.text for item in bag}
        for keyword in keywords:
            if keyword not in known:
                ElementTree.SubElement(bag, f"{{{_RDF}}}li").text = keyword
        text = ElementTree.tostring(root, encoding="unicode")
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        warnings.warn(f"no keywords: damaged XMP ({error})", MetadataWarning, stacklevel=2)
        return xmp
    return f"{_BEGIN}\n{text}\n{_END}".encode()


def _parsed(xmp: bytes | None) -> ElementTree.Element:
    """The packet's root, or a new one; its prefixes become those that are written."""
    for prefix, address in (("x", _META), ("rdf", _RDF), ("dc", _DC)):
        ElementTree.register_namespace(prefix, address)
    if xmp is None:
        root = ElementTree.Element(f"{{{_META}}}xmpmeta")
        ElementTree.SubElement(root, f"{{{_RDF}}}RDF")
        return root
    data = xmp.strip(b" \t\r\n\0")
    for _, (prefix, address) in ElementTree.iterparse(io.BytesIO(data), ("start-ns",)):
        if prefix and not re.fullmatch(r"ns\d+", prefix):  # those are ElementTree's own
            ElementTree.register_namespace(prefix, address)
    return ElementTree.fromstring(data)


def _bag(root: ElementTree.Element) -> ElementTree.Element:
    """The list of keywords, made where there is none."""
    rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f".//{{{_RDF}}}RDF")
    if rdf is None:
        raise ValueError("it has no rdf:RDF")
    subject = rdf.find(f".//{{{_DC}}}subject")
    if subject is None:
        about = rdf.find(f"{{{_RDF}}}Description")
        if about is None:
            about = ElementTree.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
        subject = ElementTree.SubElement(about, f"{{{_DC}}}subject")
    bag = subject.find(f"{{{_RDF}}}Bag")
    return ElementTree.SubElement(subject, f"{{{_RDF}}}Bag") if bag is None else bag
