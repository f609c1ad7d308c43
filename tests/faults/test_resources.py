"""Resources that a service shares with other programs: processor, memory, descriptors, disk and clock."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from faults.drill import prove
from faults.look import replaced
from faults.neighbour import Neighbour
from faults.processes import burners, has_ended, may_mount, n_descriptors, pin, resident_bytes, virtual_bytes
from faults.service import Service
from faults.traffic import SHORT, Traffic, differs
from faults.wall_clock import WallClock
from support.memory_group import MemoryGroup, memory_group
from support.recordings import tone, wav

MEGABYTE = 2**20


@pytest.mark.fault("R1")
def test_a_busy_processor_causes_a_warning_and_no_worker_is_killed(row, under_traffic):
    cpu = max(os.sched_getaffinity(0))
    everywhere = os.sched_getaffinity(0)
    with under_traffic(self_test_seconds=1) as (service, traffic):
        for once in row.repeats(service, traffic):
            workers = [worker["pid"] for worker in service.look().workers]
            with burners(8, cpu):
                once.begin()
                for pid in workers:
                    pin(pid, cpu)
                once.detected_when(
                    lambda now: now.reports("speed", "warn") or now.reports("speed", "fail"),
                    lambda now: now.measures("speed", "warn") or now.measures("speed", "fail"),
                )
                assert service.look().live.status == 200
                assert [worker["pid"] for worker in service.look().workers] == workers, "slow workers are not replaced"
                back = time.monotonic()
            for pid in workers:
                for task in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), everywhere)
            once.recovered_when(since=back)
            prove(lambda: service.look().check("speed")[0] == "pass", "the speed is normal again")
    row.remark("workers (nice 5) pinned to one processor with 8 burners (nice 0)")


@pytest.mark.fault("R2")
def test_a_leaking_worker_is_replaced_after_its_job_and_no_request_fails(row, under_traffic):
    with under_traffic(recycle_growth_bytes=160 * MEGABYTE) as (service, traffic):
        for once in row.repeats(service, traffic):
            pids = [worker["pid"] for worker in service.look().workers]
            before = max(map(resident_bytes, pids))
            signs = replaced(service.look(), "memory_growth")
            once.begin()
            service.inject("leak", size=32)
            prove(
                lambda pids=pids, before=before: any(
                    has_ended(pid) or resident_bytes(pid) > before + 48 * MEGABYTE for pid in pids
                ),
                "a worker grows",
            )
            once.detected_when(*signs)
            once.within = not traffic.counts()[2]
            service.clear_faults()
            once.recovered_when()
        assert not traffic.counts()[2], "no request fails"
    row.remark("each job leaks 32 MB; a worker can grow by 160 MB")


@pytest.mark.fault("R3")
def test_a_worker_without_memory_is_replaced(row, under_traffic):
    large = wav(tone(440, 600.0), form="FLAC")  # small to receive, large to decode
    with under_traffic(workers=1) as (service, traffic):
        for once in row.repeats(service, traffic):
            signs = replaced(service.look(), "out_of_memory")
            with traffic.paused():
                pid = service.worker("idle")
                limit = virtual_bytes(pid) + 40 * MEGABYTE
                resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
                assert resource.prlimit(pid, resource.RLIMIT_AS) == (limit, limit)
                once.begin()
                answer = service.classify_later(large)
                once.detected_when(*signs)
                found = answer.result()
                assert (found.status, found.problem) == (503, "overloaded"), found.text
                assert int(found.headers["retry-after"]) >= 1
                once.within = True
            once.recovered_when()
            assert has_ended(pid)


@pytest.mark.fault("R4")
def test_a_shortage_of_descriptors_causes_a_warning_first(row, under_traffic):
    with under_traffic() as (service, traffic):
        front = service.pid
        soft, hard = resource.prlimit(front, resource.RLIMIT_NOFILE)
        for once in row.repeats(service, traffic):
            try:
                limit = int(n_descriptors(front) / 0.88)
                once.begin()
                resource.prlimit(front, resource.RLIMIT_NOFILE, (limit, hard))
                assert resource.prlimit(front, resource.RLIMIT_NOFILE) == (limit, hard)
                once.detected_when(
                    lambda now: now.reports("descriptors", "warn") or now.reports("descriptors", "fail"),
                    lambda now: now.measures("descriptors", "warn") or now.measures("descriptors", "fail"),
                )
                detected = once.detected
                resource.prlimit(front, resource.RLIMIT_NOFILE, (n_descriptors(front) + 1, hard))
                begun = time.monotonic()
                once.detected_when(lambda now: now.unready("descriptors"))
                row.figure("one left: seconds until /readyz is false", time.monotonic() - begun)
                once.detected = detected
                assert service.look().live.status == 200
            finally:
                back = time.monotonic()
                resource.prlimit(front, resource.RLIMIT_NOFILE, (soft, hard))
            once.recovered_when(since=back)
    row.remark("first 88 % in use, then all but one")


@pytest.mark.fault("R5")
def test_a_full_or_read_only_disk_affects_only_uploads(row, start, tmp_path):
    if not may_mount():
        pytest.skip("mounting in a mount namespace is not permitted")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=1m tmpfs {disk} && exec "$@"'
    wrapper = ("unshare", "-m", "sh", "-c", script, "sh")
    with start(wrapper=wrapper, TMPDIR=disk) as service, Traffic(service) as traffic:
        inside = Path(f"/proc/{service.pid}/root{disk}")
        for once in row.repeats(service, traffic):
            once.begin()
            filler = inside / "filler"
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(65536))
            free = os.statvfs(inside)
            assert free.f_bavail == 0, "the disk is full"
            _seen_and_survived(once, service, traffic, row)
            full = once.detected
            back = time.monotonic()
            filler.unlink()
            once.recovered_when(since=back)
            prove(lambda: service.look().check("disk")[0] == "pass", "the disk is writable again")

            once.begin()
            _remount(service, disk, "ro")
            assert os.statvfs(inside).f_flag & os.ST_RDONLY
            _seen_and_survived(once, service, traffic, row)
            once.detected = max(full, once.detected)
            back = time.monotonic()
            _remount(service, disk, "rw")
            once.recovered_when(since=back)
            prove(lambda: service.look().check("disk")[0] == "pass", "the disk is writable again")
    row.remark("a 1 MB tmpfs as TMPDIR, first filled, then remounted read-only; the slower of the two")


def _remount(service: Service, disk: Path, mode: str) -> None:
    subprocess.run(["nsenter", "-m", "-t", str(service.pid), "mount", "-o", f"remount,{mode}", str(disk)], check=True)


def _seen_and_survived(once, service: Service, traffic: Traffic, row) -> None:
    upload = b"--b\r\n" + (
        b'Content-Disposition: form-data; name="audio"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    )
    upload += wav(np.zeros(22050 * 60, np.float32)) + b"\r\n--b--\r\n"
    once.detected_when(
        lambda now: now.reports("disk", "warn") or now.reports("disk", "fail"),
        lambda now: now.measures("disk", "warn") or now.measures("disk", "fail"),
        lambda now: now.live.status == 200,
    )
    client = service.client()
    answer = client.ask("POST", "/v1/classify", upload, {"Content-Type": "multipart/form-data; boundary=b"})
    client.close()
    row.remark(f"a form of 2.6 MB meanwhile: {answer.status}")
    assert answer.status in (200, 507), answer.text  # 200 if the upload needs no file
    if answer.status == 507:
        assert answer.problem == "insufficient-storage"
    small = service.classify(SHORT)
    assert small.status == 200, "work in memory continues"
    once.judge(small, traffic.reference)


DAY_SECONDS = 86400


@pytest.mark.fault("R6")
def test_a_jump_of_the_clock_causes_no_restart(row, start, tmp_path):
    clock = WallClock(tmp_path)
    with start(self_test_seconds=1, **clock.environment) as service, Traffic(service) as traffic:
        for once in row.repeats(service, traffic):
            before = service.look().body
            offset = DAY_SECONDS * (once.number % 2 == 0)
            once.begin()
            clock.set(offset)
            expected = time.time() + offset
            prove(lambda expected=expected: abs(service.look().body["timestamp"] - expected) < 60, "the clock jumped")
            until = time.monotonic() + 3
            colours: set[int] = set()

            def watched(until: float = until, colours: set[int] = colours) -> bool:
                now = service.look()
                colours.update((now.health.status, now.ready.status, now.live.status))
                return time.monotonic() > until

            prove(watched, "three seconds have passed")
            after = service.look().body
            assert colours == {200}
            assert after["restarts"]["total"] == before["restarts"]["total"]
            elapsed = after["uptime_seconds"] - before["uptime_seconds"]
            assert 0 < elapsed < 600, "the uptime is not affected"
            assert not differs(service.classify(SHORT), traffic.reference)
            once.within = True
        assert not traffic.counts()[2]
    row.remark("a day forwards, then back; watched for 3 s: every probe is always 200")


FULL = 0.975
"""Above the share of the limit at which the service refuses recordings."""
ROOM = 300 * MEGABYTE


def _in_use(group: MemoryGroup, *, without_active: bool = True) -> float:
    """Share of the limit that is in use, without pages of files."""
    cache = group.stat("inactive_file") + (group.stat("active_file") if without_active else 0)
    return (group.usage_bytes - cache) / group.limit_bytes


@pytest.mark.fault("R7")
def test_page_cache_up_to_the_limit_of_memory_turns_nothing_red(row, under_traffic, tmp_path):
    with memory_group("ccmusic-drill") as group, under_traffic(wrapper=group.entering) as (service, traffic):
        limit = group.usage_bytes + ROOM
        for once in row.repeats(service, traffic):
            group.limit_bytes = limit
            with Neighbour(group, tmp_path / "large") as neighbour:
                before = service.look()
                once.begin()
                neighbour.write(2 * ROOM)
                _stays_green(service, group, "changed pages")
                neighbour.read()
                _stays_green(service, group, "pages on the inactive list")
                _activate(group, neighbour)
                assert _in_use(group, without_active=False) > FULL
                row.figure("share in use if active pages counted", _in_use(group, without_active=False))
                _stays_green(service, group, "pages on the active list")
                neighbour.map()
                assert group.stat("mapped_file" if group.version == 1 else "file_mapped") > ROOM / 2
                _stays_green(service, group, "mapped pages")
                row.figure("share in use", _in_use(group))
            assert service.look().restarts == before.restarts
            assert group.n_killed == 0
            once.within = True
        assert not traffic.counts()[2], "no recording is refused"
    row.remark("the group is filled with changed, inactive, active and mapped pages in turn, each watched for 2 s")


def _activate(group: MemoryGroup, neighbour: Neighbour) -> None:
    """Fill the group with pages on the active list: read a file again while there is room, then lower the limit."""
    group.limit_bytes = group.usage_bytes + 2 * ROOM
    neighbour.write(ROOM)

    def done() -> bool:
        neighbour.read()
        return group.stat("active_file") > 0.95 * ROOM

    prove(done, "the pages of the file are on the active list")
    group.limit_bytes = int((group.usage_bytes - group.stat("inactive_file")) / 0.99)


def _stays_green(service: Service, group: MemoryGroup, what: str) -> None:
    assert group.usage_bytes >= FULL * group.limit_bytes, f"{what} fill the group"
    until = time.monotonic() + 2

    def watched() -> bool:
        now = service.look()
        assert (now.health.status, now.ready.status, now.live.status) == (200, 200, 200), (what, now.body)
        assert now.check("memory") == ("pass", ""), (what, now.body)
        assert now.metric("ccmusic_memory_used_ratio") < 0.9, what
        return time.monotonic() > until

    prove(watched, "two seconds have passed")


@pytest.mark.fault("R8")
def test_a_true_shortage_of_memory_is_told_from_page_cache(row, under_traffic, tmp_path):
    with memory_group("ccmusic-drill") as group, under_traffic(wrapper=group.entering) as (service, traffic):
        for once in row.repeats(service, traffic):
            workers = [worker["pid"] for worker in service.look().workers]
            with Neighbour(group, tmp_path / "large") as neighbour:
                group.limit_bytes = group.usage_bytes + ROOM
                neighbour.write(2 * ROOM)
                neighbour.read()
                _stays_green(service, group, "pages of a file")
                with traffic.paused():
                    while _in_use(group) < FULL:
                        neighbour.take(2 * MEGABYTE)
                        once.begin()
                    once.detected_when(
                        lambda now: now.reports("memory", "fail", "% of .* GiB in use"),
                        lambda now: now.measures("memory", "fail"),
                        lambda now: now.unready("memory"),
                    )
                    row.figure("share in use", _in_use(group))
                    refused = service.classify(SHORT)
                    assert (refused.status, refused.problem) == (503, "overloaded"), refused.text
                    assert int(refused.headers["retry-after"]) >= 1
                    assert service.look().live.status == 200
                assert group.n_killed == 0
                back = time.monotonic()
            once.recovered_when(since=back)
            assert [worker["pid"] for worker in service.look().workers] == workers, "no worker is replaced"
    row.remark("another process of the group takes memory until 97.5 % of the limit cannot be taken back")
