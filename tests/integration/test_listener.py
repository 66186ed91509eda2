"""The gateway's listener as a process: TLS with files that are replaced, the PROXY protocol, and settings that are wrong."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import httpx
import pytest

from services.cli.up.environment import environment
from tests.harness.fleet import Fleet
from tests.harness.stores import Database, ValkeyServer
from tests.harness.wait import eventually
from tests.unit.http1 import certificates

STATUS = b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LOST = b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PROXIED = {"PROXY_PROTOCOL": "true", "TRUSTED_PROXIES": "127.0.0.1/32"}


def tls_env(folder: Path) -> dict[str, str]:
    cert, key = certificates.write(folder)
    return {"TLS_CERT_PATH": str(cert), "TLS_KEY_PATH": str(key)}


def logged(fleet: Fleet, event: str) -> bool:
    return event in fleet.gateway_nodes[0].log.read_text()


async def ask(fleet: Fleet, *parts: bytes, source: str = "127.0.0.1") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", fleet.gateway_nodes[0].port, local_addr=(source, 0))
    for part in parts:
        writer.write(part)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:  # closed before what we had sent was read
        return b""
    finally:
        writer.close()


def remaining(whole: bytes) -> int:
    assert whole.startswith(b"HTTP/1.1 200 "), whole
    lines = whole.lower().split(b"\r\n")
    return int(next(line for line in lines if line.startswith(b"x-ratelimit-remaining:")).split(b":")[1])


async def serial(port: int, name: str) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=certificates.client(), server_hostname=name)
    found: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return found


async def test_tls_and_new_files(database: Database, valkey: ValkeyServer, tmp_path: Path) -> None:
    """HTTPS to the gateway, and the api knows: a session's cookie is Secure. New files are in force for who comes, and lose nobody; wrong
    ones are named in the log and change nothing; TLS 1.1 is refused; the process drains.
    """
    async with Fleet(database, valkey, apis=1, env={"gateway": tls_env(tmp_path)}) as fleet:
        node = fleet.gateway_nodes[0]
        url = f"https://127.0.0.1:{node.port}"
        async with httpx.AsyncClient(base_url=url, verify=certificates.client(), trust_env=False) as http:
            entered = await http.post("/api/v1/auth/login", json={"email": "admin@example.com", "password": "admin123"})
            assert entered.status_code == 200, entered.text
            assert all("Secure" in cookie for cookie in entered.headers.get_list("set-cookie"))
            assert (await http.post("/nowhere", content=b"x" * 300_000)).status_code == 404
            assert (await http.get("/api/openapi.json")).json()["openapi"]
            first = await serial(node.port, "localhost")
            certificates.write(tmp_path)
            await eventually(lambda: logged(fleet, "certificate in force"), 5, "the new files are taken")
            assert await serial(node.port, "localhost") != first
            second = await serial(node.port, "127.0.0.1")
            assert (await http.get("/health/live")).status_code == 200
            (tmp_path / "tls.crt").write_text("rubbish")
            await eventually(lambda: logged(fleet, "holds no certificate in PEM"), 5, "the wrong file is named")
            assert await serial(node.port, "localhost") == second
            assert (await http.get("/health/live")).status_code == 200
        old = certificates.client()
        with pytest.deprecated_call():
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", node.port, ssl=old, server_hostname="localhost")
        assert await fleet.term(node, publish=False) == 0


async def test_proxy_protocol(database: Database, valkey: ValkeyServer) -> None:
    """The client that a trusted proxy names is limited by itself and stands in the log; a peer that is not trusted is taken for what it is
    and cannot name anybody; a trusted one without a header is closed.
    """
    async with Fleet(database, valkey, apis=1, env={"gateway": PROXIED}) as fleet:
        line = b"PROXY TCP4 %b 192.0.2.1 4711 443\r\n"
        left = [
            remaining(await ask(fleet, line % name, STATUS))
            for name in (b"203.0.113.1", b"203.0.113.2", b"203.0.113.1")
        ]
        assert left == [99, 99, 98]
        assert remaining(await ask(fleet, b"PROXY UNKNOWN\r\n", STATUS)) == 99
        assert remaining(await ask(fleet, STATUS, source="127.0.0.2")) == 99
        assert (await ask(fleet, line % b"203.0.113.1", STATUS, source="127.0.0.2")).startswith(b"HTTP/1.1 400 ")
        assert await ask(fleet, STATUS) == b""
        assert await ask(fleet, b"PROXY TCP4 rubbish\r\n", STATUS) == b""
        assert (await ask(fleet, line % b"203.0.113.7", LOST)).startswith(b"HTTP/1.1 404 ")
        await eventually(lambda: logged(fleet, "203.0.113.7"), 5, "the log names the client")
        entries = [
            json.loads(text) for text in fleet.gateway_nodes[0].log.read_text().splitlines() if "203.0.113.7" in text
        ]
        assert (entries[0]["status"], entries[0]["identifier"]) == (404, "ip:203.0.113.7")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"TLS_CERT_PATH": "/nowhere.pem"}, "TLS_KEY_PATH: is required where TLS_CERT_PATH is set"),
        ({"TLS_CERT_PATH": "/nowhere.pem", "TLS_KEY_PATH": "/no.pem"}, "TLS_CERT_PATH=/nowhere.pem: cannot be read"),
        ({"PROXY_PROTOCOL": "true"}, "PROXY_PROTOCOL=true needs TRUSTED_PROXIES"),
    ],
)
async def test_wrong_settings(settings: dict[str, str], says: str) -> None:
    """One line that names the setting, exit code 1."""
    async with Fleet(None, None, gateways=0, balancers=0, apis=0, env={"gateway": settings}) as fleet:
        node = fleet.launch("gateway")
        assert await node.child.wait(20) == 1
        assert node.log.read_text().strip().startswith(f"gateway: {says}")
        assert environment("gateway", fleet.plan, settings).items() >= settings.items()
