"""The demo agency's service: what it serves, what it refuses, how it changes."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from demo.agency_service import AgencyServer, Service, read_options, service_from
from demo.civil_servants import (
    FAULT_COUNTS,
    civil_servants,
    expected_changes,
    expected_faults,
    fault_positions,
)

KEY = "kunci-uji"
NIP = re.compile(r"[0-9]{18}")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    generation = tmp_path_factory.mktemp("demo") / "generation"
    service = Service(key=KEY, generation_file=generation)
    with AgencyServer(("127.0.0.1", 0), service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", generation
        server.shutdown()
        thread.join()


def ask(url, key=KEY, method="GET", data=None):
    request = urllib.request.Request(
        url, headers={"X-API-Key": key}, method=method, data=data
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_every_region_comes_once_in_pages(address):
    seen = []
    for page in range(1, 5):
        status, body = ask(f"{address[0]}/api/wilayah?page={page}&per_page=10")
        assert status == 200
        assert body["status"] == "success"
        seen += [item["kode"] for item in body["data"]["items"]]

    assert len(seen) == len(set(seen)) == body["data"]["total"]
    assert {"14", "14.71", "14.72", "14.10"} <= set(seen)


def test_the_service_serves_a_list_of_another_place(tmp_path):
    path = tmp_path / "wilayah.csv"
    path.write_text('kode,nama\n11,Aceh\n11.01,"Kab. ""X"", Y"\n', encoding="utf-8")

    body = json.loads(Service(regions_csv=path).page("/api/wilayah", {}) or b"")

    assert body["data"]["items"][1] == {"kode": "11.01", "nama": 'Kab. "X", Y'}


def test_all_civil_servants_come_in_pages(address):
    rows, total = [], 1
    while len(rows) < total:
        status, body = ask(f"{address[0]}/api/pegawai?offset={len(rows)}&limit=2000")
        assert status == 200
        rows += body["data"]
        total = body["total"]

    assert len(rows) == 5_000
    assert ask(f"{address[0]}/api/pegawai?offset=5000")[1]["data"] == []


def test_pay_is_a_number_with_two_decimals():
    body = Service().page("/api/pegawai", {"limit": "1"}) or b""

    assert re.search(rb'"gaji_pokok":[0-9]+\.[0-9]{2},', body)


@pytest.mark.parametrize("key", ["", "salah", "kunci-uji-", "é"])
def test_a_wrong_key_gets_401_in_json(address, key):
    status, body = ask(f"{address[0]}/api/pegawai", key=key)

    assert (status, body["status"]) == (401, "error")


@pytest.mark.parametrize(
    "query",
    [
        "page=0", "page=-1", "page=x", "page=1.5", "page=%D9%A3", "per_page=0",
        "per_page=10001", "page=99999999999999", "page=1%20or%201=1", "page=%00",
    ],
)  # fmt: skip
def test_bad_parameters_get_400_in_words(address, query):
    status, body = ask(f"{address[0]}/api/wilayah?{query}")

    assert status == 400
    assert "bilangan bulat" in body["message"]


def test_health_needs_no_key_and_unknown_addresses_get_404(address):
    assert ask(f"{address[0]}/api/health", key="")[0] == 200
    assert ask(f"{address[0]}/api/none")[0] == 404


def test_other_methods_get_an_answer_in_json(address):
    status, body = ask(f"{address[0]}/api/pegawai", method="POST", data=b"{}")

    assert status == 501
    assert body["status"] == "error"


def test_the_faults_are_as_many_as_documented():
    rows = civil_servants()
    nips = [row["nip"] for row in rows]
    whole = {str(nip) for nip in nips if isinstance(nip, str) and NIP.fullmatch(nip)}

    found = {
        "nip_17_digits": sum(isinstance(n, str) and bool(re.fullmatch(r"\d{17}", n)) for n in nips),
        "nip_letters": sum(str(n).endswith("ABCD") for n in nips),
        "missing_field": sum("nama" not in row for row in rows),
        "nip_number": sum(isinstance(n, int) for n in nips),
        "gaji_text": sum(row["gaji_pokok"] == "Rp 4.500.000" for row in rows),
        "invalid_date": sum(row["tanggal_lahir"] == "1990-02-30" for row in rows),
        "exact_duplicate": sum(a == b for a, b in itertools.pairwise(rows)),
        "conflicting_duplicate": sum(
            a != b and a["nip"] == b["nip"] for a, b in itertools.pairwise(rows)
        ),
    }  # fmt: skip

    assert found == expected_faults() == dict(FAULT_COUNTS)
    wrong_nips = found["nip_17_digits"] + found["nip_letters"] + found["nip_number"]
    twice = found["exact_duplicate"] + found["conflicting_duplicate"]
    assert len(whole) == 5_000 - wrong_nips - twice


def test_a_clean_record_agrees_with_its_nip():
    faulty = fault_positions()
    for place, row in enumerate(civil_servants(300)):
        if place in faulty:
            continue
        nip = str(row["nip"])
        assert NIP.fullmatch(nip)
        assert date.fromisoformat(str(row["tanggal_lahir"])).strftime("%Y%m%d") == nip[:8]
        assert str(row["tmt"]).replace("-", "")[:6] == nip[8:14]
        assert (nip[14] == "1") == (row["jenis_kelamin"] == "L")


def test_the_same_arguments_give_the_same_people():
    assert civil_servants(500) == civil_servants(500)
    assert civil_servants(5_000)[:100] == civil_servants(100)


@pytest.mark.parametrize("generation", [2, 3])
def test_a_later_generation_changes_and_removes_as_documented(generation):
    faulty = set(fault_positions())
    before = [row for place, row in enumerate(civil_servants()) if place not in faulty]
    nips = Counter(str(row["nip"]) for row in civil_servants())
    single = {str(row["nip"]): row for row in before if nips[str(row["nip"])] == 1}
    after = {str(row["nip"]): row for row in civil_servants(generation=generation)}

    changed = sum(nip in after and after[nip] != row for nip, row in single.items())
    removed = sum(nip not in after for nip in single)

    assert expected_changes(generation=generation) == {
        "changed": changed,
        "removed": removed,
    }
    assert changed >= 40
    assert removed >= 3


def test_the_generation_file_moves_a_running_service(address):
    url, file = address
    assert ask(f"{url}/api/pegawai")[1]["total"] == 5_000

    file.write_text("2\n", encoding="ascii")
    moved = ask(f"{url}/api/pegawai")[1]["total"]
    file.write_text("not a number", encoding="ascii")
    fallen_back = ask(f"{url}/api/pegawai")[1]["total"]
    file.unlink()

    assert moved == 5_000 - expected_changes()["removed"]
    assert fallen_back == 5_000
    assert ask(f"{url}/api/pegawai?generation=2")[1]["total"] == moved


def test_the_environment_gives_defaults():
    env = {"DEMO_AGENCY_KEY": "dari-env", "DEMO_GENERATION": "2"}

    service = service_from(read_options(["--port", "0"], env))

    assert service.key == "dari-env"
    assert b'"total":4995' in (service.page("/api/pegawai", {"limit": "1"}) or b"")


def test_the_process_says_where_it_listens_and_stops_on_sigterm():
    command = [sys.executable, "-m", "demo.agency_service", "--port", "0", "--key", KEY]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        line = process.stdout.readline()
        base = line.split()[-1]
        assert ask(f"{base}wilayah?per_page=1")[0] == 200

        os.kill(process.pid, signal.SIGTERM)

        assert process.wait(10) == 0
