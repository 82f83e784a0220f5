"""Planted lists for kernels whose lists the data would decide, in torch: the shapes that published figures were taken on.

vertical_slash  the 100 nearest distances and clusters of 64 anywhere, the first 30 columns and others anywhere
block_sparse    of 64x64: the diagonal one and others anywhere; share=50: every second row block has half of its neighbour's;
                wide=1: blocks of 128x128, half as many

plant() makes them in the form that the attention kernel reads (internal/codegen/lower/rowlists.go), with what a reference needs of them.
"""
import numpy as np
import torch

BLOCK = 64
NO_COLUMN = 0x7FFFFFFF
PATTERNS = ("vertical_slash", "block_sparse")


class Lists:
    """values: kernel parameters by name, beside the pattern's own; tensors: those with maps; tiles: 64x64 tiles of all heads, columns rounded up to 64 a row
    block; keeps(head, rows): boolean mask [rows, n], causality included."""

    def __init__(self, values, tensors, tiles, keeps, keep_alive):
        self.values, self.tensors, self.tiles, self.keeps, self.keep_alive = values, tensors, tiles, keeps, keep_alive


def plant(pattern, params, k, v, heads, seed=1):
    """k and v are [1, kv heads, n, D]."""
    rng = np.random.default_rng(seed)
    if pattern == "vertical_slash":
        return vertical_slash(params["vertical"], params["slash"], k, v, heads, rng)
    return block_sparse(params["topk"], params.get("share", 0) / 100, params.get("wide", 0), k.shape[2], heads, k.device, rng)


def distances(slash, n, rng):
    chosen = set(range(min(100, n)))
    while len(chosen) < min(slash, n):
        start = int(rng.integers(0, n - BLOCK + 1))
        for x in range(start, start + BLOCK):
            if len(chosen) < slash:
                chosen.add(x)
    return sorted(chosen)


def run_tiles(sorted_distances):
    """How far back from a row block's first query the tiles of a head's runs start: a distance needs the 64 keys from there on for
    the first of its queries, and those up to 64 further on for the others (ir.CoverTiles)."""
    out = []
    for d in sorted_distances:
        if not out or d > out[-1] + BLOCK:
            out.append(d)
        elif d > out[-1]:
            out.append(out[-1] + BLOCK)
    return out


def vertical_slash(vertical, slash, k, v, heads, rng):
    n, device = k.shape[2], k.device
    group = heads // k.shape[1]
    words = n // 32 + 8
    tiles, covered, columns = [], np.zeros((heads, 32 * words), np.uint8), []
    for h in range(heads):
        tiles.append(run_tiles(distances(slash, n, rng)))
        for far in tiles[h]:  # bits of distances from the row block's last query
            covered[h, far : far + BLOCK] = 1
        rest = min(30, n) + rng.permutation(n - min(30, n))[: max(0, min(vertical, n) - 30)]
        columns.append(np.sort(np.concatenate([np.arange(min(30, n)), rest])))
    run_cap, col_cap = max(map(len, tiles)), -(-len(columns[0]) // BLOCK) * BLOCK
    runs, ids = np.zeros((heads, run_cap), np.int32), np.full((heads, col_cap), NO_COLUMN, np.int32)
    for h in range(heads):
        runs[h, : len(tiles[h])] = [-far for far in tiles[h]]
        ids[h, : len(columns[h])] = columns[h]
    bits = np.packbits(covered.reshape(heads, words, 32), axis=-1, bitorder="little").view("<i4").reshape(heads, words)
    to = lambda x: torch.from_numpy(np.ascontiguousarray(x)).to(device)
    t = {"runs": to(runs), "run_count": to(np.array([len(x) for x in tiles], np.int32)), "bits": to(bits), "ids": to(ids),
         "col_count": to(np.array([len(x) for x in columns], np.int32))}
    pick = torch.where(t["ids"] == NO_COLUMN, 0, t["ids"]).long()[..., None].expand(-1, -1, k.shape[3])
    copy = lambda x: torch.gather(x[0].repeat_interleave(group, 0), 1, pick)[:, None].contiguous()  # [heads, 1, columns, D]
    copies = [copy(k), copy(v)]
    values = {"i_diags_runs": t["runs"], "i_diags_run_count": t["run_count"],
              "i_diags_run_cap": run_cap, "i_diags_covered": t["bits"], "i_diags_cover_words": words, "i_cols_cols": t["ids"],
              "i_cols_col_count": t["col_count"], "i_cols_col_cap": col_cap}
    tensors = {"i_cols_kc": copies[0].transpose(0, 1), "i_cols_vc": copies[1].transpose(0, 1)}
    cover, chosen = torch.from_numpy(covered).to(device).bool(), torch.zeros(heads, n, dtype=torch.bool, device=device)
    for h in range(heads):
        chosen[h, torch.from_numpy(columns[h]).to(device)] = True

    def keeps(head, rows):
        keys = torch.arange(n, device=device)[None]
        d = (rows[:, None] // BLOCK + 1) * BLOCK - 1 - keys
        run = cover[head][d.clamp(0, cover.shape[1] - 1)] & (d >= 0)
        return (keys <= rows[:, None]) & (run | chosen[head][None])

    return Lists(values, tensors, count_vertical_slash(tiles, covered, columns, n), keeps, (t, copies))


def count_vertical_slash(tiles, covered, columns, n):
    """As MInference's lists have them: the tiles of runs that reach above key 0, and the columns beside them rounded up to 64."""
    ends = np.arange(BLOCK, n + BLOCK, BLOCK)
    total = 0
    for h, own in enumerate(tiles):
        total += int((ends[:, None] - np.array(own)[None] > 0).sum())
        for at in range(0, len(ends), 256):
            d = ends[at : at + 256, None] - 1 - columns[h][None]
            beside = (d >= 0) & (covered[h][np.clip(d, 0, covered.shape[1] - 1)] == 0)
            total += int((-(-beside.sum(1) // BLOCK)).sum())
    return total


def block_lists(topk, share, wide, n, rng):
    """The blocks of every row block, nearest first."""
    step = 2 if wide else 1
    wanted, out = topk // step, []
    for t in range(-(-n // (BLOCK * step))):
        if t < wanted:
            own = set(range(t + 1))
        else:
            own = {t}
            if share and t % 2:
                own.update(rng.choice(out[-1], int(wanted * share), replace=False).tolist())
            while len(own) < wanted:
                own.add(int(rng.integers(0, t)))
        out.append(sorted(own, reverse=True))
    if not wide:
        return out
    return [[b for x in out[t // 2] for b in (2 * x + 1, 2 * x) if b <= t] for t in range(-(-n // BLOCK))]


def block_sparse(topk, share, wide, n, heads, device, rng):
    lists = [block_lists(topk, share, wide, n, rng) for _ in range(heads)]
    cap = max(len(x) for own in lists for x in own)
    blocks = np.zeros((heads, len(lists[0]), cap), np.int32)
    for h, own in enumerate(lists):
        for t, x in enumerate(own):
            blocks[h, t, : len(x)] = x
    counts = np.array([[len(x) for x in own] for own in lists], np.int32)
    t = [torch.from_numpy(x).to(device) for x in (blocks, counts)]
    values = {"i_best_blocks": t[0], "i_best_block_count": t[1], "i_best_block_cap": cap}

    def keeps(head, rows):
        out = torch.zeros(len(rows), n, dtype=torch.bool, device=device)
        for i, r in enumerate(rows.tolist()):
            for b in lists[head][r // BLOCK]:
                out[i, b * BLOCK : (b + 1) * BLOCK] = True
            out[i, r + 1 :] = False
        return out

    return Lists(values, {}, int(counts.sum()), keeps, t)
