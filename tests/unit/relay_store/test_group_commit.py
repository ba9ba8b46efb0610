"""Group commit: one pipeline at a time, each caller its own replies, and what is known after a failure."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from relay_store.connection import Store, connect
from relay_store.group_commit import GroupCommit, NotSent, OutcomeUnknown
from relay_store.store_errors import StoreFull, StoreRefused
from tests.stores import kill_server, private_server


def run_together(workers: int, work) -> list[BaseException]:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    return failures


def test_each_caller_gets_its_own_replies(store: Store) -> None:
    commits = GroupCommit(store)

    def work(number: int) -> None:
        for step in range(50):
            replies = commits.run(("INCRBY", f"n{number}", 1), ("ECHO", f"{number}/{step}"))
            assert replies == [step + 1, f"{number}/{step}".encode()]

    assert run_together(16, work) == []


class CountedPool:
    """A connection pool; `writes` has one entry for each commit, the first of which waits for `may_go`."""

    def __init__(self, store: Store) -> None:
        self.pool = store.pool_of("any")
        self.writes: list[int] = []
        self.may_go = threading.Event()

    def pool_of(self, key: str) -> CountedPool:
        return self

    def get_connection(self):
        self.writes.append(1)
        if len(self.writes) == 1:
            self.may_go.wait(10)
        return self.pool.get_connection()

    def release(self, connection) -> None:
        self.pool.release(connection)


def wait_for_callers(commits: GroupCommit, number: int) -> None:
    tick = threading.Event()
    while len(commits._waiting) < number:
        tick.wait(0.001)


def test_callers_share_round_trips(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever arrives while a commit is under way goes with the next one: 31 waiting callers need one write."""
    counted = CountedPool(store)
    commits = GroupCommit(counted, wait_s=10.0)

    def open_when_all_wait() -> None:
        wait_for_callers(commits, 31)
        counted.may_go.set()

    threading.Thread(target=open_when_all_wait, daemon=True).start()
    assert run_together(32, lambda number: commits.run(("INCRBY", "n", 1))) == []
    assert int(store.client.get("n")) == 32
    assert len(counted.writes) == 2

    # Where callers come together, the next leader gives way to those who are about to call.
    others = [threading.Thread(target=commits.run, args=(("INCRBY", "n", 1),)) for _ in range(9)]

    def give_way(seconds: float) -> None:
        assert seconds == 0
        for other in others:
            other.start()
        wait_for_callers(commits, len(others))

    monkeypatch.setattr("relay_store.group_commit.time.sleep", give_way)
    assert commits.run(("INCRBY", "n", 1))
    for other in others:
        other.join(10)
    assert int(store.client.get("n")) == 42
    assert len(counted.writes) == 3


def test_batches_are_bounded(store: Store) -> None:
    commits = GroupCommit(store, max_batch_commands=2)
    assert run_together(12, lambda number: commits.run(("INCRBY", "n", 1), ("INCRBY", "n", 1))) == []
    assert int(store.client.get("n")) == 24


def test_an_error_answer_concerns_its_own_call_only(store: Store) -> None:
    commits = GroupCommit(store)
    store.client.set("text", "abc")

    def work(number: int) -> None:
        if number % 2:
            with pytest.raises(StoreRefused):
                commits.run(("INCRBY", "text", 1))
        else:
            assert commits.run(("INCRBY", f"n{number}", 7)) == [7]

    assert run_together(12, work) == []


def test_a_full_store_is_named_as_such(tmp_path: Path) -> None:
    with private_server(tmp_path, maxmemory="3mb") as server:
        store = connect(server.connection_url)
        commits = GroupCommit(store)
        with pytest.raises(StoreFull):
            for number in range(2000):
                commits.run(("SET", f"k{number}", b"x" * 10_000))
        store.close()


def test_nothing_listening_is_known_not_sent() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        store = connect(
            f"redis://127.0.0.1:{reserved.getsockname()[1]}", timeout_s=0.5, connect_timeout_s=0.5
        )
        with pytest.raises(NotSent):
            GroupCommit(store).run(("INCRBY", "n", 1))


def silent_server(reads: threading.Semaphore) -> socket.socket:
    """A server that takes what comes and never answers; `reads` counts what it took."""
    listener = socket.create_server(("127.0.0.1", 0))

    def swallow() -> None:
        peers = []
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peers.append(peer)
            threading.Thread(target=drain, args=(peer,), daemon=True).start()

    def drain(peer: socket.socket) -> None:
        while data := peer.recv(65536):
            if b"HELLO" in data or b"CLIENT" in data:
                peer.sendall(b"+OK\r\n" * data.count(b"*"))
            else:
                reads.release()

    threading.Thread(target=swallow, daemon=True).start()
    return listener


def test_a_silent_store_leaves_the_outcome_unknown_and_nobody_waits_long() -> None:
    reads = threading.Semaphore(0)
    with silent_server(reads) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        store = connect(url, timeout_s=0.3, connect_timeout_s=0.3)
        commits = GroupCommit(store, wait_s=0.4)
        outcomes: list[type] = []

        def work(number: int) -> None:
            try:
                commits.run(("INCRBY", "n", 1))
            except (NotSent, OutcomeUnknown) as error:
                outcomes.append(type(error))

        assert run_together(8, work) == []
        assert len(outcomes) == 8
        assert OutcomeUnknown in outcomes
        # What is called "not sent" never reached the server.
        taken = 0
        while reads.acquire(blocking=False):
            taken += 1
        assert taken <= outcomes.count(OutcomeUnknown)


def test_a_killed_store_fails_calls_and_serves_again_after_restart(tmp_path: Path) -> None:
    with private_server(tmp_path) as server:
        port = server.port
        store = connect(server.connection_url, timeout_s=0.5, connect_timeout_s=0.5)
        commits = GroupCommit(store, wait_s=1.0)
        assert commits.run(("INCRBY", "n", 1)) == [1]
        kill_server(server)
        with pytest.raises((NotSent, OutcomeUnknown)):
            commits.run(("INCRBY", "n", 1))
    with private_server(tmp_path / "again", port=port):
        assert commits.run(("INCRBY", "n", 1)) == [1]
        store.close()


def test_a_caller_killed_while_it_waits_does_not_stop_the_others(store: Store) -> None:
    """The lead goes on when the caller it would pass to has given up."""
    commits = GroupCommit(store, wait_s=5.0)
    release = threading.Event()
    entered = threading.Event()
    pool = store.pool_of("any")

    class GatedPool:
        def get_connection(self):
            entered.set()
            release.wait(5)
            return pool.get_connection()

        def release(self, connection) -> None:
            pool.release(connection)

    class GatedStore:
        def pool_of(self, key: str) -> GatedPool:
            return GatedPool()

    commits = GroupCommit(GatedStore(), wait_s=0.05)
    leader = threading.Thread(target=lambda: commits.run(("INCRBY", "n", 1)))
    leader.start()
    assert entered.wait(5)
    with pytest.raises(NotSent):
        commits.run(("INCRBY", "given-up", 1))
    release.set()
    leader.join(5)
    assert commits.run(("INCRBY", "n", 1)) == [2]
    assert store.client.get("given-up") is None


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from relay_store.connection import connect
from relay_store.group_commit import GroupCommit
store = connect(sys.argv[1])
commits = GroupCommit(store)
def work(number):
    return [commits.run(("INCRBY", f"g{number}", 1), ("INCRBY", "all", 1))[0] for _ in range(50)]
jobs = [gevent.spawn(work, number) for number in range(32)]
gevent.joinall(jobs, timeout=30, raise_error=True)
assert all(job.value == list(range(1, 51)) for job in jobs)
victim = gevent.spawn(work, 99)
gevent.sleep(0)
victim.kill()
assert commits.run(("GET", "all"))[0] is not None
print("done", int(store.client.get("all")) >= 1600)
"""


def test_greenlets_share_commits_and_survive_a_killed_one(store: Store) -> None:
    host, port = store.url.hosts[0]
    run = subprocess.run(
        [sys.executable, "-c", GREENLETS, f"redis://{host}:{port}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.stdout.strip(), run.returncode) == ("done True", 0), run.stderr
