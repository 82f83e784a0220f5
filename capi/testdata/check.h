/* What the checks share. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "minfc.h"

enum { Q_HEADS = 2, KV_HEADS = 1, TOKENS = 100, DIM = 32, SINK = 2, WINDOW = 30 };

#define FAIL(...) (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define MUST(call) ((call) ? FAIL("%s: %d: %s", #call, error.code, error.message) : (void)0)

/* WANT_CODE makes a call that must fail with a code and a sentence that has some words. */
#define WANT_CODE(want, words, call)                                                                               \
  do {                                                                                                             \
    memset(&error, 'x', sizeof error);                                                                             \
    int got = (call);                                                                                              \
    if (got != (want) || error.code != (want) || !memchr(error.message, 0, sizeof error.message) ||                \
        !strstr(error.message, words))                                                                             \
      FAIL("%s: got %d (%d, %.200s), want %d and \"%s\"", #call, got, error.code, error.message, want, words);     \
  } while (0)

static const char *const A_SHAPE = "{\"pattern\": \"a_shape\", \"params\": {\"sink\": 2, \"window\": 30}}";

static inline minfc_heads some_heads(void) {
  minfc_heads h;
  minfc_heads_init(&h);
  h.q_heads = Q_HEADS, h.kv_heads = KV_HEADS, h.head_dim = DIM, h.dtype = MINFC_BF16;
  return h;
}

static inline minfc_shape some_shape(int rows) {
  minfc_shape s;
  minfc_shape_init(&s);
  s.batch = 1, s.seq_q = rows, s.seq_k = rows;
  return s;
}

static inline float from_bf16(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

/* draw is a number from -1 to 1 as bf16. */
static inline uint16_t draw(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  float f = (float)((*state >> 8) & 0xffff) / 32768 - 1;
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return (uint16_t)(bits >> 16);
}

/* Tensors lie as [rows, heads, dim], like the projections of a model. */
typedef struct {
  uint16_t q[TOKENS][Q_HEADS][DIM], k[TOKENS][KV_HEADS][DIM], v[TOKENS][KV_HEADS][DIM], o[TOKENS][Q_HEADS][DIM];
  float lse[Q_HEADS][TOKENS];
} tensors;

static inline minfc_shape strided_shape(void) {
  minfc_shape s = some_shape(TOKENS);
  s.explicit_strides = 1;
  s.q = s.o = (minfc_stride){TOKENS * Q_HEADS * DIM, DIM, Q_HEADS * DIM};
  s.k = s.v = (minfc_stride){TOKENS * KV_HEADS * DIM, DIM, KV_HEADS * DIM};
  s.lse = (minfc_stride){Q_HEADS * TOKENS, TOKENS, 1};
  return s;
}

static inline void fill(tensors *t, uint32_t seed) {
  for (int i = 0; i < TOKENS; i++) {
    for (int d = 0; d < Q_HEADS * DIM; d++) t->q[i][d / DIM][d % DIM] = draw(&seed);
    for (int d = 0; d < KV_HEADS * DIM; d++) t->k[i][d / DIM][d % DIM] = draw(&seed);
    for (int d = 0; d < KV_HEADS * DIM; d++) t->v[i][d / DIM][d % DIM] = draw(&seed);
  }
}

/* off is the largest difference between o and lse and a reference in float64 over the pairs of a_shape. */
static inline double off(const tensors *t) {
  double most = 0;
  for (int h = 0; h < Q_HEADS; h++) {
    for (int i = 0; i < TOKENS; i++) {
      double sum = 0, out[DIM] = {0};
      for (int j = 0; j <= i; j++) {
        if (i - j >= WINDOW && j >= SINK) continue;
        double dot = 0;
        for (int d = 0; d < DIM; d++) dot += (double)from_bf16(t->q[i][h][d]) * from_bf16(t->k[j][0][d]);
        double p = exp(dot / sqrt(DIM));
        sum += p;
        for (int d = 0; d < DIM; d++) out[d] += p * from_bf16(t->v[j][0][d]);
      }
      for (int d = 0; d < DIM; d++) most = fmax(most, fabs(out[d] / sum - from_bf16(t->o[i][h][d])));
      most = fmax(most, fabs(log(sum) - t->lse[h][i]));
    }
  }
  return most;
}

/* Memory of a device for tensors, the pointers of a run among them. */
typedef struct {
  minfc_pointers at;
  uint64_t all;
} room;

static inline room place(minfc_device *device, const tensors *t) {
  minfc_error error;
  room r;
  MUST(minfc_alloc(device, sizeof *t, &r.all, &error));
  MUST(minfc_copy_to_device(device, r.all, t, sizeof *t, NULL, &error));
  minfc_pointers_init(&r.at);
  r.at.q = r.all + offsetof(tensors, q), r.at.k = r.all + offsetof(tensors, k), r.at.v = r.all + offsetof(tensors, v);
  r.at.o = r.all + offsetof(tensors, o), r.at.lse = r.all + offsetof(tensors, lse);
  return r;
}
