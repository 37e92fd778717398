"""Workers that share a batch: sums over them, errors, shares, and threads of BLAS."""

import functools
import operator
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from reflfap.errors import InputError
from reflfap.fast.worker_pool import WorkerPool, share

EACH_SIZE = pytest.mark.parametrize("workers", [1, 2, 3, 5])


@settings(max_examples=10)
@given(
    parts=st.integers(1, 4).flatmap(
        lambda workers: st.lists(
            st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3),
            min_size=workers,
            max_size=workers,
        )
    )
)
def test_totals(parts):
    """Every worker gets the sum in the order of the parts, bit for bit, one total after another;
    results come in the order of the workers."""
    parts = np.asarray(parts)

    def work(part, total):
        return part, [total(parts[part] * factor) for factor in (1.0, -2.0, 3.0)]

    with WorkerPool(len(parts)) as pool:
        results = [pool.run(work) for _ in range(3)]
    for found in results:
        assert [part for part, _ in found] == list(range(len(parts)))
        for _, totals in found:
            for total, factor in zip(totals, (1.0, -2.0, 3.0), strict=True):
                assert np.array_equal(total, functools.reduce(operator.add, parts * factor))


@EACH_SIZE
def test_all_work_at_once(workers):
    """As many threads as workers; a single one is the caller itself."""
    together = threading.Barrier(workers)

    def work(part, total):
        together.wait(timeout=60)
        return threading.get_ident()

    with WorkerPool(workers) as pool:
        threads = pool.run(work)
    assert len(set(threads)) == workers
    assert (threading.get_ident() in threads) == (workers == 1)


@EACH_SIZE
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_error_ends_all(workers, before):
    """One worker fails after some totals: the others, which wait for it, end, and its error is the
    one that is raised; the pool goes on to other work."""
    ended = []

    def work(part, total):
        try:
            for number in range(5):
                if number == before and part == workers - 1:
                    raise ArithmeticError("the last one fails")
                total(np.ones(2))
        finally:
            ended.append(part)

    with WorkerPool(workers) as pool:
        for _ in range(3):
            with pytest.raises(ArithmeticError, match="the last one fails"):
                pool.run(work)
            assert sorted(ended) == list(range(workers))
            ended.clear()
        assert pool.run(lambda part, total: total(1)) == [workers] * workers


def test_an_error_leaves_no_thread():
    """Also where it ends the `with`."""
    before = threading.active_count()
    with pytest.raises(ArithmeticError), WorkerPool(3) as pool:
        pool.run(lambda part, total: 1 / total(0))
    assert threading.active_count() == before


@given(count=st.integers(0, 200), workers=st.integers(1, 20))
def test_shares(count, workers):
    """They follow one another, cover all, and differ by one at most."""
    shares = [share(count, workers, part) for part in range(workers)]
    assert [row for one in shares for row in range(count)[one]] == list(range(count))
    sizes = [one.stop - one.start for one in shares]
    assert max(sizes) - min(sizes) <= 1


def test_blas_has_one_thread():
    """Inside `with`, and its own number again after it."""

    def threads():
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    before = threads()
    for workers in (1, 2):
        with WorkerPool(workers):
            assert set(threads()) <= {1}
        assert threads() == before


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_bad_numbers_of_workers_are_refused(workers):
    with pytest.raises(InputError, match="workers"):
        WorkerPool(workers)


def test_a_team_outside_with_is_refused():
    pool = WorkerPool(2)
    for _ in range(2):
        with pytest.raises(InputError, match="with WorkerPool"):
            pool.run(lambda part, total: part)
        with pool:
            assert pool.run(lambda part, total: part) == [0, 1]
