"""The network block of conftest.py blocks, here and in the processes that tests start."""

import socket
import subprocess
import sys

import pytest

FAR = "192.0.2.1"  # reserved for documentation: no machine has it


def test_connecting_to_another_machine_raises():
    with socket.socket() as s, pytest.raises(OSError, match=f"without a network.*{FAR}"):
        s.connect((FAR, 80))
    with socket.socket() as s, pytest.raises(OSError, match="without a network"):
        s.connect_ex((FAR, 80))


def test_looking_up_a_name_raises():
    with pytest.raises(OSError, match="without a network.*example.org"):
        socket.getaddrinfo("example.org", 443)


def test_processes_started_by_tests_are_blocked_too():
    code = f"import socket; socket.create_connection(({FAR!r}, 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Tests run without a network" in done.stderr


def test_this_machine_is_reachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
