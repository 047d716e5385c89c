"""Prometheus' text format, version 0.0.4, read as strictly as its specification allows."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? ([^ ]+)")
COMMENT = re.compile(rf"# (HELP|TYPE) ({NAME}) (.+)")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|Inf)|NaN")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


class Wrong(AssertionError):
    pass


def check(condition, *what):
    if not condition:
        raise Wrong(*what)


def read_labels(text):
    labels, place = {}, 0
    while place < len(text):
        match = LABEL.match(text, place)
        check(match, f"labels: {text!r}")
        name, value = match.groups()
        check(name not in labels, f"a label twice: {text!r}")
        labels[name] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)
        place = match.end()
        if place < len(text):
            check(text[place] == "," and place + 1 < len(text), f"labels: {text!r}")
            place += 1
    return labels


class Family:
    def __init__(self, name, words):
        self.name = name
        self.help = words
        self.type = None
        self.samples = {}

    def add(self, name, labels, value):
        check(self.type, f"{name} has no type")
        suffixes = SUFFIXES.get(self.type, ("",))
        check(name.startswith(self.name) and name[len(self.name):] in suffixes,
              f"{name} among those of {self.name}")
        check((name.endswith("_bucket") and self.type == "histogram") == ("le" in labels),
              f"le of {name}")
        key = (name[len(self.name):], tuple(sorted(labels.items())))
        check(key not in self.samples, f"twice: {name} {labels}")
        self.samples[key] = value

    def close(self):
        check(self.type and self.samples, f"{self.name} has no type, or no samples")
        check((self.type == "counter") == self.name.endswith("_total"), f"name of {self.name}")
        if self.type in ("counter", "histogram"):
            check(all(value >= 0 for value in self.samples.values()), f"{self.name} below 0")
        if self.type == "histogram":
            self.check_histograms()

    def check_histograms(self):
        series = {}
        for (suffix, labels), value in self.samples.items():
            rest = tuple(item for item in labels if item[0] != "le")
            place = series.setdefault(rest, {"buckets": []})
            if suffix == "_bucket":
                place["buckets"].append((float(dict(labels)["le"]), value))
            else:
                place[suffix] = value
        for labels, place in series.items():
            bounds = [bound for bound, _ in place["buckets"]]
            counts = [count for _, count in place["buckets"]]
            check(bounds == sorted(set(bounds)) and bounds[-1] == float("inf"),
                  f"bounds of {labels}: {bounds}")
            check(counts == sorted(counts) and counts[-1] == place["_count"],
                  f"counts of {labels}: {counts}")
            check("_sum" in place, f"no sum of {labels}")


class Page:
    """All families of a text, which is sound."""

    def __init__(self, text):
        self.families = {}
        check(text.endswith("\n"), "the last line has no end")
        family = None
        for line in text[:-1].split("\n"):
            family = self.read_line(line, family)
        if family:
            family.close()

    def read_line(self, line, family):
        if line.startswith("#"):
            match = COMMENT.fullmatch(line)
            check(match, f"comment: {line!r}")
            return self.read_comment(*match.groups(), family)
        match = SAMPLE.fullmatch(line)
        check(match and family, f"sample: {line!r}")
        check(NUMBER.fullmatch(match[3]), f"number: {line!r}")
        family.add(match[1], read_labels(match[2] or ""), float(match[3]))
        return family

    def read_comment(self, kind, name, words, family):
        if kind == "TYPE":
            check(family and family.name == name and not family.type, f"type of {name}")
            check(words in ("counter", "gauge", "histogram"), f"type of {name}: {words}")
            family.type = words
            return family
        if family:
            family.close()
        check(name not in self.families, f"{name} twice")
        self.families[name] = Family(name, words)
        return self.families[name]

    def find(self, name, suffix="", **labels):
        """The value of a sample, or None."""
        family = self.families.get(name)
        return family and family.samples.get((suffix, tuple(sorted(labels.items()))))

    def labels(self, name, label):
        """Which values of a label there are in a family."""
        family = self.families.get(name)
        return {dict(labels)[label] for _, labels in family.samples} if family else set()
