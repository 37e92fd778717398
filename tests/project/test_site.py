"""The site of `make docs`: nothing is left out of it, links lead somewhere, it works offline."""

import configparser
import html
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from browser import CHROMIUM, browser
from project import ROOT

from reflfap.figures import registry

DOCS = ROOT / "docs"
NOT_IN_THE_REFERENCE = (
    r"reflfap\.(__main__|terminal|cli|audit|figures|data_loaders\.embedded)(\.|$)"
)
"""Commands, the gallery's figures, how the embedded images were made; the audit has its own page,
of `reflfap audit --html`."""


@pytest.fixture(scope="module")
def parts():
    """docs/site_parts.py, which Sphinx imports."""
    spec = importlib.util.spec_from_file_location("site_parts", DOCS / "site_parts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def modules():
    """The paths of all modules; data_loaders and figures are links."""
    for folder, _, names in os.walk(ROOT / "reflfap", followlinks=True):
        yield from (Path(folder) / name for name in sorted(names) if name.endswith(".py"))


def test_the_reference_has_every_module_once():
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in modules()
        if path.name != "__init__.py"
    }
    names = {name for name in names if not re.match(NOT_IN_THE_REFERENCE, name)}
    pages = "".join(path.read_text() for path in DOCS.glob("api/*.md"))
    listed = re.findall(r"\.\. automodule:: ([\w.]+)", pages)
    assert sorted(listed) == sorted(names)
    assert re.findall(r"## `([\w.]+)`", pages) == listed


def test_every_page_is_in_the_list():
    """Beside each page of the site; left out is what only is a part of generated pages."""
    listed = set()
    for path in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for block in re.findall(r"```{toctree}\n(.*?)```", path.read_text(), re.DOTALL):
            names = re.findall(r"^[\w/-]+$", block, re.MULTILINE)
            listed |= {(path.parent / f"{name}.md").resolve() for name in names}
    pages = {path.resolve() for path in DOCS.rglob("*.md")} - {DOCS / "index.md"}
    left = {path for path in pages if path.name.endswith("-reading.md")}
    assert pages - left - {DOCS / "index-description.md"} == listed


def test_the_gallery_has_every_figure_that_is_there(parts):
    text = parts.gallery()
    for name, entry in registry.FIGURES.items():
        there = [one for one in entry.pictures if (ROOT / f"figures/rendered/{one}.png").exists()]
        assert (f"`reflfap figures {name}`" in text) == bool(there), name
        assert all(f"(../figures/rendered/{one}.png)" in text for one in there)


def test_links_to_code_lead_to_the_reference(parts):
    """Of a function to that function, of a file to its module; all names that pages use exist."""
    made = parts.with_links("[`kkt.certificate`](../reflfap/theory/kkt.py), [`paper.py`](../a.py)")
    assert (
        made == "{py:obj}`kkt.certificate <reflfap.theory.kkt.certificate>`, [`paper.py`](../a.py)"
    )
    module = parts.with_links("[`reflfap/paper.py`](../reflfap/paper.py)")
    assert module == "{py:mod}`reflfap/paper.py <reflfap.paper>`"
    count = 0
    for page in DOCS.glob("*.md"):
        for kind, name in re.findall(
            r"{py:(\w+)}`[^`]+ <([\w.]+)>`", parts.with_links(page.read_text())
        ):
            count += 1
            at, _, one = name.rpartition(".")
            assert kind == "mod" or hasattr(import_module(at), one), f"{page.name}: {name}"
    assert count > 60


def test_one_title_a_page(parts):
    """Titles below the first one become its parts; comments in code are no titles."""
    text = "# A\n\n## B\n\n```\n# no title\n```\n\n# C\n"
    assert parts.with_one_title(text) == "# A\n\n### B\n\n```\n# no title\n```\n\n## C\n"
    alone = "# A\n\n```\n# no title\n```\n\n## B\n"
    assert parts.with_one_title(alone) == alone


def test_what_builds_it_is_pinned():
    """Every package of the extra has its version in constraints.txt."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines}
    assert set(setup["options.extras_require"]["docs"].split()) <= pinned


def docstrings():
    for path in modules():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if re.match(NOT_IN_THE_REFERENCE, name):
            continue
        module = import_module(name)
        yield name, inspect.getdoc(module) or ""
        for one in vars(module).values():
            ours = getattr(one, "__module__", None) == name
            if ours and (inspect.isfunction(one) or inspect.isclass(one)):
                yield f"{name}.{one.__name__}", inspect.getdoc(one) or ""


@pytest.mark.slow
def test_docstrings_read_as_they_are_written(parts):
    """On the site every word and sign of them is there, and no sign was taken for markup."""
    core = pytest.importorskip("docutils.core")
    checked = 0
    for name, text in docstrings():
        source = "\n".join(parts.as_text(text.splitlines()))
        settings = {"report_level": 2, "halt_level": 2, "smart_quotes": False}
        shown = core.publish_doctree(source, settings_overrides=settings).astext()
        plain = [re.sub(r"^(\s*)[-*] ", r"\1", line) for line in text.splitlines()]
        assert words(shown) == words("\n".join(plain)), name
        checked += bool(text)
    assert checked > 500


def words(text):
    return re.sub(r"(?m)^\s*- ", "", text).replace("`", "").split()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as `make docs` builds it, where a warning is an error."""
    pytest.importorskip("furo")
    if not (ROOT / "figures" / "rendered" / "two_effects.png").exists():
        pytest.skip("an sdist, without the pictures")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto"]
    command += ["-d", str(folder / "doctrees"), "-b", "html", str(DOCS), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def without_scripts(path):
    return re.sub(r"<script\b.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.slow
def test_every_link_leads_somewhere(site):
    """Within the site: to a file that is there, and to a place of that name on it."""
    pages = {path: without_scripts(path) for path in site.rglob("*.html")}
    names = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    count, lost = 0, []
    for path, text in pages.items():
        for link in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            link = html.unescape(link)
            if re.match(r"https?:|data:|mailto:", link):
                continue
            count += 1
            file, _, place = link.partition("#")
            to = (path.parent / file.partition("?")[0]).resolve() if file else path
            found = to in names if to.suffix == ".html" else to.exists()
            if not found or (place and to.suffix == ".html" and place not in names[to]):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert count > 5000
    assert [one for one in lost if not one.endswith("#")] == []


@pytest.mark.slow
def test_the_site_needs_no_network(site):
    """Each page, opened from its file: no request, no complaint, no broken picture or formula."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium")
    formulas = 0
    with browser() as chromium:
        for path in sorted(site.rglob("*.html")):
            if "_modules" in path.parts and path.name != "paper.html":
                continue
            chromium.open(path.as_uri())
            chromium.run("window.MathJax?.startup?.promise.then(() => 0)")
            broken = "[...document.images].filter((one) => !one.naturalWidth).length"
            wrong = "document.querySelectorAll('[data-mml-node=merror]').length"
            assert chromium.run(f"{broken} + {wrong}") == 0, path
            assert chromium.complaints == [], path
            formulas += chromium.run("document.querySelectorAll('mjx-container').length")
        assert formulas > 500
        assert {one.split(":")[0] for one in chromium.requests} <= {"file", "data", "blob"}
        chromium.open((site / "search.html").as_uri() + "?q=hyperplane")
        chromium.until("document.querySelector('#search-results li a[href*=theory]')")
        chromium.look(dark=True)
        chromium.open((site / "theory.html").as_uri())
        shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g)"
        assert max(map(int, chromium.run(shade))) < 60
        assert chromium.complaints == []


@pytest.mark.slow
def test_the_explorable_page_is_part_of_it(site):
    """In the place of the page that stands for it in the list."""
    text = (site / "explorable.html").read_text(encoding="utf-8")
    assert 'href="index.html"' in text
    assert "const Engine" in text
    assert 'href="explorable.html"' in (site / "index.html").read_text(encoding="utf-8")
