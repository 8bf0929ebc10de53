"""The samples of the developers' page, run as they stand against a real server."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from app.api.samples import samples

# What a Laravel project brings, in the few calls that the sample makes of it.
LARAVEL = """<?php
namespace Illuminate\\Support\\Facades {
class Http {
  private $headers = [];
  static function withToken($key) { $it = new Http; $it->headers[] = "Authorization: Bearer $key"; return $it; }
  function acceptJson() { $this->headers[] = 'Accept: application/json'; return $this; }
  function get($url, $query) {
    $context = stream_context_create(['http' => ['header' => implode("\\r\\n", $this->headers)]]);
    $this->body = file_get_contents($url . '?' . http_build_query($query), false, $context);
    return $this;
  }
  public $body;
  function throw() { if ($this->body === false) exit(1); return $this; }
  function json() { return json_decode($this->body, true); }
}
}
namespace {
function env($name) { return getenv($name); }
"""


def run(command, shop, tmp_path):
    done = subprocess.run(
        command, env={**os.environ, "SIMPUL_KEY": shop.key}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(output):
    return [json.loads(line)["nip"] for line in output.splitlines()]


ALL = [f"{n:04d}" for n in range(250)]


def test_curl(shop, base, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("no curl on this machine")
    text = samples(base, shop.slug)[0].text.replace("export SIMPUL_KEY='kunci-anda'", "")

    page = json.loads(run(["sh", "-c", text], shop, tmp_path))

    assert [row["nip"] for row in page["data"]] == ALL[:100]


def test_python(shop, base, tmp_path):
    (tmp_path / "contoh.py").write_text(samples(base, shop.slug)[1].text)

    assert lines(run([sys.executable, "contoh.py"], shop, tmp_path)) == ALL


def test_javascript(shop, base, tmp_path):
    if not shutil.which("node"):
        pytest.skip("no node on this machine")
    (tmp_path / "contoh.cjs").write_text(samples(base, shop.slug)[2].text)

    assert lines(run(["node", "contoh.cjs"], shop, tmp_path)) == ALL


def test_laravel_with_a_stand_in_for_its_http_client(shop, base, tmp_path):
    if not shutil.which("php"):
        pytest.skip("no php on this machine")
    (tmp_path / "contoh.php").write_text(
        f"{LARAVEL}{samples(base, shop.slug)[3].text}}}\n"
    )

    assert lines(run(["php", "contoh.php"], shop, tmp_path)) == ALL
