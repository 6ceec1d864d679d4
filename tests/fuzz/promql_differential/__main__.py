"""Asks a real Prometheus and us the same random queries over the same random samples.

usage: promql_differential [QUERIES] [--seed N] [--prometheus FILE] [--server FILE] [--keep] [--query EXPR ...]

Samples are new for each thousand queries. Every query is asked as an instant or as a range query, of engines that remove
metric names at once or at the end. Differences are made small and printed with all that is needed to ask again; the exit
status is 1 if there were any that known.py does not name.
"""

import argparse
import collections
import json
import os
import random
import shutil
import sys
import tempfile
import time

import compare
import known
import queries
import samples
import servers

BATCH = 1000  # Queries over the same samples.
CONTRADICTS_ITSELF = "the reference contradicts itself when it is asked again"
ATTEMPTS = 10
ILL_CONDITIONED = "last digits, magnified"
SORTED = ("sort", "sort_desc", "sort_by_label", "sort_by_label_desc")


class Question:
    """An expression with the times and the mode in which it is asked."""

    def __init__(self, tree, start, end, step, mode):
        self.tree, self.start, self.end, self.step, self.mode = tree, start, end, step, mode

    @staticmethod
    def random(rng, newest):
        tree = queries.Generator(rng, newest).query()
        start = rng.choice((rng.randint(-600, samples.HORIZON + 600), rng.randint(300, samples.HORIZON),
                            60 * rng.randint(5, 90), round(rng.uniform(0, samples.HORIZON), 3)))
        step = rng.choice((15, 30, 60, 60, 37, 0.5, 300, 7.125))
        end = start + step * rng.randint(0, 40) + rng.choice((0, 1))
        if rng.random() < 0.5:
            start, end, step = start, start, 0
        return Question(tree, start, end, step, rng.choice((servers.AT_ONCE, servers.AT_THE_END)))

    def with_tree(self, tree):
        return Question(tree, self.start, self.end, self.step, self.mode)

    def with_times(self, start, end, step):
        return Question(self.tree, start, end, step, self.mode)

    def ask(self, side):
        client = side.clients[self.mode]
        if self.step == 0:
            return client.get("/api/v1/query", {"query": str(self.tree), "time": self.start})
        return client.get("/api/v1/query_range", {"query": str(self.tree), "start": self.start, "end": self.end,
                                                  "step": self.step})

    def __str__(self):
        times = "at %s" % self.start if self.step == 0 else "from %s to %s step %s" % (self.start, self.end, self.step)
        return "%s, %s\n    %s" % (times, self.mode, self.tree)


class Session:
    """Both servers over one set of samples."""

    def __init__(self, options, seed, directory):
        self.directory = directory
        path = os.path.join(directory, "samples.load")
        with open(path, "w", encoding="utf-8") as file:
            file.write(samples.generate(random.Random("samples %d" % seed)))
        self.ours = servers.Ours(options.server, path, directory)
        try:
            self.theirs = servers.Prometheus(options.prometheus, directory, os.path.join(directory, "reference"))
        except servers.StartError:
            self.ours.stop()
            raise

    def stop(self):
        self.ours.stop()
        self.theirs.stop()

    def judge(self, question):
        """(difference or "", name of the known difference or "")."""
        ours, theirs = question.ask(self.ours), question.ask(self.theirs)
        order = question.tree.what if question.tree.what in SORTED else ""
        found = compare.difference(ours, theirs, order)
        if not found:
            return "", ""
        name = known.explain(question, ours, theirs, self.theirs.version)
        if not name and self.contradicts_itself(question, theirs, order):
            name = CONTRADICTS_ITSELF
        return found, name or (ILL_CONDITIONED if self.is_ill_conditioned(question, theirs) else "")

    def contradicts_itself(self, question, theirs, order):
        """Whether the reference answers the same question differently: it leaves the choice between equals to chance."""
        return any(compare.difference(question.ask(self.theirs), theirs, order) for _ in range(ATTEMPTS))

    def is_ill_conditioned(self, question, theirs):
        """Whether the reference differs from itself, too, when a result inside of the query changes in its last digits.

        Then the two libraries of mathematics, which round differently, are magnified by what is around them: a
        remainder, a comparison, a step of floor().
        """
        if theirs[0] != 200:
            return False
        for nudged in queries.nudged(question.tree):
            answer = question.with_tree(nudged).ask(self.theirs)
            if answer[0] == 200 and compare.same_data(answer[1]["data"], theirs[1]["data"], ""):
                return True
        return False

    def differs(self, question):
        found, name = self.judge(question)
        return bool(found) and not name

    def minimized(self, question):
        """A smaller question that still differs."""
        for _ in range(200):
            candidates = []
            if question.step:
                candidates = [question.with_times(question.start + k * question.step, question.start + k * question.step, 0)
                              for k in range(int((question.end - question.start) / question.step) + 1)]
            candidates += [question.with_tree(tree) for tree in queries.smaller(question.tree)]
            better = next((candidate for candidate in candidates if self.differs(candidate)), None)
            if better is None:
                return question
            question = better
        return question


def report(session, question, found, seed):
    print("\n--- seed %d: %s\n    %s" % (seed, question, found))
    small = session.minimized(question)
    print("  smaller: %s\n    %s" % (small, session.judge(small)[0]))
    print("    ours   %s\n    theirs %s" % tuple(json.dumps(small.ask(side)[1])[:700]
                                             for side in (session.ours, session.theirs)), flush=True)


class Tally:
    def __init__(self):
        self.asked = self.different = self.errors = self.empty = 0
        self.known = collections.Counter()

    def __str__(self):
        lines = ["%d queries, %d differences" % (self.asked, self.different)]
        lines += ["  known: %d %s" % (count, name) for name, count in sorted(self.known.items())]
        return "\n".join(lines)


def run_batch(options, seed, count, tally):
    directory = tempfile.mkdtemp(prefix="promql-differential-", dir=options.directory)
    session = Session(options, seed, directory)
    rng = random.Random("queries %d" % seed)
    try:
        for _ in range(count):
            question = Question.random(rng, session.theirs.version >= servers.NEWEST)
            found, name = session.judge(question)
            tally.asked += 1
            if name:
                tally.known[name] += 1
            elif found:
                tally.different += 1
                report(session, question, found, seed)
                if tally.different >= options.most:
                    return
    finally:
        session.stop()
        if not options.keep:
            shutil.rmtree(directory)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="promql_differential", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queries", nargs="?", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--prometheus", default=shutil.which("prometheus") or "prometheus")
    parser.add_argument("--server", default="build/dev/tests/fuzz/promql_differential_server")
    parser.add_argument("--directory", default=None, help="where the servers keep their data")
    parser.add_argument("--keep", action="store_true", help="leave the data there")
    parser.add_argument("--most", type=int, default=50, help="end after so many differences")
    return parser.parse_args()


def main():
    options = parse_arguments()
    tally, seed = Tally(), options.seed
    print("promql_differential %d --seed %d, against Prometheus %d.%d" % (
        options.queries, seed, *servers.version_of(options.prometheus)), flush=True)
    while tally.asked < options.queries and tally.different < options.most:
        run_batch(options, seed, min(BATCH, options.queries - tally.asked), tally)
        seed += 1
        print("%s after seed %d" % (str(tally).split("\n", maxsplit=1)[0], seed - 1), flush=True)
    print(tally)
    return 1 if tally.different else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except servers.StartError as error:
        sys.exit("promql_differential: %s" % error)
