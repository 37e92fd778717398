// (E1) in the browser: data from a seed, three networks, an attack, and what is shown of them.
//
// `Experiment.rounds(config)` computes in small steps, so that it can be left at any of them. Its
// first picture is a quick look: few passes over part of the noise. Later ones replace it.
"use strict";

const Experiment = (() => {
  const HIDDEN = 10; // units of each network
  const VARIANCE = 1 / 3; // of numbers that are uniform between -1 and 1
  const ROUNDS = [
    { epochs: 8, steps: 5, most: 60 },
    { epochs: 32, steps: 10, most: Infinity },
    { epochs: 128, steps: 10, most: Infinity },
  ];

  // Random numbers in [0, 1), the same for the same seed and part (mulberry32)
  function stream(seed, part) {
    let state = Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(part + 1, 0x85ebca6b);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  function uniform(n, d, edge, random) {
    return Engine.zeros(n, d).map((one) => one.map(() => edge * (2 * random() - 1)));
  }

  const coins = (n, random) => Float64Array.from({ length: n }, () => (random() < 0.5 ? 1 : -1));

  // Points and noise with labels and targets of their own streams, and three initial networks
  function draw({ d, N, N_adv, seed }) {
    return {
      x: uniform(N, d, 1, stream(seed, 0)),
      y: coins(N, stream(seed, 1)),
      noise: uniform(N_adv, d, 1, stream(seed, 2)),
      y_adv: coins(N_adv, stream(seed, 3)),
      W: [4, 5, 6].map((part) => uniform(HIDDEN, d, 1 / Math.sqrt(d), stream(seed, part))),
    };
  }

  // Steps that fit the size of the data: few samples make the loss steep
  const rate = (n) => Math.min(0.3, 0.015 * n);

  // Pictures, and null in between
  function* rounds(config) {
    const { gamma, norm, eps } = config;
    const { x, y, noise, y_adv, W } = draw(config);
    const standard = new Engine.Descent(W[0], x, y, gamma, rate(x.length));
    for (const [index, { epochs, steps, most }] of ROUNDS.entries()) {
      yield* train(standard, epochs);
      const some = { noise: noise.slice(0, most), y_adv: y_adv.slice(0, most) };
      const moved = Engine.zeros(some.noise.length, config.d);
      for (let n = 0; n < moved.length; n++) {
        const x0 = some.noise[n];
        const many = norm === "l0" ? eps : steps;
        Engine.attack(standard.W, x0, y_adv[n], gamma, norm, eps, many, -1, 1, moved[n]);
        if (n % 20 === 0) yield null;
      }
      const learn = (start, samples) =>
        new Engine.Descent(start, samples, some.y_adv, gamma, rate(samples.length));
      const control = learn(W[1], some.noise);
      yield* train(control, epochs);
      const adversarial = learn(W[2], moved);
      yield* train(adversarial, epochs);
      const trained = { standard, control, adversarial };
      const last = index === ROUNDS.length - 1;
      yield { ...picture(config, trained, { x, y, moved, ...some }), last };
    }
  }

  function* train(network, epochs) {
    while (network.epochs < epochs) {
      network.epoch();
      yield null;
    }
  }

  function picture(config, trained, { x, y, noise, moved, y_adv }) {
    const { gamma, d } = config;
    const W = Object.fromEntries(Object.entries(trained).map(([name, one]) => [name, one.W]));
    const eta = moved.map((one, n) => one.map((value, i) => value - noise[n][i]));
    const accuracies = (x, y) =>
      Object.fromEntries(
        Object.entries(W).map(([k, one]) => [k, Engine.accuracy(one, x, y, gamma)]),
      );
    const right = x.map((one, n) => y[n] * Engine.f(one, W.adversarial, gamma) > 0);
    const directions = Object.fromEntries(
      Object.entries(W).map(([name, one]) => [name, Engine.oddDirection(one)]),
    );
    return {
      config,
      epochs: trained.standard.epochs,
      used: noise.length,
      natural: accuracies(x, y),
      own: Engine.accuracy(W.adversarial, moved, y_adv, gamma), // on what it learned
      fooled: Engine.accuracy(W.standard, moved, y_adv, gamma),
      predicted: predicted(config, config.N_adv),
      size: sizes(eta, noise),
      plane: plane(W, x, y),
      effects: twoEffects(trained.adversarial, x, y, noise, eta, y_adv),
      right,
      labels: Array.from(y),
      directions,
      likeness: Object.fromEntries(
        Object.entries(directions).map(([k, one]) => [k, cosine(one, directions.standard)]),
      ),
      examples: examples(y_adv).map((n) => [noise[n], eta[n], moved[n], y_adv[n]]),
      width: Math.ceil(Math.sqrt(d)),
    };
  }

  // The first noise point, the next one of the same target, and the first of the other
  function examples(y_adv) {
    const same = y_adv.findIndex((one, n) => n > 0 && one === y_adv[0]);
    const other = y_adv.findIndex((one) => one !== y_adv[0]);
    return [0, same, other].filter((n) => n >= 0);
  }

  const predicted = ({ norm, d, N, eps }, N_adv) =>
    Engine.predictedAccuracy(norm, d, N, N_adv, eps, VARIANCE, 1);

  const cosine = (u, w) => Engine.dot(u, w) / (Math.sqrt(Engine.dot(u, u) * Engine.dot(w, w)) || 1);

  // Means over the noise: length of a move in that of its noise point, and how many numbers move
  function sizes(eta, noise) {
    const mean = (of) => eta.reduce((sum, one, n) => sum + of(one, n), 0) / eta.length;
    return {
      share: mean((one, n) => Math.sqrt(Engine.dot(one, one) / Engine.dot(noise[n], noise[n]))),
      changed: mean((one) => one.reduce((sum, value) => sum + (value !== 0), 0)),
    };
  }

  // The plane of the standard network's mean weights v (units that say +1) and u (that say -1), as
  // in reflfap/experiments/plane.py: a network on it is one with two inputs, W P^T.
  function plane(W, x, y) {
    const half = W.standard.length / 2;
    const [v, u] = [W.standard.slice(0, half), W.standard.slice(half)].map((rows) => {
      const sum = new Float64Array(rows[0].length);
      for (const one of rows) Engine.addTo(sum, 1, one);
      return unit(sum);
    });
    const across = unit(combine(v, u, -1));
    const along = unit(combine(v, u, 1));
    const P = [combine(along, across, 1), combine(along, across, -1)].map(unit);
    const onto = (rows) => rows.map((one) => [Engine.dot(P[0], one), Engine.dot(P[1], one)]);
    const weights = Object.fromEntries(Object.entries(W).map(([name, one]) => [name, onto(one)]));
    return { weights, samples: onto(x), directions: onto([v, u]) };
  }

  const combine = (v, u, factor) => v.map((one, i) => one + factor * u[i]);
  const unit = (v) => v.map((one) => one / Math.sqrt(Engine.dot(v, v)));

  // (L1) and (A2) at the natural samples, times their labels: what the noise as it was teaches, the
  // start included, and what the moves teach. Their sum is the odd part of the network.
  function twoEffects({ c, W }, x, y, noise, eta, y_adv) {
    const [, second] = Engine.effects(x, c, noise, eta, y_adv);
    const s = Engine.oddDirection(W);
    const moves = second.map((value, n) => y[n] * value);
    return { noise: x.map((one, n) => y[n] * Engine.dot(s, one) - moves[n]), moves };
  }

  return { rounds, draw, plane, predicted, cosine, HIDDEN, VARIANCE, ROUNDS };
})();
