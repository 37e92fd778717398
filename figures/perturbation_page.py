"""The results of E2 as text of Markdown, which `results_page` puts below those of E1.

It depends on the cells, the reading, and which pictures are rendered: the same make the same text.
"""

from collections.abc import Iterable, Iterator, Sequence

from reflfap.backend import HostArray
from reflfap.data_loaders.registry import DATA_SETS
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import SCENARIOS
from reflfap.figures import learning_curves, style
from reflfap.figures.perturbation import DeepCell, Setting, attacks_its_own, settings
from reflfap.figures.perturbation_bridge import TwoClasses
from reflfap.figures.perturbation_released import comparable, released_success
from reflfap.figures.sweeps import NORMS
from reflfap.runs.store import open_result

BRIDGE = {
    "cosine_standard": "perturbations, attacked network",
    "cosine_adversarial": "perturbations, learned network",
    "cosine_gradients": "attacked, learned network",
    "span": "in span",
    "span_random": "random",
    "span_few": "in 50 directions",
    "span_few_random": "random",
    "span_few_images": "images",
}
OF_PERTURBATIONS = ("cosine_standard", "cosine_adversarial", "span", "span_few")
OTHERS = ("variant", "dtype", "batch", "augment")
LEGEND = """\
A network learned perturbed samples with their targets, and nothing else; it is tested on clean test
images, of which chance is 0.1. Scenario: what was perturbed towards which target, images towards
another class at random or towards the next one, or uniform noise towards any class at random. eps:
the size of the perturbation in pixel units, of L0 the number of inputs; 0: a control, the same
samples and targets without perturbation. Best, last: accuracy after the best and the last epoch,
mean over seeds, and least to most. The best epoch is the best on the test images, so its accuracy
is a little flattered, here as in the released code. Success: share of the samples whose target has
more than half of the probability in the attacked network; by argmax: whose target has the largest
output, a mean over the targets, then what the released code's attack reached by that. Released:
read off published plots of the released code by eye, one seed, full size (preset paper), of noise
at the nearest number of samples, given in parentheses; of what epoch where that is known.

Bridges to the theory. Cosines, mean over classes: between two of the mean perturbation towards a
class, the attacked network's mean gradient of the class's margin, and that of the network that
learned. Shares of the perturbations' energy: in the span of the training images, and in their 50
principal directions, beside what random directions and the images themselves have there. Controls
have no perturbation, but gradients."""
HEADS = (
    *("scenario", "norm", "eps", "released", "best epoch", "last epoch", "seeds", "preset"),
    *("samples", "epochs", "network", "rate", "attack steps", "success"),
    *("by argmax", "released, by argmax"),
)
TWO_HEADS = (
    *("data", "classes", "scenario", "norm", "eps", "N", "N_adv", "accuracy"),
    *BRIDGE.values(),
)


def section(
    cells: Sequence[DeepCell],
    pictures: str,
    reading: str,
    two_classes: Sequence[TwoClasses] = (),
) -> str:
    """The text; `pictures` is the path from the page to the rendered pictures, `two_classes` cells
    of E3 to compare with."""
    parts = ["# Learning from perturbations with deep networks", _origin(cells), reading.strip()]
    parts.append(LEGEND)
    for dataset in DATA_SETS:
        some = [cell for cell in cells if cell.config.dataset == dataset]
        if some:
            parts += _of_dataset(some, dataset, pictures)
    if two_classes:
        parts.append("## The theory's own network: the same bridge for two classes (E3)")
        parts.append("\n".join(_table(TWO_HEADS, map(_of_two, two_classes))))
    return "\n\n".join(part for part in parts if part) + "\n"


def _origin(cells: Sequence[DeepCell]) -> str:
    """Where the numbers come from; every file's digest is verified."""
    revisions, tabled = set(), 0
    for cell in cells:
        if not cell.stored:
            tabled += 1
            continue
        with open_result(cell.path) as result:
            revisions.add(str(result.attributes["source_revision"]))
    text = f"Networks: {len(cells)}"
    if tabled:
        text += f", {tabled} of them from tables of other results folders, each row's id verified"
    if revisions:
        text += f". Source revisions: {', '.join(f'`{one}`' for one in sorted(revisions))}"
    return f"{text}."


def _of_dataset(cells: Sequence[DeepCell], dataset: str, pictures: str) -> Iterator[str]:
    title, found = learning_curves.set_title(dataset), settings(cells)
    yield f"## Perturbed images: {title}"
    yield _links(dataset, pictures)
    yield "\n".join(_table(HEADS, map(_result, found)))
    there = {(one.config.scenario, one.config.norm) for one in found if one.config.size}
    missing = [
        f"{scenario} {NORMS[norm]}"
        for scenario in SCENARIOS
        for norm in NORMS
        if (scenario, norm) not in there
    ]
    if missing:
        yield f"No networks yet: {', '.join(missing)}."
    without = [s for s in SCENARIOS if not any(_is_control(one, s) for one in found)]
    if without:
        yield f"No control yet: {', '.join(without)}."
    yield f"### {title[0].upper()}{title[1:]}: bridge to the theory"
    heads = ("scenario", "norm", "eps", "preset", "samples", "epochs", "network", *BRIDGE.values())
    yield "\n".join(_table(heads, map(_bridge, found)))


def _is_control(setting: Setting, scenario: str) -> bool:
    return setting.config.scenario == scenario and not setting.config.size


def _links(dataset: str, pictures: str) -> str:
    """The curves, and the other pictures by name; those that have been rendered."""
    names = {f"perturbation_curves_{dataset}": "accuracy by epoch"}
    names |= {f"perturbation_confusion_{dataset}": "confusion"}
    names |= {f"noise_samples_{dataset}": "accuracy by number of noise samples"}
    names |= {f"perturbation_gallery_{dataset}_{one}": f"samples, {one}" for one in SCENARIOS}
    there = {name: f"{pictures}/{name}.png" for name in names}
    there = {name: path for name, path in there.items() if _rendered(name)}
    shown = [f"![{names[name]}]({path})" for name, path in there.items() if "curves" in name]
    links = [f"[{names[name]}]({path})" for name, path in there.items() if "curves" not in name]
    shown += [f"Pictures: {', '.join(links)}."] if links else []
    return "\n\n".join(shown)


def _rendered(name: str) -> bool:
    return (style.RENDERED / f"{name}.png").exists()


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _result(setting: Setting) -> list[str]:
    """A row of the first table."""
    config = setting.config
    return [
        *_name(config),
        _released(config),
        _spread(setting.best),
        _spread(setting.last),
        str(len(setting.cells)),
        *_scale(setting),
        f"{config.rate:g}",
        str(config.steps),
        *(_mean(setting.values(name)) for name in ("attack_success", "attack_success_argmax")),
        "–" if (found := released_success(config)) is None else f"{found:.3f}",
    ]


def _name(config: LearnConfig) -> list[str]:
    return [config.scenario, NORMS[config.norm], f"{config.size:g}"]


def _scale(setting: Setting) -> list[str]:
    """At which scale: preset, samples, epochs, network."""
    config = setting.config
    network = learning_curves.network_name(config)
    return [_preset(config), f"{setting.samples:,}", str(config.epochs), network]


def _preset(config: LearnConfig) -> str:
    """The preset, and what differs from it and has no column of its own."""
    usual = LearnConfig(
        **{name: getattr(config, name) for name in ("dataset", "preset", "scenario", "norm")}
    )
    own = [name for name in OTHERS if getattr(config, name) != getattr(usual, name)]
    own += [] if attacks_its_own(config) else ["classifier"]
    return ", ".join([config.preset, *(f"{name} {getattr(config, name)}" for name in own)])


def _released(config: LearnConfig) -> str:
    """What the released code reached, by epoch where that is known."""
    found = [f"{one.accuracy:g} {one.epoch}".strip() for one in comparable(config)]
    if config.scenario == "noise" and found:
        return f"{found[0]} ({comparable(config)[0].samples:,})"
    return ", ".join(found) or "–"


def _bridge(setting: Setting) -> list[str]:
    """A row of the second table; a control has no perturbation to compare."""
    config = setting.config
    numbers = [
        "–" if name in OF_PERTURBATIONS and not config.size else _mean(setting.values(name))
        for name in BRIDGE
    ]
    return [*_name(config), *_scale(setting), *numbers]


def _of_two(cell: TwoClasses) -> list[str]:
    """A row of the last table; accuracy on clean test images, of which chance is 0.5."""
    config, metrics = cell
    return [
        learning_curves.set_title(config.dataset),
        " and ".join(config.classes),
        *(config.scenario, NORMS[config.norm], f"{config.size:g}"),
        *(f"{config.n:,}", f"{config.n_adv:,}"),
        *(f"{metrics[name]:.3f}" for name in ("acc_adversarial_test", *BRIDGE)),
    ]


def _mean(values: HostArray) -> str:
    return f"{values.mean():.3f}" if len(values) else "–"


def _spread(values: HostArray) -> str:
    """The mean, and the least and the most of several."""
    if len(values) < 2:
        return _mean(values)
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})"
