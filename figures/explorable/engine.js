// The engine of the explorable page: formulas of reflfap/paper.py, tag by tag, in float64.
//
// A test runs both on the same inputs and holds them equal. A matrix is an array of rows, so that
// x[n] is the sample x_n and W[j] the weights w_j. Letters are those of paper.py; m is W.length.
"use strict";

const Engine = (() => {
  const zeros = (n, d) => Array.from({ length: n }, () => new Float64Array(d));

  // four sums, of which none waits for another: twice as quick
  function dot(u, w) {
    const d = u.length;
    let i = 0;
    let s0 = 0,
      s1 = 0,
      s2 = 0,
      s3 = 0;
    for (; i + 3 < d; i += 4) {
      s0 += u[i] * w[i];
      s1 += u[i + 1] * w[i + 1];
      s2 += u[i + 2] * w[i + 2];
      s3 += u[i + 3] * w[i + 3];
    }
    for (; i < u.length; i++) s0 += u[i] * w[i];
    return s0 + s1 + s2 + s3;
  }

  function addTo(u, factor, w) {
    for (let i = 0; i < u.length; i++) u[i] += factor * w[i];
  }

  const clip = (z, low, high) => Math.min(Math.max(z, low), high);

  // --- The network, its loss and its gradients ---------------------------------------------------

  const phi = (z, gamma) => Math.max(z, gamma * z);
  const dphi = (z, gamma) => (z > 0 ? 1 : gamma);
  const a = (j, m) => (j < m / 2 ? 1 : -1) / Math.sqrt(m);
  const loss = (q) => Math.exp(-q);
  const dloss = (q) => -Math.exp(-q);

  // (N1) f(x) = sum_j a_j phi(<w_j, x>) of one sample; leaves <w_j, x> in z where that is given
  function f(x, W, gamma, z = null) {
    let sum = 0;
    for (let j = 0; j < W.length; j++) {
      const pre = dot(W[j], x);
      if (z) z[j] = pre;
      sum += a(j, W.length) * phi(pre, gamma);
    }
    return sum;
  }

  // (N2) L(W) = (1/N) sum_n l(q_n)
  function L(W, x, y, gamma) {
    let sum = 0;
    for (let n = 0; n < x.length; n++) sum += loss(y[n] * f(x[n], W, gamma));
    return sum / x.length;
  }

  // (N3) dL/dw_j = (1/N) sum_n l'(q_n) y_n a_j phi'(<w_j, x_n>) x_n, into G; returns the loss.
  // c_n gets y_n sum_j a_j times the coefficient of x_n: what the sample adds to sum_j a_j w_j.
  function dL_dW(W, x, y, gamma, G, c) {
    const z = new Float64Array(W.length);
    let sum = 0;
    for (const one of G) one.fill(0);
    for (let n = 0; n < x.length; n++) {
      const q = y[n] * f(x[n], W, gamma, z);
      sum += loss(q);
      c[n] = 0;
      for (let j = 0; j < W.length; j++) {
        const factor = (dloss(q) * y[n] * a(j, W.length) * dphi(z[j], gamma)) / x.length;
        addTo(G[j], factor, x[n]);
        c[n] += y[n] * a(j, W.length) * factor;
      }
    }
    return sum / x.length;
  }

  // (N4) dl/dx = l'(q) y sum_j a_j phi'(<w_j, x>) w_j of one sample, into g; returns its loss
  function dl_dx(W, x, y, gamma, g, z) {
    const q = y * f(x, W, gamma, z);
    g.fill(0);
    for (let j = 0; j < W.length; j++) {
      addTo(g, dloss(q) * y * a(j, W.length) * dphi(z[j], gamma), W[j]);
    }
    return loss(q);
  }

  function descend(w, v, g, lr, mu) {
    for (let i = 0; i < w.length; i++) {
      v[i] = mu * v[i] + g[i];
      w[i] -= lr * v[i];
    }
  }

  // (N6) v <- mu v + dL/dW, W <- W - lr v; lr is cut after more than 10 epochs without progress.
  // It can be stopped and continued. c are the multipliers of (A2): sum_j a_j w_j has grown by
  // sum_n c_n y_n x_n since the start.
  class Descent {
    constructor(W, x, y, gamma, lr = 0.01, mu = 0.9) {
      Object.assign(this, { x, y, gamma, lr, mu, best: Infinity, bad: 0, epochs: 0, loss: NaN });
      this.W = W.map((w) => w.slice());
      [this.G, this.v] = [zeros(W.length, W[0].length), zeros(W.length, W[0].length)];
      [this.c, this.cv, this.cG] = zeros(3, x.length);
    }

    epoch() {
      const { W, v, G, c, cv, cG, mu, lr } = this;
      this.loss = dL_dW(W, this.x, this.y, this.gamma, G, cG);
      for (let j = 0; j < W.length; j++) descend(W[j], v[j], G[j], lr, mu);
      descend(c, cv, cG, lr, mu);
      this.bad = this.loss < (1 - 1e-4) * this.best ? 0 : this.bad + 1;
      if (this.bad === 0) this.best = this.loss;
      if (this.bad > 10) {
        this.lr = lr - 0.1 * lr > 1e-8 ? 0.1 * lr : lr;
        this.bad = 0;
      }
      this.epochs += 1;
    }
  }

  // --- Perturbations ------------------------------------------------------------------------------

  const TINY = 2.2250738585072014e-308; // so that 0/||0|| = 0

  function length(v, norm) {
    let most = 0;
    if (norm === "l2") most = Math.sqrt(dot(v, v));
    else for (const one of v) most = Math.max(most, Math.abs(one));
    return Math.max(most, TINY);
  }

  // One step of (P2) from x = x0 + eta along the gradient g, into eta
  function step(eta, g, changed, norm, eps) {
    const size = length(g, norm === "l2" ? "l2" : "linf");
    if (norm === "l2" || norm === "linf") {
      addTo(eta, -eps / 5 / size, g);
      const factor = eps / Math.max(length(eta, norm), eps);
      for (let i = 0; i < eta.length; i++) eta[i] *= factor;
    } else if (norm === "linf-sign") {
      for (let i = 0; i < eta.length; i++) {
        eta[i] = clip(eta[i] - (eps / 5) * Math.sign(g[i]), -eps, eps);
      }
    } else {
      let next = -1;
      for (let i = 0; i < eta.length; i++) {
        if (norm === "l0") changed[i] = eta[i] !== 0 ? 1 : 0;
        if (!changed[i] && (next < 0 || Math.abs(g[i]) > Math.abs(g[next]))) next = i;
      }
      if (next >= 0) changed[next] = 1;
      for (let i = 0; i < eta.length; i++) if (changed[i]) eta[i] -= (0.3 * g[i]) / size;
    }
  }

  // (P2) Descent on l(y_adv f(x)) from x0, one sample; the best iterate goes into best
  function attack(W, x0, y_adv, gamma, norm, eps, steps, low, high, best) {
    const [x, z, changed] = [x0.slice(), new Float64Array(W.length), new Uint8Array(x0.length)];
    const [g, eta] = zeros(2, x0.length);
    best.set(x0);
    let least = dl_dx(W, x, y_adv, gamma, g, z);
    for (let k = 0; k < steps; k++) {
      step(eta, g, changed, norm, eps);
      for (let i = 0; i < x.length; i++) {
        x[i] = clip(x0[i] + eta[i], low, high);
        eta[i] = x[i] - x0[i];
      }
      const now = dl_dx(W, x, y_adv, gamma, g, z);
      if (now < least) best.set(x);
      least = Math.min(now, least);
    }
  }

  // --- Learning from perturbations ----------------------------------------------------------------

  // sum_n c_n y_n x_n, the normal of (T5) where c are the multipliers lambda
  function normal(c, x, y) {
    const b = new Float64Array(x[0].length);
    for (let n = 0; n < x.length; n++) addTo(b, c[n] * y[n], x[n]);
    return b;
  }

  // (L1) What the mislabelled samples and what the perturbations say at each row of points
  function effects(points, c, x, eta, y_adv) {
    const at = (b) => points.map((z) => dot(b, z));
    return [at(normal(c, x, y_adv)), at(normal(c, eta, y_adv))];
  }

  // (A1) s = sum_j a_j w_j: the odd part of f is (1 + gamma)/2 <s, z>
  function oddDirection(W) {
    const s = new Float64Array(W[0].length);
    for (let j = 0; j < W.length; j++) addTo(s, a(j, W.length), W[j]);
    return s;
  }

  // The normal distribution function, by its series; and its inverse, by Newton's method
  function Phi(z) {
    if (Math.abs(z) > 8) return z > 0 ? 1 : 0;
    let [term, sum] = [z, z];
    for (let k = 3; sum + term !== sum; k += 2) {
      term *= (z * z) / k;
      sum += term;
    }
    return 0.5 + (sum * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
  }

  function quantile(p) {
    let z = 0;
    for (let k = 0; k < 60; k++) {
      const move = ((Phi(z) - p) * Math.sqrt(2 * Math.PI)) / Math.exp((-z * z) / 2);
      z -= clip(move, -0.5, 0.5);
      if (Math.abs(move) < 1e-13) break;
    }
    return z;
  }

  // (L4) The accuracy on natural samples, before anything is trained; for l0 eps is d_delta
  function predictedAccuracy(norm, d, N, N_adv, eps, variance, edge = Infinity) {
    let rest = d * variance;
    let [component, size] = [eps, eps];
    if (norm === "linf") {
      component = size = (eps * Math.sqrt(d)) / quantile((1 + 0.5 ** (1 / d)) / 2);
    } else if (norm === "linf-sign") {
      [component, size] = [eps * Math.sqrt((2 * d) / Math.PI), eps * Math.sqrt(d)];
    } else if (norm === "l0") {
      const z = Array.from({ length: eps }, (_, k) => quantile(1 - (k + 0.5) / (2 * d)));
      rest = (edge < Infinity ? d - eps : d) * variance;
      let [along, square] = [0, 0];
      z.forEach((z_k, k) => {
        const c = (0.3 * (eps - k) * z_k) / z[0];
        const g = Math.max(2 * edge - c, 0);
        const v = edge < Infinity ? edge - g ** 2 / (4 * edge) : c;
        if (edge < Infinity) rest += g ** 3 / (6 * edge) - (g ** 2 / (4 * edge)) ** 2;
        along += v * z_k;
        square += v * v;
      });
      [component, size] = [along / Math.sqrt(d), Math.sqrt(square)];
    }
    return Phi((Math.sqrt(d / N) * component) / Math.sqrt(size ** 2 + rest / N_adv));
  }

  // The fraction of samples with y_n f(x_n) > 0
  function accuracy(W, x, y, gamma) {
    let right = 0;
    for (let n = 0; n < x.length; n++) right += y[n] * f(x[n], W, gamma) > 0 ? 1 : 0;
    return right / x.length;
  }

  return {
    ...{ zeros, dot, addTo, f, L, dL_dW, dl_dx, Descent, attack, normal, effects },
    ...{ oddDirection, Phi, quantile, predictedAccuracy, accuracy },
  };
})();
