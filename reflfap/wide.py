"""The successor in one file, to be read beside it, and beside reflfap/paper.py.

S. Kumano, H. Kera, T. Yamasaki, *Wide Two-Layer Networks can Learn from Adversarial Perturbations*,
NeurIPS 2024, arXiv 2410.23677.

The first paper asks for nearly orthogonal samples, infinite time and a known boundary. Here samples
may be any, time is finite, and a perturbation is one gradient step against the trained network. In
place of that, the network is wide: in a short time each of its many units hardly moves, so that
what is learned is linear in the units' first derivatives, and is known in closed form.

Tags (W1) to (W4) are this project's own. Marked [released]: what the authors' published code does.
Marked [derived]: not in the paper, as far as we know; docs/wide.md has the proofs. Nothing is
checked, chunked or made quick. `python -m reflfap.wide` runs a small experiment.

    d, m, N, gamma     inputs, hidden units, samples, slope of the leaky ReLU from 0 to 1
    x (N, d), y (N,)   samples as rows, labels +1 or -1
    z (n, d)           points at which a function is asked for
    V (m, d+1), a (m,) hidden weights and biases, rows (w_j, b_j), trained; output weights, fixed
    T                  time of gradient flow; of descent, (W1) says how much an epoch counts
    t (N,), eps        targets +1 or -1, which have nothing to do with y; size of a perturbation
    eta, r (N, d)      perturbations; what g learns: eta alone, scenario (a), or x + eta, (b)
"""

from functools import partial
from math import pi, sqrt

import numpy as np

from reflfap import paper
from reflfap.backend import namespace
from reflfap.paper import dphi, gradient_descent, length, phi

# --- The network ----------------------------------------------------------------------------------


def with_one(x):
    """(x, 1): a bias is the weight of one more input, which is always 1.

    Its gradient is that of the weights with 1 in place of x_i, so flow and descent are the same.
    """
    xp = namespace(x)
    return xp.concatenate([x, xp.ones_like(x[:, :1])], axis=1)


def start(rng, d, m):
    """[released] w_j ~ N(0, I/d), b_j ~ N(0, 1), a_j ~ N(0, 1/m): V (m, d+1), a (m,)."""
    V = rng.standard_normal((m, d + 1))
    V[:, :d] /= sqrt(d)
    return V, rng.standard_normal(m) / sqrt(m)


def f(x, V, a, gamma):
    """f(x) = sum_j a_j phi(<w_j, x> + b_j)."""
    return a @ phi(V @ with_one(x).T, gamma)


def loss(q, kind="identity"):
    """Of a margin q = y f(x): l(q) = -q, which has no bound, or logistic, log(1 + exp(-q))."""
    return -q if kind == "identity" else paper.loss(q, kind)


def dloss(q, kind="identity"):
    """l'(q) = -1, or logistic, -1/(1 + exp(q))."""
    return -namespace(q).ones_like(q) if kind == "identity" else paper.dloss(q, kind)


def L(a, V, x, y, gamma, kind="identity"):
    """L(V) = (1/N) sum_n l(q_n), q_n = y_n f(x_n)."""
    return namespace(x).mean(loss(y * f(x, V, a, gamma), kind))


def dL_dV(a, V, x, y, gamma, kind="identity"):
    """dL/dv_j = (1/N) sum_n l'(q_n) y_n a_j phi'(<v_j, (x_n, 1)>) (x_n, 1), rows of (m, d+1)."""
    x1, q = with_one(x), y * f(x, V, a, gamma)
    return (dloss(q, kind) * y * a[:, None] * dphi(V @ x1.T, gamma)) @ x1 / x.shape[0]


def df_dx(x, V, a, gamma):
    """df/dx = sum_j a_j phi'(<w_j, x> + b_j) w_j, rows of (N, d)."""
    return (a[:, None] * dphi(V @ with_one(x).T, gamma)).T @ V[:, :-1]


def learn(V, a, x, y, gamma, epochs, lr, kind="identity", mu=0.9):
    """[released] Descent (N6), with momentum and its schedule, from V to the trained V."""
    own = partial(L, a), partial(dL_dV, a)
    return gradient_descent(V, x, y, gamma, epochs, kind, lr, mu, *own)


# --- What it learns in a short time ---------------------------------------------------------------


def angle(x, z):
    """(W1) theta, (N, n): cos theta = (<x, z>/d + 1) / (sigma_x sigma_z), sigma^2 = ||x||^2/d + 1.

    The angle between <w, x> + b and <w, z> + b as random numbers, whose variances are sigma^2.
    """
    xp, d = namespace(x), x.shape[1]
    cos = (x @ z.T / d + 1) / sigma(x)[:, None] / sigma(z)
    return xp.arccos(xp.clip(cos, -1, 1))


def sigma(x):
    """sigma = sqrt(||x||^2/d + 1), (N,): how far <w, x> + b is from zero at the start."""
    xp = namespace(x)
    return xp.sqrt(xp.sum(x * x, axis=1) / x.shape[1] + 1)


def Phi(x, z, gamma):
    """(W1) Phi(x, z) = E phi'(<w, x> + b) phi'(<w, z> + b) over the start, (N, n), in closed form

    [derived] Phi = gamma + (1 - gamma)^2 (pi - theta) / (2 pi).
    Between gamma, where theta = pi, and (1 + gamma^2)/2, where x = z.
    """
    return gamma + (1 - gamma) ** 2 * (pi - angle(x, z)) / (2 * pi)


def fhat(z, x, y, gamma, one=1):
    """(W1) f_T(z) = f_0(z) + T fhat(z) + rest, fhat(z) = (1/N) sum_n y_n Phi(x_n, z) (<x_n, z> + 1)

    for l(q) = -q. For another loss, y_n times the mean of -l'(q_n) along the path takes its place.
    The 1 comes from training the biases; [released] the code trains them, but has one = 0 here.
    """
    return y @ (Phi(x, z, gamma) * (x @ z.T + one)) / x.shape[0]


def descent_time(epochs, lr, mu=0.9):
    """(W1) The time that descent takes along a constant gradient: momentum has to build up.

    T = lr/(1 - mu) (epochs - mu (1 - mu^epochs)/(1 - mu)) [derived], nearly epochs lr/(1 - mu) in
    the end, [released], but after ten epochs 0.41 of that.
    """
    return lr / (1 - mu) * (epochs - mu * (1 - mu**epochs) / (1 - mu))


def lazy_error(z, x, gamma, m, T):
    """(W1) E |f_T(z) - f_0(z) - T fhat(z)| over the start is at most [derived], for l(q) = -q,

    ( sqrt(3) T B ||z1|| + (2/pi) (1 - gamma) T^2 B (1/N) sum_n |<x1_n, z1>| (rho_n + rho_z) )
    / sqrt(m): units are finitely many, and some turn on or off. Here x1 = (x, 1), z1 = (z, 1),
    B^2 is the largest eigenvalue of (1/N) sum_n x1_n x1_n^T, and rho = ||x1|| / sigma <= sqrt(d).
    """
    xp, N = namespace(x), x.shape[0]
    x1, z1 = with_one(x), with_one(z)
    size, size_z = (xp.sqrt(xp.sum(one * one, axis=1)) for one in (x1, z1))
    rho, rho_z = size / sigma(x), size_z / sigma(z)
    B = xp.linalg.norm(x1, 2) / sqrt(N)
    turning = xp.sum(xp.abs(x1 @ z1.T) * (rho[:, None] + rho_z), axis=0) / N
    return B * (sqrt(3) * T * size_z + 2 / pi * (1 - gamma) * T**2 * turning) / sqrt(m)


# --- Perturbations --------------------------------------------------------------------------------


def perturb(x, t, V, a, gamma, eps):
    """(W2) One step, eta_n = -eps grad l(t_n f(x_n)) / ||.||_2 = eps t_n df/dx / ||df/dx||_2.

    The loss scales the gradient and no more. [released] Nothing is clipped.
    """
    g = df_dx(x, V, a, gamma)
    return eps * t[:, None] * g / length(g, "l2")


def combinations(x, y, gamma):
    """(W2) u_n = sum_k y_k Phi(x_n, x_k) x_k, (N, d): the paper's direction of eta_n, times t_n.

    df_T/dx = df_0/dx + T u_n/N + T (how Phi itself depends on x) + rest: a perturbation is made of
    the samples, near ones of other classes weighing most where Phi falls with the angle.
    """
    return (y * Phi(x, x, gamma)) @ x


def outgrows_start(u, gamma, T):
    """(W2) T ||u_n||/N over sqrt((1 + gamma^2)/2), the root mean square of ||df_0/dx||; (N,).

    Above 1, the combination outweighs what the gradient was at the start [derived].
    """
    xp = namespace(u)
    return T * xp.sqrt(xp.sum(u * u, axis=1)) / u.shape[0] / sqrt((1 + gamma**2) / 2)


def dfhat_dx(z, x, y, gamma):
    """(W2) The gradient of fhat, (n, d) [derived], at points z that are no samples:

    (1/N) sum_k y_k { (Phi_k + h_k) x_k - h_k cos theta_k (sigma_k/sigma_z) z },
    h_k = (1 - gamma)^2 / (2 pi sin theta_k) (<x_k, z> + 1) / (d sigma_k sigma_z).
    Without h it is u/N; h is how Phi itself depends on z. It weighs samples once more.
    """
    xp, (N, d) = namespace(x), x.shape
    theta = angle(z, x)
    h = (1 - gamma) ** 2 / (2 * pi) / xp.sin(theta) * (z @ x.T + 1) / d / sigma(x)
    h = h / sigma(z)[:, None]
    back = (h * xp.cos(theta)) @ (y * sigma(x)) / sigma(z)
    return ((y * (Phi(z, x, gamma) + h)) @ x - back[:, None] * z) / N


# --- Learning from perturbations ------------------------------------------------------------------


def ghat(z, r, u, gamma):
    """(W3) What the perturbations teach: g_T(z) = g_0(z) + T eps ghat(z) + T other(z) + rest,

    ghat(z) = (1/N) sum_n Phi(r_n, z) <u_n, z>/||u_n||, with r = eta in (a), x + eta in (b).
    t_n^2 = 1: the targets cancel but for what r_n in Phi has of them. Phi > 0 only weighs the
    samples, and each <u_n, z> is the boundary function that was attacked, as x_n sees it.
    """
    return namespace(u).sum(Phi(r, z, gamma) * ((u / length(u, "l2")) @ z.T), axis=0) / u.shape[0]


def other(z, r, x, t, gamma):
    """(W3) The rest of fhat(z, r, t): (1/N) sum_n t_n Phi(r_n, z) (<x_n, z> + 1), in (a) with x = 0

    where r_n = x_n + eps t_n u_n/||u_n||. Mislabelled samples and the bias: nothing to learn, since
    targets are random. So it falls as 1/sqrt(N) and ghat does not.
    """
    return t @ (Phi(r, z, gamma) * (x @ z.T + 1)) / t.shape[0]


def other_size(z, r, x, gamma):
    """(W3) Its root mean square over targets: (1/N) sqrt( sum_n Phi(r_n, z)^2 (<x_n, z> + 1)^2 ).

    [derived] Exact if Phi(r_n, z) is taken as given.
    """
    xp = namespace(x)
    return xp.sqrt(xp.sum((Phi(r, z, gamma) * (x @ z.T + 1)) ** 2, axis=0)) / x.shape[0]


# --- When both networks agree ---------------------------------------------------------------------


def coherence(z, x, y):
    """(W4) c(z) = ( |sum_k y_k <x_k, z>| - |sum_k y_k| ) / sum_k (|<x_k, z>| + 1) <= 1, (n,).

    First condition [derived]: c(z) > kappa(Phi's range). Then fhat(z), each <u_n, z>, and so
    ghat(z), have the sign of sum_k y_k <x_k, z>.
    """
    xp = namespace(x)
    inner = x @ z.T
    return (xp.abs(y @ inner) - xp.abs(xp.sum(y))) / xp.sum(xp.abs(inner) + 1, axis=0)


def kappa(low, high):
    """(W4) (high - low)/(high + low), if low <= Phi <= high among the samples, and of them and z.

    Whatever the data, low = gamma and high = (1 + gamma^2)/2: kappa = ((1 - gamma)/(1 + gamma))^2.
    """
    return (high - low) / (high + low)


def decided(signal, whole):
    """(W4) |signal| > |whole - signal|: what else there is cannot turn the sign.

    Second condition: of f with T fhat; third: of g with T eps ghat. All three together give
    sgn f(z) = sgn fhat(z) = sgn ghat(z) = sgn g(z).
    """
    xp = namespace(signal)
    return xp.abs(signal) > xp.abs(whole - signal)


# --- The experiment -------------------------------------------------------------------------------


def learn_from_perturbations(
    rng, x, y, z, m, gamma, eps, scenario, epochs, lr_f, lr_g, kind="identity"
):
    """[released] f learns (x, y); g learns perturbations with random targets, (a), or, (b), samples
    perturbed towards them. Returns accuracies of f and g on (x, y), and their agreement on z.
    """
    t = rng.choice([-1.0, 1.0], x.shape[0])
    (V_f, a_f), (V_g, a_g) = (start(rng, x.shape[1], m) for _ in range(2))
    V_f = learn(V_f, a_f, x, y, gamma, epochs, lr_f, kind)
    eta = perturb(x, t, V_f, a_f, gamma, eps)
    V_g = learn(V_g, a_g, eta if scenario == "a" else x + eta, t, gamma, epochs, lr_g, kind)
    f_x, g_x = f(x, V_f, a_f, gamma), f(x, V_g, a_g, gamma)
    f_z, g_z = f(z, V_f, a_f, gamma), f(z, V_g, a_g, gamma)
    return np.mean(y * f_x > 0), np.mean(y * g_x > 0), np.mean(f_z * g_z > 0)


def main():
    """Two classes of Gaussian samples, and what happened in words."""
    d, N, m, gamma, eps = 100, 400, 50, 0.0, 0.03
    rng = np.random.default_rng(0)
    y = np.repeat([1.0, -1.0], N // 2)
    x = 0.3 * y[:, None] + rng.standard_normal((N, d))
    z = 0.3 * rng.choice([-1.0, 1.0], N)[:, None] + rng.standard_normal((N, d))
    acc_f, acc_g, agreement = learn_from_perturbations(
        rng, x, y, z, m, gamma, eps, "a", 500, 1.0, 1.0
    )
    u = combinations(x, y, gamma)
    known = np.mean(fhat(x, x, y, gamma) * ghat(x, 0 * x, u, gamma) > 0)
    print(f"""\
A network learned {N} samples of two classes: it classifies {acc_f:.0%} of them.
Each was perturbed by one gradient step of length {eps}, towards a random target.
A second network learned the perturbations alone, and no sample: it classifies {acc_g:.0%}.
On {N} new samples they agree in {agreement:.0%}; fhat and ghat, on the first, in {known:.0%}.""")


if __name__ == "__main__":
    main()
