"""Patterns: as typed, against paths (git is the judge), and against each other (brute force is the judge)."""

from __future__ import annotations

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest
from conftest import Cli, git
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st
from profiles import examples

from gitcoord.errors import UsageError
from gitcoord.features.locks.patterns import (
    by_pathspec,
    common_path,
    literal,
    matches,
    overlap,
    path_pattern,
    typed_pattern,
    why_not,
)
from gitcoord.log.schemas import is_one_line
from gitcoord.store.discovery import find_repository

PATHS = ["/".join(parts) for depth in (1, 2, 3) for parts in product(["a", "b", "ab", "a.b", "-"], repeat=depth)]

names = st.text(st.sampled_from("ab.-*?"), min_size=1, max_size=4).filter(lambda s: s.strip(".") or not s)
brackets = st.sampled_from(["[a]", "[!a]", "[a-b]b", "a[.-]", "[]a]", "[!]b]*", "x[b-a]", "[^a]b"])
segments = st.one_of(names, st.just("**"), brackets)
patterns = st.builds(
    lambda root, parts, end: root + "/".join(parts) + end,
    st.sampled_from(["", "", "/"]),
    st.lists(segments, min_size=1, max_size=4),
    st.sampled_from(["", "", "/"]),
).filter(lambda p: why_not(p) is None)


@examples(1500)
@given(patterns, patterns)
def test_patterns_that_some_path_matches_both_always_overlap(a: str, b: str) -> None:
    meet = [path for path in PATHS if by_pathspec(a, path) and by_pathspec(b, path)]
    assert overlap(a, b) == overlap(b, a)
    if meet:
        assert overlap(a, b), (a, b, meet[0])


@examples(300)
@given(patterns)
def test_the_quick_look_at_a_path_never_misses_what_the_library_finds(pattern: str) -> None:
    assert [p for p in PATHS if matches(pattern, p)] == [p for p in PATHS if by_pathspec(pattern, p)]


@examples(1000)
@given(patterns, patterns)
def test_patterns_overlap_only_if_some_path_matches_both(a: str, b: str) -> None:
    path = common_path(a, b)
    if path is not None and "[" not in a + b:
        assert by_pathspec(a, path) and by_pathspec(b, path), (a, b, path)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("src/a.py", "src/a.py", True),
        ("src/a.py", "src/b.py", False),
        ("/src", "src/a.py", True),
        ("/src/", "/src", True),
        ("/srcs/", "src/a.py", False),
        ("*.py", "*.js", False),
        ("*.py", "src/*.py", True),
        ("*.py", "src", True),
        ("src/*.d", "src/x.d/y", False),
        ("*.d/", "x.d/y", True),
        ("src/*.py", "lib/*.py", False),
        ("src/**/test_*.py", "src/*/test_a.*", True),
        ("src/*_test.py", "src/a?.py", False),
        ("a/**/z", "a/z", True),
        ("**/a", "b/**", True),
        ("[a-c].txt", "[d-f].txt", False),
        ("src/[!a].txt", "src/a.txt", False),
        ("/a.txt", "[!b].txt", True),
        ("*", "/x", True),
        ("*/", "/x", True),
        ("src/a.py", "*.sql", False),
        ("conf.d/", "*.sql", True),
        ("app/\\[id\\]/page.tsx", "app/i/page.tsx", False),
        ("app/\\[id\\]/page.tsx", "app/*/page.tsx", True),
    ],
)  # fmt: skip
def test_overlap_of_pattern_with_pattern(a: str, b: str, expected: bool) -> None:
    assert overlap(a, b) is expected
    assert overlap(b, a) is expected


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(patterns.filter(lambda p: "[" not in p), min_size=1, max_size=1))
def test_a_path_matches_as_git_itself_would_ignore_it(repo: Path, lines: list[str]) -> None:
    (repo / ".git" / "info" / "exclude").write_text("\n".join(lines) + "\n")
    paths = [path for path in PATHS if len(path) < 8]
    done = subprocess.run(
        ["git", "-C", str(repo), "check-ignore", "--no-index", "-z", "--stdin"],
        input="\0".join(paths), capture_output=True, text=True,
    )  # fmt: skip
    assume(re.search(r"[^/]\.[ab]+$|\*\*/$", lines[0]) is None)  # means files only, unlike in git; pathspec differs
    assume(re.search(r"[^/]\*\*+/", lines[0]) is None)  # `a**/b`: git takes it for `a` and folders, gitignore(5) for `a*/b`
    assert [p for p in paths if matches(lines[0], p)] == [p for p in done.stdout.split("\0") if p]


@pytest.mark.parametrize(
    ("cwd", "typed", "stored"),
    [
        ("", "src/a.py", "src/a.py"),
        ("", "Makefile", "/Makefile"),
        ("", "src", "/src"),
        ("", "src/", "/src/"),
        ("", ".", "*"),
        ("", "*.py", "*.py"),
        ("", "src/*.py", "src/*.py"),
        ("", "**/a.py", "**/a.py"),
        ("src", "a.py", "src/a.py"),
        ("", "conf.d", "/conf.d/"),
        ("src", "*.py", "src/**/*.py"),
        ("src", "../lib/*.c", "lib/*.c"),
        ("src", "../*.c", "/*.c"),
        ("src", ":/lib/x", "lib/x"),
        ("src", ":/*.c", "*.c"),
        ("src", "./*.py", "src/*.py"),
        ("src", "[id].tsx", "src/\\[id].tsx"),
        ("", "#x", "/#x"),
        ("", "a b ", "/a b\\ "),
    ],
)
def test_what_is_typed_is_stored_from_the_root(repo: Path, cwd: str, typed: str, stored: str) -> None:
    (repo / "src").mkdir()
    (repo / "conf.d").mkdir()
    (repo / "src" / "[id].tsx").touch()
    assert typed_pattern(find_repository(repo), repo / cwd, typed) == stored


@pytest.mark.parametrize("typed", ["../x", "/etc/passwd", "", "!a", "a[*", "*/../a", "a\0b", "a*" * 6, "x" * 5000])
def test_what_is_no_pattern_here_is_refused_with_a_hint(repo: Path, typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        typed_pattern(find_repository(repo), repo, typed)
    assert caught.value.hint


def test_an_absolute_path_in_any_worktree_is_the_same_file(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "other"))
    found = find_repository(repo)
    assert typed_pattern(found, repo, str(tmp_path / "other" / "src" / "a.py")) == "src/a.py"
    assert typed_pattern(found, repo, str(repo / "src") + "/*.py") == "src/*.py"
    with pytest.raises(UsageError):
        typed_pattern(found, repo, str(tmp_path / "nowhere"))


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_a_path_made_a_pattern_means_that_path_alone(parts: list[str]) -> None:
    path = "/".join(parts)
    if {".", ".."} & set(parts):
        return
    pattern = path_pattern(path)
    assume(why_not(pattern) is None)
    assert matches(pattern, path)
    assert matches(pattern, path + "/below") or "." in parts[-1]
    assert not matches(pattern, path + "x") and not matches(pattern, "x" + path)
    assert (literal(pattern) is None) == (re.search(r"[*?\[\\]| $", path) is not None or not is_one_line(path))


ROUTES = ["app/[slug]/page.tsx", "app/[[...sign-in]]/page.tsx", "app/(auth)/login/page.tsx", "routes/blog.$id.tsx",
          "app/@modal/(.)photo/[id]/page.tsx", "pages/[...all].js", "src/routes/[lang=lang]/+page.svelte", "app/{a,b}/x.ts",
          "[z-a].txt", "[year-month].md", "a\nb.txt", "caf\udce9.txt", "\u2028.txt", "d/" * 600 + "deep.txt"]  # fmt: skip


@pytest.mark.parametrize("path", ROUTES)
def test_what_can_be_a_path_is_that_path_whether_it_is_there_or_not(repo: Path, path: str) -> None:
    before = typed_pattern(find_repository(repo), str(repo), path)
    assert matches(before, path) and not matches(before, path + "x") and why_not(before) is None
    if len(path) < 1000:
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).touch()
    assert typed_pattern(find_repository(repo), str(repo), path) == before
    assert overlap(before, before)
    assert not overlap(before, "app/s/page.tsx")


@pytest.mark.parametrize("text", ["*.py", "src/[0-9]*.py", "file[0-9].txt", "[a-c].py", "[!a-z]x", "a?b", "app/[slug]/*.tsx"])
def test_what_can_only_be_a_pattern_is_one(repo: Path, text: str) -> None:
    assert literal(typed_pattern(find_repository(repo), str(repo), text)) is None


def test_a_folder_in_brackets_before_a_wildcard_is_that_folder(repo: Path) -> None:
    pattern = typed_pattern(find_repository(repo), str(repo), "app/[slug]/*.tsx")
    assert matches(pattern, "app/[slug]/page.tsx") and not matches(pattern, "app/s/page.tsx")


def test_what_is_ambiguous_is_said(repo: Path, cli: Cli) -> None:
    (repo / "weird*name.txt").touch()
    ran = cli(repo, "lock", "weird*name.txt", "app/[ch].ts")
    assert ran.code == 0
    assert ran.err == (
        "weird*name.txt was read as a pattern; for the file of that name alone: 'weird\\*name.txt'\n"
        "app/[ch].ts was read as a path; [ ] is a pattern only with a range ([0-9]) or beside * or ?\n"
    )
    assert cli(repo, "unlock", "--all").code == 0
    assert "/weird\\*name.txt" in cli(repo, "lock", "weird\\*name.txt").out


def test_two_sessions_cannot_both_lock_a_route_that_one_has_made(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    assert cli(alpha, "lock", "app/[slug]/page.tsx").code == 0
    (alpha / "app" / "[slug]").mkdir(parents=True)
    (alpha / "app" / "[slug]" / "page.tsx").touch()
    assert cli(beta, "lock", "app/[slug]/page.tsx").code == 1
    assert cli(beta, "check", "app/[slug]/page.tsx").code == 1


def test_two_spellings_are_one_path_where_git_says_so(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    assert cli(alpha, "lock", "Src/New.ts", "docs/*.MD").code == 0
    assert cli(beta, "check", "src/new.ts").code == 0
    git(alpha, "config", "core.ignorecase", "true")
    for path in ("src/new.ts", "SRC/NEW.TS", "DOCS/a.md"):
        assert cli(beta, "check", path).code == 1, path
        assert cli(beta, "lock", path).code == 1, path
    assert cli(beta, "lock", "src/newer.ts").code == 0
    (alpha / "readme.txt").write_text("changed\n")
    assert cli(alpha, "editing", "readme.txt").code == 0
    assert "alpha" in cli(beta, "check", "README.txt").out


def test_composed_and_decomposed_names_are_one_path_where_git_says_so(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    git(alpha, "config", "core.precomposeunicode", "true")
    assert cli(alpha, "lock", "cafe\u0301.txt").code == 0
    assert cli(beta, "check", "caf\u00e9.txt").code == 1
    assert cli(beta, "lock", "caf\u00e9.txt").code == 1
