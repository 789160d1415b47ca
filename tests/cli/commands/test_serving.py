"""`serve` as a user types it: what it refuses, and what it says."""

import socket
import sys

import pytest

from ignite_vision.cli.commands.serving import host_name
from ignite_vision.errors import UserError
from tests.helpers import children
from tests.helpers.classifiers import write_model
from tests.helpers.command_line import assert_one_error_line
from tests.helpers.servers import Served, photo


def refused(*arguments, code=2, parts=()):
    returned, text = children.run("serve", *arguments)
    assert_one_error_line((returned, "", text), *parts, code=code)


@pytest.fixture
def model(tmp_path, children):
    return write_model(tmp_path)


def test_other_machines_need_names_of_hosts(model):
    refused(model, "--host", "0.0.0.0", parts=["--host 0.0.0.0 lets other machines in", "--allow-host NAME"])


def test_what_public_means_is_said(model):
    served = Served(model, "--host", "0.0.0.0", "--allow-host", "box.example")
    assert "warning: 0.0.0.0 is open to other machines, unencrypted" in served.child.text
    assert "--token TOKEN keeps them out" in served.child.text
    assert served.ask("GET", "/healthz", Host="box.example:80").status == 200
    assert served.ask("GET", "/healthz", Host="other.example").status == 400
    served.end()


@pytest.mark.parametrize("name", ["http://box.example", "box.example:8000", ""])
def test_a_url_or_a_port_is_no_host(name):
    with pytest.raises(UserError, match="is no host.*--allow-host example.com"):
        host_name(name)


@pytest.mark.parametrize(("text", "name"), [("box.example", "box.example"), ("[fe80::1]", "fe80::1"), ("*", "*")])
def test_a_host_is_a_name_or_an_address(text, name):
    assert host_name(text) == name


def test_a_token_may_come_from_the_environment_where_nobody_lists_it(model):
    served = Served(model, IGNITE_VISION_TOKEN="sesame")
    assert served.predict(photo()).status == 401
    assert served.predict(photo(), Authorization="Bearer sesame").status == 200
    served.end()


def test_a_port_in_use_is_one_line(model):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(model, "--port", port, parts=[f"cannot listen on 127.0.0.1:{port}", "--port"])


def test_a_missing_a_damaged_and_a_foreign_file_are_one_line(tmp_path, children):
    refused(tmp_path / "nothing", parts=["no such file", "run directory or a model.safetensors"])
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(b"\x80\x04not a model")
    refused(damaged, code=3)
    foreign = tmp_path / "model.onnx"
    foreign.write_bytes(b"")
    refused(foreign, parts=["serve reads no ONNX", "model.safetensors"])


def test_an_empty_token_and_an_unknown_precision_are_refused(model):
    refused(model, "--token", "", parts=["the token is empty"])
    refused(model, "--token", "secret\n", parts=["the token has characters that cannot be sent"])
    refused(model, "--precision", "fp8", parts=["no precision 'fp8'"])


def test_without_its_packages_the_way_to_them_is_said(model):
    returned, text = children.run("serve", model, plan=without_uvicorn)
    assert_one_error_line((returned, "", text), "`serve` needs uvicorn", "pip install 'ignite-vision[serve]'")


def without_uvicorn():
    """A plan: uvicorn cannot be found."""
    import importlib.util

    whole = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *more: None if name == "uvicorn" else whole(name, *more)
    assert "uvicorn" not in sys.modules
