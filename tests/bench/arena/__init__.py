"""The arena: evosearch beside what a person would use instead, on eight real data sets. `make arena`.

    sets.py       the data sets, drawn by seed and written to files as a person would have them
    networks.py   one network written by hand for each mode of input, in plain PyTorch
    arms.py       what competes: `evolve run`, random search, five models of scikit-learn, the networks by hand
    table.py      rows.jsonl -> docs/arena.md
    rows.jsonl    what was measured, one row a data set, seed and arm; a row that is there is not measured again

All arms get the same rows to fit on and are judged once on the same test rows.
"""
