"""What the site has beyond Sphinx's own: plain docstrings, links to code, gallery, explorable page.

An extension of Sphinx, used by conf.py beside it.
"""

import html
import importlib
import re
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MATHJAX = "tex-svg-full.js"
"""All of TeX that MathJax knows, drawn without fonts: one file, which works from a folder."""


def mathjax() -> Path:
    """That file, of the package sphinx-mathjax-offline."""
    found = distribution("sphinx-mathjax-offline")
    (one,) = (path for path in found.files or [] if path.name == MATHJAX)
    return Path(str(found.locate_file(one)))


# --- Docstrings -----------------------------------------------------------------------------------


def as_text(lines: list[str]) -> list[str]:
    """A docstring, which is plain text with `code` in it, as reStructuredText that reads the same.

    Paragraphs and lists stay. A block that is further in keeps its lines.
    """
    out: list[str] = []
    inside = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not inside and not (out and out[-1].strip()):
            out += ["::", ""]
            inside = True
        elif line and not indented:
            if inside and out[-1]:
                out.append("")
            inside = False
        out.append(line if inside else _escaped(line))
    return out


def _escaped(line: str) -> str:
    """`code` as ``code``; no other sign means anything."""
    parts = re.split(r"`+([^`]+)`+", line)
    parts[::2] = [re.sub(r"([\\*|_`])", r"\\\1", one) for one in parts[::2]]
    parts[1::2] = [f"``{one}``" for one in parts[1::2]]
    text = "".join(parts)
    return re.sub(r"^(\s*)\\\*(?= )", r"\1*", text)


def _plain_docstring(app, what, name, obj, options, lines):
    lines[:] = as_text(lines)


def _field(app, what, name, obj, skip, options):
    """Fields of named tuples have no words of their own but 'Alias for field number'."""
    return True if type(obj).__name__ == "_tuplegetter" else None


# --- Pages ----------------------------------------------------------------------------------------

LINK = re.compile(r"\[`([^`\]]+)`\]\((?:\.\./)+(reflfap/[\w/]+)\.py\)")


def with_links(text: str) -> str:
    """Links to our files lead to the reference: of the function that is named, or of the module."""

    def reference(match: re.Match[str]) -> str:
        shown, module = match[1], match[2].replace("/", ".")
        name = shown.rpartition(".")[2]
        if re.fullmatch(r"\w+\.\w+", shown) and name != "py":
            return f"{{py:obj}}`{shown} <{module}.{name}>`"
        return f"{{py:mod}}`{shown} <{module}>`"

    return LINK.sub(reference, text)


def with_one_title(text: str) -> str:
    """A page of several titles, with those below the first one as its parts.

    The list of pages beside the site has an entry a title.
    """
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    if sum(len(re.findall(r"^# ", one, re.MULTILINE)) for one in blocks[::2]) > 1:
        blocks[::2] = [re.sub(r"^(#+ )", r"#\1", one, flags=re.MULTILINE) for one in blocks[::2]]
        blocks[0] = blocks[0].replace("## ", "# ", 1)
    return "".join(blocks)


def gallery() -> str:
    """All figures, with the words of their modules and those of their pictures that are there."""
    from reflfap.figures import registry

    parts = []
    for name, entry in registry.FIGURES.items():
        module = importlib.import_module(f"reflfap.figures.{name}")
        pictures = [f"figures/rendered/{one}.png" for one in entry.pictures]
        there = [one for one in pictures if (ROOT / one).exists()]
        if not there:
            continue
        head, *rest = (module.__doc__ or "").strip().split("\n\n")
        words = [as_markdown(one) for one in (head, *rest) if not one.startswith("    ")]
        width = "70%" if len(there) == 1 else "47%"
        shown = " ".join(f'![{Path(one).stem}](../{one}){{width="{width}"}}' for one in there)
        needs = f"`reflfap figures {name}` draws it. It needs: {as_markdown(entry.needs)}."
        parts.append(
            "\n\n".join([f"## {name.replace('_', ' ').capitalize()}", *words, needs, shown])
        )
    return "\n\n".join(parts)


def as_markdown(text: str) -> str:
    """Plain text with `code` in it as Markdown that reads the same."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    parts[::2] = [re.sub(r"([\\*_|\[\]$])", r"\\\1", html.escape(one, False)) for one in parts[::2]]
    return "".join(parts)


def _read(app, name, source):
    source[0] = with_one_title(with_links(source[0]))
    if name == "gallery":
        source[0] += "\n" + gallery()


def _finished(app, failure):
    """The explorable page takes the place of the page that stands for it."""
    if failure is None and app.builder.name == "html":
        from reflfap.figures.explorable import page

        (Path(app.outdir) / "explorable.html").write_text(page("index.html"), encoding="utf-8")


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _plain_docstring)
    app.connect("autodoc-skip-member", _field)
    app.connect("source-read", _read)
    app.connect("build-finished", _finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
