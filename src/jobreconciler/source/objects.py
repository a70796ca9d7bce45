"""Objects of a repository, read through one long-lived `git cat-file --batch`.

One look-up costs a round trip through two pipes (some 50 µs) and no process start. Many are
pipelined. Each object's hash is checked, so what is applied is exactly what a commit holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from jobreconciler.errors import JobReconcilerError, Stalled
from jobreconciler.model.desired import Commit
from jobreconciler.source import faults
from jobreconciler.source.cat_file import CatFile, GitObject, requests_of
from jobreconciler.source.command import Git
from jobreconciler.source.git_objects import parse_commit

TREE_LIMIT = 64 << 20
COMMIT_LIMIT = 1 << 20
_KEPT_COMMITS = 2000
_LARGE_COMMIT = 16384


class ObjectDied(Exception):
    """cat-file ended in the middle of an answer; `stderr` is what it left."""

    def __init__(self, stderr: str) -> None:
        super().__init__(stderr)
        self.stderr = stderr


class ObjectReader:
    """One cat-file child, started when needed. Not safe to share between threads: its owner locks.

    Raises Stalled(ObjectCorrupt) and Transient(GitTimeout). An object that isn't there is None:
    what that means only the caller knows. After any failure the next call starts a new child.
    """

    def __init__(self, git: Git, git_dir: str, timeout: float) -> None:
        self._git = git
        self._git_dir = git_dir
        self._timeout = timeout
        self._pipe: CatFile | None = None
        self._trees: OrderedDict[str, bytes] = OrderedDict()
        self._at: dict[tuple[str, str], str | None] = {}
        self._cached = 0
        self._commits: dict[str, bytes] = {}

    def get(self, name: str, limit: int = COMMIT_LIMIT) -> GitObject | None:
        return next(iter(self.many([name], limit)))

    def many(self, names: Sequence[str], limit: int) -> list[GitObject | None]:
        # Read to the end: a stream that is dropped half-way costs the child.
        return list(self.stream(names, limit))

    def stream(self, names: Sequence[str], limit: int) -> Iterator[GitObject | None]:
        """One answer per name, in order. Bodies are cut after `limit` bytes."""
        done, tries = 0, 0
        while done < len(names):
            try:
                for answers in self._ask(names[done:] if done else names, limit):
                    done, tries = done + len(answers), 0
                    yield from answers
            except ObjectDied as death:
                # A child that was killed or lost its repository is replaced once; one that dies
                # of the same object again has met damage.
                tries += 1
                if tries > 1:
                    raise self._explain(self._culprit(names[done:]), death.stderr) from None
            except BaseException:
                self.close()
                raise

    def _culprit(self, names: Sequence[str]) -> str:
        """The first of these that git cannot answer: they are asked for one by one."""
        for name in names[:-1]:
            try:
                list(self._ask([name], 0))
            except ObjectDied:
                return name
        return names[-1]

    def tree(self, tree_id: str) -> bytes:
        """A tree's raw bytes, from a small cache. Raises Transient(ObjectMissing)."""
        return self.trees([tree_id])[tree_id]

    def trees(self, ids: Iterable[str]) -> dict[str, bytes]:
        """Several trees at once, by id."""
        found = {i: self._trees[i] for i in ids if i in self._trees}
        wanted = [i for i in dict.fromkeys(ids) if i not in found]
        for tree_id, answer in zip(wanted, self.many(wanted, TREE_LIMIT), strict=True):
            if answer is None:
                raise self.missing(tree_id)
            found[tree_id] = whole_tree(answer)
            self._keep(tree_id, found[tree_id])
        return found

    def trees_at(self, revisions: Sequence[str], path: str) -> list[str | None]:
        """The id of the tree at `path` in each commit; None where there is no folder."""
        wanted = [r for r in dict.fromkeys(revisions) if (r, path) not in self._at]
        names = [f"{r}:{path}" if path else f"{r}^{{tree}}" for r in wanted]
        for revision, found in zip(wanted, self.many(names, TREE_LIMIT), strict=True):
            if found is not None and found.type == "tree":
                self._keep(found.id, whole_tree(found))
                self._at[revision, path] = found.id
            else:
                self._at[revision, path] = None
        answers = [self._at[revision, path] for revision in revisions]
        if len(self._at) > 10_000:
            self._at.clear()
        return answers

    def commit(self, revision: str) -> Commit:
        """Raises Transient(ObjectMissing), Stalled(ObjectCorrupt)."""
        data = self.commit_data(revision)
        if data is None:
            raise self.missing(revision)
        return parse_commit(revision, data)

    def commits(self, revisions: Iterable[str]) -> dict[str, Commit]:
        """Several commits at once. Raises as `commit` does."""
        known = {r: self._commits[r] for r in revisions if r in self._commits}
        rest = [r for r in dict.fromkeys(revisions) if r not in known]
        for revision, found in zip(rest, self.many(rest, COMMIT_LIMIT), strict=True):
            if found is None:
                raise self.missing(revision)
            known[revision] = found.data
        return {revision: parse_commit(revision, data) for revision, data in known.items()}

    def commit_data(self, revision: str) -> bytes | None:
        """A commit object's bytes, from a small cache; None where there is none of that id."""
        if revision not in self._commits:
            found = self.get(revision)
            if found is None:
                return None
            if found.type != "commit":
                raise faults.object_corrupt(revision, f"it is a {found.type}, not a commit")
            self.remember(found)
            return found.data
        return self._commits[revision]

    def remember(self, commit: GitObject) -> None:
        """Keep a commit that was read under another name, as resolving a ref does."""
        if len(self._commits) >= _KEPT_COMMITS:
            self._commits.clear()
        if commit.size < _LARGE_COMMIT:
            self._commits[commit.id] = commit.data

    def missing(self, name: str) -> JobReconcilerError:
        """The error for an object that must be there. What git said tells damage from absence."""
        words = self._pipe.stderr() if self._pipe else ""
        self.close()
        return self._explain(name, words) if words else faults.object_missing(name)

    def close(self) -> None:
        self._at.clear()
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()

    def _keep(self, tree_id: str, data: bytes, limit: int = 8 << 20) -> None:
        if tree_id in self._trees or len(data) > limit:
            return
        self._trees[tree_id] = data
        self._cached += len(data)
        while self._cached > limit:
            self._cached -= len(self._trees.popitem(last=False)[1])

    def _ask(self, names: Sequence[str], limit: int) -> Iterator[list[GitObject | None]]:
        if self._pipe is None or not self._pipe.alive():
            self.close()
            self._pipe = CatFile(self._git, self._git_dir, self._timeout)
        pipe = self._pipe
        finished = False
        try:
            requests = requests_of(names, pipe.request_bytes)
            upcoming = next(requests, None)
            if upcoming:
                pipe.send(upcoming[1])
            while upcoming and not pipe.closed:
                # The next request is on its way while this one's answers are read, so that git
                # never waits; two of them fit into the pipe, so that a write never waits either.
                (count, _), upcoming = upcoming, next(requests, None)
                if upcoming:
                    pipe.send(upcoming[1])
                yield pipe.answers(count, limit)
            finished = not pipe.closed
        except TimeoutError:
            raise faults.timed_out("reading objects", self._timeout) from None
        except (OSError, EOFError):
            words = pipe.stderr(dying=True)
            self.close()
            raise ObjectDied(words) from None
        finally:
            if not finished and self._pipe is pipe:
                self.close()

    def _explain(self, name: str, stderr: str) -> JobReconcilerError:
        known = faults.classify(f"reading object {name}", stderr)
        if known.reason in ("GitFailed", "ObjectCorrupt"):
            return faults.object_corrupt(name, faults.last_words(stderr))
        return known


def whole_tree(found: GitObject) -> bytes:
    if found.type != "tree":
        raise faults.object_corrupt(found.id, f"it is a {found.type}, not a tree")
    if found.size > TREE_LIMIT:
        raise Stalled(
            f"folder {found.id} is larger than {TREE_LIMIT >> 20} MiB as a git tree",
            reason="TreeTooLarge",
            hint="spread the files over several folders",
        )
    return found.data
