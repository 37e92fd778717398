// "What you see": plain sentences from the numbers of a picture.
"use strict";

const Words = (() => {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const points = (share) => `${(100 * share).toFixed(0)} percentage points`;
  const NORMS = { l2: "L2", linf: "Linf", l0: "L0" };

  // Two standard deviations of the accuracy of a network that has nothing to do with the N points:
  // of N tosses of a coin, 1/(4 N), and of its likeness to what tells them apart, 1/(2 pi N).
  const luck = (N) => 2 * Math.sqrt((1 / 4 + 1 / (2 * Math.PI)) / N);

  function howFar({ norm, eps }, { size }) {
    if (eps === 0) return "The noise is not moved at all.";
    if (norm === "l0") {
      const many = eps === 1 ? "One number" : `${eps} numbers`;
      return `${many} of each noise point may change. The others stay.`;
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
    return `The control network learned the same noise unmoved: ${share}, where ${range}.`;
  }

  function formula({ N }, { natural, predicted }) {
    const off = natural.adversarial - predicted;
    const near = Math.abs(off) <= luck(N) / 2 + 0.02;
    const where = near
      ? "near what came out"
      : off > 0
        ? "less than came out"
        : "more than came out";
    return `The formula, which knows only the sliders, says ${percent(predicted)}: ${where}.`;
  }

  function why({ eps }, { likeness }) {
    if (eps === 0) return "Without moves there is nothing to learn from.";
    const alike = likeness.adversarial.toFixed(2);
    return `The pattern that the adversarial network looks for has likeness ${alike} with the standard network's. Likeness is 1 for the same pattern and 0 for patterns that have nothing in common.`;
  }

  // What holds these settings back, if anything does
  function limit({ d, N, N_adv, eps, norm }, { natural, predicted }) {
    if (predicted > 0.9 || eps === 0) return "";
    const endless = Experiment.predicted({ d, N, eps, norm }, 1e9);
    if (norm === "l0" && endless < Experiment.predicted({ d, N, eps: 1, norm: "l2" }, 1e9) - 0.05) {
      return `So few numbers carry only a part of the pattern: by the formula even endless noise would give only ${percent(endless)}. Letting more numbers change (eps) helps.`;
    }
    if (endless < predicted + 0.05) {
      const room = `${N} points are many for ${d} numbers each`;
      return `${room}: by the formula even endless noise would give only ${percent(endless)}. More numbers (d) or fewer points (N) help.`;
    }
    if (natural.standard < 0.9) {
      return `The standard network itself knows only ${percent(natural.standard)} of the points.`;
    }
    return `More noise points or larger moves would help: with endless noise the formula says ${percent(endless)}.`;
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
    const key = changed.includes("norm") ? "norm" : changed[0];
    if (!key) return "";
    const [from, to] = [before.config[key], config[key]].map((one) => NORMS[one] ?? one);
    const [then, now] = [before, picture].map((one) => percent(one.natural.adversarial));
    const went =
      then === now ? `The accuracy stayed at ${now}` : `The accuracy went from ${then} to ${now}`;
    return key === "seed"
      ? `All points and noise are drawn anew. ${went}.`
      : `You changed ${NAMES[key]}, from ${from} to ${to}. ${went}.`;
  }

  function whatYouSee(config, picture, before = null) {
    return [
      change(config, picture, before),
      outcome(config, picture),
      control(config, picture),
      howFar(config, picture),
      formula(config, picture),
      why(config, picture),
      limit(config, picture),
    ].filter((one) => one);
  }

  return { whatYouSee, percent, points, luck, NORMS };
})();
