"""`headrace check` and `headrace predict`, the real commands against a real server."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from news.test_model_serving import main as verify_the_demo
from tests.client_rig.proxy import HANG, Fault, Proxy
from tests.integration.serving import HEADRACE, Serving, serving, until
from tests.ports import free_port

pytestmark = pytest.mark.timeout(300)  # the server of all starts in one of them


def run(*arguments: object, stdin: str = "", environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEADRACE, *map(str, arguments)],
        input=stdin, capture_output=True, text=True, check=False, timeout=280, env={**os.environ, **(environ or {})},
    )  # fmt: skip


def nobody() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_check_says_what_is_well(client_server: Serving) -> None:
    text, echo = client_server.url("text"), client_server.url("echo")
    done = run("check", text, echo, "--admin", client_server.admin)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == text
    assert [line.split()[:2] for line in lines[1:7]] == [
        ["✓", what] for what in ("alive", "ready", "version", "predicts", "latency", "environment")
    ]
    assert "text/1, MLflow" in lines[3]
    assert "a text" in lines[4]
    assert "20 requests: p50" in lines[5]
    assert lines[-1] == "✓ 2 of 2 are well"


def test_check_without_a_url_asks_the_admin_port(client_server: Serving) -> None:
    done = run("check", environ={"HEADRACE_ADMIN": client_server.admin})
    assert (done.returncode, done.stdout.splitlines()[1]) == (0, "  ✓ ready        every model can answer")
    gone = run("check", "--admin", nobody(), "--json")
    assert (gone.returncode, json.loads(gone.stdout)["ok"]) == (1, False)


def test_check_as_json(client_server: Serving) -> None:
    data = json.dumps({"dataframe_split": {"columns": ["x", "n", "s"], "data": [[1.0, 1, "a"]]}})
    done = run("check", client_server.url("table"), "--json", "--data", data)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (0, True)
    findings = {finding["what"]: finding for finding in found["endpoints"][0]["findings"]}
    assert findings["predicts"]["answer"] == {"predictions": [{"x": 1.0, "n": 1, "s": "a"}]}
    assert findings["predicts"]["model"] == "table/1"
    assert findings["latency"]["requests"] == 20


def test_check_tells_the_environments_mismatches(client_server: Serving) -> None:
    done = run("check", client_server.url("typed"), "--admin", client_server.admin)
    told = next(line for line in done.stdout.splitlines() if " environment " in line)
    assert done.returncode == 1
    assert told.startswith("  ✗ environment  Python 3.")
    assert "no-such-package is missing (trained with ==1)" in told
    assert "(trained with ==1.20.0)" in told
    fits = run("check", client_server.url("echo"), "--admin", client_server.admin)
    assert ", local: as the model was trained with" in fits.stdout


def test_an_example_that_was_guessed_wrong_is_no_fault_of_the_server(client_server: Serving) -> None:
    table = client_server.url("table")
    done = run("check", table)
    assert done.returncode == 0
    assert "· predicts" in done.stdout
    assert "give one with --data" in done.stdout
    made = run("check", table, "--admin", client_server.admin)
    assert "✓ predicts" in made.stdout
    given = run("check", table, "--data", '{"inputs": ["a"]}')
    assert given.returncode == 1
    assert "✗ predicts" in given.stdout


def test_check_says_what_is_wrong(client_server: Serving) -> None:
    gone, echo = nobody(), client_server.url("echo")
    done = run("check", gone, echo)
    assert done.returncode == 1
    assert "✗ alive        no answer: " in done.stdout
    assert done.stdout.endswith("✗ 1 of 2 is well\n")
    sick = Fault(status=503, body=b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "it is being loaded"}')
    with Proxy(echo, always=sick) as proxy:
        done = run("check", proxy.url)
        assert done.returncode == 1
        assert "✓ alive" in done.stdout
        assert "✗ ready        /ping says 503: it is being loaded" in done.stdout
        assert run("check", "--quick", proxy.url).returncode == 1
    assert run("check", "--quick", echo).returncode == 0
    with Proxy(echo, always=Fault(hold_s=HANG)) as proxy:
        done = run("check", proxy.url, "--timeout", "0.3")
        assert (done.returncode, "no answer in time" in done.stdout) == (1, True)


def test_a_page_is_no_model_server(client_server: Serving) -> None:
    page = Fault(status=200, headers="content-type: text/html\r\n", body=b"<html>Sign in</html>")
    with Proxy(client_server.url("echo"), always=page) as proxy:
        done = run("check", proxy.url)
        assert done.returncode == 1
        assert [line.split()[:2] for line in done.stdout.splitlines()[1:-1]] == [
            ["✓", "alive"], ["✗", "ready"], ["✗", "version"], ["✗", "predicts"],
        ]  # fmt: skip
        assert run("check", "--quick", proxy.url).returncode == 1
        told = run("check", "--admin", proxy.url)
        assert (told.returncode, "as an admin port does" in told.stdout) == (1, True)
        proxy.always = Fault(status=200, body=b"[" * 100_000)
        assert "✗ predicts" in run("check", proxy.url).stdout


def test_check_waits_for_the_admin_port_too(client_server: Serving) -> None:
    not_yet = Fault(status=503, body=b'{"ready": false, "waiting_for": {"echo": "it is being loaded"}}')
    with Proxy(client_server.admin, [not_yet] * 2) as proxy:
        assert run("check", "--admin", proxy.url, "--wait", "60").returncode == 0
        assert len(proxy.seen) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "http://a b"], "has a blank"),
        (["check", "--admin", "localhost"], "is not an address; write for example http://localhost:5001"),
        (["check", "ftp://localhost:5001"], "is not an address"),
        (["chekc"], "no command 'chekc'; did you mean 'check'?"),
        (["env", "lst"], "no command 'lst'; did you mean 'list'?"),
        (["check", "http://x", "--data", "{"], "--data is not JSON"),
        (["check", "http://x", "--data", "@absent.json"], "absent.json"),
        (["predict", "text"], "give either --address or --model URI"),
        (["predict", "-a", "http://x", "-i", "absent.csv"], "absent.csv: No such file"),
        (["predict", "-a", "http://x", "-i", "in.docx"], "must end in one of .txt, .csv"),
        (["predict", "-a", "x", "text"], "must all be http"),
        (["predict", "-a", "http://x", "text", "--params", "[1]"], "--params must be a JSON object"),
    ],
)
def test_a_wrong_command_is_exit_code_2(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_check_waits_for_readiness_and_looks_at_every_model_of_a_shared_port(
    client_registry: str, tmp_path: Path
) -> None:
    port = int(nobody().rpartition(":")[2])
    document = {
        "registry": {"tracking_uri": client_registry},
        "admin": {"port": 0},
        "gateway": {"port": port},
        "models": {"classification": {"uri": "models:/classification/1", "port": 0, "environment": "local"}},
    }
    with serving(tmp_path, document):
        done = run("check", f"http://127.0.0.1:{port}", "--wait", "90")
        assert done.returncode == 0, done.stdout
        assert done.stdout.startswith(f"http://127.0.0.1:{port}/models/classification\n")


def test_the_demos_own_check(client_server: Serving, capsys: pytest.CaptureFixture[str]) -> None:
    models = ["--classification", client_server.url("classification"), "--sentiment", client_server.url("sentiment")]
    assert verify_the_demo([*models, "--wait", "10"]) == 0
    told = capsys.readouterr().out
    assert "✓ answers      'This is wonderful news!' is positive" in told
    assert "✓ 2 of 2 models are well" in told
    assert verify_the_demo([*models[:2], "--sentiment", nobody()]) == 1


def test_predict_texts_and_lines(client_server: Serving) -> None:
    echo = client_server.url("echo")
    assert run("predict", "-a", echo, "one text", "another").stdout == "one text\nanother\n"
    lines = "".join(f"line {i}\n" for i in range(50))
    assert run("predict", "-a", echo, "--chunk-rows", "7", stdin=lines).stdout == lines
    done = run("predict", "-a", client_server.url("text"), "--params", '{"times": 2}', "a")
    assert done.stdout == '["text", "text"]\n'
    failed = run("predict", "-a", echo, "raise")
    assert (failed.returncode, failed.stdout) == (1, "")
    said = "headrace: 1 of 1 rows was not answered (row 0); because: Encountered an unexpected error while evaluating"
    assert failed.stderr.startswith(said)
    assert run("predict", "-a", echo, "a", "b", "--json").stdout == '"a"\n"b"\n'
    gone = run("predict", "-a", nobody(), "a", "--deadline", "2")
    assert gone.returncode == 1
    assert "no connection" in gone.stderr


def test_predict_says_what_is_wrong_with_the_standard_streams(client_server: Serving) -> None:
    def shell(line: str) -> subprocess.CompletedProcess[str]:
        command = f'set -o pipefail; p() {{ "{HEADRACE}" predict -a {client_server.url("echo")} "$@"; }}; {line}'
        return subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=False, timeout=280)

    for line, code, says in [
        (r"printf 'a\n\xff\n' | p", 2, "the standard input is not UTF-8"),
        ("p <&-", 2, "nothing to predict"),
        ("p a >&-", 1, "the standard output is closed"),
        ("p a >/dev/full", 1, "the standard output: No space left on device"),
        ("PYTHONUNBUFFERED= p a >/dev/full", 1, "the standard output: No space left on device"),
    ]:
        done = shell(line)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
        assert says in done.stderr
    enough = shell("seq 20000 | p | head -1")
    assert (enough.stdout, enough.stderr) == ("1\n", "")
    assert shell(r"""p -i <(:) ; printf '\xef\xbb\xbfa\r\n\n\xe2\x80\xa8' | p""").stdout == "a\n\n\u2028\n"


@pytest.mark.slow
def test_predict_with_a_model_in_the_commands_own_process(client_registry: str) -> None:
    done = run("predict", "-m", "models:/echo@production", "a", environ={"MLFLOW_TRACKING_URI": client_registry})
    assert done.stdout == "a\n", done.stderr
    lost = run("predict", "-m", "models:/nothing/1", "a", environ={"MLFLOW_TRACKING_URI": client_registry})
    assert lost.returncode == 2
    assert "nothing" in lost.stderr


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_predict_files_in_and_out(client_server: Serving, tmp_path: Path, kind: str) -> None:
    rows = [{"x": i + 0.5, "n": i, "s": f"ü{i}"} for i in range(25)]
    source, output = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    if kind == "csv":
        with source.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["x", "n", "s"])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), source, row_group_size=10)
    table = client_server.url("table")
    done = run("predict", "-a", table, "-i", source, "-o", output, "--chunk-rows", "4", "--progress")
    assert done.returncode == 0, done.stderr
    assert "25/25" in done.stderr
    if kind == "csv":
        with output.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
        assert [row["s"] for row in found] == [row["prediction.s"] for row in found] == [f"ü{i}" for i in range(25)]
        assert [float(row["prediction.x"]) for row in found] == [i + 0.5 for i in range(25)]
    else:
        lines = output.read_text(encoding="utf-8").splitlines() if kind == "jsonl" else []
        read = [json.loads(line) for line in lines] if kind == "jsonl" else pq.read_table(output).to_pylist()
        assert read == [{**row, "prediction": row} for row in rows]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"in.{kind}", f"out.{kind}"]


def test_a_killed_run_goes_on_where_it_was(client_server: Serving, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,text\n" + "".join(f"{i:04},text {i}\n" for i in range(200)), encoding="utf-8")
    command = ["predict", "-i", source, "-o", output, "--column", "text", "--chunk-rows", "10", "--parallel", "2"]
    wanted = tmp_path / "wanted.csv"
    echo = client_server.url("echo")
    assert run(*command[:4], wanted, *command[5:], "-a", echo).returncode == 0
    journal = tmp_path / "out.csv.journal"
    with Proxy(echo, [Fault()] * 7, always=Fault(hold_s=HANG)) as proxy:
        process = subprocess.Popen([HEADRACE, *map(str, command), "-a", proxy.url], stderr=subprocess.DEVNULL)
        # Seven requests pass, two more hang: then nothing moves any more.
        until(lambda: journal.exists() and journal.read_bytes().count(b"\n") == 8, "seven chunks")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not output.exists()
        with journal.open("ab") as file:
            file.write(b'{"start": 190, "pre')  # as if it had been killed in the middle of a line
        proxy.always = Fault()
        proxy.seen.clear()
        done = run(*command, "-a", proxy.url)
        assert done.returncode == 0, done.stderr
        assert len(proxy.seen) == 13, "what was done is not asked again"
    assert output.read_bytes() == wanted.read_bytes()
    assert not journal.exists()


def test_an_interrupt_does_not_wait_for_what_is_in_the_air(client_server: Serving, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("a\nb\n", encoding="utf-8")
    with Proxy(client_server.url("echo"), always=Fault(hold_s=HANG)) as proxy:
        command = [HEADRACE, "predict", "-a", proxy.url, "-i", str(source), "--chunk-rows", "1", "--deadline", "1000"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: len(proxy.seen) == 2, "the requests")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        assert (process.returncode, out) == (130, "")
        assert "Traceback" not in err


def test_rows_that_cannot_be_predicted_are_named_and_the_rest_is_kept(client_server: Serving, tmp_path: Path) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("a\nb\nraise\nd\ne\nf\n", encoding="utf-8")
    command = ["predict", "-a", client_server.url("echo"), "-i", source, "-o", output, "--chunk-rows", "2"]
    done = run(*command)
    assert done.returncode == 1
    assert "1 of 6 rows was not answered (row 2); because: Encountered" in done.stderr
    assert "begin again with --restart" in done.stderr
    assert not output.exists()
    other = run(*command, "--params", '{"a": 1}')
    assert (other.returncode, "differs in: params" in other.stderr) == (2, True)
    source.write_text("a\nb\n", encoding="utf-8")
    assert "differs in: input" in run(*command).stderr
    assert run(*command, "--restart").returncode == 0
    assert [json.loads(line)["prediction"] for line in output.read_text().splitlines()] == ["a", "b"]


def test_failing_rows_are_skipped_or_have_no_prediction_and_are_summed_up(
    client_server: Serving, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.txt", tmp_path / "out.jsonl"
    rows = ["raise" if row in {3, 1200, 1201} else f"row {row}" for row in range(2500)]
    source.write_text("\n".join(rows) + "\n", encoding="utf-8")
    command = ["predict", "-a", client_server.url("echo"), "-i", source]
    named = run(*command, "-o", output)
    assert "3 of 2500 rows were not answered (rows 3, 1200, 1201); the first because: Encountered" in named.stderr
    null = run(*command, "-o", output, "--on-error", "null")
    assert null.returncode == 0, null.stderr
    assert null.stderr.startswith("headrace: 2,497 of 2,500 rows predicted in ")
    assert "; 3 without a prediction: rows 3, 1200, 1201; the first because: Encountered" in null.stderr
    assert null.stderr.count("\n") == 1
    predictions = [json.loads(text)["prediction"] for text in output.read_text(encoding="utf-8").splitlines()]
    assert predictions == [None if row == "raise" else row for row in rows]
    skip = run(*command, "-o", tmp_path / "out.txt", "--on-error", "skip", "--json")
    assert (tmp_path / "out.txt").read_text(encoding="utf-8").splitlines() == [row for row in rows if row != "raise"]
    told = json.loads(skip.stdout)
    assert (told["rows"], told["predicted"]) == (2500, 2497)
    assert [one["row"] for one in told["failed"]] == [3, 1200, 1201]
    printed = run(*command, "--on-error", "skip", "--chunk-rows", "100")
    assert printed.stdout.splitlines() == [row for row in rows if row != "raise"]
    stopped = run(*command, "--chunk-rows", "100")
    assert (stopped.returncode, stopped.stdout.splitlines()) == (1, rows[:3])
    assert "(row 3)" in stopped.stderr


def test_a_model_that_answers_nothing_is_not_asked_row_by_row(client_server: Serving, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("raise\n" * 3000, encoding="utf-8")
    with Proxy(client_server.url("echo")) as proxy:
        done = run("predict", "-a", proxy.url, "-i", source, "--on-error", "skip", "--parallel", "1")
        assert done.returncode == 1
        assert "none of the first 100 rows was answered; the last one because: Encountered" in done.stderr
        assert len(proxy.seen) < 250


def test_several_files_go_into_a_directory(client_server: Serving, tmp_path: Path) -> None:
    for name, rows in (("may.txt", ["a", "raise"]), ("june.csv", ["text", "b"])):
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    inputs = ["-i", tmp_path / "may.txt", "-i", tmp_path / "june.csv"]
    command = ["predict", "-a", client_server.url("echo"), *inputs, "--on-error", "null"]
    done = run(*command, "-o", f"{tmp_path}/out/")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "may.txt").read_text() == "a\nnull\n"
    assert (tmp_path / "out" / "june.csv").read_text() == "text,prediction\nb,b\n"
    assert "2 of 3 rows of 2 files predicted" in done.stderr
    assert f"rows {tmp_path / 'may.txt'}: 1; the first" in done.stderr
    assert run(*command).stdout == "a\nnull\nb\n"
    assert "several inputs need a directory" in run(*command, "-o", tmp_path / "x.txt").stderr
    assert "would displace a file" in run(*command, "-o", tmp_path).stderr


LIGHT = """
import sys
sys.argv = ["headrace", "check", "--quick", "http://127.0.0.1:9"]
from headrace.cli.main import main
try:
    main()
except SystemExit:
    pass
print(sorted({"httpx", "mlflow", "numpy", "pandas", "rich", "asyncio", "msgspec"} & set(sys.modules)))
"""


def test_a_health_check_and_the_import_are_light() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    code = "import sys, headrace.client; from headrace.client import connect, aconnect; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not {"'httpx'", "'mlflow'", "'numpy'", "'pandas'", "'rich'"} & set(done.stdout.strip("[]\n").split(", "))
