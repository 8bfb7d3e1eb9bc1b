"""What a page of HTML says, apart from how: the texts of its tables, definitions and diagrams."""

from __future__ import annotations

from html.parser import HTMLParser

_KEPT = {"td", "th", "dd", "desc"}


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        if tag in _KEPT:
            self.inside += 1
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside -= tag in _KEPT

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[-1] += data


def texts(page: str) -> list[str]:
    """Of every cell, definition and description of a diagram, in order, white space evened out."""
    parser = _Texts()
    parser.feed(page)
    return [" ".join(text.split()) for text in parser.found]
