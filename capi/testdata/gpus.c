/* Checks of libminfc.so against a stand-in for the driver's library, one a name: what is said of drivers and GPUs. */
#include "check.h"

static minfc_error error;
static minfc_device *device;

static void two_gpus(void) {
  static tensors data;
  minfc_heads heads = some_heads();
  minfc_shape shape = strided_shape();
  minfc_device *second;
  minfc_attention *attention;
  minfc_call *call;
  uint64_t workspace;
  MUST(minfc_open("cuda:0", &device, &error));
  MUST(minfc_open("cuda:1", &second, &error));
  MUST(minfc_attention_new(second, A_SHAPE, &heads, &attention, &error));
  MUST(minfc_prepare(attention, &shape, &call, &workspace, &error));
  room here = place(second, &data), there = place(device, &data);
  MUST(minfc_run(call, &here.at, NULL, &error));
  minfc_pointers at = here.at;
  at.k = there.at.k;
  WANT_CODE(MINFC_E_ARGUMENT, "K is memory of cuda:0", minfc_run(call, &at, NULL, &error));
  MUST(minfc_run(call, &here.at, NULL, &error));
  WANT_CODE(MINFC_E_ARGUMENT, "Q is memory of cuda:0", minfc_run(call, &there.at, NULL, &error));
  WANT_CODE(MINFC_E_NO_DEVICE, "2", minfc_open("cuda:2", &second, &error));
}

static void no_gpu(void) { WANT_CODE(MINFC_E_NO_DEVICE, "finds no GPU", minfc_open("cuda", &device, &error)); }

static void no_library(void) {
  char text[1024];
  WANT_CODE(MINFC_E_NO_DEVICE, "libcuda.so.1", minfc_open("cuda", &device, &error));
  MUST(minfc_open("auto", &device, &error));
  MUST(minfc_device_info(device, text, sizeof text, NULL, &error));
  if (!strstr(text, "there is no GPU to use")) FAIL("info says %s", text);
}

static void broken(void) {
  WANT_CODE(MINFC_E_DEVICE, "dmesg", minfc_open("cuda", &device, &error));
  WANT_CODE(MINFC_E_DEVICE, "dmesg", minfc_open("auto", &device, &error));
}

static void old(void) {
  minfc_heads heads = some_heads();
  minfc_attention *attention;
  MUST(minfc_open("cuda", &device, &error));
  WANT_CODE(MINFC_E_UNSUPPORTED, "8.0", minfc_attention_new(device, A_SHAPE, &heads, &attention, &error));
}

static void no_memory(void) {
  uint64_t p;
  MUST(minfc_open("cuda", &device, &error));
  WANT_CODE(MINFC_E_MEMORY, "4096 bytes", minfc_alloc(device, 4096, &p, &error));
}

int main(int argc, char **argv) {
  struct { const char *name; void (*check)(void); } all[] = {{"two_gpus", two_gpus}, {"no_gpu", no_gpu}, {"no_library", no_library},
                                                             {"broken", broken}, {"old", old}, {"no_memory", no_memory}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (argc == 2 && !strcmp(argv[1], all[i].name)) return all[i].check(), 0;
  return fprintf(stderr, "there is no such check\n"), 2;
}
