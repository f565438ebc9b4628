"""Lets no Python process connect to anything but this machine.

`tests/conftest.py` imports this file and puts its folder on PYTHONPATH, so that every Python process that a
test starts (the command line, notebook kernels) imports it too. What a program sees is what it would see on a
machine without a network: an OSError, at once.
"""

import ipaddress
import socket

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_getaddrinfo = socket.getaddrinfo


class NetworkBlocked(ConnectionError):
    """A test tried to reach another machine."""


def _check(host):
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost"):
        return
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise NetworkBlocked(f"Tests run without a network, but something tried to reach {host}.")


def _checked(method):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return method(self, address)

    return connect


def _checked_getaddrinfo(host, *args, **kwargs):
    _check(host)
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _checked(_connect)
socket.socket.connect_ex = _checked(_connect_ex)
socket.getaddrinfo = _checked_getaddrinfo
