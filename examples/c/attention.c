/* Sparse attention from C: vertical and slash heads over 1024 tokens, on the first GPU or on the emulator.
 *
 *   go build -buildmode=c-shared -ldflags '-s -w' -o bin/libminfc.so ./capi
 *   cc -Icapi examples/c/attention.c bin/libminfc.so -Wl,-rpath,'$ORIGIN' -o bin/attention
 *   bin/attention emu
 */
#include <stdio.h>
#include <stdlib.h>
#include "minfc.h"

static minfc_error error;

static void must(int code) {
  if (code) fprintf(stderr, "minfc error %d: %s\n", code, error.message), exit(1);
}

int main(int argc, char **argv) {
  enum { HEADS = 2, TOKENS = 1024, DIM = 64, ELEMENTS = HEADS * TOKENS * DIM };
  minfc_device *device;
  must(minfc_open(argc > 1 ? argv[1] : "auto", &device, &error));

  minfc_heads heads;
  minfc_heads_init(&heads);
  heads.q_heads = HEADS, heads.kv_heads = 1, heads.head_dim = DIM, heads.dtype = MINFC_BF16;
  minfc_attention *attention;
  const char *spec = "{\"pattern\": \"vertical_slash\", \"params\": {\"vertical\": 64, \"slash\": 192}}";
  must(minfc_attention_new(device, spec, &heads, &attention, &error));

  minfc_shape shape;
  minfc_shape_init(&shape);
  shape.batch = 1, shape.seq_q = TOKENS, shape.seq_k = TOKENS, shape.no_fallback = 1;
  minfc_call *call;
  minfc_pointers at;
  minfc_pointers_init(&at);
  must(minfc_prepare(attention, &shape, &call, &at.workspace_bytes, &error));

  static uint16_t data[ELEMENTS]; /* bf16, the upper half of a float: 0.5 to 2, of either sign */
  for (int i = 0; i < ELEMENTS; i++) data[i] = (i * 2654435761u >> 16 & 0x80ff) | 0x3f00;
  must(minfc_alloc(device, sizeof data, &at.q, &error));
  must(minfc_alloc(device, sizeof data, &at.o, &error));
  if (at.workspace_bytes) must(minfc_alloc(device, at.workspace_bytes, &at.workspace, &error));
  must(minfc_copy_to_device(device, at.q, data, sizeof data, NULL, &error));
  at.k = at.v = at.q; /* inputs may share memory; the one kv head is the first query head */

  must(minfc_run(call, &at, NULL, &error));
  must(minfc_copy_to_host(device, data, at.o, sizeof data, NULL, &error));
  uint32_t sum = 0;
  for (int i = 0; i < ELEMENTS; i++) sum = sum * 31 + data[i];
  char chosen[1024];
  must(minfc_chosen(call, &at, NULL, chosen, sizeof chosen, NULL, &error));
  printf("checksum %08x\n%s\n", sum, chosen);

  must(minfc_call_close(call, &error));
  must(minfc_attention_close(attention, &error));
  must(minfc_device_close(device, &error));
  return 0;
}
