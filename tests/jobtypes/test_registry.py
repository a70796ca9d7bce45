"""Which job types there are, and what becomes of broken ones."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from jobreconciler.errors import NotFound
from jobreconciler.jobtypes.registry import BUILT_IN, GROUP, load_job_types
from jobreconciler.schema.tidy import tidied

TYPE = """
from pydantic import BaseModel

class Parameters(BaseModel):
    pass

class Type:
    name = {name!r}
    description = "A type of a plugin."
    batches = False
    dry_runs = False
    parameters = Parameters

    def program(self, parameters):
        return None

    def run(self, context):
        return None
"""


class Packages:
    """Installed packages: real metadata in a directory on the path."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, package: str, name: str, source: str, attribute: str = "Type") -> None:
        module = f"{package.replace('-', '_')}_types"
        (self._root / f"{module}.py").write_text(source)
        metadata = self._root / f"{package.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        with (metadata / "entry_points.txt").open("a") as file:
            file.write(f"[{GROUP}]\n{name} = {module}:{attribute}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Packages(tmp_path)


def test_the_built_in_types_need_no_installed_package() -> None:
    src = Path(sys.modules["jobreconciler"].__file__ or "").parents[1]
    code = (
        f"import sys; sys.path.insert(0, {str(src)!r})\n"
        "import importlib.metadata as m\n"
        f"m.entry_points = lambda group: () if group != {GROUP!r} else 1 / 0\n"
        "from jobreconciler.jobtypes.registry import load_job_types\n"
        "print([load_job_types().get(name).name for name in ('command', 'python')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['command', 'python']\n", "and asking for them scans no packages"


def test_what_is_built_in_is_also_declared_as_a_package_s_entry_points() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert tomllib.loads(text)["project"]["entry-points"][GROUP] == dict(BUILT_IN)


def test_knowing_every_type_loads_nothing_that_only_a_run_needs() -> None:
    needed = ("sqlalchemy", "psycopg", "http.client", "ssl", "asyncio", "subprocess")
    code = (
        "import sys\nfrom jobreconciler.jobtypes.registry import load_job_types\n"
        "load_job_types().names()\n"
        f"print([name for name in {needed!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_package_adds_a_type(packages: Packages) -> None:
    packages.add("acme-jobs", "acme", TYPE.format(name="acme"))
    types = load_job_types()
    assert types.get("acme").description == "A type of a plugin."
    assert {"acme", *BUILT_IN} <= set(types.names())
    assert types.broken() == {}


BROKEN = {
    "a module that fails to load": (
        "raise RuntimeError('no licence')",
        "package bad-jobs, bad_jobs_types:Type: RuntimeError: no licence",
    ),
    "a name that is not its entry point's": (
        TYPE.format(name="good"),
        "package bad-jobs, bad_jobs_types:Type: TypeError: "
        "the entry point is called 'bad', the type calls itself 'good'",
    ),
    "parameters that are no model": (
        TYPE.format(name="bad").replace("parameters = Parameters", "parameters = dict"),
        "package bad-jobs, bad_jobs_types:Type: TypeError: "
        "`parameters` must be a pydantic model class",
    ),
    "no run": (
        TYPE.format(name="bad").replace("def run", "def go"),
        "package bad-jobs, bad_jobs_types:Type: TypeError: `run` must be a method",
    ),
    "a module that leaves the program": (
        "raise SystemExit('not here')",
        "package bad-jobs, bad_jobs_types:Type: SystemExit: not here",
    ),
    "a class that needs arguments": (
        TYPE.format(name="bad") + "    def __init__(self, url): ...\n",
        "package bad-jobs, bad_jobs_types:Type: TypeError: "
        "Type.__init__() missing 1 required positional argument: 'url'",
    ),
    "an instance": (
        TYPE.format(name="bad") + "Type = Type()\n",
        "package bad-jobs, bad_jobs_types:Type: TypeError: expected a class, found Type",
    ),
    "a class that no run would find": (
        "def make():\n    import builtins\n"
        + "".join(f"    {line}\n" for line in TYPE.format(name="bad").splitlines())
        + "    return Type\nType = make()\n",
        "package bad-jobs, bad_jobs_types:Type: TypeError: "
        "make.<locals>.Type must stand in its module, for a run to find it there",
    ),
    "parameters without a schema": (
        TYPE.format(name="bad")
        .replace("    pass", "    made: object = lambda: 1\n")
        .replace("made: object", "made: 'typing.Callable[[], int]'")
        .replace("from pydantic", "import typing\nfrom pydantic"),
        "package bad-jobs, bad_jobs_types:Type: PydanticInvalidForJsonSchema: "
        "Cannot generate a JsonSchema for core_schema.CallableSchema",
    ),
    "parameters whose check fails by itself": (
        TYPE.format(name="bad")
        .replace("import BaseModel", "import BaseModel, model_validator")
        .replace(
            "    pass",
            "    @model_validator(mode='before')\n    def look(cls, value): return value['url']",
        ),
        "package bad-jobs, bad_jobs_types:Type: KeyError: 'url'",
    ),
    "no word on batches": (
        TYPE.format(name="bad").replace("batches = False", ""),
        "package bad-jobs, bad_jobs_types:Type: TypeError: `batches` must be a bool",
    ),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_type_disables_itself_alone(packages: Packages, case: tuple[str, str]) -> None:
    source, why = case
    packages.add("bad-jobs", "bad", source)
    packages.add("acme-jobs", "acme", TYPE.format(name="acme"))
    sys.modules.pop("bad_jobs_types", None)
    types = load_job_types()
    assert {"acme", *BUILT_IN} <= set(types.names())
    assert "bad" not in types.names()
    assert list(types.broken()) == ["bad"]
    assert types.broken()["bad"].startswith(why)
    with pytest.raises(NotFound) as caught:
        types.get("bad")
    assert caught.value.reason == "BrokenJobType"
    assert why in caught.value.message


def test_what_a_package_prints_gets_into_no_answer(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.add("loud-jobs", "loud", "print('hello')\n" + TYPE.format(name="loud"))
    assert "loud" in load_job_types().names()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


def test_two_packages_that_claim_one_name_are_both_refused_and_named(packages: Packages) -> None:
    packages.add("acme-jobs", "sweep", TYPE.format(name="sweep"))
    packages.add("other-jobs", "sweep", TYPE.format(name="sweep"))
    types = load_job_types()
    assert "sweep" not in types.names()
    said = types.broken()["sweep"]
    assert "package acme-jobs (acme_jobs_types:Type)" in said
    assert "package other-jobs (other_jobs_types:Type)" in said


def test_a_built_in_name_cannot_be_taken_over(packages: Packages) -> None:
    packages.add("acme-jobs", "command", TYPE.format(name="command"))
    types = load_job_types()
    assert types.get("command").description != "A type of a plugin."
    assert types.broken() == {
        "command of package acme-jobs": "package acme-jobs (acme_jobs_types:Type) claims the "
        "built-in name 'command'; the built-in type stays in use"
    }


def test_an_unknown_type_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(NotFound) as caught:
        load_job_types().get("comand")
    assert caught.value.message == "there is no job type 'comand'"
    assert caught.value.hint == "did you mean 'command'?"


def test_every_field_of_a_built_in_type_is_described_with_an_example() -> None:
    types = load_job_types()
    for name in BUILT_IN:
        schema = types.get(name).parameters.model_json_schema(by_alias=True)
        for key, field in schema["properties"].items():
            assert field.get("description"), f"{name}.{key}"
            assert field.get("examples"), f"{name}.{key}"


ACCEPTED = {
    "a list of arguments": {"argv": ["true"]},
    "a script": {"shell": "true"},
    "secret references": {
        "argv": ["true"],
        "env": {"A": "x", "B": {"env": "Q"}, "C": {"file": "q/r"}},
    },
    "exit codes": {"shell": "true", "successExitCodes": [0, 3]},
    "a directory": {"shell": "true", "cwd": "/srv"},
}
REFUSED = {
    "nothing to start": {},
    "two things to start": {"argv": ["true"], "shell": "true"},
    "an empty list": {"argv": []},
    "an argument that is a number": {"argv": ["sleep", 5]},
    "a NUL byte": {"argv": ["a\0b"]},
    "an unknown key": {"argv": ["true"], "cmd": "x"},
    "a name no variable has": {"argv": ["true"], "env": {"A-B": "x"}},
    "a secret of an unknown kind": {"argv": ["true"], "env": {"A": {"vault": "x"}}},
    "a secret of two kinds": {"argv": ["true"], "env": {"A": {"env": "X", "file": "x"}}},
    "a secret file that climbs": {"argv": ["true"], "env": {"A": {"file": "../x"}}},
    "an exit code no process has": {"argv": ["true"], "successExitCodes": [256]},
    "no successful exit code": {"argv": ["true"], "successExitCodes": []},
    "a relative directory": {"argv": ["true"], "cwd": "srv"},
}


@pytest.mark.parametrize("parameters", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_command_is_accepted_with(parameters: dict[str, object]) -> None:
    model = load_job_types().get("command").parameters
    again = model.model_validate(parameters).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    assert model.model_validate(again) == model.model_validate(parameters)


@pytest.mark.parametrize("parameters", REFUSED.values(), ids=REFUSED.keys())
def test_a_command_is_refused_with(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        load_job_types().get("command").parameters.model_validate(parameters)


@pytest.mark.parametrize(
    ("parameters", "valid"),
    [*((case, True) for case in ACCEPTED.values()), *((case, False) for case in REFUSED.values())],
    ids=[*ACCEPTED, *REFUSED],
)
def test_the_schema_of_a_command_says_the_same(parameters: dict[str, object], valid: bool) -> None:
    schema = tidied(load_job_types().get("command").parameters.model_json_schema(by_alias=True))
    assert jsonschema.Draft202012Validator(schema).is_valid(parameters) == valid
