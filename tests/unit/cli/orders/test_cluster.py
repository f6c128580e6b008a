from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli.orders.cluster import check_change
from headrace.cli.overriding import for_node
from headrace.cluster.order import Order
from headrace.config.load import load_file
from headrace.core.errors import UsageError

TEXT = "cluster: {engine: ray}\nmodels: {topic: {uri: models:/topic@production, port: 5001, host: 0.0.0.0}}\n"


def write(directory: Path, text: str = TEXT) -> Path:
    file = directory / "headrace.yaml"
    file.write_text(text)
    return file


def test_a_change_that_running_nodes_cannot_make_is_refused(tmp_path: Path) -> None:
    before = Order(generation=1, text=TEXT, folder=str(tmp_path))
    file = write(tmp_path, TEXT.replace("5001", "5002"))
    check_change(before, load_file(file), file)
    write(tmp_path, TEXT + "home: elsewhere\n")
    with pytest.raises(UsageError, match="home: cannot change while the cluster serves; nothing was changed"):
        check_change(before, load_file(file), file)


def test_relative_paths_start_where_they_did(tmp_path: Path) -> None:
    file = write(tmp_path)
    with pytest.raises(UsageError, match="the cluster serves a file from /elsewhere"):
        check_change(Order(generation=1, text=TEXT, folder="/elsewhere"), load_file(file), file)
    assert load_file(write(tmp_path, TEXT + "home: mine\n"), folder=Path("/elsewhere")).home == Path("/elsewhere/mine")


def test_what_cannot_be_compared_is_left_to_the_nodes(tmp_path: Path) -> None:
    file = write(tmp_path)
    check_change(Order(generation=1, text="home: ${GONE}", folder=str(tmp_path)), load_file(file), file)


@pytest.mark.parametrize(("address", "admin"), [("10.0.0.2", "127.0.0.1"), ("127.0.0.3", "127.0.0.3")])
def test_a_node_has_ports_and_a_home_of_its_own(tmp_path: Path, address: str, admin: str) -> None:
    file = write(tmp_path, TEXT + "home: /shared\n")
    config = for_node(load_file(file), file, address)
    assert config.cluster is None
    assert config.gateway.host == address
    assert config.models["topic"].host is None
    assert config.admin is not None
    assert config.admin.host == admin
    assert config.home == Path("/shared/nodes") / address
