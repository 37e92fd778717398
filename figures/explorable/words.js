// "What you see": plain sentences from the numbers of a picture.
"use strict";

const Words = (() => {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const points = (share) => `${(100 * share).toFixed(0)} percentage points`;
  const signed = (value) => value.toFixed(2).replace(/^-(0\.00)?/, (_, zero) => zero ?? "−");
  const NORMS = { l2: "L2", linf: "Linf", l0: "L0" };

  const count = (many, what) => `${many} ${what}${many === 1 ? "" : "s"}`;

  // Two standard deviations of the accuracy of a network that has nothing to do with the N points:
  // of N tosses of a coin, 1/(4 N), and of its likeness to what tells them apart, 1/(2 pi N).
  const luck = (N) => 2 * Math.sqrt((1 / 4 + 1 / (2 * Math.PI)) / N);

  // Shares that are shown, compared as they are shown
  const above = (one, other) => Math.round(100 * one) > Math.round(100 * other);

  function fooled({ config, fooled }) {
    const noise = config.eps === 0 ? "noise" : "moved noise";
    return `The standard network takes ${percent(fooled)} of the ${noise} for its target.`;
  }

  function howFar({ norm, eps }, { size }) {
    if (eps === 0) return "The noise is not moved at all.";
    if (norm === "l0") {
      return `${count(eps, "number")} of each noise point may change. The others stay.`;
    }
    const share = percent(size.share);
    if (norm === "linf") {
      return `No number of a noise point moves by more than ${eps}; the numbers lie between −1 and 1. Each move is ${share} as long as its noise point.`;
    }
    return `Each move is ${share} as long as the noise point that it moves.`;
  }

  function outcome({ N }, { natural }) {
    const right = Math.round(N * natural.adversarial);
    const given = `The adversarial network gives ${right} of the ${N} points their class, ${percent(natural.adversarial)}. It never saw one of them.`;
    const gain = natural.adversarial - 0.5;
    if (gain > luck(N)) return `${given} Guessing gives 50 %.`;
    if (gain < -luck(N)) return `${given} That is worse than guessing, which gives 50 %.`;
    return `${given} That is no better than guessing.`;
  }

  function control({ N }, { natural }) {
    const share = percent(natural.control);
    const range = `luck alone gives between ${percent(0.5 - luck(N))} and ${percent(0.5 + luck(N))}`;
    return `The noise network learned the same noise unmoved, from a random start of its own: ${share}, where ${range}.`;
  }

  function formula({ N }, { natural, predicted }) {
    const off = natural.adversarial - predicted;
    const near = Math.abs(off) <= luck(N);
    const where = near
      ? "near what came out, within the reach of luck"
      : off > 0
        ? "less than came out, beyond the reach of luck"
        : "more than came out, beyond the reach of luck";
    return `The formula says ${percent(predicted)}: ${where}. It knows d, N, N_adv, eps and the norm, and no gamma.`;
  }

  function why({ eps }, { likeness }) {
    const none = eps === 0 ? "Without moves the noise carries nothing of the points. " : "";
    const alike = signed(likeness.adversarial);
    return `${none}The pattern of the adversarial network has likeness ${alike} with the standard network’s. Likeness is the cosine of two lists of numbers: 1 for the same but for its size, 0 for nothing in common, −1 for opposites.`;
  }

  // What holds these settings back, if anything does
  function limit({ d, N, N_adv, eps, norm }, { natural, predicted }) {
    if (predicted > 0.9 || eps === 0) return "";
    const endless = Experiment.predicted({ d, N, eps, norm }, 1e9);
    const got = natural.adversarial;
    const more = got - endless <= luck(N) ? "less than came out, by no more than luck" : "too low here";
    const low = above(got, endless) ? `, which is ${more}: ${percent(got)} came out` : "";
    const even = `the formula says ${percent(endless)} even for endless noise${low}. By the formula`;
    if (norm === "l0" && endless < Experiment.predicted({ d, N, eps: 1, norm: "l2" }, 1e9) - 0.05) {
      return `So few numbers carry only a part of the pattern: ${even} letting more numbers change (eps) helps.`;
    }
    if (endless < predicted + 0.05) {
      const room = `${N} points are many for ${d} numbers each`;
      return `${room}: ${even} more numbers (d) or fewer points (N) help.`;
    }
    if (natural.standard < 0.9) {
      return `The standard network itself knows only ${percent(natural.standard)} of the points.`;
    }
    return `By the formula more noise points or larger moves help: with endless noise it says ${percent(endless)}${low}.`;
  }

  const NAMES = {
    d: "d, numbers a point",
    N: "N, points",
    N_adv: "N_adv, noise points",
    eps: "eps, size of the moves",
    norm: "the norm",
    gamma: "gamma, the slope",
    seed: "the random draw",
  };

  // What was changed since the picture before, and what that did
  function change(config, picture, before) {
    if (!before) return "";
    const changed = Object.keys(NAMES).filter((key) => config[key] !== before.config[key]);
    if (!changed.length) return "";
    const shown = (key, { [key]: one, norm }) =>
      key === "eps" && norm === "l0" ? count(one, "number") : (NORMS[one] ?? one);
    const turned = (key) =>
      `${NAMES[key]}, from ${shown(key, before.config)} to ${shown(key, config)}`;
    const moved = changed.filter((key) => key !== "seed").map(turned);
    const [then, now] = [before, picture].map((one) => percent(one.natural.adversarial));
    const went =
      then === now ? `The accuracy stayed at ${now}` : `The accuracy went from ${then} to ${now}`;
    const drawn = changed.includes("seed") ? "All points and noise are drawn anew. " : "";
    const said = moved.length ? `You changed ${moved.join("; and ")}. ` : "";
    return `${drawn}${said}${went}.`;
  }

  // What the flat map gets right, beside the network itself
  function onTheMap({ plane, labels, config, natural }) {
    const { weights, samples } = plane;
    const flat = Engine.accuracy(weights.adversarial, samples, labels, config.gamma);
    const [there, here] = [flat, natural.adversarial].map((one) => Math.round(config.N * one));
    return `The colours are right for ${there} of the ${config.N} points, the network itself for ${here}: it is the bars that count.`;
  }

  const LEANS =
    " It leans to the wrong class because the network learns those noise points hardest that speak against their target.";

  // Where the marks of the two effects lie; the noise leans where luck does not explain it
  function effects({ config: { N, eps }, effects: { noise, moves }, right }) {
    const many = (is) => noise.filter((one, n) => is(one, moves[n], right[n])).length;
    const left = many((one) => one < 0);
    const agree = many((one, move, is) => one + move > 0 === is);
    const raised = many((_, move) => move > 0);
    const up = `The moves push up, to the right class, at ${raised} of ${N} points.`;
    const leans = eps > 0 && left / N - 0.5 > luck(N) ? LEANS : "";
    return `${eps === 0 ? "There are no moves." : up} The noise pushes left, to the wrong class, at ${left} of ${N}.${leans} The sum is only a part of the network’s answer: both agree at ${agree} of ${N}.`;
  }

  function whatYouSee(config, picture, before = null) {
    return [
      change(config, picture, before),
      outcome(config, picture),
      control(config, picture),
      howFar(config, picture),
      fooled(picture),
      formula(config, picture),
      why(config, picture),
      limit(config, picture),
    ].filter((one) => one);
  }

  return { whatYouSee, onTheMap, effects, percent, points, signed, luck, NORMS };
})();
