"""Templates, style and scripts become one page that loads nothing.

Names come from model files that may be anybody's; the templates escape them, and the page's policy allows the scripts
below and no others, by their SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any


def page(template: str, scripts: tuple[str, ...] = (), **values: Any) -> str:
    """A template of this folder with `page.css` and `scripts` in it."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    sources = [_text(name) for name in scripts]
    return environment.get_template(template).render(
        css=Markup(_text("page.css").rstrip()), scripts=[Markup(s) for s in sources], policy=policy(sources), **values
    )


def policy(scripts: list[str]) -> str:
    """Content-Security-Policy: inline style, pictures that are in the page, and exactly these scripts."""
    digests = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}"


def _text(name: str) -> str:
    return files("hwseg.report.pages").joinpath(name).read_text(encoding="utf-8")
