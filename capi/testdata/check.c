/* Checks of libminfc.so, one a name: check NAME. They print nothing when all is well. They run on the emulator; numbers, handles, versions,
 * rounds and forks also on the device that MINFC_CHECK_DEVICE names. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static minfc_error error;
static minfc_device *device;
static minfc_attention *attention;
static minfc_call *call;
static tensors data;
static room mine;

static void set_up(void) {
  minfc_heads heads = some_heads();
  minfc_shape shape = strided_shape();
  uint64_t workspace = 1;
  const char *named = getenv("MINFC_CHECK_DEVICE");
  MUST(minfc_open(named ? named : "emu", &device, &error));
  MUST(minfc_attention_new(device, A_SHAPE, &heads, &attention, &error));
  MUST(minfc_prepare(attention, &shape, &call, &workspace, &error));
  if (workspace != 0) FAIL("a_shape wants %llu bytes of workspace", (unsigned long long)workspace);
  fill(&data, 1);
  mine = place(device, &data);
}

static void numbers(void) {
  set_up();
  MUST(minfc_run(call, &mine.at, NULL, &error));
  MUST(minfc_synchronize(device, &error));
  MUST(minfc_copy_to_host(device, &data, mine.all, sizeof data, NULL, &error));
  double got = off(&data);
  if (!(got < 1e-2)) FAIL("o and lse are off by %g", got);
  data.o[50][1][3] ^= 0x8000;
  if (off(&data) < 1e-2) FAIL("the reference sees no difference");
}

/* stages: a run in pieces, over one head after the other, is the run. */
static void stages(void) {
  set_up();
  minfc_shape shape = strided_shape();
  char text[4096];
  for (int32_t head = 0; head < 2; head++) {
    uint64_t workspace;
    minfc_call *own;
    shape.heads = &head, shape.head_count = 1;
    MUST(minfc_prepare(attention, &shape, &own, &workspace, &error));
    MUST(minfc_describe(own, text, sizeof text, NULL, &error));
    if (!strstr(text, head ? "\"heads\":[1]" : "\"heads\":[0]") || !strstr(text, "\"lists\":\"none\"")) FAIL("describe says %s", text);
    room with = mine;
    if (workspace) MUST(minfc_alloc(device, workspace, &with.at.workspace, &error));
    with.at.workspace_bytes = workspace;
    MUST(minfc_run_stages(own, &with.at, MINFC_STAGE_POOL | MINFC_STAGE_CHOOSE | MINFC_STAGE_GATHER, NULL, &error));
    MUST(minfc_run_stages(own, &with.at, MINFC_STAGE_ATTEND, NULL, &error));
    WANT_CODE(MINFC_E_ARGUMENT, "stages", minfc_run_stages(own, &with.at, 0, NULL, &error));
    WANT_CODE(MINFC_E_ARGUMENT, "stages", minfc_run_stages(own, &with.at, 16, NULL, &error));
    MUST(minfc_call_close(own, &error));
  }
  MUST(minfc_synchronize(device, &error));
  MUST(minfc_copy_to_host(device, &data, mine.all, sizeof data, NULL, &error));
  double got = off(&data);
  if (!(got < 1e-2)) FAIL("o and lse are off by %g", got);
  int32_t wrong[] = {1, 0};
  minfc_call *none;
  uint64_t workspace;
  shape.heads = wrong, shape.head_count = 2;
  WANT_CODE(MINFC_E_ARGUMENT, "ascending", minfc_prepare(attention, &shape, &none, &workspace, &error));
  shape.head_count = 0;
  WANT_CODE(MINFC_E_ARGUMENT, "head_count", minfc_prepare(attention, &shape, &none, &workspace, &error));
  shape.head_count = 3;
  WANT_CODE(MINFC_E_ARGUMENT, "head_count", minfc_prepare(attention, &shape, &none, &workspace, &error));
}

/* kept is the share of a row's attention that a_shape keeps, in float64. */
static double kept(const tensors *t, int h, int i) {
  double in = 0, all = 0;
  for (int j = 0; j <= i; j++) {
    double dot = 0;
    for (int d = 0; d < DIM; d++) dot += (double)from_bf16(t->q[i][h][d]) * from_bf16(t->k[j][0][d]);
    all += exp(dot / sqrt(DIM));
    if (i - j < WINDOW || j < SINK) in += exp(dot / sqrt(DIM));
  }
  return in / all;
}

/* recall: what share of the attention a call kept, by row and by head, after the call was closed. */
static void recall(void) {
  enum { SPREAD = 40, ROWS = SPREAD + 10 };
  set_up();
  MUST(minfc_run(call, &mine.at, NULL, &error));
  minfc_rows rows[] = {{.first = 3, .step = 0, .count = SPREAD}, {.first = 90, .step = 1, .count = 10}};
  minfc_call *own, *none;
  uint64_t bytes, out;
  char text[64];
  MUST(minfc_prepare_recall(call, rows, 2, &own, &bytes, &error));
  if (rows[0].step != 2 || rows[0].count != SPREAD || rows[0].first < 0 || rows[0].first + 2 * (SPREAD - 1) >= TOKENS || rows[1].first != 90)
    FAIL("rows %d, %d apart, %d of them", rows[0].first, rows[0].step, rows[0].count);
  WANT_CODE(MINFC_E_ARGUMENT, "no rows", minfc_prepare_recall(call, rows, 0, &none, &bytes, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "the call has the rows 0 to 99",
            minfc_prepare_recall(call, &(minfc_rows){.first = 99, .step = 1, .count = 2}, 1, &none, &bytes, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "the call is a recall", minfc_prepare_recall(own, rows, 2, &none, &bytes, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "the call is a recall", minfc_describe(own, text, sizeof text, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "the call is a recall", minfc_chosen(own, &mine.at, NULL, text, sizeof text, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "the call is a recall", minfc_run_stages(own, &mine.at, MINFC_STAGE_ATTEND, NULL, &error));
  MUST(minfc_call_close(call, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "call", minfc_attention_close(attention, &error));

  float got[Q_HEADS + Q_HEADS * ROWS];
  mine.at.workspace_bytes = bytes;
  MUST(minfc_alloc(device, bytes, &mine.at.workspace, &error));
  MUST(minfc_alloc(device, sizeof got, &out, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "Mass is a null pointer", minfc_run(own, &mine.at, NULL, &error));
  mine.at.mass = out, mine.at.mass_rows = out + Q_HEADS * sizeof(float);
  MUST(minfc_run(own, &mine.at, NULL, &error));
  MUST(minfc_copy_to_host(device, got, out, sizeof got, NULL, &error));
  for (int h = 0; h < Q_HEADS; h++) {
    double mean = 0;
    for (int i = 0; i < ROWS; i++) {
      double want = kept(&data, h, i < SPREAD ? rows[0].first + i * rows[0].step : 90 + i - SPREAD), row = got[Q_HEADS + h * ROWS + i];
      mean += want / ROWS;
      if (!(fabs(row - want) < 1e-3)) FAIL("head %d keeps %g in sampled row %d, want %g", h, row, i, want);
    }
    if (!(fabs(got[h] - mean) < 1e-3) || mean > 0.9) FAIL("head %d keeps %g, want %g", h, got[h], mean);
  }
  MUST(minfc_call_close(own, &error));
  MUST(minfc_attention_close(attention, &error));
}

/* reports: what chosen, estimate and device_info say, and texts that are cut. */
static void reports(void) {
  set_up();
  char text[4096], cut[8];
  size_t length;
  MUST(minfc_run(call, &mine.at, NULL, &error));
  MUST(minfc_chosen(call, &mine.at, NULL, text, sizeof text, &length, &error));
  if (length != strlen(text) || !strstr(text, "\"dense_heads\":0,\"sparse_heads\":2}")) FAIL("chosen says %s", text);
  MUST(minfc_device_info(device, text, sizeof text, &length, &error));
  if (!strstr(text, "\"driver\":\"emu\"") || !strstr(text, "\"target\":\"sm_90a\"")) FAIL("info says %s", text);
  size_t again;
  MUST(minfc_device_info(device, cut, sizeof cut, &again, &error));
  if (again != length || strlen(cut) != 7 || memcmp(cut, text, 7)) FAIL("cut to %s, length %zu", cut, again);
  MUST(minfc_device_info(device, NULL, 0, NULL, &error));

  minfc_heads heads = some_heads();
  minfc_shape shape = some_shape(128 << 10);
  heads.q_heads = 32, heads.kv_heads = 8, heads.head_dim = 128;
  double low, high, dense;
  MUST(minfc_estimate("{\"pattern\": \"vertical_slash\"}", &heads, &shape, "H200", text, sizeof text, NULL, &error));
  const char *times = strstr(text, "\"low_ms\"");
  if (!times || sscanf(times, "\"low_ms\":%lf,\"high_ms\":%lf,\"dense_ms\":%lf", &low, &high, &dense) != 3 ||
      !(1 < low && low < high && high < 2 * dense))
    FAIL("estimate says %s", text);
  const char *source = "{\"source\": \"pattern near(n = 9, const first = 1) { keep causal & (window(n) | sink(first)) }\","
                       " \"params\": {\"n\": 1000, \"first\": 2}}";
  MUST(minfc_estimate(source, &heads, &shape, "A100", text, sizeof text, NULL, &error));
  if (!strstr(text, "\"target\":\"sm_80\"")) FAIL("estimate says %s", text);
  MUST(minfc_estimate("{\"pattern\": \"dense\"}", &heads, &shape, NULL, text, sizeof text, NULL, &error));
  const char *layer = "{\"plan\": [{\"0\": [\"stream_llm\", 128, 4096, 1]}], \"layer\": 0}";
  MUST(minfc_estimate(layer, &heads, &shape, NULL, text, sizeof text, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "H201", minfc_estimate("{\"pattern\": \"dense\"}", &heads, &shape, "H201", text, sizeof text, NULL, &error));
}

/* plans: both formats are written as one, and what is wrong is said with its place. */
static void plans(void) {
  char text[4096];
  const char *ours = "{\"schema\": 1, \"layers\": [{\"1\": {\"pattern\": \"a_shape\", \"params\": {\"sink\": 2, \"window\": 30}}}]}";
  const char *theirs = "[{\"1\": [\"stream_llm\", 2, 30, 0]}]";
  for (int i = 0; i < 2; i++) {
    size_t length;
    MUST(minfc_plan_read("p.json", i ? theirs : ours, text, sizeof text, &length, &error));
    if (length != strlen(text) || !strstr(text, "\"schema\": 1") ||
        !strstr(text, "\"1\": {\"pattern\": \"a_shape\", \"params\": {\"sink\": 2, \"window\": 30}}"))
      FAIL("plan %d is %s", i, text);
  }
  const char *wrong = "[{\"1\": [\"stream_lm\", 2, 30, 0]}]";
  WANT_CODE(MINFC_E_PATTERN, "p.json:1:9: layer 0, head 1", minfc_plan_read("p.json", wrong, text, sizeof text, NULL, &error));
  WANT_CODE(MINFC_E_PATTERN, "p.json", minfc_plan_read("p.json", "", text, sizeof text, NULL, &error));
  const char *part = "{\"plan\": [{\"1\": [\"stream_llm\", 2, 30, 0], \"3\": [\"stream_llm\", 4, 50, 0]}], \"shard\": {\"rank\": 1, \"world\": 2}}";
  MUST(minfc_plan_read("p.json", part, text, sizeof text, NULL, &error));
  if (!strstr(text, "\"heads\": 2,\n  \"heads_from\": 2,") || strstr(text, "30") ||
      !strstr(text, "\"1\": {\"pattern\": \"a_shape\", \"params\": {\"sink\": 4, \"window\": 50}}"))
    FAIL("the part of a plan is %s", text);
  part = "{\"plan\": [{\"2\": [\"stream_llm\", 2, 30, 0]}], \"shard\": {\"rank\": 1, \"world\": 2}}";
  WANT_CODE(MINFC_E_PATTERN, "3 query heads do not divide among 2 ranks", minfc_plan_read("p.json", part, text, sizeof text, NULL, &error));
  part = "{\"plan\": [{\"2\": [\"stream_llm\", 2, 30, 0]}], \"shard\": {\"rnk\": 1, \"world\": 2}}";
  WANT_CODE(MINFC_E_PATTERN, "p.json: a part of a plan is not understood", minfc_plan_read("p.json", part, text, sizeof text, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "text is NULL", minfc_plan_read("p.json", NULL, text, sizeof text, NULL, &error));
}

/* workload: a seed means the same bytes, another one others, a tensor at address 0 is left out, and bad calls are told. */
static void workload(void) {
  set_up();
  enum { WORDS = TOKENS * DIM };
  static uint16_t first[WORDS], again[WORDS];
  minfc_heads heads = some_heads();
  heads.q_heads = 1;
  uint64_t at;
  MUST(minfc_alloc(device, sizeof first, &at, &error));
  MUST(minfc_workload(device, "mixed", 7, &heads, 1, TOKENS, 0, at, 0, NULL, &error));
  MUST(minfc_copy_to_host(device, first, at, sizeof first, NULL, &error));
  MUST(minfc_workload(device, "mixed", 8, &heads, 1, TOKENS, 0, at, 0, NULL, &error));
  MUST(minfc_copy_to_host(device, again, at, sizeof again, NULL, &error));
  if (!memcmp(first, again, sizeof first)) FAIL("seeds 7 and 8 make the same bytes");
  MUST(minfc_workload(device, "mixed", 7, &heads, 1, TOKENS, 0, at, 0, NULL, &error));
  MUST(minfc_copy_to_host(device, again, at, sizeof again, NULL, &error));
  if (memcmp(first, again, sizeof first)) FAIL("seed 7 makes other bytes the second time");
  WANT_CODE(MINFC_E_ARGUMENT, "did you mean mixed", minfc_workload(device, "mixd", 7, &heads, 1, TOKENS, 0, at, 0, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "sequence length 0", minfc_workload(device, "mixed", 7, &heads, 1, 0, 0, at, 0, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "multiples of 16", minfc_workload(device, "mixed", 7, &heads, 1, TOKENS, 0, at + 8, 0, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "kind is NULL", minfc_workload(device, NULL, 7, &heads, 1, TOKENS, 0, at, 0, NULL, &error));
}

/* fallback: short calls run dense, are counted, and can be forbidden to. */
static void fallback(void) {
  minfc_heads heads = some_heads();
  uint64_t bytes;
  char text[4096];
  MUST(minfc_open("emu", &device, &error));
  const char *spec = "{\"pattern\": \"vertical_slash\", \"params\": {\"vertical\": 16, \"slash\": 16}}";
  MUST(minfc_attention_new(device, spec, &heads, &attention, &error));
  for (int forbidden = 0; forbidden < 2; forbidden++) {
    minfc_shape shape = strided_shape();
    shape.no_fallback = forbidden;
    MUST(minfc_prepare(attention, &shape, &call, &bytes, &error));
    fill(&data, 1);
    mine = place(device, &data);
    mine.at.workspace_bytes = bytes;
    if (bytes) MUST(minfc_alloc(device, bytes, &mine.at.workspace, &error));
    MUST(minfc_run(call, &mine.at, NULL, &error));
    MUST(minfc_chosen(call, &mine.at, NULL, text, sizeof text, NULL, &error));
    const char *want = forbidden ? "\"dense_heads\":0,\"sparse_heads\":2}" : "\"dense_heads\":2,\"sparse_heads\":0}";
    if (!strstr(text, want)) FAIL("chosen says %s", text);
    if (forbidden && !strstr(text, "\"columns\":30,\"diagonals\":100")) FAIL("chosen says %s", text);
  }
  mine.at.workspace_bytes--;
  WANT_CODE(MINFC_E_ARGUMENT, "Workspace", minfc_run(call, &mine.at, NULL, &error));
  mine.at.workspace = 0;
  WANT_CODE(MINFC_E_ARGUMENT, "Workspace", minfc_run(call, &mine.at, NULL, &error));
}

static void new_fails(int code, const char *words, const char *spec) {
  minfc_heads heads = some_heads();
  minfc_attention *out = (void *)7;
  WANT_CODE(code, words, minfc_attention_new(device, spec, &heads, &out, &error));
  if (out != (void *)7) FAIL("an error wrote an attention");
}

static void bad_specs(void) {
  set_up();
  new_fails(MINFC_E_PATTERN, "not understood", "a_shape");
  new_fails(MINFC_E_PATTERN, "behind its end", "{\"pattern\": \"a_shape\"} x");
  new_fails(MINFC_E_PATTERN, "patern", "{\"patern\": \"a_shape\"}");
  new_fails(MINFC_E_PATTERN, "names nothing", "{}");
  new_fails(MINFC_E_PATTERN, "a_shap", "{\"pattern\": \"a_shap\"}");
  new_fails(MINFC_E_PATTERN, "windw", "{\"source\": \"pattern p { keep windw }\"}");
  new_fails(MINFC_E_ARGUMENT, "windw", "{\"pattern\": \"a_shape\", \"params\": {\"windw\": 3}}");
  new_fails(MINFC_E_ARGUMENT, "window", "{\"pattern\": \"a_shape\", \"params\": {\"window\": -3}}");
  new_fails(MINFC_E_PATTERN, "no layer", "{\"plan\": [{\"0\": [\"stream_llm\", 2, 30, 1]}]}");
  new_fails(MINFC_E_PATTERN, "there is no layer 1", "{\"plan\": [{\"0\": [\"stream_llm\", 2, 30, 1]}], \"layer\": 1}");
  new_fails(MINFC_E_PATTERN, "has 2 query heads", "{\"plan\": [{\"7\": [\"stream_llm\", 2, 30, 1]}], \"layer\": 0}");
  new_fails(MINFC_E_PATTERN, "the plan is for 1 query heads, here are 2", "{\"plan\": {\"schema\": 1, \"heads\": 1, \"layers\": [{}]}, \"layer\": 0}");
  new_fails(MINFC_E_PATTERN, "one of them", "{\"pattern\": \"dense\", \"plan\": [{\"0\": [\"stream_llm\", 2, 30, 1]}], \"layer\": 0}");
  minfc_heads heads = some_heads();
  minfc_attention *planned;
  MUST(minfc_attention_new(device, "{\"plan\": [{\"0\": [\"stream_llm\", 2, 30, 1]}], \"layer\": 0}", &heads, &planned, &error));
  struct { int q, kv, dim, dtype; const char *words; } wrong[] = {
      {2, 1, 32, 0, "dtype"},     {2, 1, 32, 3, "dtype"},  {2, 1, 20, 1, "head dim 20"},
      {3, 2, 32, 1, "multiple"}, {0, 1, 32, 1, "QHeads"}, {2, -1, 32, 1, "KVHeads"}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    heads.q_heads = wrong[i].q, heads.kv_heads = wrong[i].kv, heads.head_dim = wrong[i].dim, heads.dtype = wrong[i].dtype;
    WANT_CODE(MINFC_E_ARGUMENT, wrong[i].words, minfc_attention_new(device, A_SHAPE, &heads, &planned, &error));
  }
}

static void shape_fails(const char *words, minfc_shape shape) {
  uint64_t workspace = 7;
  minfc_call *out = (void *)7;
  WANT_CODE(MINFC_E_ARGUMENT, words, minfc_prepare(attention, &shape, &out, &workspace, &error));
  if (out != (void *)7 || workspace != 7) FAIL("an error wrote a call");
}

static void bad_calls(void) {
  set_up();
  minfc_shape s = some_shape(-1);
  shape_fails("SeqQ", s);
  s = some_shape(16), s.batch = 0;
  shape_fails("Batch", s);
  s = some_shape(16), s.scale = -1;
  shape_fails("Scale", s);
  s = strided_shape(), s.q.row = 12;
  shape_fails("multiple of 8", s);
  s = strided_shape(), s.o.row = 8;
  shape_fails("overlaps", s);
  s = strided_shape(), s.k.row = -8;
  shape_fails("row stride", s);
  s = strided_shape(), s.v = (minfc_stride){0, 0, 0};
  shape_fails("strides of v are all 0", s);
  s = strided_shape(), s.lse.row = 2;
  shape_fails("lse has a row stride", s);
  minfc_pointers at = mine.at;
  at.k = 0;
  WANT_CODE(MINFC_E_ARGUMENT, "K is a null pointer", minfc_run(call, &at, NULL, &error));
  at = mine.at, at.q += 2;
  WANT_CODE(MINFC_E_ARGUMENT, "Q starts", minfc_run(call, &at, NULL, &error));
  at = mine.at, at.o = at.q;
  WANT_CODE(MINFC_E_ARGUMENT, "O overlaps Q", minfc_run(call, &at, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "CU_STREAM_PER_THREAD", minfc_run(call, &mine.at, (void *)2, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "pointers is NULL", minfc_run(call, NULL, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "out is NULL", minfc_open("emu", NULL, &error));
  if (minfc_run(call, NULL, NULL, NULL) != MINFC_E_ARGUMENT) FAIL("no code without an error to write");
  uint64_t p = 0;
  WANT_CODE(MINFC_E_ARGUMENT, "allocation of 0", minfc_alloc(device, 0, &p, &error));
  WANT_CODE(MINFC_E_MEMORY, "out of device memory", minfc_alloc(device, (uint64_t)1 << 40, &p, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "copy of", minfc_copy_to_host(device, &data, mine.all, UINT64_MAX, NULL, &error));
  MUST(minfc_free(device, 0, &error));
  minfc_device *other;
  WANT_CODE(MINFC_E_ARGUMENT, "not understood", minfc_open("emu:x", &other, &error));
  WANT_CODE(MINFC_E_NO_DEVICE, "no driver", minfc_open("rocm", &other, &error));
  WANT_CODE(MINFC_E_NO_DEVICE, "sm_77", minfc_open("emu:sm_77", &other, &error));
  MUST(minfc_run(call, &mine.at, NULL, &error)); /* all is well after so many errors */
}

/* handles: closed and wild ones, and the order of closing. */
static void handles(void) {
  set_up();
  minfc_shape shape = strided_shape();
  minfc_call *second;
  uint64_t workspace;
  WANT_CODE(MINFC_E_ARGUMENT, "open objects", minfc_attention_close(attention, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "open objects", minfc_device_close(device, &error));
  MUST(minfc_call_close(call, &error));
  WANT_CODE(MINFC_E_CLOSED, "call", minfc_run(call, &mine.at, NULL, &error));
  WANT_CODE(MINFC_E_CLOSED, "call", minfc_call_close(call, &error));
  MUST(minfc_prepare(attention, &shape, &second, &workspace, &error)); /* in the place of the first */
  WANT_CODE(MINFC_E_CLOSED, "call", minfc_run(call, &mine.at, NULL, &error));
  void *next_index = (char *)second + 8, *next_generation = (char *)second + (1ull << 32);
  void *wild[] = {NULL, &shape, (void *)0x1234, (void *)-1, (void *)1, attention, device, next_index, next_generation};
  for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) WANT_CODE(MINFC_E_ARGUMENT, "call", minfc_run(wild[i], &mine.at, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "attention", minfc_prepare((void *)second, &shape, &second, &workspace, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "device", minfc_synchronize(NULL, &error));
  MUST(minfc_call_close(second, &error));
  MUST(minfc_attention_close(attention, &error));
  WANT_CODE(MINFC_E_CLOSED, "attention", minfc_prepare(attention, &shape, &second, &workspace, &error));
  WANT_CODE(MINFC_E_CLOSED, "attention", minfc_attention_close(attention, &error));
  MUST(minfc_device_close(device, &error));
  WANT_CODE(MINFC_E_CLOSED, "device", minfc_device_close(device, &error));
  WANT_CODE(MINFC_E_CLOSED, "device", minfc_synchronize(device, &error));
}

/* versions: structs of other headers. */
static void versions(void) {
  set_up();
  minfc_heads heads = some_heads();
  minfc_shape shape = some_shape(16);
  minfc_pointers at = mine.at;
  minfc_attention *a;
  minfc_call *c;
  uint64_t workspace;
  heads.abi_version = 2;
  WANT_CODE(MINFC_E_VERSION, "minfc_heads has abi_version 2, the library has 1", minfc_attention_new(device, A_SHAPE, &heads, &a, &error));
  heads = some_heads(), heads.struct_size += 8;
  WANT_CODE(MINFC_E_VERSION, "newer minfc.h", minfc_attention_new(device, A_SHAPE, &heads, &a, &error));
  memset(&heads, 0, sizeof heads);
  WANT_CODE(MINFC_E_VERSION, "_init", minfc_attention_new(device, A_SHAPE, &heads, &a, &error));
  shape.struct_size = 16;
  WANT_CODE(MINFC_E_VERSION, "struct_size 16", minfc_prepare(attention, &shape, &c, &workspace, &error));
  at.struct_size = 0;
  WANT_CODE(MINFC_E_VERSION, "struct_size 0", minfc_run(call, &at, NULL, &error));
  at = mine.at, at.abi_version = 3;
  WANT_CODE(MINFC_E_VERSION, "abi_version 3", minfc_chosen(call, &at, NULL, NULL, 0, NULL, &error));

  shape = some_shape(TOKENS); /* a shape without strides: contiguous, and what lies behind it is not read */
  memset(&shape.q, 0x55, sizeof shape - offsetof(minfc_shape, q));
  shape.struct_size = offsetof(minfc_shape, q);
  MUST(minfc_prepare(attention, &shape, &c, &workspace, &error));
  shape.explicit_strides = 1;
  WANT_CODE(MINFC_E_ARGUMENT, "strides of q are all 0", minfc_prepare(attention, &shape, &c, &workspace, &error));
  if (strcmp(minfc_version(), VERSION)) FAIL("the version is %s, want %s", minfc_version(), VERSION);
}

static void *run_often(void *seed) {
  minfc_error error;
  tensors *t = calloc(1, sizeof *t);
  minfc_shape shape = strided_shape();
  void *stream = getenv("MINFC_CHECK_DEVICE") ? NULL : (void *)(0x100 + (uintptr_t)seed); /* the emulator takes any number for a stream */
  fill(t, (uint32_t)(uintptr_t)seed);
  for (int i = 0; i < 10; i++) {
    minfc_call *own;
    uint64_t workspace;
    room r = place(device, t);
    MUST(minfc_prepare(attention, &shape, &own, &workspace, &error));
    MUST(minfc_run(own, &r.at, stream, &error));
    MUST(minfc_copy_to_host(device, t, r.all, sizeof *t, stream, &error));
    if (!(off(t) < 1e-2)) FAIL("thread %d: off by %g", (int)(uintptr_t)seed, off(t));
    MUST(minfc_call_close(own, &error));
    MUST(minfc_free(device, r.all, &error));
  }
  free(t);
  return NULL;
}

static void threads(void) {
  set_up();
  pthread_t all[8];
  for (uintptr_t i = 0; i < 8; i++) pthread_create(&all[i], NULL, run_often, (void *)(i + 1));
  for (int i = 0; i < 8; i++) pthread_join(all[i], NULL);
}

/* lengths: a batch of ragged sequences, and a call made for more rows than there are, compute what a call of their lengths does. */
static void lengths(void) {
  set_up();
  const int32_t cumulative[] = {0, TOKENS, TOKENS}, shorter[] = {TOKENS - 7};
  uint64_t bytes, at;
  minfc_shape shape = strided_shape();
  shape.batch = 2, shape.lengths = MINFC_RAGGED, shape.total_q = shape.total_k = TOKENS, shape.seq_q = shape.seq_k = TOKENS + 50;
  MUST(minfc_prepare(attention, &shape, &call, &bytes, &error));
  MUST(minfc_alloc(device, bytes, &mine.at.workspace, &error));
  mine.at.workspace_bytes = bytes;
  WANT_CODE(MINFC_E_ARGUMENT, "LengthsQ", minfc_run(call, &mine.at, NULL, &error));
  MUST(minfc_alloc(device, sizeof cumulative, &at, &error));
  MUST(minfc_copy_to_device(device, at, cumulative, sizeof cumulative, NULL, &error));
  mine.at.lengths_q = at;
  MUST(minfc_run(call, &mine.at, NULL, &error));
  MUST(minfc_synchronize(device, &error));
  MUST(minfc_copy_to_host(device, &data, mine.all, sizeof data, NULL, &error));
  double got = off(&data);
  if (!(got < 1e-2)) FAIL("o and lse of a ragged batch are off by %g", got);

  memset(data.o, 0x5a, sizeof data.o);
  MUST(minfc_copy_to_device(device, mine.all, &data, sizeof data, NULL, &error));
  shape = strided_shape();
  shape.lengths = MINFC_PADDED;
  MUST(minfc_prepare(attention, &shape, &call, &bytes, &error));
  MUST(minfc_copy_to_device(device, at, shorter, sizeof shorter, NULL, &error));
  MUST(minfc_run(call, &mine.at, NULL, &error));
  MUST(minfc_synchronize(device, &error));
  MUST(minfc_copy_to_host(device, &data, mine.all, sizeof data, NULL, &error));
  for (int i = TOKENS - 7; i < TOKENS; i++)
    if (data.o[i][0][0] != 0x5a5a) FAIL("row %d was written", i);
  if (data.o[TOKENS - 8][0][0] == 0x5a5a) FAIL("row %d was not written", TOKENS - 8);
  mine.at.lengths_q = 0;
  MUST(minfc_run(call, &mine.at, NULL, &error)); /* all rows */
  MUST(minfc_synchronize(device, &error));
  MUST(minfc_copy_to_host(device, &data, mine.all, sizeof data, NULL, &error));
  if (!((got = off(&data)) < 1e-2)) FAIL("o and lse without lengths are off by %g", got);
  shape.total_q = 5;
  WANT_CODE(MINFC_E_ARGUMENT, "TotalQ", minfc_prepare(attention, &shape, &call, &bytes, &error));
  shape.total_q = 0;
  minfc_heads heads = some_heads();
  char text[256];
  WANT_CODE(MINFC_E_ARGUMENT, "estimate each sequence", minfc_estimate("{\"pattern\": \"dense\"}", &heads, &shape, NULL, text, sizeof text, NULL, &error));
  shape.lengths = 3;
  WANT_CODE(MINFC_E_ARGUMENT, "Lengths is 3", minfc_prepare(attention, &shape, &call, &bytes, &error));
  shape.lengths = MINFC_IN_SHAPE;
  mine.at.lengths_q = at;
  MUST(minfc_prepare(attention, &shape, &call, &bytes, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "InShape", minfc_run(call, &mine.at, NULL, &error));
}

/* given: lists that name all keys up to each row block compute what dense attention does, and a list that names less does not. */
static void given(void) {
  enum { BLOCKS = (TOKENS + 63) / 64, SPANS = 2, KEYS = 3 };
  static tensors dense;
  minfc_heads heads = some_heads();
  minfc_shape shape = strided_shape();
  uint64_t bytes, lists;
  set_up();
  MUST(minfc_attention_new(device, "{\"pattern\": \"dense\"}", &heads, &attention, &error));
  MUST(minfc_prepare(attention, &shape, &call, &bytes, &error));
  MUST(minfc_run(call, &mine.at, NULL, &error));
  MUST(minfc_copy_to_host(device, &dense, mine.all, sizeof dense, NULL, &error));

  MUST(minfc_attention_new(device, "{\"given\": \"causal\"}", &heads, &attention, &error));
  shape.span_cap = SPANS, shape.key_cap = KEYS;
  MUST(minfc_prepare(attention, &shape, &call, &bytes, &error));
  mine.at.workspace_bytes = bytes;
  if (bytes) MUST(minfc_alloc(device, bytes, &mine.at.workspace, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "SpanCount is a null pointer", minfc_run(call, &mine.at, NULL, &error));
  /* keys 0, 1 and 2 one by one, then 3 to 66 and 67 to 130 */
  struct { int32_t span_count[Q_HEADS][BLOCKS], key_count[Q_HEADS][BLOCKS], spans[Q_HEADS][BLOCKS][SPANS], keys[Q_HEADS][BLOCKS][KEYS]; } l;
  for (int h = 0; h < Q_HEADS; h++)
    for (int b = 0; b < BLOCKS; b++) {
      l.span_count[h][b] = SPANS, l.key_count[h][b] = KEYS;
      for (int i = 0; i < SPANS; i++) l.spans[h][b][i] = 3 + 64 * i;
      for (int i = 0; i < KEYS; i++) l.keys[h][b][i] = i;
    }
  MUST(minfc_alloc(device, sizeof l, &lists, &error));
  mine.at.span_count = lists + offsetof(__typeof__(l), span_count), mine.at.key_count = lists + offsetof(__typeof__(l), key_count);
  mine.at.spans = lists + offsetof(__typeof__(l), spans), mine.at.keys = lists + offsetof(__typeof__(l), keys);
  for (int less = 0; less < 2; less++) {
    l.key_count[1][1] -= less;
    MUST(minfc_copy_to_device(device, lists, &l, sizeof l, NULL, &error));
    MUST(minfc_run(call, &mine.at, NULL, &error));
    MUST(minfc_copy_to_host(device, &data, mine.all, sizeof data, NULL, &error));
    double most = 0;
    for (int h = 0; h < Q_HEADS; h++)
      for (int i = 0; i < TOKENS; i++) most = fmax(most, fabs(data.lse[h][i] - dense.lse[h][i]));
    for (int i = 0; i < TOKENS * Q_HEADS * DIM; i++)
      most = fmax(most, fabs(from_bf16(((uint16_t *)data.o)[i]) - from_bf16(((uint16_t *)dense.o)[i])));
    if (less ? most < 5e-3 : most > 5e-3) FAIL("o and lse are off by %g with%s all keys", most, less ? "out" : "");
  }
  shape.span_cap = -1;
  WANT_CODE(MINFC_E_ARGUMENT, "SpanCap is -1", minfc_prepare(attention, &shape, &call, &bytes, &error));
  shape.span_cap = SPANS, shape.lengths = MINFC_PADDED;
  WANT_CODE(MINFC_E_ARGUMENT, "lengths in the shape", minfc_prepare(attention, &shape, &call, &bytes, &error));
  char text[512];
  shape.lengths = MINFC_IN_SHAPE;
  WANT_CODE(MINFC_E_ARGUMENT, "nothing is expected of it",
            minfc_estimate("{\"given\": \"full\"}", &heads, &shape, NULL, text, sizeof text, NULL, &error));
  WANT_CODE(MINFC_E_PATTERN, "\"causal\" or \"full\"", minfc_attention_new(device, "{\"given\": \"some\"}", &heads, &attention, &error));
  WANT_CODE(MINFC_E_PATTERN, "want one of them",
            minfc_attention_new(device, "{\"given\": \"full\", \"pattern\": \"dense\"}", &heads, &attention, &error));
}

static long resident_kb(void) {
  long pages = 0, all;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%ld %ld", &all, &pages) != 2) FAIL("no statm");
  fclose(f);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* rounds: a thousand rounds of prepare, run and close take no more memory than those before. */
static void rounds(void) {
  set_up();
  long before = 0;
  for (int i = 0; i < 1600; i++) {
    minfc_shape shape = some_shape(1 + i % 16);
    minfc_call *own;
    uint64_t workspace;
    if (i == 600) before = resident_kb(); /* Go's heap has its size by then */
    MUST(minfc_prepare(attention, &shape, &own, &workspace, &error));
    MUST(minfc_run(own, &mine.at, NULL, &error));
    MUST(minfc_call_close(own, &error));
    for (int j = 0; j < 100; j++) {
      MUST(minfc_prepare(attention, &shape, &own, &workspace, &error));
      MUST(minfc_call_close(own, &error));
    }
  }
  long more = resident_kb() - before;
  if (more > 8 << 10) FAIL("%ld kB more after a thousand rounds", more);
}

static void in_child(void) {
  minfc_device *other;
  alarm(20); /* a call that entered Go would hang */
  WANT_CODE(MINFC_E_FORK, "forked child", minfc_open("emu", &other, &error));
  WANT_CODE(MINFC_E_FORK, "forked child", minfc_run(call, &mine.at, NULL, &error));
  WANT_CODE(MINFC_E_FORK, "forked child", minfc_device_close(device, &error));
  if (minfc_synchronize(device, NULL) != MINFC_E_FORK || *minfc_version()) FAIL("the child is not told");
  _exit(0);
}

static void forks(void) {
  set_up();
  pid_t child = fork();
  if (child == 0) in_child();
  int status;
  if (waitpid(child, &status, 0) != child || status) FAIL("the child ended with %#x", status);
  MUST(minfc_run(call, &mine.at, NULL, &error)); /* the parent goes on */
}

int main(int argc, char **argv) {
  struct { const char *name; void (*check)(void); } all[] = {
      {"numbers", numbers}, {"reports", reports}, {"stages", stages},   {"fallback", fallback}, {"bad_specs", bad_specs}, {"bad_calls", bad_calls},
      {"handles", handles}, {"versions", versions}, {"threads", threads}, {"lengths", lengths},   {"given", given},   {"recall", recall},   {"rounds", rounds},       {"forks", forks},
      {"workload", workload}, {"plans", plans}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (argc == 2 && !strcmp(argv[1], all[i].name)) return all[i].check(), 0;
  return fprintf(stderr, "there is no such check\n"), 2;
}
