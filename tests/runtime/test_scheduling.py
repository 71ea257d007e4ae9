from __future__ import annotations

import time
from typing import Any

import pytest

from etude.compiler.workflow import Ref, Stage, Workflow
from etude.runtime.scheduling import Schedule, most_trainings, thread_share


def workflow(edges: dict[str, str], kinds: dict[str, str] | None = None) -> Workflow:
    """Stages named by letters; each with the letters that it needs."""
    made = Workflow("test.etude")
    for id, needs in edges.items():
        refs = tuple(Ref(each, "data") for each in needs)
        made.stages[id] = Stage(id, id, (kinds or {}).get(id, "drop"), {}, refs, {})
    return made


DIAMOND = {"a": "", "b": "a", "c": "a", "d": "bc", "e": "d"}


def ids(stages: Any) -> list[str]:
    return [stage.id for stage in stages]


def test_a_stage_arrives_once_when_all_before_it_are_settled() -> None:
    graph = workflow(DIAMOND)
    schedule = Schedule(graph, graph.stages)
    seen = []
    for stage in schedule.arrivals():
        seen.append(stage.id)
        schedule.settle(stage)
    assert seen == list("abcde")
    assert schedule.is_idle


def test_an_input_that_is_used_twice_counts_once() -> None:
    graph = workflow({"a": "", "b": "aa"})
    schedule = Schedule(graph, graph.stages)
    schedule.settle(next(schedule.arrivals()))
    assert ids(schedule.arrivals()) == ["b"]


def test_the_most_urgent_of_the_queue_is_next_and_equals_keep_their_order() -> None:
    graph = workflow({"a": "", "b": "", "c": "", "d": "", "long": "d"}, {"c": "train", "long": "train"})
    schedule = Schedule(graph, graph.stages)
    for stage in schedule.arrivals():
        schedule.queue(stage)
    assert ids(iter(schedule.next, None)) == ["d", "c", "a", "b"]


def test_trainings_can_run_side_by_side_that_have_as_many_before_them() -> None:
    train = dict.fromkeys("abcde", "train")
    assert most_trainings(workflow({"a": "", "b": "a", "c": "b"}, train), "abc") == 1
    assert most_trainings(workflow(DIAMOND, train), "abcde") == 2
    assert most_trainings(workflow(DIAMOND, train), "abde") == 1
    assert most_trainings(workflow({"x": "", "a": "", "b": "x", "y": "", "c": "y"}, train), "xyabc") == 3
    assert most_trainings(workflow(DIAMOND), "abcde") == 0


def test_of_a_failure_only_what_depends_on_it_is_lost() -> None:
    graph = workflow({**DIAMOND, "x": "", "y": "x"})
    schedule = Schedule(graph, graph.stages)
    first, other = schedule.arrivals()
    schedule.settle(first)
    b, c = schedule.arrivals()
    assert ids(schedule.abandon(b)) == ["d", "e"]
    schedule.settle(other)
    assert ids(schedule.arrivals()) == ["y"]
    assert schedule.abandon(c) == [], "what is lost already is not lost again"


def test_an_equal_stage_waits_for_the_one_that_runs() -> None:
    graph = workflow({"a": "", "b": ""})
    schedule = Schedule(graph, graph.stages)
    _, second = schedule.arrivals()
    schedule.hold(second, "key")
    assert schedule.is_idle and ids(schedule.arrivals()) == []
    schedule.release("key")
    assert ids(schedule.arrivals()) == ["b"]


def test_a_delayed_stage_arrives_after_its_time() -> None:
    graph, now = workflow({"a": ""}), [0.0]
    schedule = Schedule(graph, graph.stages, clock=lambda: now[0])
    (stage,) = schedule.arrivals()
    schedule.delay(stage, 1.0)
    assert not schedule.is_idle and ids(schedule.arrivals()) == []
    now[0] = 1.0
    assert ids(schedule.arrivals()) == ["a"]


def test_only_wanted_stages_arrive() -> None:
    graph = workflow({"a": "", "b": "a", "c": "a"})
    schedule = Schedule(graph, {"a", "c"})
    schedule.settle(next(schedule.arrivals()))
    assert ids(schedule.arrivals()) == ["c"]


@pytest.mark.parametrize("shape", ["chain", "star"])
def test_twenty_thousand_stages_are_scheduled_in_a_moment(shape: str) -> None:
    graph = Workflow("test.etude")
    for i in range(20_000):
        before = [] if i == 0 else [i - 1] if shape == "chain" else [0]
        graph.stages[f"s{i}"] = Stage(f"s{i}", f"s{i}", "drop", {}, tuple(Ref(f"s{b}", "data") for b in before), {})
    started = time.perf_counter()
    schedule, count = Schedule(graph, graph.stages), 0
    while not schedule.is_idle:
        for stage in schedule.arrivals():
            schedule.queue(stage)
        while (queued := schedule.next()) is not None:
            schedule.settle(queued)
            count += 1
    assert count == 20_000
    assert time.perf_counter() - started < 5


def test_processes_share_the_cores_unless_fewer_threads_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [thread_share(8, processes) for processes in (0, 1, 3, 20)] == [8, 8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert [thread_share(8, processes) for processes in (1, 20)] == [2, 1]
