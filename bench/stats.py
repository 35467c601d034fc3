"""Medians, percentiles and pairs. Standard library only."""
import statistics


def median(values):
    values = list(values)
    return statistics.median(values) if values else float("nan")


def percentile(values, p):
    """Linear between the two nearest of the sorted values: p 0 is the least, 100 the greatest."""
    v = sorted(values)
    if not v:
        return float("nan")
    at = (len(v) - 1) * p / 100
    low = int(at)
    high = min(low + 1, len(v) - 1)
    return v[low] + (v[high] - v[low]) * (at - low)


def pair_ratios(ours, theirs):
    """Round by round, where both have a figure that can be divided."""
    return [a / b for a, b in zip(ours, theirs) if a is not None and b]


def spread(values):
    """min, median, max"""
    v = [x for x in values if x is not None]
    return (min(v), median(v), max(v)) if v else (float("nan"),) * 3


def best(samples, higher):
    """The name with the best median in {name: [values]}; None where there is none."""
    medians = {k: median(x for x in v if x is not None) for k, v in samples.items()
               if any(x is not None for x in v)}
    if not medians:
        return None
    return (max if higher else min)(medians, key=medians.get)
