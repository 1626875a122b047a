"""terraform.sh: where the provider comes from, whose configuration counts, what is said without Terraform."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Wrapper:
    """The script in a work tree and a home of its own; the program it calls shows its arguments and environment."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        self.home = folder / "home"
        self.home.mkdir()
        (self.root / "tests" / "harness").mkdir(parents=True)
        self.script = shutil.copy(ROOT / "tests" / "harness" / "terraform.sh", self.root / "tests" / "harness")
        self.program = folder / "program"
        self.program.write_text('#!/bin/sh\necho "$@"\nenv | grep ^TF_\nexit 7\n')
        self.program.chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TERRAFORM": str(self.program), **environment}
        return subprocess.run([self.script, "plan"], env=given, capture_output=True, text=True, check=False)

    @property
    def generated(self) -> Path:
        return self.root / ".build" / "terraform.rc"


@pytest.fixture
def wrapper(tmp_path: Path) -> Wrapper:
    return Wrapper(tmp_path)


def with_provider(folder: Path) -> Path:
    (folder / "registry.terraform.io" / "hashicorp" / "aws").mkdir(parents=True)
    return folder


def test_arguments_and_status_pass_through(wrapper: Wrapper) -> None:
    done = wrapper.run()
    assert (done.stdout.splitlines()[0], done.returncode) == ("plan", 7)


def test_named_folder_is_used(wrapper: Wrapper, tmp_path: Path) -> None:
    folder = with_provider(tmp_path / "plugins")
    done = wrapper.run(TF_PLUGIN_DIR=str(folder))
    assert f"TF_CLI_CONFIG_FILE={wrapper.generated}" in done.stdout
    assert f'path    = "{folder}"' in wrapper.generated.read_text()


def test_named_folder_without_provider_is_refused(wrapper: Wrapper, tmp_path: Path) -> None:
    done = wrapper.run(TF_PLUGIN_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds no registry.terraform.io/hashicorp/aws" in done.stderr


def test_folder_in_the_home_is_found(wrapper: Wrapper) -> None:
    folder = with_provider(wrapper.home / ".terraform.d" / "plugins")
    wrapper.run()
    assert str(folder) in wrapper.generated.read_text()


def test_configuration_that_exists_is_left_alone(wrapper: Wrapper, tmp_path: Path) -> None:
    with_provider(wrapper.home / ".terraform.d" / "plugins")
    config = tmp_path / "terraform.rc"
    config.touch()
    assert f"TF_CLI_CONFIG_FILE={config}" in wrapper.run(TF_CLI_CONFIG_FILE=str(config)).stdout
    (wrapper.home / ".terraformrc").touch()
    assert "TF_CLI_CONFIG_FILE" not in wrapper.run().stdout
    assert not wrapper.generated.exists()


def test_configuration_that_does_not_exist_is_not_passed_on(wrapper: Wrapper, tmp_path: Path) -> None:
    folder = with_provider(wrapper.home / ".terraform.d" / "plugins")
    done = wrapper.run(TF_CLI_CONFIG_FILE=str(tmp_path / "missing.rc"))
    assert "missing.rc" not in done.stdout
    assert str(folder) in wrapper.generated.read_text()


def test_missing_terraform_is_one_line_that_says_where_to_get_it(wrapper: Wrapper, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "env", "dirname"):
        (tools / name).symlink_to(shutil.which(name) or name)
    done = wrapper.run(TERRAFORM="", PATH=str(tools))
    assert done.returncode == 127
    assert len(done.stderr.splitlines()) == 1
    assert "https://developer.hashicorp.com/terraform/install" in done.stderr
