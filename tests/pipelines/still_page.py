"""A page that needs nothing beside it and does nothing by itself, as a report has to be."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Fails for what is not well formed, active, or from elsewhere; keeps what can be read."""

    void = ("meta",)

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open
        assert len(self.ids) == len(set(self.ids))
        assert set(self.named) <= set(self.ids)
        assert not re.search("[\x00-\x08\x0b-\x1f]", html)
        assert "http://" not in re.sub("http://127[^<]*", "", html) and "url(" not in html

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "iframe", "object", "link", "base", "form"), tag
        for attribute, value in attrs:
            value = value or ""
            assert not attribute.startswith("on") and attribute not in ("src", "srcset"), attribute
            if attribute == "href":
                assert value.startswith("#")
                self.named.append(value[1:])
            elif attribute == "aria-labelledby":
                self.named += value.split()
            elif attribute == "id":
                self.ids.append(value)
            elif attribute == "style":
                assert re.fullmatch(r"--share:[01]\.\d{3}|max-width:[\d.]+px", value), value
        self.tags.append(tag)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
