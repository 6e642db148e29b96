"""The gallery: what the grammars that come with evosearch say, and what searches in them give. `make gallery`.

page.py       the grammars, their seeds and rows.jsonl -> docs/gallery.md, and a drawing of one sample of each
searches.py   evolution and random search in each grammar for images, on digits and a part of Fashion-MNIST
rows.jsonl    what was measured, one row a data set, seed and arm; a row that is there is not measured again
"""
