"""Where a local cluster keeps its things, as the environment says."""

from pathlib import Path

import pytest

from hcs_edge.local.home import Home, cache_dir


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be a user who has set nothing, and return where that one is at home."""
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    monkeypatch.delenv("HCS_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path / "ann"


def test_by_default_it_is_below_the_users_cache(user: Path) -> None:
    assert Home.from_environment().root == user / ".cache" / "hcs" / "home"


def test_the_users_cache_is_where_the_desktop_standard_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ann")
    assert Home.from_environment().root == Path("/var/cache/ann/hcs/home")


def test_hcs_home_goes_before_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/ann")
    monkeypatch.setenv("HCS_HOME", "/srv/hcs")
    assert Home.from_environment().root == Path("/srv/hcs")


def test_a_relative_hcs_home_means_the_same_after_a_change_of_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HCS_HOME", "cluster")
    home = Home.from_environment()
    monkeypatch.chdir("/")
    assert home.root == tmp_path / "cluster"


@pytest.mark.parametrize("variable", ["HCS_HOME", "XDG_CACHE_HOME"])
def test_an_empty_variable_is_one_that_is_not_set(
    variable: str, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "")
    assert Home.from_environment().root == user / ".cache" / "hcs" / "home"


def test_built_programs_are_shared_by_the_clusters_of_a_user(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCS_HOME", "/srv/hcs")
    assert cache_dir() == user / ".cache" / "hcs"


def test_everything_is_below_the_root_and_a_purge_leaves_nothing_but_the_lock() -> None:
    home = Home(Path("/srv/hcs"))
    paths = {
        name: getattr(home, name)
        for name, attribute in vars(Home).items()
        if isinstance(attribute, property) and name != "contents"
    }
    assert {path.parent for path in paths.values()} == {home.root}
    assert len(set(paths.values())) == len(paths)
    assert set(home.contents) == set(paths.values()) - {home.lock}
