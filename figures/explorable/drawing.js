// Pictures as SVG, whose colours follow the page's light or dark theme, and pixels on canvas.
"use strict";

const Drawing = (() => {
  const SPACE = "http://www.w3.org/2000/svg";

  function make(parent, name, attributes = {}, text = "") {
    const one = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (text) one.textContent = text;
    parent.append(one);
    return one;
  }

  // An empty picture with a description for those who do not see it
  function empty(figure, width, height, words) {
    figure.replaceChildren();
    figure.setAttribute("viewBox", `0 0 ${width} ${height}`);
    figure.setAttribute("role", "img");
    figure.setAttribute("aria-label", words);
    return figure;
  }

  const path = (points) =>
    `M${points.map((one) => one.map((v) => v.toFixed(1)).join(",")).join("L")}`;

  // A circle for label +1, a triangle for -1; hollow where it is marked so
  function mark(parent, [x, y], label, kind, r = 4) {
    const at = [x, y + r * 1.2];
    const shape =
      label > 0
        ? { cx: x.toFixed(1), cy: y.toFixed(1), r }
        : {
            d: `${path([
              [x, y - r * 1.2],
              [at[0] + r * 1.2, at[1] - r * 0.3],
              [at[0] - r * 1.2, at[1] - r * 0.3],
            ])}Z`,
          };
    make(parent, label > 0 ? "circle" : "path", { ...shape, class: kind });
  }

  // --- Decision map -------------------------------------------------------------------------------

  const SIZE = 360;
  const ANGLES = 720;

  // Without bias f(t z) = t f(z) for t > 0, so that each network's answer depends on the angle
  // alone: its sectors, each from one change of sign to the next.
  function sectors(weights, gamma) {
    const answer = (angle) => Engine.f([Math.cos(angle), Math.sin(angle)], weights, gamma) > 0;
    const turn = (2 * Math.PI) / ANGLES;
    const changes = [];
    for (let k = 0; k < ANGLES; k++) {
      let [low, high] = [k * turn, (k + 1) * turn];
      if (answer(low) === answer(high)) continue;
      for (let i = 0; i < 20; i++) {
        const middle = (low + high) / 2;
        if (answer(middle) === answer(k * turn)) low = middle;
        else high = middle;
      }
      changes.push(high);
    }
    if (!changes.length) return [{ from: 0, to: 2 * Math.PI, positive: answer(0) }];
    return changes.map((from, k) => {
      const to = k + 1 < changes.length ? changes[k + 1] : changes[0] + 2 * Math.PI;
      return { from, to, positive: answer((from + to) / 2) };
    });
  }

  function decisionMap(figure, { plane, labels, config, natural }) {
    const words = `Decision map. The adversarial network, coloured, gives ${Words.percent(natural.adversarial)} of the points their class.`;
    empty(figure, SIZE, SIZE, words);
    const most = Math.max(...plane.samples.flat().map(Math.abs)) * 1.08 || 1;
    const [middle, scale] = [SIZE / 2, SIZE / 2 / most];
    const place = ([s, t]) => [middle + scale * s, middle - scale * t];
    const far = 2 * SIZE;
    const ray = (angle) => [middle + far * Math.cos(angle), middle - far * Math.sin(angle)];
    for (const { from, to, positive } of sectors(plane.weights.adversarial, config.gamma)) {
      const parts = Math.max(2, Math.ceil((to - from) / 0.5));
      const arc = Array.from({ length: parts + 1 }, (_, k) =>
        ray(from + ((to - from) * k) / parts),
      );
      const kind = positive ? "region positive" : "region negative";
      make(figure, "path", { d: `${path([[middle, middle], ...arc])}Z`, class: kind });
    }
    plane.samples.forEach((one, n) => mark(figure, place(one), labels[n], label(labels[n])));
    for (const name of ["control", "adversarial", "standard"]) {
      for (const { from, to } of sectors(plane.weights[name], config.gamma)) {
        if (to - from > 6.28) continue;
        make(figure, "path", { d: path([[middle, middle], ray(from)]), class: `line ${name}` });
      }
    }
  }

  const label = (y) => (y > 0 ? "plus" : "minus");

  // --- Charts -------------------------------------------------------------------------------------

  const [LEFT, RIGHT, TOP, BOTTOM, WIDE, HIGH] = [62, 12, 12, 44, 380, 300];

  // Axes with their names and numbers; returns how a value is placed
  function axes(figure, { x, y, words }) {
    empty(figure, WIDE, HIGH, words);
    const to = ({ low, high, log }, from, until) => {
      const on = log ? Math.log : (value) => value;
      return (value) => from + ((until - from) * (on(value) - on(low))) / (on(high) - on(low));
    };
    const [across, up] = [to(x, LEFT, WIDE - RIGHT), to(y, HIGH - BOTTOM, TOP)];
    for (const tick of x.ticks) {
      make(figure, "path", {
        d: path([
          [across(tick), TOP],
          [across(tick), HIGH - BOTTOM],
        ]),
        class: "grid",
      });
      const at = { x: across(tick), y: HIGH - BOTTOM + 16, "text-anchor": "middle" };
      make(figure, "text", at, (x.format ?? String)(tick));
    }
    for (const tick of y.ticks) {
      make(figure, "path", {
        d: path([
          [LEFT, up(tick)],
          [WIDE - RIGHT, up(tick)],
        ]),
        class: "grid",
      });
      const at = { x: LEFT - 6, y: up(tick) + 4, "text-anchor": "end" };
      make(figure, "text", at, (y.format ?? String)(tick));
    }
    const [cx, cy] = [(LEFT + WIDE - RIGHT) / 2, (TOP + HIGH - BOTTOM) / 2];
    make(figure, "text", { x: cx, y: HIGH - 8, "text-anchor": "middle", class: "name" }, x.name);
    const turned = { transform: `translate(12 ${cy}) rotate(-90)`, "text-anchor": "middle" };
    make(figure, "text", { ...turned, class: "name" }, y.name);
    return (point) => [across(point[0]), up(point[1])];
  }

  const share = (value) => `${Math.round(100 * value)} %`;
  const ACCURACY = {
    low: 0.3,
    high: 1.02,
    ticks: [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
    format: share,
  };

  function dot(figure, [x, y], kind, r) {
    make(figure, "circle", { cx: x.toFixed(1), cy: y.toFixed(1), r, class: kind });
  }

  // (L4) as a curve over the number of noise points, and the runs of these settings so far
  function curve(figure, picture, trail) {
    const { config, natural } = picture;
    const words = `Accuracy against the number of moved noise points. At ${config.N_adv} the formula says ${Words.percent(picture.predicted)}, and the networks here gave ${Words.percent(natural.adversarial)}.`;
    const place = axes(figure, {
      words,
      x: {
        low: 8,
        high: 1250,
        log: true,
        ticks: [10, 30, 100, 300, 1000],
        name: "N_adv, moved noise points",
      },
      y: { ...ACCURACY, name: "accuracy on the N points" },
    });
    const many = Array.from({ length: 60 }, (_, k) => 10 * 100 ** (k / 59));
    const line = many.map((N_adv) => place([N_adv, Experiment.predicted(config, N_adv)]));
    make(figure, "path", { d: path([place([8, 0.5]), place([1250, 0.5])]), class: "chance" });
    make(figure, "path", { d: path(line), class: "formula" });
    const alike = (one) =>
      Object.keys(config).every((k) => k === "N_adv" || one.config[k] === config[k]);
    for (const one of trail.filter(alike)) {
      dot(figure, place([one.config.N_adv, Math.max(one.measured, 0.31)]), "trail", 3.5);
    }
    dot(figure, place([config.N_adv, Math.max(natural.control, 0.31)]), "control-dot", 5);
    dot(figure, place([config.N_adv, Math.max(natural.adversarial, 0.31)]), "now", 6.5);
  }

  // What the formula says against what came out: the stored large runs, and those made here
  function agreement(figure, picture, trail, stored) {
    const words = `Predicted against measured accuracy. ${stored.length} stored large runs lie near the diagonal. This page's run: predicted ${Words.percent(picture.predicted)}, measured ${Words.percent(picture.natural.adversarial)}.`;
    const place = axes(figure, {
      words,
      x: {
        ...ACCURACY,
        low: 0.45,
        ticks: ACCURACY.ticks.slice(1),
        name: "accuracy that the formula says",
      },
      y: { ...ACCURACY, name: "accuracy that came out" },
    });
    make(figure, "path", { d: path([place([0.45, 0.45]), place([1.02, 1.02])]), class: "formula" });
    for (const one of stored)
      mark(
        figure,
        place([one.predicted, one.measured]),
        one.norm === "l0" ? -1 : 1,
        `stored ${one.norm}`,
        3,
      );
    for (const one of trail)
      dot(figure, place([one.predicted, Math.max(one.measured, 0.31)]), "trail", 3.5);
    dot(
      figure,
      place([picture.predicted, Math.max(picture.natural.adversarial, 0.31)]),
      "now",
      6.5,
    );
  }

  // (L1) at each of the N points: across what the noise teaches, up what the moves teach
  function effects(figure, { effects: { noise, moves }, labels, right }) {
    const most = 1.1 * Math.max(...noise.map(Math.abs), ...moves.map(Math.abs), 1e-9);
    const over = moves.filter((one, n) => one > Math.abs(noise[n])).length;
    const words = `Two effects at each point. At ${over} of ${labels.length} points the moves push to the right class, and harder than the noise pushes either way.`;
    const [low, zero] = [
      Math.min(-0.3 * most, 1.1 * Math.min(...moves)),
      { ticks: [0], format: () => "0" },
    ];
    const place = axes(figure, {
      words,
      x: { low: -most, high: most, ...zero, name: "the noise itself: wrong ← → right" },
      y: { low, high: most, ...zero, name: "the moves: wrong ← → right" },
    });
    const rightSide = [
      [-most, most],
      [most, most],
      [most, low],
      [-low, low],
    ].map(place);
    make(figure, "path", { d: `${path(rightSide)}Z`, class: "together" });
    make(figure, "path", { d: path([rightSide[0], rightSide[3]]), class: "formula" });
    noise.forEach((one, n) => {
      mark(
        figure,
        place([one, moves[n]]),
        labels[n],
        `${label(labels[n])}${right[n] ? "" : " wrong"}`,
      );
    });
  }

  // --- Points as pictures -------------------------------------------------------------------------

  // The numbers of a point as pixels, `most` in full colour; 0 is the colour of the paper
  function pixels(canvas, values, width, most) {
    const style = getComputedStyle(canvas);
    const colour = (name) =>
      style
        .getPropertyValue(name)
        .trim()
        .match(/\w\w/g)
        .map((s) => parseInt(s, 16));
    const [zero, above, below] = ["--pixel-zero", "--pixel-plus", "--pixel-minus"].map(colour);
    canvas.width = canvas.height = width;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, width);
    values.forEach((value, i) => {
      const share = Math.min(Math.abs(value) / most, 1);
      const end = value > 0 ? above : below;
      for (let k = 0; k < 3; k++) image.data[4 * i + k] = zero[k] + share * (end[k] - zero[k]);
      image.data[4 * i + 3] = 255;
    });
    context.putImageData(image, 0, 0);
  }

  return { decisionMap, curve, agreement, effects, pixels, sectors };
})();
