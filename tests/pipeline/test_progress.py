"""Increments over real datagrams, from threads and from another process."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from pipeline.progress import ProgressBar, Teller


def shown(err: str) -> str:
    return err.replace("\r", "\n").strip().splitlines()[-1]


def test_tellers_add_up_and_nothing_sent_before_the_end_is_lost(capsys):
    def work() -> None:
        teller = Teller(bar.port)
        for _ in range(25):
            teller.tell(done=3, rejected=1, size=1_000_000)
        teller.close()

    with ProgressBar("embedding", " img", show=True) as bar:
        first = Teller(bar.port)
        first.tell(planned=400)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.close()
    last = shown(capsys.readouterr().err)
    assert "400/400" in last
    assert "100 MB read, 100 rejected" in last


def test_another_process_tells(capsys):
    with ProgressBar("embedding", " img", show=True) as bar:
        bar.expect(7)
        code = f"from pipeline.progress import Teller; Teller({bar.port}).tell(done=7)"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert "7/7" in shown(capsys.readouterr().err)


def test_strangers_are_not_listened_to(capsys):
    with ProgressBar("embedding", " img", show=True) as bar:
        teller = Teller(bar.port)
        for data in (b"", b"x" * 19, b"x" * 64):
            teller._socket.sendto(data, ("127.0.0.1", bar.port))
        teller.tell(planned=1, done=1)
        teller.close()
    assert "1/1" in shown(capsys.readouterr().err)


def test_no_bar_when_not_shown(capsys):
    with ProgressBar("embedding", " img", show=False) as bar:
        teller = Teller(bar.port)
        teller.tell(planned=1, done=1)
        teller.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", [True, False])
def test_telling_never_fails(gone):
    with ProgressBar("embedding", " img", show=False) as bar:
        port = bar.port
    teller = Teller(port if gone else None)
    for _ in range(3):
        teller.tell(planned=2, done=1)
    teller.close()


def test_the_bar_ends_when_the_block_fails():
    with (
        pytest.raises(ValueError, match="by the block"),
        ProgressBar("embedding", " img", show=False) as bar,
    ):
        raise ValueError("by the block")
    assert not bar._thread.is_alive()
