"""The explorable page: its engine is paper.py's, and the page can be used by everybody, offline.

In headless Chromium, where there is one.
"""

import json
import os
import re
from math import sqrt

import numpy as np
import pytest
from browser import CHROMIUM, browser

from reflfap import paper
from reflfap.experiments.plane import axes_of_plane, mean_directions
from reflfap.figures import explorable

SAME = 1e-6  # what the page promises; sums in another order differ by some 1e-13
GAMMAS = (0.01, 0.5, 1.0)
NORMS = {"l2": 0.9, "linf": 0.1, "linf-sign": 0.1, "l0": 4, "l0-tracked": 4}


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("there is no Chromium")
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """The page, open, in the state of its first whole picture."""
    path = tmp_path_factory.mktemp("explorable") / "page.html"
    path.write_text(explorable.page(), encoding="utf-8")
    chromium.look()
    chromium.open(path.as_uri())
    chromium.until("Page.shown()?.picture.last")
    return chromium


def send(page, **arrays):
    """Matrices and vectors as the engine has them, under `window.given`."""
    lists = {name: np.asarray(one).tolist() for name, one in arrays.items()}
    page.run(f"window.given = {json.dumps(lists)}, 0")
    rows = "v.map((row) => Float64Array.from(row))"
    page.run(
        "for (const [k, v] of Object.entries(given)) if (Array.isArray(v))"
        f"given[k] = Array.isArray(v[0]) ? {rows} : Float64Array.from(v); 0"
    )


def answer(page, code):
    """What a function body returns, its matrices as lists."""
    plain = "(key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value"
    return json.loads(page.run(f"JSON.stringify((() => {{ {code} }})(), {plain})"))


def problem(gamma, d=37, N=12, m=6):
    rng = np.random.default_rng(int(100 * gamma))
    x, y = rng.uniform(-1, 1, (N, d)), rng.choice([-1.0, 1.0], N)
    return x, y, rng.uniform(-1, 1, (m, d)) / sqrt(d)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_network_is_that_of_the_paper(page, gamma):
    """(N1) to (N4): outputs, loss, and both gradients."""
    x, y, W = problem(gamma)
    send(page, x=x, y=y, W=W, gamma=gamma)
    found = answer(
        page,
        """const { x, y, W, gamma } = given, G = Engine.zeros(W.length, x[0].length);
        Engine.dL_dW(W, x, y, gamma, G, new Float64Array(x.length));
        const g = Engine.zeros(x.length, x[0].length), z = new Float64Array(W.length);
        x.forEach((one, n) => Engine.dl_dx(W, one, y[n], gamma, g[n], z));
        const f = x.map((one) => Engine.f(one, W, gamma));
        return { f, L: Engine.L(W, x, y, gamma), G, g };""",
    )
    assert found["f"] == pytest.approx(paper.f(x, W, gamma), rel=SAME, abs=SAME)
    assert found["L"] == pytest.approx(paper.L(W, x, y, gamma), rel=SAME)
    np.testing.assert_allclose(found["G"], paper.dL_dW(W, x, y, gamma), rtol=SAME, atol=SAME)
    np.testing.assert_allclose(found["g"], paper.dl_dx(W, x, y, gamma), rtol=SAME, atol=SAME)


@pytest.mark.parametrize("contradiction", [False, True])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_training_is_that_of_the_paper(page, gamma, contradiction):
    """(N6), also where the rate is cut; (A2) of its multipliers: by them sum_j a_j w_j has grown.

    A sample that is there with both labels is never learned, so that the loss stops falling.
    """
    x, y, W = problem(gamma)
    lr, epochs = (0.3, 1500) if contradiction else (0.05, 40)
    if contradiction:
        x[1], y[1] = x[0], -y[0]
    send(page, x=x, y=y, W=W, gamma=gamma, lr=lr, epochs=epochs)
    found = answer(
        page,
        """const { x, y, W, gamma, lr, epochs } = given;
        const network = new Engine.Descent(W, x, y, gamma, lr);
        for (let k = 0; k < epochs; k++) network.epoch();
        return { W: network.W, c: network.c, cut: network.lr < lr };""",
    )
    expected = paper.gradient_descent(W, x, y, gamma, epochs, lr=lr)
    np.testing.assert_allclose(found["W"], expected, rtol=SAME, atol=SAME)
    grown = paper.output_weights(W) @ (expected - W)
    assert (np.array(found["c"]) * y) @ x == pytest.approx(grown, rel=SAME, abs=SAME)
    assert found["cut"] == contradiction


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("norm", NORMS)
def test_the_attack_is_that_of_the_paper(page, norm, gamma):
    """(P2) in each norm, at the edge of the data too; and no move at all for a size of zero."""
    x, y, W = problem(gamma)
    x = np.clip(1.5 * x, -1, 1)  # a third of the numbers at the edge, where moves end at once
    for eps in (NORMS[norm], 0):
        steps = eps if norm.startswith("l0") else 12
        send(page, x=x, y=y, W=W, gamma=gamma, eps=eps, steps=steps)
        found = answer(
            page,
            """const { x, y, W, gamma, eps, steps } = given;
            return x.map((one, n) => {
              const best = new Float64Array(one.length);"""
            f"Engine.attack(W, one, y[n], gamma, {norm!r}, eps, steps, -1, 1, best);"
            "return best; });",
        )
        expected = paper.attack(W, x, y, gamma, norm, eps, steps, -1, 1)
        np.testing.assert_allclose(found, expected, rtol=SAME, atol=SAME)
        assert (expected == x).all() == (eps == 0)


def test_effects_and_normal_are_those_of_the_paper(page):
    """(T5), (L1), with any multipliers."""
    x, y, eta = problem(0.5)
    eta = np.resize(eta, x.shape)
    c = np.random.default_rng(3).uniform(0, 1, len(y))
    send(page, z=x[:5], x=x, y=y, eta=eta, c=c)
    code = "const { z, c, x, eta, y } = given; return "
    first, second = paper.effects(x[:5], c, x, eta, y)
    found = answer(page, code + "[Engine.normal(c, x, y), ...Engine.effects(z, c, x, eta, y)];")
    for one, expected in zip(found, (paper.boundary_normal(c, x, y), first, second), strict=True):
        assert one == pytest.approx(expected, rel=SAME, abs=SAME)


@pytest.mark.parametrize("edge", [1.0, np.inf])
@pytest.mark.parametrize("norm", ["l2", "linf", "linf-sign", "l0"])
def test_the_prediction_is_that_of_the_paper(page, norm, edge):
    """(L4) over the range of the sliders, and the paper's own size."""
    sizes = [(20, 10, 10), (300, 200, 1000), (10_000, 1000, 10_000)]
    cases = [
        (d, N, n, e)
        for d, N, n in sizes
        for e in ((0, 1, d // 10) if norm == "l0" else (0, 0.05, 2))
    ]
    edges = "Infinity" if edge == np.inf else edge
    call = f"Engine.predictedAccuracy({norm!r}, d, N, n, e, 1 / 3, {edges})"
    found = answer(page, f"return {json.dumps(cases)}.map(([d, N, n, e]) => {call});")
    expected = [paper.predicted_accuracy(norm, d, N, n, e, 1 / 3, edge) for d, N, n, e in cases]
    assert found == pytest.approx(expected, abs=SAME)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"d": 60, "N": 30, "gamma": 0.5, "norm": "linf", "eps": 0.1, "seed": 3},
        {"d": 100, "N": 20, "gamma": 1, "norm": "l0", "eps": 8},
    ],
    ids=str,
)
def test_what_is_shown_is_what_the_paper_computes(page, change):
    """(E1) from the page's own data by paper.py: accuracies, directions, effects, the plane."""
    config = {"d": 40, "N": 20, "N_adv": 100, "norm": "l2", "eps": 0.7, "gamma": 0.01, "seed": 0}
    config |= change
    code = f"const config = {json.dumps(config)}, all = Experiment.draw(config);"
    code += "return { ...all, picture: [...Experiment.rounds(config)].filter((p) => p).at(-1) };"
    found = answer(page, code)
    picture = found["picture"]
    x, y, noise, y_adv = (np.array(found[name]) for name in ("x", "y", "noise", "y_adv"))
    starts = [np.array(one) for one in found["W"]]
    gamma, norm, eps = config["gamma"], config["norm"], config["eps"]
    rate, rate_adv = (min(0.3, 0.015 * n) for n in (len(x), len(noise)))
    W = paper.gradient_descent(starts[0], x, y, gamma, 128, lr=rate)
    moved = paper.attack(W, noise, y_adv, gamma, norm, eps, eps if norm == "l0" else 10, -1, 1)
    control = paper.gradient_descent(starts[1], noise, y_adv, gamma, 128, lr=rate_adv)
    adversarial = paper.gradient_descent(starts[2], moved, y_adv, gamma, 128, lr=rate_adv)
    networks = {"standard": W, "control": control, "adversarial": adversarial}
    for name, one in networks.items():
        assert picture["natural"][name] == paper.accuracy(one, x, y, gamma)
        odd = paper.output_weights(one) @ one
        assert picture["directions"][name] == pytest.approx(odd, rel=SAME, abs=SAME)
    v_and_u = mean_directions(W)
    P = axes_of_plane(*v_and_u)
    np.testing.assert_allclose(picture["plane"]["samples"], x @ P.T, atol=SAME)
    np.testing.assert_allclose(picture["plane"]["weights"]["control"], control @ P.T, atol=SAME)
    # the sum of both effects is the odd part of the network: (A1), over (1 + gamma)/2
    both = np.add(picture["effects"]["noise"], picture["effects"]["moves"])
    odd = (paper.f(x, adversarial, gamma) - paper.f(-x, adversarial, gamma)) / (1 + gamma)
    assert both == pytest.approx(y * odd, rel=SAME, abs=SAME)
    expected = paper.predicted_accuracy(norm, config["d"], len(x), len(noise), eps, 1 / 3, 1)
    assert picture["predicted"] == pytest.approx(expected, abs=SAME)


def test_sectors_are_where_the_network_says_so(page):
    """The map's sectors at random angles, against (N1) on the plane."""
    rng = np.random.default_rng(2)
    for gamma in 10 * GAMMAS:
        W = rng.normal(size=(10, 2))
        send(page, W=W, gamma=gamma)
        found = answer(page, "return Drawing.sectors(given.W, given.gamma);")
        for angle in rng.uniform(0, 2 * np.pi, 50):
            turns = (angle, angle + 2 * np.pi)
            inside = [one for one in found for t in turns if one["from"] < t < one["to"]]
            assert len(inside) == 1
            z = np.array([[np.cos(angle), np.sin(angle)]])
            assert inside[0]["positive"] == (paper.f(z, W, gamma)[0] > 0)


def test_random_draws_are_uniform_and_their_own(page):
    """Mean and variance within five standard errors; other seeds and streams draw other numbers."""
    config = {"d": 100, "N": 200, "N_adv": 1000, "seed": 5}
    code = f"const one = Experiment.draw({json.dumps(config)}); return one;"
    one = answer(page, code)
    other = answer(page, code.replace('"seed": 5', '"seed": 6'))
    x, noise = np.array(one["x"]), np.array(one["noise"])
    for values in (x, noise):
        assert abs(values.mean()) < 5 * sqrt(1 / 3 / values.size)
        assert abs(values.var() - 1 / 3) < 5 * sqrt((1 / 5 - 1 / 9) / values.size)
    assert abs(np.mean(one["y_adv"])) < 5 / sqrt(1000)
    for pair in ((x, noise[:200]), (x, np.array(other["x"]))):
        assert abs(np.corrcoef(*(part.ravel() for part in pair))[0, 1]) < 5 / sqrt(x.size)


# --- The page -------------------------------------------------------------------------------------


def test_it_is_one_small_file(page, tmp_path):
    """At most 1.5 MB; nothing is asked of the network, and nothing is complained of."""
    assert len(explorable.page().encode()) < 1.5e6
    assert {one.split(":")[0] for one in page.requests} == {"file", "blob"}
    assert page.complaints == []


def test_it_leads_back_to_the_pages_that_it_lies_beside(page):
    """Alone it leads nowhere."""
    assert 'href="index.html"' in explorable.page("index.html")
    assert page.run("[...document.links].every((one) => one.hash)")


def test_a_request_to_the_network_would_be_noticed(page):
    """The page's own policy refuses it."""
    assert (
        page.run("fetch('https://example.org').then(() => 'asked', () => 'refused')") == "refused"
    )
    page.until("true")
    assert any("Content Security Policy" in one for one in page.complaints)
    page.complaints.clear()


def test_stored_runs_are_those_of_the_table(page):
    """Each with its prediction, which (L4) gives again from its settings."""
    runs = page.run("JSON.parse(document.getElementById('stored').textContent)")
    assert len(runs) == len(explorable.stored_runs()) > 100
    for one in runs:
        norm, d, eps = one["norm"], one["d"], one["eps"]
        size = round(eps * d) if norm == "l0" else eps
        again = paper.predicted_accuracy(norm, d, one["N"], one["N_adv"], size, 1 / 3, 1)
        assert one["predicted"] == pytest.approx(again, abs=1e-6), one
    assert page.run("document.querySelectorAll('#agreement .stored').length") == len(runs)


def move(page, key, value):
    """A slider moved as by hand; returns when the first picture is painted, in milliseconds."""
    page.run(
        f"""(async () => {{
          const slider = document.getElementById({key!r}), answers = () =>
            performance.getEntriesByName("answer");
          const before = answers().length;
          slider.value = {value};
          slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
          while (answers().length === before) await new Promise((r) => setTimeout(r, 1));
        }})()"""
    )
    return page.run("performance.getEntriesByName('answer').at(-1).duration")


@pytest.mark.skipif("REFLFAP_MEASURE" not in os.environ, reason="a measurement, REFLFAP_MEASURE=1")
def test_it_answers_within_150_milliseconds(page):
    """From a slider's change to the first picture, at the largest sizes, while the picture before
    is still refined. The least of ten, since all that a busy machine does is to add to it.
    """
    move(page, "N", 200)
    move(page, "N_adv", 16)
    assert min(move(page, "d", (290, 300)[k % 2]) for k in range(10)) < 150


def said(page):
    page.until("Page.shown()?.picture.last && !document.querySelector('[aria-busy=true]')")
    return page.run("document.getElementById('saying').innerText")


def text_of(page, name):
    return page.run(f"document.getElementById('{name}').textContent")


def test_what_you_see_follows_the_sliders(page):
    """In words, with the numbers of the picture; it names what was changed, and what holds back."""
    page.run("document.querySelector('#tries button').click()")  # Start again
    first = said(page)
    picture = page.run("Page.shown().picture")
    right = round(100 * picture["natural"]["adversarial"])
    assert f"gives {right} of the 100 points their class" in first
    assert f"says {round(100 * picture['predicted'])} %" in first
    move(page, "eps", 0)
    second = said(page)
    assert "You changed eps, size of the moves, from 1 to 0." in second
    assert f"from {right} % to" in second
    assert "no better than guessing" in second
    assert "not moved at all" in second
    page.run("document.querySelector('input[value=l0]').click()")
    third = said(page)
    assert "15 numbers of each noise point may change" in third
    assert "So few numbers carry only a part of the pattern" in third  # (L4): 81 %, in L2 96 %
    text = text_of(page, "alike")
    alike = re.findall(r"(?:same target|different targets) (−?[0-9]\.[0-9]+)", text)
    etas = [np.array(list(one[1].values())) for one in page.run("Page.shown().picture.examples")]
    cosines = [etas[0] @ one / sqrt(etas[0] @ etas[0] * (one @ one)) for one in etas[1:]]
    assert [float(one.replace("−", "-")) for one in alike] == pytest.approx(cosines, abs=0.005)
    page.run("document.querySelectorAll('#tries button')[4].click()")  # Too many points
    assert "200 points are many for 100 numbers each" in said(page)


SLIDERS = {"d": "d,", "N": "N,", "N_adv": "N_adv,", "eps": "eps,", "norm": "the norm,"}
SLIDERS |= {"gamma": "gamma,"}


def test_no_sentence_claims_more_than_the_numbers(page):
    """After each preset, by the picture that the sentences are about."""
    page.run("document.querySelector('#tries button').click()")
    said(page)
    for k in (1, 2, 3, 4, 5, 6, 0):
        before = page.run("Page.shown().picture.config")
        page.run(f"document.querySelectorAll('#tries button')[{k}].click()")
        text, picture = said(page), page.run("Page.shown().picture")
        config, natural, N = picture["config"], picture["natural"], picture["config"]["N"]
        luck, got = page.run(f"Words.luck({N})"), natural["adversarial"]
        # all that was changed is named, and nothing else
        first = text.split("You changed ")[1].split(". The accuracy")[0]
        named = {
            one.split(" ", 1)[0] for one in first.replace("the norm", "the_norm").split("; and ")
        }
        changed = {key for key in SLIDERS if config[key] != before[key]}
        assert named == {SLIDERS[key].replace("the norm", "the_norm") for key in changed}
        # outcome and prediction are called alike where luck may part them, and there alone
        assert ("no better than guessing" in text) == (abs(got - 0.5) <= luck)
        assert ("within the reach of luck" in text) == (abs(got - picture["predicted"]) <= luck)
        assert f"takes {round(100 * picture['fooled'])} % of the " in text
        # what the formula says of endless noise is called too low where more came out
        endless = re.search(r"says (\d+) % even for endless|endless noise it says (\d+) %", text)
        assert bool(endless) == (picture["predicted"] <= 0.9 and config["eps"] > 0)
        if endless:
            more = "too low here" in text or "less than came out, by no more than luck" in text
            assert more == (int(endless[1] or endless[2]) < round(100 * got))
        check_captions(page, picture, luck)


def check_captions(page, picture, luck):
    """The counts under map and effects; both are of the points, and by paper.py."""
    config, labels, N = picture["config"], np.array(picture["labels"]), picture["config"]["N"]
    plane = picture["plane"]
    flat = paper.f(
        np.array(plane["samples"]), np.array(plane["weights"]["adversarial"]), config["gamma"]
    )
    there, here = np.sum(labels * flat > 0), round(N * picture["natural"]["adversarial"])
    assert f"for {there} of the {N} points, the network itself for {here}" in text_of(
        page, "on-the-map"
    )
    noise, moves = (np.array(picture["effects"][key]) for key in ("noise", "moves"))
    text, left = text_of(page, "about-effects"), np.sum(noise < 0)
    assert f"wrong class, at {left} of {N}" in text
    assert f"agree at {np.sum((noise + moves > 0) == picture['right'])} of {N}" in text
    assert (f"right class, at {np.sum(moves > 0)} of {N}" in text) == (config["eps"] > 0)
    assert ("because" in text) == (config["eps"] > 0 and left / N - 0.5 > luck)


def test_the_noise_leans_to_the_wrong_class_for_the_reason_given(page):
    """Moved noise points whose noise contradicts their target get larger multipliers (A2); with
    equal ones, or without moves, the noise leans to neither class.
    """
    code = """const d = 100, N = 50, many = 400, out = {};
    for (const eps of [0, 1]) {
      const { x, y, noise, y_adv, W } = Experiment.draw({ d, N, N_adv: many, seed: 1 });
      const [standard, other] = [[x, y, W[0]], [noise.map((one) => one.slice()), y_adv, W[2]]].map(
        ([samples, targets, start], k) => {
          if (k === 1 && eps) samples.forEach((one, n) => Engine.attack(
            out.W, noise[n], y_adv[n], 0.01, "l2", eps, 10, -1, 1, one));
          const network = new Engine.Descent(start, samples, targets, 0.01, 0.3);
          while (network.epochs < 128) network.epoch();
          out.W = network.W;
          return network;
        });
      const s = Engine.oddDirection(standard.W);
      const agrees = noise.map((one, n) => y_adv[n] * Engine.dot(s, one));
      const push = (c) => Engine.effects(x, c, noise, noise, y_adv)[0].map((v, n) => v * y[n]);
      out[eps] = { c: other.c, agrees, learned: push(other.c), equal: push(other.c.map(() => 1)) };
    }
    return out;"""
    found = answer(page, code)
    luck = page.run("Words.luck(50)")
    for eps, one in ((0, found["0"]), (1, found["1"])):
        cosine = np.corrcoef(one["c"], one["agrees"])[0, 1]
        # five standard errors 1/sqrt(400) of a correlation of things that have nothing in common
        assert (cosine < -0.25) == (eps > 0), cosine
        assert abs(np.mean(np.array(one["equal"]) < 0) - 0.5) < luck
        assert (np.mean(np.array(one["learned"]) < 0) - 0.5 > luck) == (eps > 0)


def test_the_keyboard_is_enough(page):
    """Tab reaches every control in its order, and an arrow moves a slider and the picture."""
    page.run("document.querySelector('#tries button').click()")
    said(page)
    page.run("window.nameOf = ({ id, textContent, value }) => id || textContent || value, 0")
    controls = "#controls input[type=range], #controls input:checked, #controls button"
    expected = page.run(f"[...document.querySelectorAll({controls!r})].map(nameOf)")
    page.run("document.getElementById('controls').focus()")
    reached = []
    for _ in expected:
        press(page, "Tab", 9)
        reached.append(page.run("nameOf(document.activeElement)"))
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached[-1]
    assert reached == expected
    page.run("document.getElementById('N_adv').focus()")
    press(page, "ArrowLeft", 37)
    assert "600 to 500" in said(page)


def press(page, key, code):
    for kind in ("keyDown", "keyUp"):
        page.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def test_everything_has_a_name(page):
    """As a screen reader finds it: controls, pictures and regions in the accessibility tree."""
    page.ask("Accessibility.enable")
    nodes = page.ask("Accessibility.getFullAXTree")["nodes"]
    found = {}
    for node in nodes:
        role, name = (node.get(key, {}).get("value", "") for key in ("role", "name"))
        if not node["ignored"]:
            found.setdefault(role, []).append(name)
    counts = {"slider": 5, "radio": 3, "button": 8, "image": 16, "region": 7, "form": 1}
    for role, count in counts.items():
        assert len(found[role]) >= count, role
        assert all(found[role]), role
    assert len(found["heading"]) > 8
    assert page.run("document.documentElement.lang") == "en"


CONTRASTS = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parts = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (colour) => {
    const [r, g, b] = [...parts(colour)].slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((p, q) => p - q);
    return (high + 0.05) / (low + 0.05);
  };
  const under = (one) => {
    for (; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (parts(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const texts = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !one.getClientRects().length) continue;
    if (one.closest("script, .skip") || one.matches(".key")) continue;
    const style = getComputedStyle(one);
    const colour = one.namespaceURI.endsWith("svg") ? style.fill : style.color;
    texts.push([ratio(colour, under(one)), walk.currentNode.data.trim().slice(0, 40)]);
  }
  const root = getComputedStyle(document.documentElement);
  const named = (name) => root.getPropertyValue(`--${name}`);
  const shapes = [];
  for (const line of ["standard", "adversarial", "control"])
    for (const on of ["region-plus", "region-minus", "card"])
      shapes.push([ratio(named(line), named(on)), `${line} on ${on}`]);
  return { texts, shapes };
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast(page, dark):
    """As the web's guidelines ask: 4.5 for text, 3 for lines that have a meaning (WCAG 2.2 AA)."""
    page.look(dark=dark)
    found = page.run(CONTRASTS)
    page.look()
    assert len(found["texts"]) > 80
    assert [one for one in found["texts"] if one[0] < 4.5] == []
    assert [one for one in found["shapes"] if one[0] < 3] == []


@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_it_fits_a_window(page, width):
    """Nothing has to be scrolled sideways, down to the narrowest telephone."""
    page.look(width=width)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.look()
