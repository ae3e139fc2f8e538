"""Claims: of any number of processes that want a name one gets it, and what the dead leave behind is taken over."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.storage import owners
from harness.storage.claims import Claims, claimed_names, claims_in, find_claim, heartbeat, hold, server_time
from harness.storage.owners import Owner, has_died, job_of, this_process

OTHER_HOST = Owner(host="elsewhere", pid=1, since="2026-01-01T00:00:00+00:00", kernel="another", birth="1")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "claims"


def age(folder, name, seconds):
    """Let the last sign of life of a claim lie so far back."""
    path = folder / f"{name}.{find_claim(folder, name).number}.json"
    then = server_time(folder) - int(seconds * 1e9)
    os.utime(path, ns=(then, then))


def at_once(count, do):
    """What comes of doing something in so many threads that begin together."""
    ready = threading.Barrier(count)

    def run(number):
        ready.wait()
        return do(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def test_a_name_that_is_held_is_not_won_again_until_it_is_released(folder):
    ours, theirs = Claims(folder, this_process(is_joined=True)), Claims(folder, OTHER_HOST)
    assert ours.take("a")
    assert not theirs.take("a")
    assert not ours.take("a")
    ours.release("a")
    assert theirs.take("a")


def test_of_many_that_want_names_at_once_one_gets_each(folder):
    names = [f"{number:03d}" for number in range(60)]
    everybody = [Claims(folder, replace(OTHER_HOST, pid=number)) for number in range(8)]
    won = at_once(8, lambda number: [name for name in names if everybody[number].take(name)])
    assert Counter(name for mine in won for name in mine) == Counter(names)


def test_of_many_that_steal_from_the_dead_one_wins_each_time(folder):
    names = [f"{number:03d}" for number in range(20)]
    dead = Claims(folder, OTHER_HOST)
    for name in names:
        assert dead.take(name)
        age(folder, name, 3600)
    for generation in range(1, 4):
        thieves = [Claims(folder, replace(OTHER_HOST, pid=number)) for number in range(8)]
        won = at_once(8, lambda number, thieves=thieves: [name for name in names if thieves[number].take(name)])
        assert Counter(name for mine in won for name in mine) == Counter(names)
        assert {find_claim(folder, name).number for name in names} == {generation}
        for name in names:
            age(folder, name, 3600)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["take", "release", "die"])), max_size=30))
def test_two_that_live_never_hold_one_name(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("claims")
    workers = {number: Claims(folder, replace(OTHER_HOST, pid=number)) for number in range(4)}
    holder = None
    for number, action in steps:
        worker = workers[number]
        if action == "take":
            assert worker.take("a") == (holder is None)
            holder = number if holder is None else holder
        elif action == "release" and "a" in worker.names:
            worker.release("a")
            holder = None
        elif action == "die":
            if holder == number:
                age(folder, "a", 3600)
                holder = None
            workers[number] = Claims(folder, replace(OTHER_HOST, pid=number))
    assert (find_claim(folder, "a") is not None and not find_claim(folder, "a").is_stale()) == (holder is not None)


CONTEND = """
import random, sys, time
from pathlib import Path
from harness.storage.claims import Claims
from harness.storage.owners import this_process
folder, start = Path(sys.argv[1]), float(sys.argv[2])
claims = Claims(folder, this_process(is_joined=True))
time.sleep(max(0.0, start - time.time()))
print(*[name for name in map(str, range(40)) if claims.take(name)], flush=True)
sys.stdin.read()
"""


def test_processes_win_each_name_once_and_those_that_are_killed_are_known_to_be_dead(folder):
    def contend(count):
        start = str(time.time() + 0.5)
        command = [sys.executable, "-c", CONTEND, str(folder), start]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, **pipes) for _ in range(count)]
        won = Counter(name for process in processes for name in process.stdout.readline().split())
        return processes, won

    everything = Counter(map(str, range(40)))
    first, won = contend(3)
    assert won == everything
    for process in first:
        process.kill()
        process.communicate()
    second, won = contend(3)  # at once: nobody waits for claims of processes that are gone from this machine
    assert won == everything
    for process in second:
        process.communicate("")


def test_a_claim_counts_as_alive_until_its_owner_has_been_silent_for_long(folder):
    theirs, ours = Claims(folder, OTHER_HOST), Claims(folder, this_process(is_joined=True), stale_seconds=60)
    theirs.take("a")
    age(folder, "a", 50)
    assert not ours.take("a")
    age(folder, "a", 70)
    assert ours.take("a")


def test_signs_of_life_keep_claims_and_never_those_of_others(folder):
    theirs, ours = Claims(folder, OTHER_HOST), Claims(folder, this_process(is_joined=True))
    theirs.take("a")
    age(folder, "a", 70)
    assert ours.take("a")
    age(folder, "a", 70)
    theirs.beat()  # it was suspended and does not know yet that its claim was taken over
    assert find_claim(folder, "a").silence > 60
    ours.beat()
    assert find_claim(folder, "a").silence < 30


def test_a_claim_that_was_taken_over_is_not_released_by_its_first_owner(folder):
    theirs, ours = Claims(folder, OTHER_HOST), Claims(folder, this_process(is_joined=True))
    theirs.take("a")
    age(folder, "a", 70)
    ours.take("a")
    theirs.release("a")
    assert find_claim(folder, "a").owner == ours.owner
    ours.release("a")
    assert claimed_names(folder) == set()


def test_who_comes_late_to_a_theft_does_not_get_the_name_that_others_have_claimed_anew(folder):
    dead, fast, third = (Claims(folder, replace(OTHER_HOST, pid=number)) for number in range(3))

    class Late(Claims):
        def _create(self, name, number):
            assert fast.take(name)
            fast.release(name)
            assert third.take(name)
            return super()._create(name, number)

    dead.take("a")
    age(folder, "a", 70)
    late = Late(folder, OTHER_HOST)
    assert not late.take("a")
    assert late.names == []
    assert find_claim(folder, "a").owner == third.owner
    third.release("a")
    assert claimed_names(folder) == set()


def test_a_thread_gives_signs_of_life(folder):
    with claims_in(folder, OTHER_HOST) as claims:
        claims.take("a")
        age(folder, "a", 3600)
        with heartbeat([claims], seconds=0.01):
            end = time.monotonic() + 60
            while find_claim(folder, "a").silence > 1800:
                assert time.monotonic() < end
    assert claimed_names(folder) == set()


def test_the_age_of_a_claim_does_not_depend_on_the_clock_of_this_machine(folder, monkeypatch):
    Claims(folder, OTHER_HOST).take("a")
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    assert 0 <= find_claim(folder, "a").silence < 60


def test_a_claim_whose_content_is_lost_is_one_as_long_as_it_is_touched(folder):
    Claims(folder, OTHER_HOST).take("a")
    (folder / "a.0.json").write_bytes(b"{")
    ours = Claims(folder, this_process(is_joined=True))
    assert find_claim(folder, "a").owner is None
    assert not ours.take("a")
    age(folder, "a", 70)
    assert ours.take("a")


def test_what_a_process_holds_is_released_when_it_fails(folder):
    def fail():
        with claims_in(folder, this_process(is_joined=True)) as claims:
            claims.take("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert claimed_names(folder) == set()


def test_one_waits_for_the_other_and_gives_up_when_it_is_told_to(folder):
    theirs, ours = Claims(folder, OTHER_HOST), Claims(folder, this_process(is_joined=True))
    theirs.take("a")
    looks = iter([False, False, True])
    with hold(ours, "a", lambda: next(looks)) as is_held:
        assert not is_held
    assert find_claim(folder, "a").owner == OTHER_HOST
    theirs.release("a")
    with hold(ours, "a", lambda: False) as is_held:
        assert is_held
    assert claimed_names(folder) == set()
    with hold(None, "a", lambda: False) as is_held:
        assert is_held


def test_a_process_is_known_by_more_than_its_number():
    owner = this_process(is_joined=False)
    assert not has_died(owner)
    if not owner.kernel:
        pytest.skip("this system has no /proc")
    assert has_died(replace(owner, birth="1"))  # another process has its number now
    assert not has_died(replace(owner, birth="1", kernel="of another machine"))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    try:
        while owners._birth(ended.pid) != "ended":
            time.sleep(0.01)
        assert has_died(replace(owner, pid=ended.pid))
    finally:
        ended.wait()
    assert has_died(replace(owner, pid=ended.pid))


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "12"}, "SLURM 12"),
        ({"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "0"}, "SLURM 10_0"),
        ({"PBS_JOBID": "7.server"}, "PBS 7.server"),
        ({"LSB_JOBID": "7", "LSB_JOBINDEX": "0"}, "LSF 7"),
        ({"LSB_JOBID": "7", "LSB_JOBINDEX": "3"}, "LSF 7_3"),
    ],
)
def test_the_job_of_a_scheduler_is_named(variables, job):
    assert job_of(variables) == job


def test_an_owner_is_read_as_it_was_written_and_nothing_else_is_one(folder):
    owner = this_process(is_joined=True)
    Claims(folder, owner).take("a")
    content = json.loads((folder / "a.0.json").read_bytes())
    assert owners.owner_from_json(content) == owner
    for wrong in (None, [], {}, {**content, "pid": "1"}, {**content, "more": 1}, {**content, "is_joined": 1}):
        assert owners.owner_from_json(wrong) is None
