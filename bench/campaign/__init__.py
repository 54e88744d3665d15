"""A campaign that tests the promises: random commands of several processes beside all kinds of damage, then checks.

`python -m bench campaign --minutes N --seed S`. Begin with `run`; `work` is one of the processes that write, `harm` does
the damage, and `checks` tests the promises afterwards. A failure keeps the repository and prints the command that repeats
it; the order of simultaneous processes differs between runs, so a repetition may take a few tries.
"""
