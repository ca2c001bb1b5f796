"""What every page is made of: templates, one style, one script, and the data that it draws.

A page asks nobody for anything. Its script runs because the page names the script's digest, so that
no text of a run can become one.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jaxnas.records.line_files import plain
from jaxnas.report import words

FOLDER = Path(__file__).parent
FILTERS = (words.significant, words.percent, words.signed_percent, words.quantity)
ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def rendered(
    template: str, page: Mapping[str, Any], scripts: Sequence[str], data: Mapping[str, Any]
) -> str:
    """A page with these scripts of the folder `page`, whose `DATA` is the data."""
    script = "\n".join((FOLDER / "page" / name).read_text(encoding="utf-8") for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "style": Markup((FOLDER / "page/page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "digest": digest,
        "data_json": Markup(in_script(data)),
    }
    return _environment().get_template(template).render({**page, **parts})


def in_script(data: Any) -> str:
    """JSON that may stand in a script element: no text of it ends one.

    >>> in_script({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return "".join(ESCAPED.get(letter, letter) for letter in text)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in FILTERS}
    return environment
