// A stand-in for the NVIDIA driver's library: tests of which device and which kernel are chosen, and of what is said when something fails, run
// without a GPU. It computes nothing, and refuses without a current context what a driver refuses. What it stands for is chosen when it is
// compiled:
//
//   -DGPUS=75,90         compute capabilities, times ten, of the GPUs that there are
//   -DCUDA=11080         newest CUDA version of the driver: 1000*major + 10*minor
//   -DINIT=802           what cuInit answers, and so for RETAIN (opening a GPU), ALLOC and LAUNCH
//   -DNO_TENSOR_MAPS     a driver from before CUDA 12.0, which lacks cuTensorMapEncodeTiled
//   -DNO_INIT            no driver's library at all: it lacks cuInit
//   -DLINKER             a driver that links: its cubins name the GPU that they are for, and its log says when it compiled
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#ifndef GPUS
#define GPUS 80
#endif
#ifndef CUDA
#define CUDA 12040
#endif
#ifndef INIT
#define INIT 0
#endif
#ifndef RETAIN
#define RETAIN 0
#endif
#ifndef ALLOC
#define ALLOC 0
#endif
#ifndef LAUNCH
#define LAUNCH 0
#endif

static const int gpus[] = {GPUS};
static const int count = sizeof gpus / sizeof *gpus;

// A thread has a stack of contexts. A context is a number: of its GPU plus one in the lower byte, and above it 0 for the primary context of a
// GPU or the number of the context's creation.
enum { DEPTH = 16, MADE = 4096, INVALID_CONTEXT = 201, DESTROYED = 709 };
static _Thread_local uintptr_t contexts[DEPTH];
static _Thread_local int depth;
static char destroyed[MADE];
static int current(void) { return (int)(contexts[depth - 1] & 0xff) - 1; }
#define IN_CONTEXT if (!depth) return INVALID_CONTEXT; if (destroyed[contexts[depth - 1] >> 8]) return DESTROYED

int cuGetErrorName(int code, const char **s) {
  static char text[32];
  snprintf(text, sizeof text, "CUDA_ERROR_%d", code);
  *s = text;
  return 0;
}
int cuGetErrorString(int code, const char **s) { *s = "as the test wants it"; return 0; }

#ifndef NO_INIT
int cuInit(unsigned flags) { return INIT; }
#endif
int cuDriverGetVersion(int *v) { *v = CUDA; return 0; }
int cuDeviceGetCount(int *n) { *n = count; return 0; }
int cuDeviceGet(int *dev, int ordinal) { *dev = ordinal; return ordinal < count ? 0 : 101; }
int cuDeviceGetName(char *name, int room, int dev) { snprintf(name, room, "Stand-in %d", dev); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int dev) { *bytes = (size_t)16 << 30; return 0; }

static int shared(int capability) {
  switch (capability) {
  case 75: return 64 << 10;
  case 86: case 89: case 120: return 99 << 10;
  case 90: case 100: return 227 << 10;
  default: return 163 << 10;
  }
}

int cuDeviceGetAttribute(int *v, int attribute, int dev) {
  switch (attribute) {
  case 16: *v = 60; break;        // multiprocessors
  case 38: *v = 32 << 20; break;  // L2
  case 75: *v = gpus[dev] / 10; break;
  case 76: *v = gpus[dev] % 10; break;
  case 97: *v = shared(gpus[dev]); break;
  default: *v = 0;
  }
  return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int dev) { *context = (void *)(uintptr_t)(dev + 1); return RETAIN; }
int cuDevicePrimaryCtxRelease_v2(int dev) { return 0; }
int cuCtxPushCurrent_v2(void *context) {
  if (!context || depth == DEPTH) return INVALID_CONTEXT;
  if (destroyed[(uintptr_t)context >> 8]) return DESTROYED;
  contexts[depth++] = (uintptr_t)context;
  return 0;
}
int cuCtxPopCurrent_v2(void **context) {
  if (!depth) return INVALID_CONTEXT;
  *context = (void *)contexts[--depth];
  return 0;
}
int cuCtxCreate_v2(void **context, unsigned flags, int dev) {
  static uintptr_t made; // of one thread at a time
  if (made + 1 == MADE) return 2;
  *context = (void *)(++made << 8 | (dev + 1));
  return cuCtxPushCurrent_v2(*context);
}
int cuCtxDestroy_v2(void *context) {
  if (!((uintptr_t)context >> 8) || destroyed[(uintptr_t)context >> 8]) return INVALID_CONTEXT;
  destroyed[(uintptr_t)context >> 8] = 1;
  if (depth && contexts[depth - 1] == (uintptr_t)context) depth--;
  return 0;
}
int cuCtxSetCurrent(void *context) {
  if (depth) depth--;
  return context ? cuCtxPushCurrent_v2(context) : 0;
}
int cuCtxGetCurrent(void **context) { *context = depth ? (void *)contexts[depth - 1] : NULL; return 0; }
int cuCtxGetDevice(int *dev) { IN_CONTEXT; *dev = current(); return 0; }
int cuCtxSynchronize(void) { IN_CONTEXT; return 0; }

// reads is the newest PTX version that the driver reads, times ten.
static int reads(void) {
  int minor = CUDA % 1000 / 10;
  switch (CUDA / 1000) {
  case 11: return 70 + minor;
  case 12: return 80 + minor - (minor > 5); // 12.5 and 12.6 read the same
  default: return 10 * (CUDA / 1000 - 4) + minor;
  }
}

// compile says whether the driver's compiler takes a PTX text.
static int compile(const void *image, char *log) {
  int major = 0, minor = 0, capability = 0;
  char suffix = 0;
  const char *version = strstr(image, ".version"), *target = strstr(image, ".target");
  if (!version || !target) return 218;
  sscanf(version, ".version %d.%d", &major, &minor);
  sscanf(target, ".target sm_%d%c", &capability, &suffix);
  if (10 * major + minor > reads()) {
    if (log) sprintf(log, "ptxas fatal : Unsupported .version %d.%d", major, minor);
    return 222;
  }
  return capability > gpus[current()] || (suffix == 'a' && capability != gpus[current()]) ? 209 : 0;
}

// logOf is the memory for one of the compiler's logs.
static char *logOf(int option, unsigned n, const int *options, void **values) {
  for (unsigned i = 0; i < n; i++)
    if (options[i] == option) return values[i];
  return NULL;
}

int cuModuleLoadDataEx(void **module, const void *image, unsigned n, int *options, void **values) {
  IN_CONTEXT;
  *module = (void *)1;
  return compile(image, logOf(5, n, options, values));
}

#ifdef LINKER
struct linker { char cubin[32], *infos, *errors; };

int cuLinkCreate_v2(unsigned n, int *options, void **values, struct linker **out) {
  IN_CONTEXT;
  *out = calloc(1, sizeof **out);
  (*out)->infos = logOf(3, n, options, values);
  (*out)->errors = logOf(5, n, options, values);
  return 0;
}
int cuLinkAddData_v2(struct linker *l, int kind, void *image, size_t bytes, const char *name, unsigned n, int *options, void **values) {
  sprintf(l->infos, "compiled");
  sprintf(l->cubin, "cubin sm_%d", gpus[current()]);
  return compile(image, l->errors);
}
int cuLinkComplete(struct linker *l, void **cubin, size_t *bytes) { *cubin = l->cubin; *bytes = sizeof l->cubin; return 0; }
int cuLinkDestroy(struct linker *l) { memset(l, 0, sizeof *l); free(l); return 0; }
int cuModuleLoadData(void **module, const void *image) {
  IN_CONTEXT;
  int capability = 0;
  if (sscanf(image, "cubin sm_%d", &capability) != 1) return 200;
  *module = (void *)1;
  return capability == gpus[current()] ? 0 : 209;
}
#endif

int cuModuleUnload(void *module) { IN_CONTEXT; return 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) { IN_CONTEXT; *function = (void *)1; return 0; }
int cuFuncGetAttribute(int *v, int attribute, void *function) { *v = attribute == 0 ? 1024 : 0; return 0; }
int cuFuncSetAttribute(void *function, int attribute, int v) { return 0; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned bytes, void *stream,
                   void **arguments, void **extra) { IN_CONTEXT; return LAUNCH; }
#ifndef NO_TENSOR_MAPS
int cuTensorMapEncodeTiled(void *map) { return 0; }
#endif

// owners are the last allocations, each on pages of its own, with their GPUs.
enum { PAGE = 2 << 20 };
static uint64_t owners[64][2]; // address and GPU
int cuMemAlloc_v2(void **p, size_t bytes) {
  IN_CONTEXT;
  static unsigned n;
  *p = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
  owners[n % 64][0] = (uintptr_t)*p, owners[n++ % 64][1] = current();
  if (*p) memset(*p, 0, bytes);
  return *p ? ALLOC : 2;
}
int cuMemFree_v2(void *p) { IN_CONTEXT; free(p); return 0; }
int cuPointerGetAttributes(unsigned n, const int *attributes, void **data, uint64_t p) {
  for (unsigned i = 0; i < n; i++) {
    *(unsigned *)data[i] = 0;
    for (int j = 0; j < 64; j++)
      if (owners[j][0] && owners[j][0] <= p && p < owners[j][0] + PAGE)
        *(unsigned *)data[i] = attributes[i] == 2 ? 2 : attributes[i] == 9 ? owners[j][1] : 0; // memory of a device, and which
  }
  return 0;
}
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) { IN_CONTEXT; memcpy(to, from, bytes); return 0; }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t bytes, void *stream) { IN_CONTEXT; memcpy(to, from, bytes); return 0; }
int cuMemsetD8Async(void *to, unsigned char value, size_t bytes, void *stream) { IN_CONTEXT; memset(to, value, bytes); return 0; }
int cuStreamCreate(void **stream, unsigned flags) { IN_CONTEXT; *stream = (void *)7; return 0; }
int cuStreamDestroy_v2(void *stream) { return 0; }
int cuStreamSynchronize(void *stream) { IN_CONTEXT; return 0; }
int cuEventCreate(void **event, unsigned flags) { IN_CONTEXT; *event = (void *)7; return 0; }
int cuEventDestroy_v2(void *event) { return 0; }
int cuEventRecord(void *event, void *stream) { IN_CONTEXT; return 0; }
int cuEventSynchronize(void *event) { return 0; }
int cuEventElapsedTime(float *ms, void *start, void *stop) { *ms = 1; return 0; }
