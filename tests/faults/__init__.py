"""The fault campaign: thousands of kills, damaged files, bad options and odd problems, counted.

`python -m faults` runs it, two runners side by side, and ends with a table of defects. A trial is a
function of a seed, so that each one can be played again: see `faults.campaign`.
"""
