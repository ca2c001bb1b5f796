"""Runs the manual's notebook and stores what its cells print and draw.

    python docs/run_notebook.py [FOLDER]

It runs in FOLDER, by default a temporary one, and takes minutes. Progress, which goes to stderr,
is not stored.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl

NOTEBOOK = Path(__file__).parent / "notebooks/quickstart.ipynb"
DPI = 72  # of pictures


def run_cells(cells: list[dict[str, Any]]) -> None:
    """Run the code cells in order, in one namespace, and put their outputs into them."""
    mpl.use("agg")
    names: dict[str, Any] = {}
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell["execution_count"] = number
        cell["outputs"] = _outputs("".join(cell["source"]), names, number)


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """What a cell prints, the value of its last line, and its figures."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(True)
        found.append({"output_type": "stream", "name": "stdout", "text": text})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(True)}
        result = {"output_type": "execute_result", "execution_count": number}
        found.append(result | {"data": data, "metadata": {}})
    return [*found, *_figures()]


def _figures() -> list[dict[str, Any]]:
    """The open figures as PNG, which are closed."""
    from matplotlib import pyplot as plt

    found = []
    for number in plt.get_fignums():
        png = io.BytesIO()
        plt.figure(number).savefig(png, dpi=DPI)
        data = {"image/png": base64.b64encode(png.getvalue()).decode()}
        found.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    return found


def main() -> None:
    """Run the notebook and write it with its outputs."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with TemporaryDirectory() as folder:
        os.chdir(sys.argv[1] if len(sys.argv) > 1 else folder)
        run_cells(notebook["cells"])
        os.chdir(NOTEBOOK.parent)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
