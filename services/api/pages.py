"""Two small pages made on the server: the API's reference and a problem type.

Self-contained: no script, no font, nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

METHODS: Final = ("get", "post", "put", "patch", "delete")
STYLE: Final = (
    ":root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}"
    "body{max-width:64rem;margin:2rem auto;padding:0 1rem}code,.m{font-family:ui-monospace,monospace}"
    "details{border:1px solid #8886;border-radius:.4rem;margin:.4rem 0;padding:.4rem .8rem}"
    "summary{cursor:pointer}.m{display:inline-block;min-width:4.5rem;font-weight:600}.a{float:right;opacity:.7}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0}"
    "td{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #8883;vertical-align:top}"
)


def page(title: str, body: str) -> bytes:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    html = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'
    return html.encode()


def docs_page(document: Mapping[str, Any]) -> bytes:
    """Every operation by tag: who may call it, parameters, body, answers."""
    groups: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                groups.setdefault(item[method]["tags"][0], []).append(_operation(method, path, item[method]))
    title = f"{document['info']['title']} {document['info']['version']}"
    parts = [f"<h1>{escape(title)}</h1><p>{escape(document['info'].get('description', ''))}</p>"]
    parts.append('<p><a href="openapi.json">openapi.json</a></p>')
    for tag, operations in groups.items():
        parts.append(f"<h2>{escape(tag)}</h2>" + "".join(operations))
    return page(title, "".join(parts))


def problem_page(problem: Mapping[str, Any]) -> bytes:
    names = f"<code>{escape(problem['code'])}</code> · <code>{escape(problem['type'])}</code>"
    texts = "".join(f"<p>{text}</p>" for text in (escape(problem["meaning"]), escape(problem["remedy"]), names))
    return page(problem["title"], f"<h1>{problem['status']} {escape(problem['title'])}</h1>{texts}")


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    access = f'<span class="a">{escape(str(operation.get("x-access", "")))}</span>'
    target = f'<span class="m">{method.upper()}</span> <code>{escape(path)}</code>'
    rows = [(p["name"], p["in"], p.get("description", "")) for p in operation.get("parameters", ())]
    if "requestBody" in operation:
        rows.append(("body", "JSON", _schema(operation["requestBody"])))
    answers = [(code, a.get("description", ""), _schema(a)) for code, a in operation["responses"].items()]
    head = f"<summary>{target} {escape(operation.get('summary', ''))}{access}</summary>"
    return f"<details>{head}{_table(rows)}{_table(answers)}</details>"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = ("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{''.join(lines)}</table>"


def _schema(part: Mapping[str, Any]) -> str:
    """The name of the JSON schema of a body; empty if it has none."""
    for content in part.get("content", {}).values():
        return str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2]
    return ""
