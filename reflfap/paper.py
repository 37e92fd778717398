"""The paper in one file, to be read beside it.

S. Kumano, H. Kera, T. Yamasaki, *Theoretical Understanding of Learning from Adversarial
Perturbations*, ICLR 2024, arXiv 2402.10470.

A network that is trained only on mislabelled adversarial examples, even on perturbed noise,
classifies clean data. A perturbation is made of the training samples, in L2 a combination of them,
so it carries what tells their classes apart. For a one-hidden-layer network on nearly orthogonal
samples, (T1), the decision boundary that it learns is known in closed form.

Every statement stands here in the order of the argument, one formula a line, under a tag such as
(N3), and under the paper's own number where that is known. Marked [released]: what the authors'
published code does. Marked [derived]: not in the paper; docs/theory.md has the proofs. Nothing is
checked, chunked or made quick. The rest of the package does that, and tests hold it equal to this
file, tag by tag. Arrays may be of NumPy or CuPy. `python -m reflfap.paper` runs a small experiment.

    d, m, N, N_adv     inputs, hidden units (even), natural samples, perturbed samples
    x (N, d), y (N,)   samples as rows x_n, labels y_n = +1 or -1
    W (m, d), a (m,)   hidden weights with rows w_j, trained; output weights, never trained
    gamma              slope of the leaky ReLU, between 0 and 1
    q (N,)             margins q_n = y_n f(x_n); positive where x_n is classified correctly
    lam (N,), b (d,)   multipliers lambda_n >= 0 of the maximum margin; normal of the boundary
    eta, eps, d_delta  perturbation x_adv_n - x_n; its size; of L0 the number of entries that change
    y_adv, lam_adv     of the perturbed samples: targets +1 or -1 (their labels), and multipliers
"""

from math import exp, inf, log1p, pi, sqrt
from statistics import NormalDist

import numpy as np

from reflfap.backend import namespace

# --- The network, its loss and its gradients ------------------------------------------------------


def phi(z, gamma):
    """The leaky ReLU, phi(z) = max(z, gamma z)."""
    return namespace(z).maximum(z, gamma * z)


def dphi(z, gamma):
    """phi'(z) = 1 for z > 0, else gamma; so phi'(0) = gamma."""
    xp = namespace(z)
    return xp.where(z > 0, xp.ones_like(z), gamma)


def output_weights(W):
    """Fixed: a_j = +1/sqrt(m) for the first half of the units, -1/sqrt(m) for the second."""
    xp, m = namespace(W), W.shape[0]
    return (2 * xp.astype(xp.arange(m) < m // 2, W.dtype) - 1) / sqrt(m)


def f(x, W, gamma):
    """(N1) The network: f(x) = sum_j a_j phi(<w_j, x>), no bias."""
    return output_weights(W) @ phi(W @ x.T, gamma)


def loss(q, kind="exponential"):
    """The loss of a margin: l(q) = exp(-q), or logistic, l(q) = log(1 + exp(-q))."""
    xp = namespace(q)
    return xp.exp(-q) if kind == "exponential" else xp.log(1 + xp.exp(-q))


def dloss(q, kind="exponential"):
    """Its derivative: l'(q) = -exp(-q), or logistic, l'(q) = -1/(1 + exp(q))."""
    xp = namespace(q)
    return -xp.exp(-q) if kind == "exponential" else -1 / (1 + xp.exp(q))


def L(W, x, y, gamma, kind="exponential"):
    """(N2) The training loss: L(W) = (1/N) sum_n l(q_n)."""
    return namespace(x).mean(loss(y * f(x, W, gamma), kind))


def dL_dW(W, x, y, gamma, kind="exponential"):
    """(N3) dL/dw_j = (1/N) sum_n l'(q_n) y_n a_j phi'(<w_j, x_n>) x_n, rows of (m, d)."""
    a, q, N = output_weights(W), y * f(x, W, gamma), x.shape[0]
    return (dloss(q, kind) * y * a[:, None] * dphi(W @ x.T, gamma)) @ x / N


def dl_dx(W, x, y, gamma, kind="exponential"):
    """(N4) d l(y f(x)) / dx = l'(q) y sum_j a_j phi'(<w_j, x>) w_j, rows of (N, d)."""
    a, q = output_weights(W), y * f(x, W, gamma)
    return (dloss(q, kind) * y * a[:, None] * dphi(W @ x.T, gamma)).T @ W


# --- Training -------------------------------------------------------------------------------------


def gradient_flow(W, x, y, gamma, time, steps, kind="exponential"):
    """(N5) dW/dt = -grad L(W) up to a time, by Heun's scheme in equal steps of s = log(1 + t).

    The loss falls like 1/t, so that equal steps of t would be wasted; dW/ds = -exp(s) grad L.
    """
    h = log1p(time) / steps
    for s in (k * h for k in range(steps)):
        start = -exp(s) * dL_dW(W, x, y, gamma, kind)
        end = -exp(s + h) * dL_dW(W + h * start, x, y, gamma, kind)
        W = W + h * (start + end) / 2
    return W


def gradient_descent(W, x, y, gamma, epochs, kind="exponential", lr=0.01, mu=0.9, L=L, dL_dW=dL_dW):
    """(N6) [released] v <- mu v + dL/dW, W <- W - lr v.

    lr is cut to a tenth after more than 10 epochs in a row without a relative improvement of the
    loss by 1e-4, unless that changes it by no more than 1e-8.
    """
    v, best, bad = 0 * W, inf, 0
    for _ in range(epochs):
        now = float(L(W, x, y, gamma, kind))
        v = mu * v + dL_dW(W, x, y, gamma, kind)
        W = W - lr * v
        best, bad = (now, 0) if now < (1 - 1e-4) * best else (best, bad + 1)
        if bad > 10:
            lr, bad = (0.1 * lr if lr - 0.1 * lr > 1e-8 else lr), 0
    return W


# --- Implicit bias: which network gradient flow finds ---------------------------------------------


def orthogonality(x, gamma):
    """(T1) Nearly orthogonal samples: gamma^3 R_min^4 / (3 N R_max^2) >= p_max. Returns both sides.

    (T2) to (T5) and (L1) to (L3) assume it of the samples learned. (E1) below is far from it.
    R_min, R_max: smallest and largest ||x_n||; p_max: largest |<x_n, x_k>| over n != k.
    """
    xp, N = namespace(x), x.shape[0]
    K = x @ x.T
    R2 = xp.sum(x * x, axis=1)
    p_max = xp.max(xp.abs(K * (1 - xp.eye(N, dtype=x.dtype))))
    return gamma**3 * xp.min(R2) ** 2 / (3 * N * xp.max(R2)), p_max


def kkt_violations(W, lam, x, y, gamma):
    """(T2) By how much W and lam fail the KKT conditions of min ||W||_F^2 / 2, q_n >= 1.

    w_j = sum_n lam_n y_n a_j phi'(<w_j, x_n>) x_n,  q_n >= 1,  lam_n >= 0,  lam_n (q_n - 1) = 0.
    After Frei et al., ICLR 2023: under (T1), once the loss is low enough, gradient flow converges
    in direction to such a point.
    """
    xp, a, q = namespace(x), output_weights(W), y * f(x, W, gamma)
    stationarity = W - (lam * y * a[:, None] * dphi(W @ x.T, gamma)) @ x
    return (
        xp.max(xp.abs(stationarity)),
        xp.max(1 - q),
        xp.max(-lam),
        xp.max(xp.abs(lam * (q - 1))),
    )


def aligned_kkt_point(x, y, m, gamma):
    """(T2) The point itself: every q_n = 1, and <w_j, x_n> > 0 if and only if a_j y_n > 0.

    Then q = M lam with M_nk = y_n y_k <x_n, x_k> c_nk, where c_nk = (1 + gamma^2)/2 for y_n = y_k,
    and gamma otherwise [derived]. Without (T1) there may be no such point: look at the violations.
    """
    xp, N = namespace(x), x.shape[0]
    yy = y[:, None] * y
    M = yy * (x @ x.T) * xp.where(yy > 0, (1 + gamma**2) / 2 * xp.ones_like(yy), gamma)
    lam = xp.linalg.solve(M, xp.ones(N, dtype=x.dtype))
    a = output_weights(xp.zeros((m, 1), dtype=x.dtype))
    W = (lam * y * a[:, None] * dphi(a[:, None] * y, gamma)) @ x
    return W, lam


def multiplier_bounds(x, gamma):
    """(T3) 1/(2 R_max^2) < lam_n < 3/(2 gamma^2 R_min^2)."""
    xp = namespace(x)
    R2 = xp.sum(x * x, axis=1)
    return 1 / (2 * xp.max(R2)), 3 / (2 * gamma**2 * xp.min(R2))


def f_bdy(z, lam, x, y):
    """(T4) Theorem 3.3, a hyperplane: sgn f(z) = sgn f_bdy(z) = sgn sum_n lam_n y_n <x_n, z>."""
    return (lam * y) @ (x @ z.T)


def boundary_normal(lam, x, y):
    """(T5) Its normal: b = sum_n lam_n y_n x_n."""
    return (lam * y) @ x


# --- Perturbations --------------------------------------------------------------------------------


def geometry_inspired(b, y_adv, norm, eps, d_delta=0):
    """(P1) Section 4.1: eta_n maximises y_adv_n <b, eta_n> with ||eta_n|| <= eps in l2, linf."""
    xp = namespace(b)
    if norm == "l2":
        v = eps * b / xp.sqrt(b @ b)
    elif norm == "linf":
        v = eps * xp.sign(b)
    else:  # l0: at most d_delta entries, each at most eps in magnitude
        rank = xp.argsort(xp.argsort(-xp.abs(b)))
        v = xp.where(rank < d_delta, eps * xp.sign(b), 0)
    return y_adv[:, None] * v


def attack(W, x0, y_adv, gamma, norm, eps, steps, low=-inf, high=inf, kind="exponential"):
    """(P2) [released] Descent on l(y_adv f(x)), whose gradient is g; the best iterate is kept.

    l2, linf: a step of eps/5 along -g/||g||, then eta is scaled back to ||eta|| <= eps.
    linf-sign, the textbook's: a step of eps/5 along -sgn g, then each entry is clipped.
    l0: d_delta steps. Each adds to the changed pixels the one of largest |g|; then all changed ones
    move by -0.3 g/||g||_inf. A pixel counts as changed while it differs from its start, or, in
    l0-tracked, from when it was chosen. After each step x is clipped to the data's range.
    """
    xp = namespace(x0)
    x, best, least = x0, x0, loss(y_adv * f(x0, W, gamma), kind)
    changed = x0 != x0
    for _ in range(steps):
        g, eta = dl_dx(W, x, y_adv, gamma, kind), x - x0
        if norm in ("l2", "linf"):
            eta = eta - eps / 5 * g / length(g, norm)
            eta = eta * (eps / xp.maximum(length(eta, norm), eps))
        elif norm == "linf-sign":
            eta = xp.clip(eta - eps / 5 * xp.sign(g), -eps, eps)
        else:
            changed = eta != 0 if norm == "l0" else changed
            new = xp.argmax(xp.where(changed, -1, xp.abs(g)), axis=1)
            changed = changed | (xp.arange(x.shape[1]) == new[:, None])
            eta = eta - 0.3 * xp.where(changed, g, 0) / length(g, "linf")
        x = xp.clip(x0 + eta, low, high)
        now = loss(y_adv * f(x, W, gamma), kind)
        best = xp.where((now < least)[:, None], x, best)
        least = xp.minimum(now, least)
    return best


def length(v, norm):
    """||v_n||_2 or ||v_n||_inf, (N, 1); the smallest number in place of 0, so that 0/||0|| = 0."""
    xp = namespace(v)
    lengths = xp.sqrt(xp.sum(v * v, axis=1)) if norm == "l2" else xp.max(xp.abs(v), axis=1)
    return xp.maximum(lengths, xp.finfo(v.dtype).tiny * xp.ones_like(lengths))[:, None]


# --- Learning from perturbations ------------------------------------------------------------------


def effects(z, lam_adv, x, eta, y_adv):
    """(L1) Two effects: of the mislabelled samples, and of the perturbations. Their sum is the
    boundary function f_adv_bdy of a network that learned x_n + eta_n with labels y_adv_n,

    f_adv_bdy(z) = sum_n lam_adv_n y_adv_n <x_n, z> + sum_n lam_adv_n y_adv_n <eta_n, z>.
    """
    return f_bdy(z, lam_adv, x, y_adv), f_bdy(z, lam_adv, eta, y_adv)


def perturbation_effect(z, lam_adv, b, norm, eps, d_delta=0):
    """(L2) With (P1) the second effect is Lam <v, z>, Lam = sum_n lam_adv_n, eta_n = y_adv_n v.

    l2: eps Lam f_bdy(z)/||b||, a positive multiple of the boundary that was attacked.
    linf: eps Lam <sgn b, z>. l0: the same on the d_delta entries of largest |b_i|.
    """
    xp = namespace(b)
    if norm == "l2":
        return eps * xp.sum(lam_adv) * (z @ b) / xp.sqrt(b @ b)
    mask = xp.argsort(xp.argsort(-xp.abs(b))) < (d_delta if norm == "l0" else b.shape[0])
    return eps * xp.sum(lam_adv) * (z @ xp.where(mask, xp.sign(b), 0))


def perturbations_decide(first, second, boundary):
    """(L3) Where the second effect has the sign of f_bdy(z) and outweighs the first,

    sgn f_adv_bdy(z) = sgn f_bdy(z); Theorem 4.4 and Corollary 4.5 are of this kind, for noise.
    """
    xp = namespace(second)
    return (second * xp.sign(boundary) > 0) & (xp.abs(second) > xp.abs(first))


def predicted_accuracy(norm, d, N, N_adv, eps, variance, edge=inf):
    """(L4) [derived] Accuracy on natural samples after learning perturbed noise; nothing is fitted.

    accuracy = Phi( sqrt(d/N) <v, b>/||b|| / sqrt(||v||^2 + rest/N_adv) ), eta_n about y_adv_n v,
    rest = sum_i Var(y_adv x_adv_i): that is d variance, but for l0. For zero-mean entries of this
    variance, and equal multipliers, whence b_i are normal: z_k is the k-th largest |b_i| of d.
    l2: Phi(s / sqrt(1 + s^2 N/d)), s = (eps/sigma) sqrt(N_adv/N). linf and linf-sign as in (P2).
    l0: eps is d_delta; pixel k moves by c_k, or, where data are uniform on [-edge, edge], as far as
    the edge lets it: E min(c, D) = edge - g^2/(4 edge), D uniform on [0, 2 edge], g = (2 edge-c)+.
    """
    Phi, quantile = NormalDist().cdf, NormalDist().inv_cdf
    rest = d * variance
    if norm == "l2":
        component = size = eps
    elif norm == "linf":
        component = size = eps * sqrt(d) / quantile((1 + 0.5 ** (1 / d)) / 2)
    elif norm == "linf-sign":
        component, size = eps * sqrt(2 * d / pi), eps * sqrt(d)
    else:
        z = [quantile(1 - (k - 0.5) / (2 * d)) for k in range(1, eps + 1)]
        c = [0.3 * (eps - k) * z_k / z[0] for k, z_k in enumerate(z)]
        left = [max(2 * edge - c_k, 0.0) for c_k in c]
        v = c if edge == inf else [edge - g**2 / (4 * edge) for g in left]
        own = [g**3 / (6 * edge) - (g**2 / (4 * edge)) ** 2 for g in left if edge < inf]
        component = sum(v_k * z_k for v_k, z_k in zip(v, z, strict=True)) / sqrt(d)
        size = sqrt(sum(v_k**2 for v_k in v))
        rest = sum(own) + (d - len(own)) * variance
    return Phi(sqrt(d / N) * component / sqrt(size**2 + rest / N_adv))


# --- The experiment -------------------------------------------------------------------------------


def accuracy(W, x, y, gamma):
    """The fraction of samples with y_n f(x_n) > 0."""
    xp = namespace(x)
    return float(xp.mean(xp.astype(y * f(x, W, gamma) > 0, x.dtype)))


def learning_from_perturbations(x, y, noise, y_adv, W, gamma, norm, eps, steps, epochs, low, high):
    """(E1) Definition 1.1 on noise: accuracies on the natural (x, y) of three networks.

    W: three initial weights. The standard network learns (x, y). The noise is perturbed against it,
    towards targets y_adv that have nothing to do with anything. The noise network learns the noise
    as it was, the adversarial network the perturbed noise. Neither sees a natural sample or label.
    """
    standard = gradient_descent(W[0], x, y, gamma, epochs)
    x_adv = attack(standard, noise, y_adv, gamma, norm, eps, steps, low, high)
    plain = gradient_descent(W[1], noise, y_adv, gamma, epochs)
    adversarial = gradient_descent(W[2], x_adv, y_adv, gamma, epochs)
    return [accuracy(trained, x, y, gamma) for trained in (standard, plain, adversarial)]


def main():
    """A small (E1), and what happened in words."""
    rng = np.random.default_rng(0)
    d, m, N, N_adv, gamma, eps, epochs = 1000, 20, 100, 600, 0.01, 0.6, 400
    x, noise = rng.uniform(-1, 1, (N, d)), rng.uniform(-1, 1, (N_adv, d))
    y, y_adv = rng.choice([-1.0, 1.0], N), rng.choice([-1.0, 1.0], N_adv)
    W = rng.uniform(-1 / sqrt(d), 1 / sqrt(d), (3, m, d))
    standard, plain, adversarial = learning_from_perturbations(
        x, y, noise, y_adv, W, gamma, "l2", eps, 20, epochs, low=-1, high=1
    )
    predicted = predicted_accuracy("l2", d, N, N_adv, eps, variance=1 / 3)
    print(f"""\
{N} random points of {d} inputs got random labels, which a network of {m} hidden units learned:
  it classifies {standard:.0%} of them as labelled.
{N_adv} points of pure noise got random targets, and were perturbed against that network by {eps}
  in L2, 1/{sqrt(d / 3) / eps:.0f} of their length. New networks learned noise and targets alone.
  From the noise as it was: {plain:.0%} of the {N} points, which is chance.
  From the perturbed noise: {adversarial:.0%}, though this network never saw one of the points.
  (L4) predicted {predicted:.0%}.
The perturbations carry the points: each is made of them.""")


if __name__ == "__main__":
    main()
