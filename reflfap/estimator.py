"""The network (N1) by the conventions of scikit-learn, which need not be installed."""

import sys
import warnings
from inspect import signature
from typing import Any

import numpy as np

from reflfap import checks, onehidden
from reflfap.backend import HostArray
from reflfap.errors import InputError
from reflfap.library import train


class OneHiddenClassifier:
    """A binary classifier: `train` with `fit`, `predict`, `decision_function` and `score`.

    Parameters are those of `train`. Labels are of any two kinds. Samples (N, d) are numbers; they
    are computed as float64, or as float32 where they are that. The network has no bias. So put a
    scaler before it, which centres: make_pipeline(StandardScaler(), OneHiddenClassifier()).

    After `fit`: `classes_` (2,), `n_features_in_`, `feature_names_in_` where samples have them, and
    `trained_` (a `Trained`, with its network `trained_.net` and its course `trained_.trace`).
    Raises ValueError (InputError) for bad input, AttributeError before `fit`.
    """

    def __init__(
        self,
        hidden: int = 1_000,
        slope: float = 0.01,
        method: str = "flow",
        time: float | None = None,
        epochs: int | None = None,
        loss: str = "exponential",
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.slope = slope
        self.method = method
        self.time = time
        self.epochs = epochs
        self.loss = loss
        self.seed = seed

    def fit(self, X: Any, y: Any) -> "OneHiddenClassifier":
        """Train a new network on samples X (N, d) with labels y (N,)."""
        x = self._samples(X, fitted=False)
        labels = _labels(y, len(x))
        classes = np.unique(labels)
        if len(classes) != 2:
            kind = "1 class" if len(classes) == 1 else "multiclass"
            raise InputError(
                "Only binary classification is supported. The type of the target is "
                f"{kind}: expected two classes, got {len(classes)}; choose two"
            )
        trained = train(x, labels, **self.get_params())
        # all at once, so that a fit that fails leaves the one before
        self.classes_, self.n_features_in_, self.trained_ = classes, x.shape[1], trained
        self.__dict__.pop("feature_names_in_", None)
        if (names := _names(X)) is not None:
            self.feature_names_in_ = names
        return self

    def decision_function(self, X: Any) -> HostArray:
        """f(x) of (N1), (n,): positive for `classes_[1]`."""
        x = self._samples(X, fitted=True)
        with np.errstate(over="ignore"):  # refused below
            x = x.astype(self.trained_.net.W.dtype, copy=False)
        checks.finite_result("X", x, "fit with float64, or scale X")
        return np.asarray(onehidden.forward(self.trained_.net, x)[0])

    def predict(self, X: Any) -> HostArray:
        """The class of each sample, (n,)."""
        positive = self.decision_function(X) > 0  # first of all, it asks whether there was a fit
        return np.asarray(self.classes_[positive.astype(np.int64)])

    def score(self, X: Any, y: Any) -> float:
        """The fraction of samples X (n, d) whose class is that of y (n,)."""
        predicted = self.predict(X)
        return float(np.mean(predicted == _labels(y, len(predicted))))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in signature(OneHiddenClassifier).parameters}

    def set_params(self, **params: Any) -> "OneHiddenClassifier":
        """Set parameters by name; itself."""
        for name, value in params.items():
            if name not in self.get_params():
                known = ", ".join(self.get_params())
                raise InputError(f"{name}: expected one of {known}, got {name!r}; choose one")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        default = {
            name: repr(one.default) for name, one in signature(type(self)).parameters.items()
        }
        params = {name: repr(value) for name, value in self.get_params().items()}
        shown = (f"{name}={value}" for name, value in params.items() if value != default[name])
        return f"OneHiddenClassifier({', '.join(shown)})"

    def _samples(self, X: Any, fitted: bool) -> HostArray:
        """X as floats (n, d) on the host; its width and names must be those of `fit`."""
        if fitted and not hasattr(self, "trained_"):
            raise _exception("NotFittedError", AttributeError)(
                "OneHiddenClassifier: expected a fitted one, got a new one; call fit first"
            )
        x = _numbers(X)
        if not fitted:
            return x
        if x.shape[1] != self.n_features_in_:
            raise InputError(
                f"X has {x.shape[1]} features, but OneHiddenClassifier is expecting "
                f"{self.n_features_in_} features as input; give the same kind of samples as to fit"
            )
        names, known = _names(X), getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and list(names) != list(known):
            raise InputError("X: expected features named as in fit, in their order; rename them")
        return x

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_class=False),
            input_tags=InputTags(),
        )


def _names(X: Any) -> HostArray | None:
    """The names of its columns, where it has some and all are texts."""
    names = np.atleast_1d(np.asarray(getattr(X, "columns", ())))
    return names if len(names) and all(isinstance(one, str) for one in names) else None


def _numbers(X: Any) -> HostArray:
    """Samples of any kind as finite float64 or float32 (n, d); the messages are scikit-learn's."""
    if hasattr(X, "toarray"):
        raise TypeError("X: expected a dense array, got a sparse one; use X.toarray()")
    x = np.asarray(X)
    if np.iscomplexobj(x):
        raise InputError("Complex data not supported: X must have real numbers")
    if x.ndim != 2:
        raise InputError(
            f"Expected 2D array, got {x.ndim}D array instead. Reshape your data: one row a sample"
        )
    for count, what in zip(x.shape, ("sample(s)", "feature(s)"), strict=True):
        if count == 0:
            raise InputError(
                f"Found array with 0 {what} (shape={x.shape}) while a minimum of 1 is required."
            )
    if x.dtype not in (np.float32, np.float64):
        try:
            x = x.astype(np.float64)
        except (TypeError, ValueError) as error:
            if isinstance(error, TypeError):
                raise TypeError(f"X: argument must be a string or a number ({error})") from error
            raise InputError(f"X: expected numbers, got others ({error}); encode them") from error
    if not np.isfinite(x).all():
        raise InputError("X: expected finite numbers, got NaN or inf; fill them in, or leave out")
    return x


def _labels(y: Any, count: int) -> HostArray:
    """Labels of any two kinds, (count,)."""
    if y is None:
        raise InputError(
            "OneHiddenClassifier requires y to be passed, but the target y is None: give labels"
        )
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        kind = _exception("DataConversionWarning", UserWarning)
        warnings.warn("A column-vector y was passed when a 1d array was expected", kind, 2)
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != count:
        raise InputError(f"y: expected shape ({count},), got {labels.shape}; one label a sample")
    if labels.dtype == object:
        texts = {isinstance(one, str) for one in labels}
        if len(texts) != 1 or not all(isinstance(one, str | int | float) for one in labels):
            raise InputError("Unknown label type: objects. y must have numbers or texts alone")
        labels = np.asarray(labels.tolist())
    if labels.dtype.kind == "f" and not (labels == np.round(labels)).all():
        what = "NaN or inf" if not np.isfinite(labels).all() else "continuous"
        raise InputError(f"Unknown label type: {what}. y must have classes, not measured values")
    return labels


def _exception(name: str, otherwise: type[Any]) -> type[Any]:
    """scikit-learn's exception of that name where it is in use, for which its tools look."""
    known = getattr(sys.modules.get("sklearn.exceptions"), name, otherwise)
    return known if isinstance(known, type) else otherwise
