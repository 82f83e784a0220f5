/* minfc.h: sparse attention on a GPU, or on an emulated one, from C and whatever calls C.
 *
 * Three objects, as in Go: an attention (what heads compute, compiled for a device), a call (an attention prepared for a shape), and the
 * pointers of one run. Attentions and calls are immutable: any number of threads may prepare and run at once, with memory of their own.
 *
 * Every function returns 0, or one of the MINFC_E codes with a sentence in *error, which may be NULL. After an error nothing was enqueued
 * and nothing has to be closed; what a function would have written through other pointers is then not written.
 *
 * Structs begin with the version and the size that the _init functions below write. They are compiled into the program, so that they say
 * what the program was compiled with: a library of another version, or one that is older than the header, refuses it (MINFC_E_VERSION), and
 * a newer library of the same version takes the defaults for fields that an older struct has not. From other languages: zero the struct,
 * then write MINFC_ABI_VERSION and its size.
 *
 * Objects are numbers in the clothes of pointers: one that was closed is MINFC_E_CLOSED, and any other address MINFC_E_ARGUMENT, for ever.
 * An object is closed after what was made of it: a call, then its attention, then its device; else the answer is MINFC_E_ARGUMENT.
 *
 * A process that forks must not use the library in the child: every call there fails with MINFC_E_FORK. The library is never unloaded.
 */
#ifndef MINFC_H
#define MINFC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MINFC_API __attribute__((visibility("default")))
#else
#define MINFC_API
#endif

#define MINFC_ABI_VERSION 1

typedef struct minfc_device minfc_device;
typedef struct minfc_attention minfc_attention;
typedef struct minfc_call minfc_call;

enum minfc_code {
  MINFC_OK = 0,
  MINFC_E_ARGUMENT = 1,    /* the call is at fault: shapes, strides, pointers, parameters */
  MINFC_E_PATTERN = 2,     /* the text of a spec, a pattern or a plan is wrong, or the plan is not one of so many heads */
  MINFC_E_NO_DEVICE = 3,   /* no driver library, no GPU, no such device */
  MINFC_E_DEVICE = 4,      /* a GPU or its driver is there and does not work, or a kernel or a copy failed there */
  MINFC_E_MEMORY = 5,      /* out of device memory */
  MINFC_E_UNSUPPORTED = 6, /* the device cannot do this */
  MINFC_E_VERSION = 7,     /* the header and the library do not fit each other */
  MINFC_E_CLOSED = 8,      /* the object was closed */
  MINFC_E_FORK = 9,        /* the process is a forked child */
  MINFC_E_INTERNAL = 10    /* a fault of minfc */
};

typedef struct {
  int32_t code;       /* enum minfc_code */
  char message[1020]; /* UTF-8, always terminated; cut where it is longer */
} minfc_error;

/* The types of q, k, v and o. */
enum minfc_dtype { MINFC_BF16 = 1, MINFC_F16 = 2 };

typedef struct {
  uint32_t abi_version, struct_size; /* minfc_heads_init */
  int32_t q_heads, kv_heads;         /* q_heads is a multiple of kv_heads */
  int32_t head_dim;                  /* a multiple of 16 from 16 to 256 */
  int32_t dtype;                     /* enum minfc_dtype */
} minfc_heads;

/* Distances between neighbours of a dimension in elements; multiples of 8 in q, k, v and o, whose last dimension is contiguous. */
typedef struct {
  int64_t batch, head, row;
} minfc_stride;

typedef struct {
  uint32_t abi_version, struct_size; /* minfc_shape_init */
  int32_t batch;
  int32_t seq_q, seq_k;     /* query i sits at position q_offset + i, keys at 0 .. seq_k-1 */
  int32_t q_offset;
  double scale;             /* of the softmax; 0: 1/sqrt(head_dim) */
  int32_t explicit_strides; /* 0: all tensors are contiguous [batch, heads, rows, head_dim]; 1: they lie as the strides say */
  int32_t no_fallback;      /* 1: heads stay sparse where dense attention is predicted to be faster */
  /* With explicit_strides. A stride of 0 repeats a dimension, as a broadcast tensor does, but not all dimensions at once: the strides of a
   * tensor of q, k, v and o must not all be 0, unless batch, heads and rows all are 1. */
  minfc_stride q, k, v, o;
  minfc_stride lse; /* float32 [batch, q_heads, seq_q]; row is 1; all 0: contiguous */
  int32_t lengths;  /* enum minfc_lengths */
  int32_t total_q, total_k; /* MINFC_RAGGED: rows of q and o, and of k and v */
  int32_t reach;            /* the position after the last query that lists are chosen for, beyond the queries of the call; 0: they are all */
  int32_t span_cap, key_cap; /* of lists that the caller gives: the last dimensions of spans and keys; else 0 */
  const int32_t *heads;      /* query heads of the layer that the call computes, ascending; NULL: all. Read by minfc_prepare alone */
  int32_t head_count;
  int32_t unused; /* 0 */
} minfc_shape;

/* Where the lengths of the sequences of a batch are. In device memory they are int32, at addresses of minfc_pointers, and every run reads
 * them: a CUDA graph that captured a run serves all lengths. seq_q, seq_k and q_offset of the shape are then the most that a sequence can
 * have; larger numbers in device memory are cut to them, and to the rows of the tensors. The kernels are others than with lengths in the
 * shape: the first minfc_prepare of this kind compiles and loads them.
 *
 *   MINFC_IN_SHAPE  seq_q, seq_k and q_offset hold for all sequences.
 *   MINFC_PADDED    a sequence has rows of its batch entry. lengths_q and lengths_k are lengths, offsets the positions of query 0, starts_q
 *                   and starts_k the rows at which queries and keys begin, [batch] each; starts 0: row 0. lengths_q 0: seq_q for all; offsets 0: q_offset for all; lengths_k 0: keys end with the last query.
 *   MINFC_RAGGED    the rows of sequences follow each other: q is contiguous [q_heads, total_q, head_dim] or lies as strides of heads and
 *                   rows say, lse is [q_heads, total_q]. lengths_q and lengths_k are cumulative, [batch + 1] from 0 on; lengths_k 0: the
 *                   rows of the queries. offsets as with MINFC_PADDED.
 *
 * Rows that no sequence has are neither written nor do they count; they are memory all the same, whatever it holds. */
enum minfc_lengths { MINFC_IN_SHAPE = 0, MINFC_PADDED = 1, MINFC_RAGGED = 2 };

/* Addresses in the memory of the device. */
typedef struct {
  uint32_t abi_version, struct_size; /* minfc_pointers_init */
  uint64_t q, k, v, o;
  uint64_t lse;             /* 0: not wanted */
  uint64_t workspace;       /* on 256 bytes; 0 if the call needs none */
  uint64_t workspace_bytes; /* at least what minfc_prepare said */
  uint64_t lengths_q, lengths_k, offsets, starts_q, starts_k; /* int32, see enum minfc_lengths; 0 with MINFC_IN_SHAPE */
  /* Lists that the caller gives, int32, for a spec that says so; else 0. R is the number of row blocks of 64 queries. span_count and key_count,
   * [batch, q_heads, R], say how many entries a row block has; spans, [batch, q_heads, R, span_cap], are the first keys of 64 keys each, any
   * keys; keys, [batch, q_heads, R, key_cap], are single keys. Every entry counts: a key that two entries have has twice the weight. Entries
   * that are no keys do not count. docs/given.md has more. */
  uint64_t spans, span_count, keys, key_count;
  uint64_t mass, mass_rows; /* what a call of minfc_prepare_recall writes; nothing else looks at them */
} minfc_pointers;

/* Query rows of a call: count of them, step apart, from row first on. step 0: count rows, at most all, spread evenly over the call, and
 * first is a seed that says where they begin. */
typedef struct {
  int32_t first, step, count;
} minfc_rows;

static inline void minfc_heads_init(minfc_heads *heads) {
  memset(heads, 0, sizeof *heads);
  heads->abi_version = MINFC_ABI_VERSION, heads->struct_size = sizeof *heads;
}
static inline void minfc_shape_init(minfc_shape *shape) {
  memset(shape, 0, sizeof *shape);
  shape->abi_version = MINFC_ABI_VERSION, shape->struct_size = sizeof *shape;
}
static inline void minfc_pointers_init(minfc_pointers *pointers) {
  memset(pointers, 0, sizeof *pointers);
  pointers->abi_version = MINFC_ABI_VERSION, pointers->struct_size = sizeof *pointers;
}

/* minfc_version is the version of the library, such as "0.1.0"; the text is never freed. In a forked child it is "". */
MINFC_API const char *minfc_version(void);

/* minfc_open opens a device: "auto", "cuda", "cuda:1", "emu", "emu:sm_89". CUDA devices are used in their primary context, as PyTorch
 * does. "auto" takes the first GPU, and the emulator where there is none. */
MINFC_API int minfc_open(const char *spec, minfc_device **out, minfc_error *error);
/* minfc_device_info describes what was opened, as JSON; sentence says why that device:
 *
 *   {"driver": "emu", "ordinal": 0, "name": "emulator (sm_90)", "target": "sm_90a", "memory_bytes": 8589934592, "sentence": "using ..."}
 *
 * Of this and all other JSON, *length, where length is not NULL, is the length of the text without its 0; where capacity is smaller the
 * text is cut, and the call has to be made again with more. */
MINFC_API int minfc_device_info(minfc_device *device, char *json, size_t capacity, size_t *length, minfc_error *error);
MINFC_API int minfc_device_close(minfc_device *device, minfc_error *error);

/* Memory of a device, for programs without an allocator of their own, and for the emulator. stream NULL is the default stream; copies to
 * the host wait for the stream. minfc_free of 0 does nothing. */
MINFC_API int minfc_alloc(minfc_device *device, uint64_t bytes, uint64_t *out, minfc_error *error);
MINFC_API int minfc_free(minfc_device *device, uint64_t pointer, minfc_error *error);
MINFC_API int minfc_copy_to_device(minfc_device *device, uint64_t to, const void *from, uint64_t bytes, void *stream, minfc_error *error);
MINFC_API int minfc_copy_to_host(minfc_device *device, void *to, uint64_t from, uint64_t bytes, void *stream, minfc_error *error);
MINFC_API int minfc_synchronize(minfc_device *device, minfc_error *error);

/* minfc_attention_new compiles what a spec says for the device, and loads it. A spec is JSON:
 *
 *   {"pattern": "vertical_slash", "params": {"vertical": 1000, "slash": 6096}}     a pattern of the library
 *   {"source": "pattern near(n = 9) { keep causal & window(n) }", "params": {}}    a pattern of your own
 *   {"plan": {...}, "layer": 3}                                                    a layer of a head plan, minfc's or MInference's JSON
 *   {"given": "causal"}                                                            every run brings lists of keys; "full": not only keys
 *                                                                                  up to the query
 *
 * It takes tenths of a second, and seconds in the GPU's driver, unless it was done before and is in the user's cache (MINFC_CACHE=off:
 * there is none). Do it once, at start-up. */
MINFC_API int minfc_attention_new(minfc_device *device, const char *spec, const minfc_heads *heads, minfc_attention **out,
                                  minfc_error *error);
MINFC_API int minfc_attention_close(minfc_attention *attention, minfc_error *error);

/* minfc_prepare checks a shape and computes all that does not depend on pointers. Calls of one shape are remembered, so preparing one
 * again is cheap. *workspace is how many bytes of device memory a run needs; the workspace of the largest call serves all smaller ones. */
MINFC_API int minfc_prepare(minfc_attention *attention, const minfc_shape *shape, minfc_call **out, uint64_t *workspace,
                            minfc_error *error);
MINFC_API int minfc_call_close(minfc_call *call, minfc_error *error);

/* minfc_run enqueues the call on a stream (a CUstream; NULL: the default stream; not CU_STREAM_PER_THREAD) and returns. It allocates no
 * device memory, copies nothing and does not wait, so a CUDA graph may capture it. On the emulator the work is done when it returns. */
MINFC_API int minfc_run(const minfc_call *call, const minfc_pointers *pointers, void *stream, minfc_error *error);

/* The stages of a run. minfc_run runs all of them. */
enum minfc_stage {
  MINFC_STAGE_POOL = 1,   /* reduces each block of keys to its pooled row, where a pattern scores blocks */
  MINFC_STAGE_CHOOSE = 2, /* from q, k and pooled rows to lists */
  MINFC_STAGE_GATHER = 4, /* copies k and v at chosen columns, and decides which heads run dense */
  MINFC_STAGE_ATTEND = 8  /* attention over the lists */
};

/* minfc_run_stages enqueues some stages of a run, added up; others have run before with the same workspace, or lists of another call whose
 * buffers lie alike were copied there (minfc_describe). What a stage does not read needs no contents, but pointers must be there. GATHER and
 * ATTEND touch the first kept_bytes of the workspace alone. */
MINFC_API int minfc_run_stages(const minfc_call *call, const minfc_pointers *pointers, int32_t stages, void *stream, minfc_error *error);

/* minfc_describe says what lies where in the workspace of a call and which keys its rows read, as JSON, for programs that share a call among
 * devices:
 *
 *   {"kept_bytes": 4096, "parts": [{"pattern": "vertical_slash", "heads": [0, 1], "span": [0, 2], "lists": "heads", "probe_rows": 64,
 *     "reads": [], "buffers": [{"name": "i_diags_runs", "type": "i32", "at": 512, "bytes": 400, "passing": false}, ...]}]}
 *
 * lists is "none", "heads" (one list a head), "rows" (a list for each block of 64 queries) or "mixed". why, where it is there, says why devices
 * that hold a piece of the sequence each cannot share the part. reads are ranges of keys that rows may read beside their lists. */
MINFC_API int minfc_describe(const minfc_call *call, char *json, size_t capacity, size_t *length, minfc_error *error);

/* minfc_prepare_recall makes a call that says what share of the attention mass another call of the attention kept, head by head: the mean over
 * some rows of exp(lse - lse over all keys), from the lse that the other call wrote. rows are row_count ranges of them, 1 or more; one of
 * step 0 is replaced by the range that it stands for. docs/recall.md has the definition and the cost.
 *
 * minfc_run runs it, behind the other call: it reads q, k and lse of minfc_pointers, and writes mass, float32 [batch, q_heads], and, unless it is
 * 0, mass_rows, float32 [batch, q_heads, the counts of all ranges added up]. Shape and strides are those of the other call, which may be closed;
 * the workspace may be its own, when that is no longer wanted. The first recall of an attention loads its kernels: prepare one at start-up.
 * Calls with lengths in device memory have none. */
MINFC_API int minfc_prepare_recall(const minfc_call *of, minfc_rows *rows, int32_t row_count, minfc_call **out, uint64_t *workspace,
                                   minfc_error *error);

/* minfc_chosen waits for the stream and writes what the last run with these pointers did, as JSON:
 *
 *   {"heads": [{"dense": false, "sparse_ms": 0.1, "dense_ms": 0.3, "columns": 1000, "diagonals": 6096, "blocks": 0}, ...],
 *    "dense_heads": 4, "sparse_heads": 28}
 *
 * one entry a head of each batch entry. columns, diagonals and blocks are how many of them were chosen. dense counts the fallback to dense
 * attention: heads whose pattern no data decides have false and zeros. A head whose pattern has a skip has the numbers "tiles", which it met, and
 * "tiles_left_out" of them as well, where they are not 0. */
MINFC_API int minfc_chosen(const minfc_call *call, const minfc_pointers *pointers, void *stream, char *json, size_t capacity,
                           size_t *length, minfc_error *error);

/* minfc_estimate says without a device what a call is expected to take on a machine ("" or NULL: the first that the cost model knows), as
 * JSON. The time lies between low_ms and high_ms, whatever the data would choose; runs_dense: all heads fall back.
 *
 *   {"machine": "H200", "target": "sm_90a", "low_ms": 1.5, "high_ms": 4.2, "dense_ms": 9.1, "runs_dense": false}
 */
MINFC_API int minfc_estimate(const char *spec, const minfc_heads *heads, const minfc_shape *shape, const char *machine, char *json,
                             size_t capacity, size_t *length, minfc_error *error);

/* minfc_plan_read reads the text of a head plan, minfc's or MInference's, and writes it in minfc's format, as JSON. name is what errors
 * call the text, such as the path of its file; they have line and column. A spec may take a layer as a plan of its own:
 *
 *   {"schema": 1, "layers": [{"0": {"pattern": "vertical_slash", "params": {"vertical": 1000, "slash": 6096}}, ...}, ...]}
 *
 * Of {"plan": {...}, "shard": {"rank": 1, "world": 4, "heads": 32}} it writes the part that a rank runs under tensor parallelism: of every
 * layer the heads from rank * heads / world on, heads / world of them, counted from 0. heads is how many query heads the model has: what the
 * plan says unless given, or else the heads up to the last one that it names. {"published": "a model's name"} is a plan that MInference has published. */
MINFC_API int minfc_plan_read(const char *name, const char *text, char *json, size_t capacity, size_t *length, minfc_error *error);

/* minfc_workload writes tensors whose heads have structure like real ones, so that what sparse attention takes can be measured without a
 * model's weights: docs/workloads.md has kinds and formulae. q is [batch, q_heads, rows, head_dim], k and v are [batch, kv_heads, rows,
 * head_dim], contiguous addresses in the memory of the device, on 16 bytes; one that is 0 is left out. A kind ("mixed", "slash", ...) and a
 * seed mean the same bytes on every device. It waits for the device. */
MINFC_API int minfc_workload(minfc_device *device, const char *kind, uint64_t seed, const minfc_heads *heads, int32_t batch, int32_t rows,
                             uint64_t q, uint64_t k, uint64_t v, void *stream, minfc_error *error);

#ifdef __cplusplus
}
#endif

#endif
