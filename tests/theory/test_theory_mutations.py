"""Mutations of the theory: one wrong sign, power, axis or factor at a time, which a test notices.

A formula that can be altered without any test failing is not checked. Slow, but for the list.
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

THEORY = Path("reflfap/theory")
PARTS = ("theory", "kkt", "prediction", "uniqueness", "odd_part", "rate", "origins", "even_part")
TESTS = [f"tests/theory/test_{name}.py" for name in PARTS]
MUTATIONS = [
    ("even_part", "products * xp.arcsin(cosines)", "products * cosines"),
    ("even_part", "((1 - slope) / 2) ** 2 * (2", "((1 - slope) / 2) * (2"),
    ("even_part", "(dim - 1) * (dim + 2) / 2, 1.0", "(dim - 1) * (dim + 2), 1.0"),
    ("even_part", "ridge = h2 * (1 - 2 / math.pi) * size2", "ridge = h2 * size2"),
    ("even_part", "p = 1 / (1 + n * u *", "p = 1 / (2 + n * u *"),
    ("even_part", "rest = 1 - n * u**2", "rest = 1 + n * u**2"),
    ("even_part", "mixed = np.eye(2) - learned[:, None]", "mixed = np.eye(2) + learned[:, None]"),
    ("even_part", "taught = 2 * factor", "taught = factor"),
    ("even_part", "even = 2 * float(known", "even = float(known"),
    ("even_part", "ndtr(mean / math.sqrt(variance))", "ndtr(mean / variance)"),
    # (T1)
    ("orthogonality", "self.bound >= self.p_max", "self.bound <= self.p_max"),
    ("orthogonality", "self.bound / self.p_max if", "self.p_max / self.bound if"),
    ("orthogonality", "xp.sum(x * x, axis=1)", "xp.sum(x * x, axis=0)"),
    ("orthogonality", "xp.abs(x[first : first + CHUNK_ROWS] @ x.T)", "x[first :] @ x.T"),
    ("orthogonality", "products[own, first + own] = 0", "products[own, own] = 0"),
    ("orthogonality", "slope**3 * r_min", "slope**2 * r_min"),
    ("orthogonality", "r_min**4 / (3 * n * r_max**2)", "r_max**4 / (3 * n * r_min**2)"),
    ("orthogonality", "(3 * n * r_max**2)", "(n * r_max**2)"),
    ("orthogonality", "/ slope**3) ** 2", "/ slope**2) ** 2"),
    ("orthogonality", "n * (n - 1) // 2", "n"),
    ("orthogonality", "(3 * n * median", "(3 * median"),
    ("orthogonality", "return bisect_right(", "return 1 + bisect_right("),
    ("orthogonality", "float(-ndtri(-", "float(ndtri(-"),
    ("orthogonality", "-math.log(2) / count) / 2", "-math.log(2) / count)"),
    # (T2), (T3)
    ("kkt", "a[:, None] * y_host > 0, 1.0", "a[:, None] * y_host < 0, 1.0"),
    ("kkt", "> 0, 1.0, slope)", "> 0, 1.0, slope**2)"),
    ("kkt", "pattern * (lam * y_host)", "pattern * lam"),
    ("kkt", "(lam * y_host) * a[:, None]", "(lam * y_host) * -a[:, None]"),
    ("kkt", "weights * xp.astype(y, xp.float64), Z", "weights, Z"),
    ("kkt", "C = slopes * net.a[:, None] * xp.astype(weights", "C = slopes * xp.astype(weights"),
    ("kkt", "np.max(1 - q)", "np.max(q - 1)"),
    ("kkt", "np.max(-lam)", "np.max(lam)"),
    (
        "kkt",
        "(slopes * Z))).astype(np.float64)\n    weights",
        "Z)).astype(np.float64)\n    weights",
    ),
    ("kkt", "(1 + slope**2) / 2, -slope", "(1 + slope**2) / 2, slope"),
    ("kkt", "(1 + slope**2) / 2, -slope", "(1 + slope) / 2, -slope"),
    ("kkt", "(1 + slope**2) / 2, -slope", "(1 + slope**2) / 2, -(slope**2)"),
    ("kkt", "opposite + (same - opposite)", "same + (opposite - same)"),
    ("kkt", "xp.where(active, lam < 0, M", "xp.where(active, lam > 0, M"),
    ("kkt", "M @ lam < 1 - 1e-9", "M @ lam > 1 - 1e-9"),
    ("kkt", "M @ lam < 1 - 1e-9", "lam < 0"),
    ("kkt", "active = active != wrong", "active = active & ~wrong"),
    ("kkt", "cholesky_solver(M, SMALLEST_PIVOT)", "cholesky_solver(M)"),
    ("kkt", "(namespace(M).ones(", "(-namespace(M).ones("),
    ("kkt", "xp.sum(x * x, axis=1)", "xp.sum(x * x, axis=0)"),
    ("kkt", "0.5 / float(xp.max(squares))", "0.5 / float(xp.min(squares))"),
    ("kkt", "(slope**2 * float(xp.min(squares)))", "(slope**2 * float(xp.max(squares)))"),
    ("kkt", "1.5 / (slope**2 *", "1.5 / (slope *"),
    ("kkt", "net.a @ (slopes * Z), xp.float64", "net.a @ Z, xp.float64"),
    ("kkt", "q = signs * xp", "q = xp"),
    ("kkt", "interaction(x @ x.T, slopes)", "interaction(x @ x.T, slopes**2)"),
    ("kkt", "H *= signs[:, None]\n", "H *= 1\n"),
    ("kkt", "H *= signs\n", "H *= 1.0\n"),
    ("kkt", "xp.astype(lam * signs", "xp.astype(lam"),
    ("kkt", "C = slopes * net.a[:, None] * xp.astype(lam", "C = slopes * xp.astype(lam"),
    ("kkt", "rest = net.W - C @ x", "rest = net.W + C @ x"),
    ("kkt", "2 / (1 + net.slope) * y", "2 / (1 - net.slope) * y"),
    ("kkt", "2 / (1 + net.slope) * y", "2 / (1 + net.slope)"),
    ("kkt", "* y * (net.a @ C)", "* y * (-net.a @ C)"),
    # (R1), (R2)
    ("uniqueness", 'in ("orthogonal", "unique")', 'in ("orthogonal", "unique", "exists")'),
    ("uniqueness", '!= "neither"', '!= "exists"'),
    ("uniqueness", "for end in (1, 0)", "for end in (0, 1)"),
    ("uniqueness", "if worst == best:", "if worst != best:"),
    ("uniqueness", '("float32", "float64") if', '("float32",) if'),
    ("uniqueness", "}[worst]", "}[best]"),
    ("uniqueness", "(1 + slope - slope**2 + slope**3)", "(1 + slope + slope**3)"),
    ("uniqueness", "a, b = 1 - slope**3", "a, b = 1 - slope**2"),
    ("uniqueness", "b**2 + 4 * a * b", "b**2 + 3 * a * b"),
    ("uniqueness", "[0]), 0.5)", "[0]), 1.0)"),
    ("uniqueness", "(1 - 2 * r) / (1 - r) / h, 1", "(1 - r) / h, 1"),
    ("uniqueness", "1 / (1 - r) / h\n", "1 / h\n"),
    ("uniqueness", 'return _enclosed(x, "float64")', 'return _enclosed(x, "float32")'),
    ("uniqueness", "slices(n, ROWS, rows.start)", "slices(n, ROWS)"),
    ("uniqueness", "sums[columns] += (1 / squares[rows]) @ K", "sums[columns] += 0"),
    ("uniqueness", "K @ (1 / squares[columns])", "K @ (1 / squares[rows])"),
    ("uniqueness", "K *= 1 - xp.eye", "K *= 1 + 0 * xp.eye"),
    ("uniqueness", "K = xp.abs(xp.astype", "K = (xp.astype"),
    ("uniqueness", "of_products * _spread(squares)", "0 * squares"),
    ("uniqueness", "lengths * xp.sum(1 / lengths)", "lengths * xp.max(1 / lengths)"),
    ("uniqueness", "UNIT[dtype]) if", 'UNIT["float64"]) if'),
    ("uniqueness", "if n > 1 else 0.0", "if n > 1 else 1.0"),
    ("uniqueness", "- errors * (1 + more)", "+ errors * (1 + more)"),
    ("uniqueness", "(p_max + p_error) * (1 + more)", "p_max - p_error"),
    ("uniqueness", "least * (1 - more), ", "least * (1 + more), "),
    ("uniqueness", "largest * (1 - more), largest", "largest * (1 + more), largest"),
    ("uniqueness", "/ (1 - count * unit)", "/ (1 + count * unit)"),
    ("uniqueness", "xp.sum(wide * wide, axis=1)", "xp.sum(abs(wide), axis=1)"),
    ("uniqueness", "n**2 * d < MUCH_WORK", "n**2 * d > MUCH_WORK"),
    ("uniqueness", "(1 / SINGLE_RANGE <= low and", "(low <= low and"),
    ("uniqueness", "and high <= SINGLE_RANGE", "and high <= high"),
    ("uniqueness", "or d > SINGLE_INPUTS", ""),
    ("uniqueness", "error < below or ", ""),
    ("uniqueness", "or error < xp.max(some)", ""),
    ("uniqueness", "g**3 * least**2", "g**2 * least**2"),
    ("uniqueness", "(3 * found.n * largest)", "(found.n * largest)"),
    ("uniqueness", "if r < unique:", "if r < exists:"),
    ("uniqueness", '"exists" if r < exists', '"exists" if r < g'),
    ("uniqueness", '"exists" if r < exists', '"exists" if r <= exists'),
    # (T4), (T5)
    ("boundary", "xp.astype(lam, x.dtype) * y", "xp.astype(lam, x.dtype)"),
    ("boundary", "xp.astype(lam, x.dtype) * y", "-xp.astype(lam, x.dtype) * y"),
    ("boundary", "xp.astype(lam, x.dtype) * y", "y"),
    ("boundary", "f = z @ b", "f = -z @ b"),
    ("boundary", "f = z @ b", "f = z.T @ b"),
    ("boundary", "xp.sign(f) == xp.sign", "xp.sign(f) != xp.sign"),
    ("boundary", "xp.sign(boundary_function(b, z))", "xp.abs(xp.sign(boundary_function(b, z)))"),
    # (P1)
    ("perturbations", "norm.radius / xp.sqrt(b @ b) * b", "-norm.radius / xp.sqrt(b @ b) * b"),
    ("perturbations", "norm.radius / xp.sqrt(b @ b) * b", "norm.radius / (b @ b) * b"),
    ("perturbations", "argsort(-xp.abs(b))", "argsort(xp.abs(b))"),
    ("perturbations", "argsort(-xp.abs(b))", "argsort(-b)"),
    ("perturbations", "epsilon * xp.sign(b[largest])", "-epsilon * xp.sign(b[largest])"),
    ("perturbations", "epsilon * xp.sign(b[largest])", "epsilon * b[largest]"),
    ("perturbations", "return norm.radius * xp.sign(b)", "return -norm.radius * xp.sign(b)"),
    ("perturbations", "return norm.radius * xp.sign(b)", "return norm.radius * b"),
    ("perturbations", "target[:, None] * v", "-target[:, None] * v"),
    ("perturbations", "target[:, None] * v", "target * v[:, None]"),
    # (L1) to (L3)
    ("learning", "self.samples + self.perturbations", "self.samples - self.perturbations"),
    ("learning", "xp.astype(lam, x.dtype) * target", "xp.astype(lam, x.dtype)"),
    ("learning", "xp.astype(lam, x.dtype) * target", "target"),
    ("learning", "Effects(z @ (weights @ x),", "Effects(-z @ (weights @ x),"),
    ("learning", "z @ (weights @ eta)", "-z @ (weights @ eta)"),
    ("learning", "effect = total * (z @ v)", "effect = -total * (z @ v)"),
    ("learning", "effect = total * (z @ v)", "effect = z @ v"),
    ("learning", "second * xp.sign(f_bdy) > 0", "second * xp.sign(f_bdy) < 0"),
    ("learning", "second * xp.sign(f_bdy) > 0", "second > 0"),
    ("learning", "xp.abs(second) > xp.abs(first)", "xp.abs(second) < xp.abs(first)"),
    ("learning", "xp.abs(second) > xp.abs(first)", "second > first"),
    ("learning", ") / total if", ") * total if"),
    ("learning", "float(xp.sqrt(unit @ unit))", "float(unit @ unit)"),
    # (L4)
    ("prediction", "n_adv, epsilon, epsilon,", "n_adv, -epsilon, epsilon,"),
    ("prediction", "n_adv, epsilon, epsilon, dim * variance", "n_adv, epsilon, epsilon, variance"),
    ("prediction", "math.sqrt(2 * dim / math.pi)", "math.sqrt(2 / math.pi) * dim"),
    ("prediction", "math.sqrt(2 * dim / math.pi)", "math.sqrt(2 * dim * math.pi)"),
    ("prediction", "epsilon * math.sqrt(dim) / median", "epsilon * math.sqrt(dim) * median"),
    ("prediction", "component, length, dim * variance", "component, length, dim / variance"),
    ("prediction", "z = -ndtri", "z = ndtri"),
    ("prediction", "(len(k) - k + 1)", "k"),
    ("prediction", "(mean_move(c), variance_left(c)) if bounded", "(c, c) if bounded"),
    ("prediction", "+ float(own.sum())", "- float(own.sum())"),
    ("prediction", "float(v @ z) / math.sqrt(dim)", "float(v @ z)"),
    ("prediction", "learned + sign * own", "learned + own"),
    ("prediction", "epsilon**2 + dim * variance / n)", "epsilon**2 + variance / n)"),
    ("prediction", "dim / n), dim * variance / n", "dim / n), variance / n"),
    ("prediction", "math.sqrt(dim / n) * component", "math.sqrt(n / dim) * component"),
    ("prediction", "rest / n_adv)", "rest / n)"),
    ("prediction", "length**2 + rest", "length + rest"),
    ("prediction", "c - c**2 / 4", "c + c**2 / 4"),
    ("prediction", "left**3 / 6 - ", "left**3 / 6 + "),
    ("prediction", "2 - np.minimum(c, 2.0)", "2 + np.minimum(c, 2.0)"),
    ("prediction", "1 + math.erf", "1 - math.erf"),
    ("prediction", "z / math.sqrt(2)", "z * math.sqrt(2)"),
    ("prediction", "whole_number(name, count, 1, MOST", "whole_number(name, count, 0, MOST"),
    # (A1) to (A3)
    ("odd_part", "s = net.a @ net.W", "s = -net.a @ net.W"),
    ("odd_part", "s = net.a @ net.W", "s = abs(net.a) @ net.W"),
    ("odd_part", "odd = (1 + net.slope) / 2", "odd = (1 - net.slope) / 2"),
    ("odd_part", "even = (1 - net.slope) / 2", "even = (1 + net.slope) / 2"),
    ("odd_part", "(net.a @ xp.abs(Z))", "(net.a @ Z)"),
    ("odd_part", "return (1 + net.slope) / 2 *", "return (1 - net.slope) / 2 *"),
    ("odd_part", "effective_multipliers(net, C, y)", "effective_multipliers(net, -C, y)"),
    ("odd_part", "activation_slope(net.W @ x.T", "activation_slope(-net.W @ x.T"),
    ("odd_part", "rate(loss, q) / x.shape[0]", "rate(loss, q) / x.shape[1]"),
    ("odd_part", "time=time - now", "time=time"),
    (
        "odd_part",
        "net, now, c = trained.net, time, c + odd",
        "net, now, c = trained.net, time, odd",
    ),
    ("odd_part", "toward = y * parts.odd", "toward = parts.odd"),
    ("odd_part", "toward > -parts.even", "toward >= -parts.even"),
    ("odd_part", "toward > parts.even", "toward >= parts.even"),
    ("odd_part", "float(xp.var(even))", "float(xp.mean(even * even))"),
    ("odd_part", "float(xp.mean(odd * odd))", "float(xp.var(odd))"),
    ("odd_part", "(linear + rest or 1.0)", "(linear or 1.0)"),
    # (C1), (C2)
    ("rate", "float(np.sum(lam))", "float(np.mean(lam))"),
    ("rate", "- np.log(len(lam) * lam)", "+ np.log(len(lam) * lam)"),
    ("rate", "root = np.sqrt(lam)", "root = lam"),
    ("rate", "* M * root)[0]", "* M * root)[-1]"),
    ("rate", "target = -xp.log(", "target = xp.log("),
    ("rate", ", xp)) - q", ", xp)) + q"),
    ("rate", "net.W + weights @ x)", "weights @ x)"),
    ("rate", "* y <= 0))", "* y >= 1e9))"),
    ("rate", "if not np.min(point.lam) > 0:", "if False:"),
    ("rate", "* line.limit + line.offset", "* line.limit - line.offset"),
    ("rate", "return _along_and_across(line)[1]", "return _along_and_across(line)[0]"),
    ("rate", "math.log(time) + along", "math.log(time) - along"),
    ("rate", "math.sqrt(2 / net.W", "math.sqrt(1 / net.W"),
    ("rate", "* y > most))", "* y > 0))"),
    ("rate", "rest = net.W - W", "rest = net.W + W"),
    ("rate", "line.offset - along * line.limit", "line.offset + along * line.limit"),
    ("rate", "not bool(np.all(lam > 0))", "False"),
    # docs/origins.md
    ("origins", "(b / xp.sqrt(xp.sum(b * b)))", "(b / xp.sum(b * b))"),
    ("origins", "return xp.abs(x @", "return (x @"),
    ("origins", "interference(x).r[1]", "(interference(x).r[1] / 2)"),
    ("origins", "    scaled_multiplier_bounds(r, slope)", "    float(r)"),
    ("origins", "(1 - slope) ** 2 / (1 + slope**2) * r", "(1 - slope) ** 3 / (1 + slope**2) * r"),
    ("origins", "* r / (1 - r)", "* r"),
    ("origins", "square = (1 - r) / float", "square = 1 / float"),
    ("origins", "xp.sum(wide * wide, axis=1)", "xp.sum(wide, axis=1)"),
    ("origins", "(1 - delta) ** 2 / (1 + delta)", "(1 - delta) / (1 + delta)"),
    ("origins", "/ ((1 - delta) * (1 - 2 * r))", "/ (1 - delta)"),
    ("origins", "float(xp.finfo(rows.dtype).eps)", "0.1"),
    ("origins", "float(xp.finfo(rows.dtype).eps)", "0"),
    ("origins", "vectors[kept]", "vectors"),
    ("origins", "if values[0] == 0:", "if False:"),
    ("origins", "v - (v @ basis.T) @ basis", "(v @ basis.T) @ basis"),
    ("origins", "v - (v @ basis.T) @ basis", "v - 2 * (v @ basis.T) @ basis"),
    ("origins", "count / (3 * d)", "count / (6 * d)"),
    ("origins", "(1 - slope**2) * on)", "(1 - slope) * on)"),
    ("origins", 'whole_number("left_out", left_out, 0, d)', 'whole_number("l", left_out, 0)'),
    ("origins", "squares.sum() / squares[0]", "squares.sum() / squares[-1]"),
    ("origins", "compute_uv=False) ** 2", "compute_uv=False)"),
    ("origins", "math.hypot(A - B, 2 * c)", "math.hypot(A - B, c)"),
    ("origins", "math.hypot(A - B, 2 * c)", "math.hypot(A + B, 2 * c)"),
    ("origins", "np.sum(offset * limit) / np", "-np.sum(offset * limit) / np"),
    ("origins", "rest = offset - along * limit", "rest = offset"),
    ("origins", "beta = float(np.linalg.norm(rest, 2))", "beta = float(np.linalg.norm(rest, -2))"),
    ("origins", "+ np.sum(rest * rest))", "- np.sum(rest * rest))"),
    ("origins", "above / (abs(s) + beta) ** 2", "above / (abs(s) + beta)"),
    ("origins", "above / (abs(s) + beta) ** 2", "above / (s + beta) ** 2"),
    ("origins", "if s > beta else", "if s > 0 else"),
    ("origins", "xp.mean(part, axis=0)", "xp.mean(part)"),
    ("origins", "(C[:half], C[half:])", "(C[::2], C[1::2])"),
]


# the same examples each time, so that the outcome is too; the first failure is enough
PROFILE = """
from hypothesis import Phase

settings.register_profile(
    "mutations", settings.get_profile("reflfap"), derandomize=True, phases=[Phase.generate]
)
settings.load_profile("mutations")
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project, without what Python compiled of it."""
    for name in ("reflfap", "tests"):  # of links what they lead to
        ignore = shutil.ignore_patterns("__pycache__", "*.png", "*.pdf")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    with (tmp_path / "tests/conftest.py").open("a") as conftest:
        conftest.write(PROFILE)
    return tmp_path


def outcome(folder: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """pytest on a copy of the project, which comes first on the path."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=500)


def source(module: str) -> str:
    return (ROOT / THEORY / f"{module}.py").read_text()


def test_every_function_is_mutated():
    """Each mutation changes one place, and each function of the theory has at least one."""
    mutated, functions = set(), set()
    for path in (ROOT / THEORY).glob("[!_]*.py"):
        if path.stem in ("asymptotic", "lazy"):  # whose errors the audit plants, and must notice
            continue
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef):
                continue
            functions.add((path.stem, node.name))
            body = ast.get_source_segment(text, node) or ""
            if any(module == path.stem and old.strip() in body for module, old, _ in MUTATIONS):
                mutated.add((path.stem, node.name))
    assert functions == mutated
    for module, old, new in MUTATIONS:
        assert source(module).count(old) == 1, f"{module}: {old}"
        assert old != new


@pytest.mark.slow
def test_the_copy_passes_unchanged(copy):
    """What a mutated copy fails, it fails for the mutation."""
    done = outcome(copy, TESTS)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "old", "new"), MUTATIONS, ids=[f"{module}: {new}" for module, _, new in MUTATIONS]
)
def test_mutations_are_noticed(copy, module, old, new):
    """pytest ends with 1, a failed test: not with 2, a module that cannot be imported."""
    path = copy / THEORY / f"{module}.py"
    path.write_text(source(module).replace(old, new))
    done = outcome(copy, sorted(TESTS, key=lambda name: module not in name))
    assert done.returncode == 1, f"not noticed: {old} -> {new}\n{done.stdout}"
