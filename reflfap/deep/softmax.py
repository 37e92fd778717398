"""The outputs of a classifier against its labels: cross-entropy, and the margin of an attack."""

from reflfap.backend import Array, namespace


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """Losses log sum_k exp z_k - z_y, (N,), and their gradients softmax(z) - 1_y, (N, K).

    In log space: no outputs z (N, K) overflow. Labels y (N,) are whole numbers below K.
    """
    xp, hit = namespace(z), one_hot(y, z)
    logs = z - log_sum_exp(z)[:, None]
    return -xp.sum(logs * hit, axis=1), xp.exp(logs) - hit


def targeted_margin(z: Array, target: Array) -> tuple[Array, Array]:
    """q = z_t - log sum_(k != t) exp z_k, (N,), and dq/dz = 1_t - softmax over the others, (N, K).

    q = log(p_t / (1 - p_t)), and the cross-entropy towards the target is the logistic loss of q,
    log(1 + exp(-q)): its gradient is that of q times a positive factor, 1 - p_t. So an attack that
    climbs q descends the cross-entropy in the same direction, and where the softmax is saturated
    and 1 - p_t underflows, q is still exact.
    """
    xp, hit = namespace(z), one_hot(target, z)
    others = xp.where(hit > 0, -xp.inf, z)
    rest = log_sum_exp(others)
    own = xp.sum(xp.where(hit > 0, z, 0), axis=1)
    return own - rest, hit - xp.exp(others - rest[:, None])


def one_hot(y: Array, like: Array) -> Array:
    """1 at column y_n, else 0, in the shape and dtype of `like` (N, K)."""
    xp = namespace(y, like)
    return xp.astype(y[:, None] == xp.arange(like.shape[1]), like.dtype)


def log_sum_exp(z: Array) -> Array:
    """log sum_k exp z_k, (N,); entries may be -infinity, but not all of a row."""
    xp = namespace(z)
    top = xp.max(z, axis=1)
    return top + xp.log(xp.sum(xp.exp(z - top[:, None]), axis=1))
